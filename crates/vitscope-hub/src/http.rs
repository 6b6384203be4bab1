//! Requests to a hub, with its redirects and headers.
//!
//! Redirects are followed here and not by the HTTP library, for two reasons: the hub's own answer
//! carries the headers that describe a file, and the token must not follow to another host.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::HeaderMap;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use crate::error::{HubError, printable};
use crate::settings::Settings;

/// More redirects than any hub needs.
const HOPS: usize = 10;

/// No listing of a repository is longer.
const JSON_LIMIT: u64 = 64 << 20;

/// What headers say about a file, gathered over redirects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Headers {
    pub commit: Option<String>,
    pub etag: Option<String>,
    pub linked_etag: Option<String>,
    pub linked_size: Option<u64>,
    pub length: Option<u64>,
    /// The first byte of a part.
    pub begins: Option<u64>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
}

/// An answer that is no redirect to be followed.
pub(crate) struct HubAnswer {
    pub url: String,
    pub status: u16,
    pub headers: Headers,
    body: ureq::Body,
}

impl HubAnswer {
    pub fn reader(self) -> impl Read {
        self.body.into_reader()
    }
}

/// Watches how fast a body comes.
pub(crate) struct Pace {
    slowest: (u64, Duration),
    since: Instant,
    came: u64,
}

impl Pace {
    pub fn new(slowest: (u64, Duration)) -> Self {
        Self {
            slowest,
            since: Instant::now(),
            came: 0,
        }
    }

    /// Counts bytes that came. Returns why the connection is given up, if it is too slow.
    pub fn count(&mut self, bytes: usize) -> Option<String> {
        self.came += bytes as u64;
        let (least, time) = self.slowest;
        if self.since.elapsed() < time {
            return None;
        }
        if self.came < least {
            let seconds = time.as_secs_f64();
            return Some(format!("it sends less than {least} bytes in {seconds} s"));
        }
        *self = Self::new(self.slowest);
        None
    }
}

/// A connection to one hub.
pub(crate) struct Client {
    agent: Agent,
    pub endpoint: String,
    token: Option<String>,
    slowest: (u64, Duration),
    until: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Headers alone; a redirect to another host is the answer.
    Head,
    /// The contents, wherever they are.
    Get,
}

impl Client {
    pub fn new(settings: &Settings) -> Result<Self, HubError> {
        let roots = match &settings.certificates {
            None => RootCerts::WebPki,
            Some(path) => {
                let pem = std::fs::read(path).map_err(HubError::io(path, "read certificates"))?;
                let certificates: Vec<_> = parse_pem(&pem)
                    .filter_map(|item| match item {
                        Ok(PemItem::Certificate(certificate)) => Some(certificate),
                        _ => None,
                    })
                    .collect();
                RootCerts::new_with_certs(&certificates)
            }
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("vitscope/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(20)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        Ok(Self {
            agent: Agent::new_with_config(config),
            endpoint: settings.endpoint.clone(),
            token: settings
                .token
                .as_ref()
                .map(|token| token.value().to_owned()),
            slowest: settings.bounds.slowest,
            until: None,
        })
    }

    /// Ends whatever is not over by then, be it in the middle of a body.
    pub fn until(self, end: Instant) -> Self {
        Self {
            until: Some(end),
            ..self
        }
    }

    /// The time that is left, where there is an end.
    pub fn left(&self) -> Option<Duration> {
        let end = self.until?;
        Some(end.saturating_duration_since(Instant::now()))
    }

    /// Sends a request, from byte `from` on, and follows redirects.
    pub fn send(&self, method: Method, url: &str, from: u64) -> Result<HubAnswer, HubError> {
        let mut url = url.to_owned();
        let mut gathered = Headers::default();
        let home = origin(&self.endpoint);
        let mut token = self.token.as_deref();
        for _ in 0..HOPS {
            if origin(&url) != home {
                // Once away from the hub, the token stays behind for good.
                token = None;
            }
            let mut request = match method {
                Method::Head => self.agent.head(&url),
                Method::Get => self.agent.get(&url),
            }
            .header("Accept-Encoding", "identity");
            if let Some(token) = token {
                request = request.header("Authorization", format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header("Range", format!("bytes={from}-"));
            }
            if let Some(end) = self.until {
                // No time at all would mean no limit to some of the library's timers.
                let left = end.saturating_duration_since(Instant::now());
                let left = left.max(Duration::from_millis(1));
                request = request.config().timeout_global(Some(left)).build();
            }
            let answer = request.call().map_err(|error| HubError::Unreachable {
                url: url.clone(),
                cause: cause(&error),
            })?;
            let status = answer.status().as_u16();
            gather(&mut gathered, answer.headers());
            let location = answer
                .headers()
                .get("location")
                .and_then(|value| value.to_str().ok());
            match location {
                Some(location) if matches!(status, 301 | 302 | 303 | 307 | 308) => {
                    let next = join(&url, location);
                    if url.starts_with("https://") && !next.starts_with("https://") {
                        return Err(HubError::Protocol {
                            url,
                            problem: "it leads from an encrypted address to one that is not"
                                .to_owned(),
                        });
                    }
                    if method == Method::Head && origin(&next) != home {
                        return Ok(HubAnswer {
                            url,
                            status: 200,
                            // The length is that of the redirect's own text.
                            headers: Headers {
                                length: None,
                                ..gathered
                            },
                            body: answer.into_body(),
                        });
                    }
                    url = next;
                }
                _ => {
                    return Ok(HubAnswer {
                        url,
                        status,
                        headers: gathered,
                        body: answer.into_body(),
                    });
                }
            }
        }
        Err(HubError::Protocol {
            url,
            problem: format!("it redirects more than {HOPS} times"),
        })
    }

    /// Reads an answer's text, of bounded length and at a bounded pace.
    pub fn text(&self, answer: HubAnswer) -> Result<Vec<u8>, HubError> {
        let url = answer.url.clone();
        let mut reader = answer.reader().take(JSON_LIMIT);
        let mut pace = Pace::new(self.slowest);
        let mut text = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        let cause = loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(text),
                Ok(count) => {
                    text.extend_from_slice(&buffer[..count]);
                    if let Some(slow) = pace.count(count) {
                        break slow;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break body_cause(&error),
            }
        };
        Err(HubError::Unreachable { url, cause })
    }
}

fn gather(headers: &mut Headers, map: &HeaderMap) {
    let text = |name: &str| {
        map.get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let number = |name: &str| text(name).and_then(|text| text.trim().parse().ok());
    // What the hub itself says of a file comes first and stays; the rest is the last host's.
    let keep = |old: &mut Option<String>, name: &str| {
        if old.is_none() {
            *old = text(name);
        }
    };
    keep(&mut headers.commit, "x-repo-commit");
    keep(&mut headers.linked_etag, "x-linked-etag");
    headers.linked_size = headers.linked_size.or_else(|| number("x-linked-size"));
    headers.etag = text("etag");
    headers.length = number("content-length");
    headers.begins = text("content-range").and_then(|range| {
        let (first, _) = range.trim().strip_prefix("bytes ")?.split_once('-')?;
        first.trim().parse().ok()
    });
    headers.error_code = text("x-error-code");
    headers.error_message = text("x-error-message").map(|text| printable(&text));
}

/// Scheme, host and port.
pub(crate) fn origin(url: &str) -> &str {
    let Some(start) = url.find("://").map(|at| at + 3) else {
        return url;
    };
    let end = url[start..]
        .find(['/', '?', '#'])
        .map_or(url.len(), |at| start + at);
    &url[..end]
}

/// Where a redirect leads.
fn join(url: &str, location: &str) -> String {
    if let Some((scheme, rest)) = with_scheme(location) {
        format!("{}://{rest}", scheme.to_ascii_lowercase())
    } else if let Some(rest) = location.strip_prefix("//") {
        let scheme = url.split("://").next().unwrap_or("https");
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{}{location}", origin(url))
    } else {
        // A query may hold slashes of its own.
        let path = url.split(['?', '#']).next().unwrap_or(url);
        let folder = path.rfind('/').map_or(path, |slash| &path[..=slash]);
        format!("{folder}{location}")
    }
}

/// The scheme of an address and what follows `://`, where it begins with one: a query may hold another address.
fn with_scheme(location: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = location.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, rest))
}

/// A path inside a URL; slashes stay.
pub(crate) fn escaped(path: &str) -> String {
    let mut text = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/+".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Why a body broke off.
pub(crate) fn body_cause(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    inner.map_or_else(|| printable(&error.to_string()), cause)
}

fn cause(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "there is no such host".to_owned(),
        ureq::Error::Timeout(_) => "it did not answer in time".to_owned(),
        error => printable(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_joined_and_origins_told_apart() {
        let url = "https://hub.example/a/b/resolve/main/f";
        assert_eq!(origin(url), "https://hub.example");
        assert_eq!(origin("http://h:80?x"), "http://h:80");
        assert_eq!(join(url, "/api/x"), "https://hub.example/api/x");
        assert_eq!(join(url, "https://cdn.example/y"), "https://cdn.example/y");
        assert_eq!(join(url, "//cdn.example/y"), "https://cdn.example/y");
        assert_eq!(join(url, "g"), "https://hub.example/a/b/resolve/main/g");
        assert_eq!(
            join(url, "/x?next=http://a/b"),
            "https://hub.example/x?next=http://a/b"
        );
        assert_eq!(
            join("https://hub.example/a/f?to=b/c", "g?next=http://a/b"),
            "https://hub.example/a/g?next=http://a/b"
        );
        assert_eq!(join(url, "HTTPS://cdn.example/Y"), "https://cdn.example/Y");
    }

    #[test]
    fn paths_are_escaped() {
        assert_eq!(
            escaped("pretrained models/a+b.pth"),
            "pretrained%20models/a+b.pth"
        );
        assert_eq!(escaped("a?b#c%"), "a%3Fb%23c%25");
    }
}
