//! A stand-in for the hub, on loopback: the real URL scheme and headers, large files behind a
//! redirect to a second port that plays the CDN, and faults on demand.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

/// The commit of every repository.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// One file of a repository.
#[derive(Clone, Debug, Default)]
pub struct HubFile {
    /// Its true content.
    pub bytes: Vec<u8>,
    /// Behind the CDN, announced by SHA-256.
    pub large: bool,
    /// Announce this size, or this hash, instead of the true one.
    pub claimed_size: Option<usize>,
    /// See `claimed_size`.
    pub claimed_sha: Option<String>,
    /// How many more bodies break off halfway.
    pub breaks: usize,
    /// Every body breaks off after so many bytes.
    pub drips: Option<usize>,
    /// Every body comes a byte at a time, with this pause between them.
    pub slow: Option<Duration>,
    /// Its size is not announced.
    pub silent: bool,
}

/// What a repository answers.
#[derive(Clone, Debug, Default)]
pub struct HubRepo {
    /// By name.
    pub files: BTreeMap<String, HubFile>,
    /// Only this token may read files.
    pub gate: Option<String>,
}

/// What the hub knows and how it behaves; tests change it while it runs.
#[derive(Debug, Default)]
pub struct HubState {
    /// By id.
    pub repos: BTreeMap<String, HubRepo>,
    /// Tokens that the hub knows.
    pub tokens: Vec<String>,
    /// How many more requests are answered with 503.
    pub busy: usize,
    /// The CDN does not know ranges.
    pub no_ranges: bool,
    /// `HUB METHOD PATH [RANGE] [auth]` of every request.
    pub log: Vec<String>,
}

/// A running stand-in; it ends with the process.
#[derive(Clone, Debug)]
pub struct Standin {
    /// Shared with the threads that serve.
    pub state: Arc<Mutex<HubState>>,
    /// What `HF_ENDPOINT` is set to.
    pub endpoint: String,
}

/// The SHA-256 of some bytes in lower-case hex.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Standin {
    /// Listens on two free ports.
    #[must_use]
    pub fn start() -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let cdn = TcpListener::bind("127.0.0.1:0").unwrap();
        let standin = Self {
            state: Arc::default(),
            endpoint: format!("http://{}", hub.local_addr().unwrap()),
        };
        let cdn_address = format!("http://{}", cdn.local_addr().unwrap());
        for (name, listener) in [("hub", hub), ("cdn", cdn)] {
            let state = Arc::clone(&standin.state);
            let cdn_address = cdn_address.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (state, cdn) = (Arc::clone(&state), cdn_address.clone());
                    // A client that hangs up is no fault of the server.
                    std::thread::spawn(move || serve(name, stream, &state, &cdn));
                }
            });
        }
        standin
    }

    /// Serves the files of a folder, those of weights as large ones.
    pub fn add_folder(&self, id: &str, folder: &Path, names: &[&str]) {
        let mut repo = HubRepo::default();
        for name in names {
            let large = !name.ends_with(".json") || name.ends_with(".index.json");
            let bytes = std::fs::read(folder.join(name)).unwrap();
            repo.files.insert(
                (*name).to_owned(),
                HubFile {
                    bytes,
                    large,
                    ..HubFile::default()
                },
            );
        }
        self.state.lock().unwrap().repos.insert(id.to_owned(), repo);
    }

    /// Serves some bytes as a large file.
    pub fn add_file(&self, id: &str, name: &str, bytes: &[u8]) {
        let mut state = self.state.lock().unwrap();
        let repo = state.repos.entry(id.to_owned()).or_default();
        repo.files.insert(
            name.to_owned(),
            HubFile {
                bytes: bytes.to_vec(),
                large: true,
                ..HubFile::default()
            },
        );
    }

    /// Changes how one file is served.
    pub fn change(&self, id: &str, name: &str, change: impl FnOnce(&mut HubFile)) {
        let mut state = self.state.lock().unwrap();
        change(
            state
                .repos
                .get_mut(id)
                .unwrap()
                .files
                .get_mut(name)
                .unwrap(),
        );
    }

    /// The requests so far; they are forgotten.
    #[must_use]
    pub fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().log)
    }
}

struct HubRequest {
    method: String,
    path: String,
    range: Option<usize>,
    token: Option<String>,
}

fn read_request(stream: &TcpStream) -> Option<HubRequest> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let mut request = HubRequest {
        method: words.next()?.to_owned(),
        path: words.next()?.replace("%20", " ").replace("%2F", "/"),
        range: None,
        token: None,
    };
    for line in lines {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        let value = value.trim();
        match name.to_lowercase().as_str() {
            "range" => {
                request.range = value
                    .strip_prefix("bytes=")
                    .and_then(|v| v.strip_suffix('-'))
                    .and_then(|v| v.parse().ok());
            }
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    Some(request)
}

struct HubReply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    cut: Option<usize>,
    slow: Option<Duration>,
    silent: bool,
}

impl HubReply {
    fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            cut: None,
            slow: None,
            silent: false,
        }
    }

    fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(status)
            .header("X-Error-Code", code)
            .header("X-Error-Message", message)
    }
}

fn serve(name: &str, mut stream: TcpStream, state: &Mutex<HubState>, cdn: &str) {
    let Some(request) = read_request(&stream) else {
        return;
    };
    let reply = {
        let mut state = state.lock().unwrap();
        let mut line = format!("{name} {} {}", request.method, request.path);
        if let Some(range) = request.range {
            line += &format!(" from {range}");
        }
        if request.token.is_some() {
            line += " auth";
        }
        state.log.push(line);
        if state.busy > 0 {
            state.busy -= 1;
            HubReply::new(503)
        } else if name == "cdn" {
            from_cdn(&mut state, &request)
        } else {
            from_hub(&mut state, &request, cdn)
        }
    };
    let mut head = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", reply.status);
    let told = |(name, _): &(String, String)| name == "Content-Length";
    if !reply.silent && !reply.headers.iter().any(told) {
        head += &format!("Content-Length: {}\r\n", reply.body.len());
    }
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    let _ = stream.write_all((head + "\r\n").as_bytes());
    if request.method != "HEAD" {
        let end = reply.cut.unwrap_or(reply.body.len());
        let _ = match reply.slow {
            None => stream.write_all(&reply.body[..end]),
            Some(pause) => reply.body[..end].iter().try_for_each(|byte| {
                std::thread::sleep(pause);
                stream.write_all(&[*byte])
            }),
        };
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read(&mut [0; 16]);
}

fn from_hub(state: &mut HubState, request: &HubRequest, cdn: &str) -> HubReply {
    if let Some(token) = &request.token
        && !state.tokens.contains(token)
    {
        return HubReply::error(401, "", "Invalid credentials in Authorization header");
    }
    let path = request.path.trim_start_matches('/');
    if let Some(rest) = path.strip_prefix("api/models/") {
        let Some((id, revision)) = rest.split_once("/revision/") else {
            return HubReply::new(404);
        };
        let Some(repo) = state.repos.get(id) else {
            return HubReply::error(401, "RepoNotFound", "Invalid username or password.");
        };
        if !["main", COMMIT, "refs/pr/1"].contains(&revision) {
            return HubReply::error(404, "RevisionNotFound", "Invalid rev id");
        }
        let siblings: Vec<_> = repo
            .files
            .keys()
            .map(|name| serde_json::json!({ "rfilename": name }))
            .collect();
        let mut reply = HubReply::new(200);
        reply.body = serde_json::json!({ "sha": COMMIT, "siblings": siblings })
            .to_string()
            .into_bytes();
        return reply;
    }
    if let Some(rest) = path.strip_prefix("api/resolve-cache/models/") {
        let (id, file) = rest.split_once(&format!("/{COMMIT}/")).unwrap();
        return contents(state, id, file, request);
    }
    let Some((id, rest)) = path.split_once("/resolve/") else {
        return HubReply::new(404);
    };
    let Some(repo) = state.repos.get(id) else {
        return HubReply::error(401, "RepoNotFound", "Invalid username or password.");
    };
    let file = rest.strip_prefix(&format!("{COMMIT}/")).unwrap_or(rest);
    let Some(entry) = repo.files.get(file) else {
        return HubReply::error(404, "EntryNotFound", "Entry not found");
    };
    if let Some(gate) = &repo.gate
        && request.token.as_ref() != Some(gate)
    {
        let status = if request.token.is_some() { 403 } else { 401 };
        let message = format!("Access to model {id} is restricted.");
        return HubReply::error(status, "GatedRepo", &message);
    }
    if entry.large {
        let sha = entry
            .claimed_sha
            .clone()
            .unwrap_or_else(|| sha256(&entry.bytes));
        let size = entry.claimed_size.unwrap_or(entry.bytes.len());
        let mut reply = HubReply::new(302)
            .header("X-Repo-Commit", COMMIT)
            .header("X-Linked-Etag", format!("\"{sha}\""))
            .header("ETag", "\"of-the-redirect-itself\"")
            .header("Location", format!("{cdn}/{id}/{file}").replace(' ', "%20"));
        if !entry.silent {
            reply = reply.header("X-Linked-Size", size);
        }
        reply.body = b"Found. Redirecting".to_vec();
        reply
    } else {
        HubReply::new(307).header("X-Repo-Commit", COMMIT).header(
            "Location",
            format!("/api/resolve-cache/models/{id}/{COMMIT}/{file}"),
        )
    }
}

/// A small file, served by the hub itself under its git hash.
fn contents(state: &HubState, id: &str, file: &str, request: &HubRequest) -> HubReply {
    let entry = &state.repos[id].files[file];
    let bytes = entry.bytes.clone();
    let mut reply = HubReply::new(200)
        .header("X-Repo-Commit", COMMIT)
        .header("ETag", format!("W/\"{}\"", &sha256(&bytes)[..40]));
    reply.silent = entry.silent;
    reply.slow = entry.slow;
    if request.method == "HEAD" && !entry.silent {
        reply = reply.header("Content-Length", bytes.len());
    }
    reply.cut = entry.drips.map(|drip| drip.min(bytes.len()));
    reply.body = bytes;
    reply
}

fn from_cdn(state: &mut HubState, request: &HubRequest) -> HubReply {
    let no_ranges = state.no_ranges;
    let path = request.path.trim_start_matches('/');
    let mut parts = path.splitn(3, '/');
    let id = format!("{}/{}", parts.next().unwrap(), parts.next().unwrap());
    let entry = state
        .repos
        .get_mut(&id)
        .unwrap()
        .files
        .get_mut(parts.next().unwrap())
        .unwrap();
    let start = request.range.filter(|_| !no_ranges).unwrap_or(0);
    if start > 0 && start >= entry.bytes.len() {
        return HubReply::new(416);
    }
    let mut reply = HubReply::new(if start > 0 { 206 } else { 200 });
    reply.body = entry.bytes[start..].to_vec();
    if entry.breaks > 0 {
        entry.breaks -= 1;
        reply.cut = Some(reply.body.len() / 2);
    }
    reply.silent = entry.silent;
    reply.slow = entry.slow;
    if let Some(drip) = entry.drips {
        reply.cut = Some(drip.min(reply.body.len()));
    }
    reply
}
