//! Who is answered, with how much, and that the server goes on whatever one request does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vitscope_view::{Answer, Answerer, Asked, MOST_BYTES, Server, Stopper, ViewError};

/// Says back what it was asked; panics at `boom`; at `meet` waits for a second request.
struct Echo {
    answered: Arc<AtomicUsize>,
    barrier: Barrier,
}

impl Answerer for Echo {
    fn answer(&self, asked: Asked) -> Answer {
        self.answered.fetch_add(1, Ordering::SeqCst);
        match asked.path.as_str() {
            "boom" => panic!("as asked"),
            "meet" => drop(self.barrier.wait()),
            _ => {}
        }
        let text = format!(
            "{} {} {} {}",
            asked.is_change,
            asked.path,
            asked.query,
            asked.body.len()
        );
        Answer {
            status: 200,
            kind: "text/plain",
            body: text.into_bytes(),
        }
    }
}

struct Running {
    port: u16,
    token: String,
    answered: Arc<AtomicUsize>,
    stopper: Stopper,
    thread: JoinHandle<Result<(), ViewError>>,
}

impl Running {
    fn start() -> Self {
        let server = Server::listen(0).unwrap();
        let url = server.url();
        let rest = url.strip_prefix("http://127.0.0.1:").unwrap();
        let (port, token) = rest.split_once('/').unwrap();
        let (port, token) = (
            port.parse().unwrap(),
            token.trim_end_matches('/').to_owned(),
        );
        let answered = Arc::new(AtomicUsize::new(0));
        let echo = Echo {
            answered: Arc::clone(&answered),
            barrier: Barrier::new(2),
        };
        let stopper = Stopper::default();
        let stop = stopper.clone();
        let thread = std::thread::spawn(move || server.run(echo, &stop));
        Self {
            port,
            token,
            answered,
            stopper,
            thread,
        }
    }

    /// The status and everything that came back to these bytes.
    fn send(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // A server that has refused may have closed its side.
        let _ = stream.write_all(bytes);
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8_lossy(&text).into_owned();
        let status = text
            .split(' ')
            .nth(1)
            .map_or(0, |status| status.parse().unwrap());
        (status, text)
    }

    fn ask(&self, method: &str, target: &str, head: &str) -> (u16, String) {
        let own = format!("Host: 127.0.0.1:{}\r\n", self.port);
        let head = if head.contains("Host:") {
            head.to_owned()
        } else {
            own + head
        };
        self.send(
            format!("{method} {target} HTTP/1.1\r\n{head}Connection: close\r\n\r\n").as_bytes(),
        )
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask("GET", &format!("/{}/{path}", self.token), "")
    }

    fn end(self) {
        self.stopper.stop();
        self.thread.join().unwrap().unwrap();
    }
}

#[test]
fn only_our_own_page_with_the_token_is_answered() {
    let running = Running::start();
    let (port, token) = (running.port, running.token.clone());
    assert_eq!(token.len(), 32);
    let (status, text) = running.get("about?a=b");
    assert_eq!(status, 200);
    assert!(text.ends_with("false about a=b 0"), "{text}");
    let lower = text.to_lowercase();
    for header in [
        "content-security-policy: default-src 'none'",
        "cache-control: no-store",
        "referrer-policy: no-referrer",
    ] {
        assert!(lower.contains(header), "{text}");
    }
    assert!(!lower.contains("access-control"), "{text}");
    let answered = running.answered.load(Ordering::SeqCst);

    let other = "0".repeat(32);
    let targets = [
        "/".to_owned(),
        "/about".to_owned(),
        format!("/{other}/about"),
        format!("/{}/about", &token[..31]),
        format!("/{token}0/about"),
        format!("/{token}"),
        format!("/x/../{token}/about"),
        format!("//{token}/about"),
        format!("/about?token={token}"),
        format!("http://127.0.0.1:{port}/{token}/about"),
    ];
    for target in targets {
        let (status, text) = running.ask("GET", &target, "");
        assert_eq!(status, 403, "{target}: {text}");
    }
    let about = format!("/{token}/about");
    let heads = [
        "Host: evil.example\r\n".to_owned(),
        format!("Host: evil.example:{port}\r\n"),
        "Host: 127.0.0.1\r\n".to_owned(),
        format!("Host: 127.0.0.1:{port}.evil.example\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nHost: evil.example\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: http://evil.example\r\n"),
        format!("Host: 127.0.0.1:{port}\r\nOrigin: null\r\n"),
    ];
    for head in heads {
        let (status, text) = running.ask("GET", &about, &head);
        assert_eq!(status, 403, "{head}: {text}");
    }
    let (status, _) = running.send(format!("GET {about} HTTP/1.0\r\n\r\n").as_bytes());
    assert_eq!(status, 403, "no host at all");
    for method in ["OPTIONS", "PUT", "DELETE"] {
        assert_eq!(running.ask(method, &about, "").0, 405, "{method}");
    }
    assert_eq!(
        running.answered.load(Ordering::SeqCst),
        answered,
        "nothing of it was looked at"
    );
    let (status, _) = running.ask(
        "GET",
        &about,
        &format!("Host: localhost:{port}\r\nOrigin: http://localhost:{port}\r\n"),
    );
    assert_eq!(status, 200);
    running.end();
}

#[test]
fn heads_and_bodies_are_bounded() {
    let running = Running::start();
    let post = |head: &str, body: &[u8]| {
        let head = format!(
            "POST /{}/add?name=a HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{head}Connection: close\r\n\r\n",
            running.token, running.port
        );
        running.send(&[head.as_bytes(), body].concat())
    };
    let (status, text) = post("Content-Length: 3\r\n", b"abc");
    assert_eq!(status, 200, "{text}");
    assert!(text.ends_with("true add name=a 3"), "{text}");
    // Refused by what it says of itself, before a byte of it is read.
    let (status, text) = post(&format!("Content-Length: {}\r\n", MOST_BYTES + 1), b"");
    assert_eq!(status, 413, "{text}");
    assert!(text.contains("64 MiB"), "{text}");
    // One that does not say how long it is is cut off where it is too long.
    let chunk = [b"100000\r\n".as_slice(), &vec![7; 1 << 20], b"\r\n"].concat();
    let body = [
        chunk.repeat(MOST_BYTES / (1 << 20) + 1),
        b"0\r\n\r\n".to_vec(),
    ]
    .concat();
    let (status, _) = post("Transfer-Encoding: chunked\r\n", &body);
    assert!(status == 413 || status == 0, "{status}");
    assert_eq!(running.answered.load(Ordering::SeqCst), 1);
    let long = format!("X-Long: {}\r\n", "a".repeat(64 << 10));
    assert!(matches!(running.ask("GET", "/", &long).0, 431 | 400));
    assert_eq!(running.send(b"\x16\x03\x01nonsense\r\n\r\n").0, 400);
    assert_eq!(running.get("still").0, 200);
    running.end();
}

#[test]
fn a_panic_answers_its_own_request_only_and_requests_run_side_by_side() {
    let running = Running::start();
    let (status, text) = running.get("boom");
    assert_eq!(status, 500);
    assert!(text.contains("internal: this request failed"), "{text}");
    // Each waits for the other.
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| running.get("meet").0));
        assert_eq!(both.map(|one| one.join().unwrap()), [200, 200]);
    });
    // Connections that say nothing keep nobody out.
    let silent: Vec<TcpStream> = (0..20)
        .map(|_| TcpStream::connect(("127.0.0.1", running.port)).unwrap())
        .collect();
    assert_eq!(running.get("about").0, 200);
    for stream in &silent {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    // Stopping waits for nothing that is at work.
    let mut waiting = TcpStream::connect(("127.0.0.1", running.port)).unwrap();
    let head = format!(
        "GET /{}/about HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n",
        running.token, running.port
    );
    waiting.write_all(head.as_bytes()).unwrap();
    let begun = Instant::now();
    running.end();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn who_has_no_token_keeps_no_connection() {
    let running = Running::start();
    let pipelined = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    let (status, text) = running.send(&pipelined);
    // What it was not read of may have broken the connection before the answer came.
    assert!(status == 403 || text.is_empty(), "{text}");
    assert!(text.matches("HTTP/1.1").count() <= 1, "{text}");
    // More clients than there are places, which send without end and read nothing.
    let clients: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", running.port)).unwrap();
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write(&pipelined.repeat(100));
            stream
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(running.get("about").0, 200);
    assert!(begun.elapsed() < Duration::from_secs(15));
    drop(clients);
    // With it, a connection serves one request after another.
    let own = format!(
        "GET /{}/about HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n",
        running.token, running.port
    );
    let both = format!("{own}\r\n{own}Connection: close\r\n\r\n");
    let (_, text) = running.send(both.as_bytes());
    assert_eq!(text.matches("HTTP/1.1 200").count(), 2, "{text}");
    running.end();
}

#[test]
fn a_port_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Server::listen(port).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("127.0.0.1:{port}: cannot be listened on")),
        "{error}"
    );
}
