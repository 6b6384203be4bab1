//! Servers that are no hub, and caches in which others have put things.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use vitscope_hub::progress::{Progress, SilentProgress};
use vitscope_hub::settings::Settings;
use vitscope_hub::{HubError, Located, resolve_with};
use vitscope_testkit::hub::{COMMIT, sha256};

const ID: &str = "owner/name";
const WEIGHTS: &[u8] = b"the weights of a model";

/// A server of one's own: `answer` gets the request's head and writes whatever it likes.
fn server(answer: impl Fn(&str, &mut TcpStream) + Send + Sync + Clone + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || {
                let head = head_of(&mut stream);
                answer(&head, &mut stream);
            });
        }
    });
    format!("http://{address}")
}

/// A request up to its blank line.
fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Sends an answer as a whole. A client that hangs up is no fault of the server.
fn send(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n{headers}\r\n");
    let _ = stream.write_all(&[head.as_bytes(), body].concat());
}

/// Sends an answer with its length.
fn send_whole(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let length = body.len();
    send(
        stream,
        status,
        &format!("Content-Length: {length}\r\n{headers}"),
        body,
    );
}

/// Sends a file with its length, of which `HEAD` asks for the headers alone.
fn send_file(head: &str, stream: &mut TcpStream, headers: &str, body: &[u8]) {
    let length = body.len();
    let headers = format!("Content-Length: {length}\r\n{headers}");
    let is_head = head.starts_with("HEAD");
    send(stream, 200, &headers, if is_head { b"" } else { body });
}

/// The description of a repository.
fn listing(files: &[&str]) -> Vec<u8> {
    let siblings: Vec<String> = files
        .iter()
        .map(|name| format!(r#"{{"rfilename":"{name}"}}"#))
        .collect();
    let list = siblings.join(",");
    format!(r#"{{"sha":"{COMMIT}","siblings":[{list}]}}"#).into_bytes()
}

struct Case {
    _folder: tempfile::TempDir,
    settings: Settings,
}

/// A hub at an address, and an empty cache.
fn case(endpoint: &str) -> Case {
    let folder = tempfile::tempdir().unwrap();
    let settings = crate::settings(endpoint, &folder);
    Case {
        _folder: folder,
        settings,
    }
}

impl Case {
    fn get(&self) -> Result<Located, HubError> {
        resolve_with(&self.settings, Path::new(ID), None, &mut SilentProgress)
    }

    fn refused(&self) -> String {
        let text = self.get().unwrap_err().to_string();
        assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
        text
    }

    fn repository(&self) -> PathBuf {
        self.settings.cache.join("models--owner--name")
    }

    /// The weights as another program has cached them, with nothing beside them.
    fn with_weights(self) -> Self {
        let [blobs, refs] = ["blobs", "refs"].map(|name| self.repository().join(name));
        let snapshot = self.repository().join("snapshots").join(COMMIT);
        for folder in [&blobs, &refs, &snapshot] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(refs.join("main"), COMMIT).unwrap();
        std::fs::write(blobs.join(sha256(WEIGHTS)), WEIGHTS).unwrap();
        let target = Path::new("../../blobs").join(sha256(WEIGHTS));
        symlink(target, snapshot.join("model.safetensors")).unwrap();
        self
    }
}

/// Bytes that come one at a time.
fn drip(stream: &mut TcpStream) {
    send(stream, 200, "Content-Length: 100000\r\n", b"");
    for _ in 0..100_000 {
        std::thread::sleep(Duration::from_millis(20));
        if stream.write_all(b" ").is_err() {
            return;
        }
    }
}

#[test]
fn a_crawling_list_of_files_is_given_up() {
    let mut case = case(&server(|_, stream| drip(stream)));
    case.settings.bounds.slowest = (1000, Duration::from_millis(200));
    let begun = Instant::now();
    let crawling = case.refused();
    assert!(
        crawling.contains("it sends less than 1000 bytes in 0.2 s"),
        "{crawling}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[derive(Default)]
struct Notes(Vec<String>);

impl Progress for Notes {
    fn begin(&mut self, _: &str, _: u64, _: Option<u64>) {}
    fn advance(&mut self, _: u64) {}
    fn end(&mut self) {}
    fn note(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }
}

/// Whoever has the weights does not wait for a hub that says nothing, or next to nothing.
#[test]
fn cached_weights_wait_for_nobody() {
    let silent = |_: &str, _: &mut TcpStream| std::thread::sleep(Duration::from_secs(100));
    for endpoint in [server(silent), server(|_, stream| drip(stream))] {
        let mut case = case(&endpoint).with_weights();
        case.settings.bounds.patience = Duration::from_millis(300);
        let begun = Instant::now();
        let mut notes = Notes::default();
        let found = resolve_with(&case.settings, Path::new(ID), None, &mut notes).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(std::fs::read(found.path).unwrap(), WEIGHTS);
        let [note] = notes.0.as_slice() else {
            panic!("{:?}", notes.0);
        };
        assert!(
            note.contains("it did not answer in time") && note.contains("HF_HUB_OFFLINE"),
            "{note}"
        );
    }
}

/// What is not there is asked for, though another such file is there, and though the hub refuses once.
#[test]
fn cached_weights_ask_for_every_file_that_may_describe_them() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let lists = asked.clone();
    let endpoint = server(move |head, stream| {
        let path = head.split(' ').nth(1).unwrap();
        if path.starts_with("/api/") {
            match lists.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => send_whole(stream, 503, "", b""),
                _ => {
                    let files = ["preprocessor_config.json", "model.safetensors"];
                    send_whole(stream, 200, "", &listing(&files));
                }
            }
        } else {
            let told = format!("ETag: \"{GIT}\"\r\nX-Repo-Commit: {COMMIT}\r\n");
            send_file(head, stream, &told, CONFIG);
        }
    });
    let case = case(&endpoint).with_weights();
    let snapshot = case.repository().join("snapshots").join(COMMIT);
    std::fs::write(snapshot.join("config.json"), "{}").unwrap();
    case.get().unwrap();
    assert!(snapshot.join("preprocessor_config.json").is_file());
    // The others are known to be absent now.
    case.get().unwrap();
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 2);
}

/// One that does not come keeps no other away, and the note names that one alone.
#[test]
fn cached_weights_miss_only_what_did_not_come() {
    let endpoint = server(|head, stream| {
        let path = head.split(' ').nth(1).unwrap();
        let told = format!("ETag: \"{GIT}\"\r\nX-Repo-Commit: {COMMIT}\r\n");
        if path.starts_with("/api/") {
            let files = ["config.json", "preprocessor_config.json"];
            send_whole(stream, 200, "", &listing(&files));
        } else if path.ends_with("/config.json") {
            send_whole(stream, 410, "", b"");
        } else {
            send_file(head, stream, &told, CONFIG);
        }
    });
    let case = case(&endpoint).with_weights();
    let mut notes = Notes::default();
    let found = resolve_with(&case.settings, Path::new(ID), None, &mut notes).unwrap();
    let beside = found.path.with_file_name("preprocessor_config.json");
    assert_eq!(std::fs::read(beside).unwrap(), CONFIG);
    let [note] = notes.0.as_slice() else {
        panic!("{:?}", notes.0);
    };
    assert!(note.contains("without config.json, which"), "{note}");
}

/// A hub that is down is not asked for one file after the other.
#[test]
fn cached_weights_give_up_a_hub_that_is_down() {
    let asked = std::sync::Arc::new(std::sync::Mutex::new(std::collections::BTreeSet::new()));
    let files = asked.clone();
    let endpoint = server(move |head, stream| {
        let path = head.split(' ').nth(1).unwrap();
        if path.starts_with("/api/") {
            let files = ["config.json", "preprocessor_config.json"];
            send_whole(stream, 200, "", &listing(&files));
        } else {
            files.lock().unwrap().insert(path.to_owned());
            send_whole(stream, 503, "", b"");
        }
    });
    let case = case(&endpoint).with_weights();
    assert_eq!(std::fs::read(case.get().unwrap().path).unwrap(), WEIGHTS);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

/// Nor long for another program that is bringing the same file.
#[test]
fn cached_weights_wait_for_no_lock() {
    let mut case = case(&good_hub()).with_weights();
    case.settings.bounds.patience = Duration::from_millis(300);
    let locks = case.settings.cache.join(".locks/models--owner--name");
    std::fs::create_dir_all(&locks).unwrap();
    let lock = std::fs::File::create(locks.join(format!("{GIT}.lock"))).unwrap();
    lock.lock().unwrap();
    assert_eq!(std::fs::read(case.get().unwrap().path).unwrap(), WEIGHTS);
    // Who is done in time is waited for.
    case.settings.bounds.patience = Duration::from_secs(60);
    let found = std::thread::scope(|scope| {
        let getting = scope.spawn(|| case.get().unwrap().path);
        std::thread::sleep(Duration::from_millis(200));
        drop(lock);
        getting.join().unwrap()
    });
    assert!(found.with_file_name("config.json").is_file());
}

/// A hub of weights and a small file beside them, which has this ETag and comes as these bytes.
fn hub_with_config(etag: String, sent: &'static [u8], length: &'static str) -> String {
    server(move |head, stream| {
        let path = head.split(' ').nth(1).unwrap();
        let is_head = head.starts_with("HEAD");
        if path.starts_with("/api/") {
            send_whole(
                stream,
                200,
                "",
                &listing(&["config.json", "model.safetensors"]),
            );
        } else if path.ends_with("config.json") {
            let body = if is_head { b"" } else { sent };
            send(
                stream,
                200,
                &format!("ETag: {etag}\r\nX-Repo-Commit: {COMMIT}\r\n{length}"),
                body,
            );
        } else {
            let length = WEIGHTS.len();
            let told = format!(
                "ETag: \"{}\"\r\nContent-Length: {length}\r\n",
                sha256(WEIGHTS)
            );
            send(stream, 200, &told, if is_head { b"" } else { WEIGHTS });
        }
    })
}

const CONFIG: &[u8] = br#"{"model_type": "vit"}"#;
/// Of the same length.
const OTHER: &[u8] = br#"{"model_type": "xyz"}"#;
/// `git hash-object` and `sha1sum` of [`CONFIG`].
const GIT: &str = "09906378791dc1e4b7285bfaaed5e2a73a9986f0";
const SHA1: &str = "320d77c3935c5cd0f8eea94b8cc815732f708555";

/// Small files carry Git's hash, be they weights or not: what came instead of them, or half of them, is refused.
#[test]
fn git_hashes_are_checked() {
    for (sent, length) in [
        (OTHER, "Content-Length: 21\r\n"),
        (OTHER, ""),
        (&CONFIG[..10], ""),
    ] {
        let case = case(&hub_with_config(format!("\"{GIT}\""), sent, length));
        let wrong = case.refused();
        let told = format!("config.json should have the Git hash {GIT} but has ");
        assert!(wrong.contains(&told), "{wrong}");
        let left = std::fs::read_dir(case.repository().join("blobs")).unwrap();
        assert_eq!(left.count(), 0);
        assert!(!case.repository().join("refs").exists());
    }
}

/// What is right comes, under Git's hash and under the plain one of some mirrors; what is no hash proves nothing.
#[test]
fn right_hashes_and_others_pass() {
    let upper = GIT.to_uppercase();
    for (etag, sent) in [
        (format!("\"{GIT}\""), CONFIG),
        (format!("\"{upper}\""), CONFIG),
        (format!("\"{SHA1}\""), CONFIG),
        (format!("W/\"{GIT}\""), OTHER),
        ("\"some-name-of-a-version\"".to_owned(), OTHER),
    ] {
        let case = case(&hub_with_config(etag.clone(), sent, ""));
        let found = case.get().unwrap().path;
        assert_eq!(
            std::fs::read(found.with_file_name("config.json")).unwrap(),
            sent,
            "{etag}"
        );
    }
}

/// A working hub of weights and a small file.
fn good_hub() -> String {
    hub_with_config(format!("\"{GIT}\""), CONFIG, "")
}

/// The files of the cache that a download writes into, but the blobs themselves.
fn written(case: &Case) -> [PathBuf; 7] {
    let repository = case.repository();
    let locks = case.settings.cache.join(".locks/models--owner--name");
    let weights = sha256(WEIGHTS);
    let absent = repository.join(".no_exist").join(COMMIT);
    let [large, small] =
        [&*weights, GIT].map(|etag| repository.join(format!("blobs/{etag}.incomplete")));
    [
        large,
        small,
        absent.join("preprocessor_config.json"),
        locks.join("ref.lock"),
        locks.join("ref.writing"),
        locks.join(format!("{weights}.lock")),
        repository.join("refs/main"),
    ]
}

/// Puts something in the place of a file of the cache.
fn put(path: &Path, make: impl FnOnce(&Path)) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    make(path);
}

#[test]
fn links_in_the_cache_are_not_followed() {
    const MINE: &str = "a file of the user's";
    for hard in [false, true] {
        let case = case(&good_hub());
        let mine = case.settings.cache.with_file_name("mine");
        std::fs::write(&mine, MINE).unwrap();
        for path in written(&case) {
            put(&path, |path| {
                if hard {
                    std::fs::hard_link(&mine, path).unwrap();
                } else {
                    symlink(&mine, path).unwrap();
                }
            });
        }
        let found = case.get().unwrap().path;
        assert_eq!(std::fs::read(&found).unwrap(), WEIGHTS);
        assert_eq!(
            std::fs::read(found.with_file_name("config.json")).unwrap(),
            CONFIG
        );
        assert_eq!(std::fs::read_to_string(&mine).unwrap(), MINE);
        let branch = case.repository().join("refs/main");
        assert!(branch.symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read_to_string(branch).unwrap(), COMMIT);
    }
}

fn make_pipe(path: &Path) {
    let made = std::process::Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

#[test]
fn pipes_in_the_cache_are_not_waited_for() {
    for number in 0..7 {
        let case = case(&good_hub());
        let path = &written(&case)[number];
        put(path, make_pipe);
        // What stands for nothing as a pipe is replaced or passed over.
        if path.ends_with("refs/main") || path.ends_with("preprocessor_config.json") {
            case.get().unwrap();
            continue;
        }
        let refused = case.refused();
        let told = format!(
            "{}: cannot write: it is not a regular file; remove it and run again",
            path.display()
        );
        assert_eq!(refused, told);
    }
}

#[test]
fn a_reference_of_any_length_is_none() {
    let case = case(&good_hub());
    let branch = case.repository().join("refs/main");
    put(&branch, |path| {
        std::fs::write(path, vec![b'a'; 5000]).unwrap();
    });
    case.get().unwrap();
    assert_eq!(std::fs::read_to_string(branch).unwrap(), COMMIT);
}

#[test]
fn links_in_circles_are_not_walked() {
    let case = case(&good_hub()).with_weights();
    let snapshot = case.repository().join("snapshots").join(COMMIT);
    for number in 0..9 {
        symlink(".", snapshot.join(number.to_string())).unwrap();
    }
    let begun = Instant::now();
    assert_eq!(std::fs::read(case.get().unwrap().path).unwrap(), WEIGHTS);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

/// A hub that lists what it is told to and has nothing else.
fn hub_that_lists(list: Vec<u8>) -> String {
    server(move |_, stream| send_whole(stream, 200, "", &list))
}

#[test]
fn a_list_of_files_is_read_for_their_names_alone() {
    let nothing = format!(
        r#"{{"sha":"{COMMIT}","siblings":[{}{{}}]}}"#,
        r#"{"size":{"":[]}},"#.repeat(100_000)
    );
    let unsafe_names = listing(&["../model.safetensors", "/model.safetensors"]);
    for list in [nothing.into_bytes(), unsafe_names] {
        let case = case(&hub_that_lists(list));
        let told = format!(
            "owner/name does not say which file holds its weights: it lists no file that could be opened; see {}/owner/name",
            case.settings.endpoint
        );
        assert_eq!(case.refused(), told);
    }
    for (list, problem) in [
        ("<html>".to_owned(), "is no JSON"),
        (
            r#"{"sha":1,"siblings":{}}"#.to_owned(),
            "is not of the known form",
        ),
        (r#"{"siblings":[]}"#.to_owned(), "names no commit"),
        (format!(r#"{{"sha":"{COMMIT}"}}"#), "lists no files"),
    ] {
        let refused = case(&hub_that_lists(list.into_bytes())).refused();
        assert!(refused.contains(problem), "{refused}");
    }
}

/// A hub of weights alone, whose first part is cached: `part` answers the request for the rest.
fn hub_with_parts(part: impl Fn(&mut TcpStream) + Send + Sync + Clone + 'static) -> String {
    server(move |head, stream| {
        let told = format!("ETag: \"{}\"\r\n", sha256(WEIGHTS));
        if head.starts_with("GET /api/") {
            send_whole(stream, 200, "", &listing(&["model.safetensors"]));
        } else if head.to_lowercase().contains("range: bytes=5-") {
            part(stream);
        } else {
            send_file(head, stream, &told, WEIGHTS);
        }
    })
}

#[test]
fn what_cannot_go_on_begins_anew() {
    let wrong_part = |stream: &mut TcpStream| {
        let length = WEIGHTS.len();
        let range = format!("Content-Range: bytes 0-{}/{length}\r\n", length - 1);
        send_whole(stream, 206, &range, WEIGHTS);
    };
    let right_part = |stream: &mut TcpStream| {
        let length = WEIGHTS.len();
        let range = format!("Content-Range: bytes 5-{}/{length}\r\n", length - 1);
        send_whole(stream, 206, &range, &WEIGHTS[5..]);
    };
    for endpoint in [
        hub_with_parts(|stream| send_whole(stream, 416, "", b"")),
        hub_with_parts(wrong_part),
        hub_with_parts(right_part),
    ] {
        let case = case(&endpoint);
        let name = format!("blobs/{}.incomplete", sha256(WEIGHTS));
        put(&case.repository().join(name), |path| {
            std::fs::write(path, &WEIGHTS[..5]).unwrap();
        });
        assert_eq!(std::fs::read(case.get().unwrap().path).unwrap(), WEIGHTS);
    }
    // A server that gives no part and not the whole either is not asked without end.
    let never = server(|head, stream| {
        let told = format!("ETag: \"{}\"\r\n", sha256(WEIGHTS));
        if head.starts_with("GET /api/") {
            send_whole(stream, 200, "", &listing(&["model.safetensors"]));
        } else if head.starts_with("HEAD") {
            send(stream, 200, &told, b"");
        } else {
            send_whole(stream, 416, "", b"");
        }
    });
    let refused = case(&never).refused();
    assert!(
        refused.contains("status 416") && refused.contains("check HF_ENDPOINT"),
        "{refused}"
    );
}

/// What describes a model and is too long to be read is not downloaded.
#[test]
fn a_description_of_any_length_is_not_fetched() {
    let too_long = |announced: bool| {
        server(move |head, stream| {
            if head.starts_with("GET /api/") {
                let files = ["config.json", "model.safetensors"];
                return send_whole(stream, 200, "", &listing(&files));
            }
            let told = format!("ETag: \"{GIT}\"\r\n");
            match (head.starts_with("HEAD"), announced) {
                (true, true) => send(
                    stream,
                    200,
                    &format!("Content-Length: 200000000\r\n{told}"),
                    b"",
                ),
                (true, false) => send(stream, 200, &told, b""),
                (false, _) => send(stream, 200, "", &vec![b' '; 20 << 20]),
            }
        })
    };
    for (announced, problem) in [
        (
            true,
            "owner/name/config.json has 200000000 bytes, and of such a file at most 16777216",
        ),
        (
            false,
            "more than 16777216 bytes of a file whose size it does not announce",
        ),
    ] {
        let case = case(&too_long(announced));
        let refused = case.refused();
        assert!(refused.contains(problem), "{refused}");
        for entry in std::fs::read_dir(case.repository().join("blobs"))
            .into_iter()
            .flatten()
        {
            assert_eq!(entry.unwrap().metadata().unwrap().len(), 0);
        }
    }
}

#[test]
fn only_what_may_pass_is_to_be_tried_later() {
    for (status, told) in [
        (204, "check HF_ENDPOINT"),
        (302, "check HF_ENDPOINT"),
        (400, "check HF_ENDPOINT"),
        (503, "try again later"),
    ] {
        let refused = case(&server(move |_, stream| {
            send_whole(stream, status, "", b"")
        }))
        .refused();
        assert!(refused.contains(&format!("status {status}")), "{refused}");
        assert!(refused.contains(told), "{refused}");
        assert_eq!(
            refused.contains("try again later"),
            status == 503,
            "{refused}"
        );
    }
}

#[test]
fn a_file_in_the_place_of_the_cache_is_told() {
    let case = case(&good_hub());
    std::fs::write(&case.settings.cache, "mine").unwrap();
    let refused = case.refused();
    assert!(
        refused.contains("a file is in the place of a folder"),
        "{refused}"
    );
}

/// A small file that was cut before its hash was checked says how it is mended, and is.
#[test]
fn a_damaged_description_in_the_cache_is_told_and_comes_again() {
    let case = case(&good_hub());
    let config = case.get().unwrap().path.with_file_name("config.json");
    let blob = case.repository().join("blobs").join(GIT);
    std::fs::write(&blob, &CONFIG[..10]).unwrap();
    let refused = case.refused();
    let told = format!("{GIT}: the cached file is damaged");
    assert!(
        refused.contains(&told) && refused.ends_with("it is downloaded again"),
        "{refused}"
    );
    std::fs::remove_file(&blob).unwrap();
    case.get().unwrap();
    assert_eq!(std::fs::read(config).unwrap(), CONFIG);
}

#[test]
fn a_damaged_index_in_the_cache_is_told() {
    let index = "model.safetensors.index.json";
    let case = case(&hub_that_lists(listing(&[index])));
    let [blob, pointer] = [
        case.repository().join("blobs").join(GIT),
        case.repository().join("snapshots").join(COMMIT).join(index),
    ];
    put(&blob, |path| std::fs::write(path, b"{").unwrap());
    put(&pointer, |path| symlink(&blob, path).unwrap());
    let refused = case.refused();
    let told = format!("{GIT}: the cached file is damaged");
    assert!(refused.contains(&told), "{refused}");
}
