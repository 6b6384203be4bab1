//! A server for one page on this machine alone.
//!
//! It listens on 127.0.0.1 and answers only requests whose path begins with a random token and whose `Host` is that
//! address: another user of the machine does not know the token, and a page of the web that has its name resolved to
//! 127.0.0.1 comes with another host. It sends no header that lets other pages read what it says. Connections, heads,
//! bodies and what is sent are bounded in number, size or time; a request that is refused ends its connection, since
//! who has no token shall not hold one of the few places; and what panics in a request answers that request only.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, Semaphore};
use tokio_io_timeout::TimeoutStream;
use vitscope_run::plain;

use crate::error::ViewError;

/// The largest body, which is an image file.
pub const MOST_BYTES: usize = 64 << 20;
/// Connections at a time; more wait.
const CONNECTIONS: usize = 32;
/// The largest head of a request.
const HEAD: usize = 16 << 10;
/// How long a head may take, and a connection that asks nothing may stay: it holds one of the few places.
const HEAD_PATIENCE: Duration = Duration::from_secs(3);
/// How long a body may take, and a client to take anything of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Random bytes of a token.
const TOKEN: usize = 16;

/// A request that has passed the guard.
#[derive(Debug)]
pub struct Asked {
    /// Whether it changes something (POST), or only asks (GET).
    pub is_change: bool,
    /// The path behind the token, such as `about`.
    pub path: String,
    /// What stands behind the question mark, as it came.
    pub query: String,
    /// The body; empty for GET.
    pub body: Vec<u8>,
}

/// What is sent back.
#[derive(Debug)]
pub struct Answer {
    /// The status, such as 200.
    pub status: u16,
    /// Its type, such as `application/json`.
    pub kind: &'static str,
    /// The content.
    pub body: Vec<u8>,
}

impl Answer {
    /// A value for the page, in whose texts letters that are not shown by themselves are.
    #[must_use]
    pub fn json(status: u16, value: &serde_json::Value) -> Self {
        Self {
            status,
            kind: "application/json",
            body: plain::json(&value.to_string()).into_bytes(),
        }
    }

    /// One sentence about what went wrong.
    #[must_use]
    pub fn refusal(status: u16, sentence: &str) -> Self {
        Self::json(
            status,
            &serde_json::json!({ "error": plain::line(sentence) }),
        )
    }
}

/// Something that answers requests, one thread or several at a time.
pub trait Answerer: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, asked: Asked) -> Answer;
}

/// Asks a server to stop, from another thread or a signal's.
#[derive(Clone, Debug, Default)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    /// The server ends, whatever is at work.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

/// A server that listens, and does not answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    port: u16,
    token: String,
}

struct Guard<A> {
    token: String,
    hosts: [String; 2],
    answerer: A,
}

impl Server {
    /// Listens on a port of 127.0.0.1; 0 is any that is free.
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn listen(port: u16) -> Result<Self, ViewError> {
        let listen = |source| ViewError::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address: SocketAddr = listener.local_addr().map_err(listen)?;
        let mut bytes = [0; TOKEN];
        getrandom::fill(&mut bytes).map_err(|error| {
            ViewError::Internal(format!("the system has no random bytes ({error})"))
        })?;
        Ok(Self {
            listener,
            port: address.port(),
            token: vitscope_run::files::hex(&bytes),
        })
    }

    /// The address of the page, with the token.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/{}/", self.port, self.token)
    }

    /// Answers until it is asked to stop.
    ///
    /// # Errors
    /// Where the system refuses to begin.
    pub fn run(self, answerer: impl Answerer, stopper: &Stopper) -> Result<(), ViewError> {
        let port = self.port;
        let listen = |source| ViewError::Listen { port, source };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_io().enable_time().build().map_err(listen)?;
        let guard = Arc::new(Guard {
            hosts: ["127.0.0.1", "localhost"].map(|host| format!("{host}:{port}")),
            token: self.token,
            answerer,
        });
        let listener = self.listener;
        let answered = runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(listen)?;
            tokio::spawn(accept(listener, guard));
            stopper.0.notified().await;
            Ok(())
        });
        // What is at work is not waited for: it changes nothing on the disk.
        runtime.shutdown_background();
        answered
    }
}

async fn accept<A: Answerer>(listener: tokio::net::TcpListener, guard: Arc<Guard<A>>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, say; some will come free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let guard = Arc::clone(&guard);
        tokio::spawn(async move {
            let _place = place;
            let service = service_fn(|request| handle(request, Arc::clone(&guard)));
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new())
                .header_read_timeout(HEAD_PATIENCE)
                .max_buf_size(HEAD);
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(PATIENCE));
            let stream = TokioIo::new(Box::pin(stream));
            // A connection that breaks is its client's affair.
            let _ = http.serve_connection(stream, service).await;
        });
    }
}

async fn handle<A: Answerer>(
    request: Request<Incoming>,
    guard: Arc<Guard<A>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = match guard.admit(&request) {
        Err(refusal) => {
            let mut refused = response(refusal);
            let close = HeaderValue::from_static("close");
            refused.headers_mut().insert(CONNECTION, close);
            return Ok(refused);
        }
        Ok(path) => {
            let is_change = request.method() == Method::POST;
            let query = request.uri().query().unwrap_or_default().to_owned();
            match body_of(request).await {
                Err(refusal) => refusal,
                Ok(body) => {
                    let asked = Asked {
                        is_change,
                        path,
                        query,
                        body,
                    };
                    let work = move || guard.answerer.answer(asked);
                    let panicked = |_| {
                        Answer::refusal(
                            500,
                            "internal: this request failed; please report it with the image or model",
                        )
                    };
                    tokio::task::spawn_blocking(work)
                        .await
                        .unwrap_or_else(panicked)
                }
            }
        }
    };
    Ok(response(answer))
}

impl<A> Guard<A> {
    /// The path behind the token, or why the request is not answered.
    fn admit(&self, request: &Request<Incoming>) -> Result<String, Answer> {
        let refused = || {
            Answer::refusal(
                403,
                "give the whole address that `vitscope view` printed, with its token",
            )
        };
        let header = |name: HeaderName| {
            let mut values = request.headers().get_all(name).iter();
            match (values.next(), values.next()) {
                (None, _) => Ok(None),
                (Some(value), None) => value.to_str().map(Some).map_err(|_| refused()),
                // Two of them are two minds about who is asked.
                (Some(_), Some(_)) => Err(refused()),
            }
        };
        let is_own = |host: &str| self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host));
        if !header(HOST)?.is_some_and(is_own) || request.uri().host().is_some() {
            return Err(refused());
        }
        // A browser names the page that asks; only our own may.
        if let Some(origin) = header(ORIGIN)?
            && !origin.strip_prefix("http://").is_some_and(is_own)
        {
            return Err(refused());
        }
        let path = request.uri().path().strip_prefix('/').ok_or_else(refused)?;
        let (token, path) = path.split_once('/').ok_or_else(refused)?;
        if !is_same(token.as_bytes(), self.token.as_bytes()) {
            return Err(refused());
        }
        match *request.method() {
            Method::GET | Method::POST => Ok(path.to_owned()),
            _ => Err(Answer::refusal(405, "only GET and POST are answered")),
        }
    }
}

/// Whether two are equal, in a time that does not tell where they differ.
fn is_same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

async fn body_of(request: Request<Incoming>) -> Result<Vec<u8>, Answer> {
    let too_large = || {
        Answer::refusal(
            413,
            "an image file may have at most 64 MiB: make it smaller",
        )
    };
    let stated = request.headers().get(hyper::header::CONTENT_LENGTH);
    let stated = stated.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|length| length > MOST_BYTES as u64) {
        return Err(too_large());
    }
    let body = Limited::new(request.into_body(), MOST_BYTES).collect();
    match tokio::time::timeout(PATIENCE, body).await {
        Err(_) => Err(Answer::refusal(
            408,
            "the image did not arrive within 30 seconds",
        )),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Answer::refusal(400, "the image did not arrive whole")),
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
    }
}

/// What the page may load and do: its own files and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = [
        (CONTENT_TYPE, answer.kind),
        (hyper::header::CACHE_CONTROL, "no-store"),
        (hyper::header::CONTENT_SECURITY_POLICY, POLICY),
        (hyper::header::REFERRER_POLICY, "no-referrer"),
        (hyper::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (hyper::header::X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
