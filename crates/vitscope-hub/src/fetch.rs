//! What a hub says about a repository, and its files brought into the cache.
//!
//! A file is received into `blobs/ETAG.incomplete`. Only when its length and its hash (SHA-256 of
//! large files, Git's of small ones) are those that the hub announced does it get its own name and a link in a snapshot:
//! whatever breaks before, no program finds half a file under a name that it looks for. What was
//! received stays, and the next attempt asks for the rest, if the SHA-256 is known, so that a
//! wrong beginning cannot go unnoticed.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use vitscope_run::files::step;

use crate::cache::{RepoCache, is_commit, make_parent};
use crate::choose::JSON_LIMIT;
use crate::error::HubError;
use crate::http::{Client, HubAnswer, Method, Pace, body_cause, escaped};
use crate::name::{is_relative, near};
use crate::place::open_own;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::sink::Sink;

/// How often a request or download is taken up again without a byte of progress in between.
const ATTEMPTS: u32 = 4;

/// A connection is progress if it brings so many bytes more than any before, or a 64th of the file where
/// that is less: one that brings a byte at a time ends after a bounded number of attempts.
const PROGRESS: u64 = 64 << 10;

/// A repository at a commit.
pub(crate) struct Listing {
    pub commit: String,
    pub files: Vec<String>,
}

/// What is read of a hub's description of a repository.
#[derive(Deserialize)]
struct Described {
    sha: Option<String>,
    siblings: Option<FileList>,
}

/// The names in a list of files that can be a file's. Nothing else of the list takes memory, however long it is.
struct FileList(Vec<String>);

impl<'de> Deserialize<'de> for FileList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FileListVisitor)
    }
}

struct FileListVisitor;

impl<'de> Visitor<'de> for FileListVisitor {
    type Value = FileList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<FileList, A::Error> {
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: Option<String>,
        }
        let mut names = Vec::new();
        while let Some(entry) = list.next_element::<Sibling>()? {
            names.extend(entry.rfilename.filter(|name| is_relative(name)));
        }
        Ok(FileList(names))
    }
}

/// What the hub announces of a file.
struct Announced {
    etag: String,
    size: Option<u64>,
    sha256: Option<String>,
    /// Git's hash, or the SHA-1 that some mirrors give instead.
    sha1: Option<String>,
    commit: Option<String>,
}

/// One repository of a hub.
pub(crate) struct Remote<'a> {
    pub settings: &'a Settings,
    pub client: Client,
    pub cache: RepoCache,
    pub id: &'a str,
    pub revision: &'a str,
}

impl<'a> Remote<'a> {
    pub fn new(
        settings: &'a Settings,
        cache: RepoCache,
        id: &'a str,
        revision: &'a str,
    ) -> Result<Self, HubError> {
        Ok(Self {
            settings,
            client: Client::new(settings)?,
            cache,
            id,
            revision,
        })
    }

    /// Within so much time, whatever it takes; who cannot be reached at all is not asked again.
    pub fn within(self, time: Duration) -> Self {
        Self {
            client: self.client.until(Instant::now() + time),
            ..self
        }
    }

    /// Waits before another attempt, for longer each time; whether there is time for one.
    fn may_repeat(&self, pause: &mut Duration) -> bool {
        if self.client.left().is_some_and(|left| left <= *pause) {
            return false;
        }
        std::thread::sleep(*pause);
        *pause *= 2;
        true
    }

    /// The page that a person would visit.
    pub fn page(&self) -> String {
        format!("{}/{}", self.settings.endpoint, self.id)
    }

    /// The commit that the revision stands for, and its files.
    pub fn listing(&self) -> Result<Listing, HubError> {
        let url = format!(
            "{}/api/models/{}/revision/{}",
            self.client.endpoint,
            self.id,
            escaped(self.revision).replace('/', "%2F")
        );
        let answer = self.ask(Method::Get, &url)?;
        if answer.status != 200 {
            return Err(self.refusal(&answer, None));
        }
        let wrong = |problem: &str| HubError::Protocol {
            url: url.clone(),
            problem: problem.to_owned(),
        };
        let text = self.client.text(answer)?;
        let described: Described = serde_json::from_slice(&text).map_err(|error| {
            wrong(if error.is_data() {
                "its description of a repository is not of the known form"
            } else {
                "its description of a repository is no JSON"
            })
        })?;
        let commit = described
            .sha
            .filter(|sha| is_commit(sha))
            .ok_or_else(|| wrong("its description of a repository names no commit"))?;
        let FileList(files) = described
            .siblings
            .ok_or_else(|| wrong("its description of a repository lists no files"))?;
        Ok(Listing { commit, files })
    }

    /// Brings one file into the cache and returns its path in the snapshot.
    pub fn file(
        &self,
        commit: &str,
        file: &str,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, HubError> {
        let pointer = self.cache.snapshot(commit).join(file);
        if pointer.is_file() {
            return Ok(pointer);
        }
        let url = format!(
            "{}/{}/resolve/{commit}/{}",
            self.client.endpoint,
            self.id,
            escaped(file)
        );
        let announced = self.announced(&url, file)?;
        if announced
            .commit
            .as_deref()
            .is_some_and(|said| said != commit)
        {
            return Err(HubError::Protocol {
                url,
                problem: "it answers with another commit than was asked for".to_owned(),
            });
        }
        if let Some(size) = announced.size.filter(|&size| size > longest(file)) {
            return Err(HubError::TooLong {
                file: format!("{}/{file}", self.id),
                size,
                most: longest(file),
                page: self.page(),
            });
        }
        let etag = &announced.etag;
        let blob = self.cache.blob(etag);
        make_parent(&blob)?;
        let _lock = self.lock(etag, file, progress)?;
        // Another program may have brought it while this one waited.
        if !blob.is_file() {
            self.receive(&url, file, &announced, progress)?;
        }
        self.cache.link(commit, file, etag)
    }

    fn announced(&self, url: &str, file: &str) -> Result<Announced, HubError> {
        let answer = self.ask(Method::Head, url)?;
        if answer.status != 200 {
            return Err(self.refusal(&answer, Some(file)));
        }
        let headers = answer.headers;
        let given = headers.linked_etag.or(headers.etag).unwrap_or_default();
        // A weak one promises the meaning of a file, not its bytes.
        let is_weak = given.starts_with("W/");
        let etag = Some(given.as_str())
            .map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned())
            .filter(|etag| is_etag(etag))
            .ok_or_else(|| HubError::Protocol {
                url: url.to_owned(),
                problem: "it gives no usable ETag for a file".to_owned(),
            })?;
        let hash = |digits: usize| {
            let is_hash = etag.len() == digits && etag.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hash.then(|| etag.to_ascii_lowercase())
        };
        Ok(Announced {
            sha256: hash(64),
            sha1: hash(40).filter(|_| !is_weak),
            etag,
            size: headers.linked_size.or(headers.length),
            commit: headers.commit,
        })
    }

    /// A request, repeated while the connection or the server fails.
    fn ask(&self, method: Method, url: &str) -> Result<HubAnswer, HubError> {
        let mut pause = self.settings.pause;
        let mut attempt = 1;
        loop {
            let result = self.client.send(method, url, 0);
            let passing = match &result {
                Ok(answer) => is_passing(answer.status),
                Err(error) => {
                    self.client.left().is_none() && matches!(error, HubError::Unreachable { .. })
                }
            };
            if !passing || attempt >= ATTEMPTS || !self.may_repeat(&mut pause) {
                return result;
            }
            attempt += 1;
        }
    }

    /// Receives a file into `blobs/ETAG.incomplete`, checks it, and gives it its name.
    fn receive(
        &self,
        url: &str,
        file: &str,
        announced: &Announced,
        progress: &mut dyn Progress,
    ) -> Result<(), HubError> {
        let partial = self.cache.incomplete(&announced.etag);
        let title = format!("{}/{file}", self.id);
        let mut pause = self.settings.pause;
        let mut fruitless = 0;
        let enough = announced
            .size
            .map_or(PROGRESS, |size| (size / 64).clamp(1, PROGRESS));
        let mut sink = Sink::open(&partial, announced.sha256.is_some(), announced.size)?;
        // The most that any connection has come to: a file that begins anew each time makes no progress.
        let mut furthest = sink.length;
        let cause = loop {
            let before = sink.length;
            progress.begin(file, before, announced.size);
            let cause = if announced.size.is_some_and(|size| size == before) && before > 0 {
                None
            } else {
                match self.transfer(url, file, announced, &mut sink, progress) {
                    Ok(cause) => cause,
                    Err(HubError::Unreachable { cause, .. }) => Some(cause),
                    Err(error) => return Err(error),
                }
            };
            let Some(cause) = cause else { break None };
            if sink.length >= furthest.saturating_add(enough) {
                fruitless = 0;
                furthest = sink.length;
            } else {
                fruitless += 1;
            }
            if fruitless + 1 >= ATTEMPTS {
                break Some(cause);
            }
            if announced.sha256.is_none() {
                sink.restart()?;
            }
            if fruitless == 0 {
                pause = self.settings.pause;
            }
            if !self.may_repeat(&mut pause) {
                break Some(cause);
            }
        };
        if let Some(cause) = cause {
            let kept = if announced.sha256.is_some() {
                "run again to get the rest"
            } else {
                "run again"
            };
            return Err(HubError::Broken {
                file: title,
                received: sink.length,
                total: announced.size,
                cause,
                kept,
            });
        }
        let wrong = fault(title, announced, sink)?;
        step();
        if let Some(wrong) = wrong {
            std::fs::remove_file(&partial).map_err(HubError::io(&partial, "remove"))?;
            return Err(wrong);
        }
        let blob = self.cache.blob(&announced.etag);
        std::fs::rename(&partial, &blob).map_err(HubError::io(&blob, "put the file in place"))?;
        progress.end();
        Ok(())
    }

    /// Asks for what is missing of a file. Where the server does not go on from there, what came is dropped,
    /// and the file begins anew.
    fn request(
        &self,
        url: &str,
        file: &str,
        announced: &Announced,
        sink: &mut Sink,
        progress: &mut dyn Progress,
    ) -> Result<HubAnswer, HubError> {
        let answer = self.client.send(Method::Get, url, sink.length)?;
        let begins = answer.headers.begins;
        let goes_on = match answer.status {
            200 => false,
            416 => std::mem::replace(&mut sink.anew, true),
            206 => begins.is_none_or(|first| first == sink.length),
            _ => true,
        };
        if sink.length == 0 || goes_on {
            return Ok(answer);
        }
        sink.restart()?;
        progress.begin(file, 0, announced.size);
        if answer.status == 200 {
            // The server knows no ranges, and is at the beginning already.
            return Ok(answer);
        }
        self.client.send(Method::Get, url, 0)
    }

    /// One connection's worth of a file. Returns why it broke off, if it did.
    fn transfer(
        &self,
        url: &str,
        file: &str,
        announced: &Announced,
        sink: &mut Sink,
        progress: &mut dyn Progress,
    ) -> Result<Option<String>, HubError> {
        let answer = self.request(url, file, announced, sink, progress)?;
        match answer.status {
            200 | 206 => {}
            // A second time, it was all that there is: the check will say that it is not what was announced.
            416 if sink.length > 0 => return Ok(None),
            status if is_passing(status) => {
                return Ok(Some(format!("the server answered with status {status}")));
            }
            _ => return Err(self.refusal(&answer, Some(file))),
        }
        let mut reader = answer.reader();
        let mut buffer = vec![0; 1 << 17];
        let bounds = self.settings.bounds;
        let most = announced
            .size
            .unwrap_or(bounds.unannounced.min(longest(file)));
        let mut pace = Pace::new(bounds.slowest);
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Some(body_cause(&error))),
            };
            sink.write(&buffer[..count])?;
            progress.advance(count as u64);
            if sink.length > most {
                return match announced.size {
                    // The check will say so.
                    Some(_) => Ok(None),
                    None => {
                        sink.restart()?;
                        Err(HubError::Protocol {
                            url: url.to_owned(),
                            problem: format!(
                                "it sends more than {most} bytes of a file whose size it does not announce"
                            ),
                        })
                    }
                };
            }
            if let Some(slow) = pace.count(count) {
                return Ok(Some(slow));
            }
        }
        Ok(match announced.size {
            Some(size) if sink.length < size => Some("the connection was closed".to_owned()),
            _ => None,
        })
    }

    /// Takes the lock that Hugging Face's tools take for the same file, so that it is brought once.
    /// A file system without locks is no reason to stop: the hash decides in the end.
    fn lock(
        &self,
        etag: &str,
        file: &str,
        progress: &mut dyn Progress,
    ) -> Result<Option<File>, HubError> {
        let path = self.cache.lock(etag);
        make_parent(&path)?;
        let handle = open_own(&path)?;
        if handle.try_lock().is_ok() {
            return Ok(Some(handle));
        }
        progress.note(&format!(
            "{file}: waiting for another program that is downloading it"
        ));
        let Some(left) = self.client.left() else {
            return Ok(handle.lock().is_ok().then_some(handle));
        };
        let end = Instant::now() + left;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match handle.try_lock() {
                Ok(()) => return Ok(Some(handle)),
                Err(TryLockError::Error(_)) => return Ok(None),
                Err(TryLockError::WouldBlock) if left.is_zero() => {
                    return Err(HubError::Busy {
                        file: format!("{}/{file}", self.id),
                    });
                }
                Err(TryLockError::WouldBlock) => {
                    std::thread::sleep(left.min(Duration::from_millis(100)));
                }
            }
        }
    }

    /// What an answer other than success means.
    fn refusal(&self, answer: &HubAnswer, file: Option<&str>) -> HubError {
        let headers = &answer.headers;
        let code = headers.error_code.as_deref().unwrap_or_default();
        let words = headers.error_message.as_deref().unwrap_or_default();
        let token = self.settings.token.as_ref();
        match (code, answer.status) {
            ("GatedRepo", status) => self.gated(status, words),
            (_, 401) if token.is_some() && words.contains("Invalid credentials") => {
                HubError::Token {
                    endpoint: self.settings.endpoint.clone(),
                    from: token.map_or_else(String::new, |token| token.from().to_owned()),
                }
            }
            ("RevisionNotFound", _) => HubError::NoRevision {
                id: self.id.to_owned(),
                revision: self.revision.to_owned(),
                page: self.page(),
            },
            ("EntryNotFound", _) => self.no_entry(file),
            (_, 404) if file.is_some() && code != "RepoNotFound" => self.no_entry(file),
            ("RepoNotFound", _) | (_, 401 | 404) => HubError::NoRepository {
                id: self.id.to_owned(),
                endpoint: self.settings.endpoint.clone(),
                near: near(self.id, true)
                    .into_iter()
                    .filter(|name| name != self.id)
                    .collect(),
            },
            (_, 403) => self.gated(403, words),
            (_, status) => HubError::Status {
                url: answer.url.clone(),
                status,
                message: if words.is_empty() {
                    String::new()
                } else {
                    format!(" ({words})")
                },
            },
        }
    }

    fn no_entry(&self, file: Option<&str>) -> HubError {
        HubError::NoEntry {
            id: self.id.to_owned(),
            file: file.unwrap_or_default().to_owned(),
            revision: self.revision.to_owned(),
            found: format!("see {}/tree/{}", self.page(), self.revision),
        }
    }

    fn gated(&self, status: u16, words: &str) -> HubError {
        let (why, token) = match &self.settings.token {
            None => (
                "its files need a token with access".to_owned(),
                "then set HF_TOKEN or run `hf auth login`".to_owned(),
            ),
            Some(token) => (
                format!("the token from {} has no access to it", token.from()),
                "and wait until it is granted to the owner of that token".to_owned(),
            ),
        };
        let words = if words.is_empty() {
            format!("status {status}")
        } else {
            words.trim_end_matches('.').to_owned()
        };
        HubError::Gated {
            id: self.id.to_owned(),
            why: format!("{why} ({words})"),
            page: self.page(),
            token,
        }
    }
}

/// What is wrong with a file that has come, if anything is.
fn fault(
    file: String,
    announced: &Announced,
    mut sink: Sink,
) -> Result<Option<HubError>, HubError> {
    let received = sink.length;
    if let Some(expected) = announced.size.filter(|size| *size != received) {
        return Ok(Some(HubError::Size {
            file,
            expected,
            received,
        }));
    }
    let sha1 = match &announced.sha1 {
        Some(expected) => Some(("the Git hash", expected, sink.sha1(expected)?)),
        None => None,
    };
    let found = sink.finish()?;
    let sha256 = announced.sha256.as_ref();
    let wrong = sha1
        .or_else(|| Some(("SHA-256", sha256?, found)))
        .filter(|(_, expected, found)| *expected != found);
    Ok(wrong.map(|(kind, expected, found)| HubError::Hash {
        file,
        kind,
        expected: expected.clone(),
        found,
    }))
}

/// How long a file may be. What describes a model is short, or it would not be read.
fn longest(file: &str) -> u64 {
    if file.ends_with(".json") {
        JSON_LIMIT
    } else {
        u64::MAX
    }
}

/// Whether a status is likely to pass by itself.
fn is_passing(status: u16) -> bool {
    matches!(status, 429 | 500 | 502 | 503 | 504)
}

/// Whether an ETag can be the name of a file.
fn is_etag(etag: &str) -> bool {
    (8..=128).contains(&etag.len())
        && etag
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
