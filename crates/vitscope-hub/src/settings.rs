//! Where the hub and its cache are, from the environment that Hugging Face's own tools read.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::HubError;

/// The public hub.
pub const PUBLIC_HUB: &str = "https://huggingface.co";

/// Everything that the environment settles.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the hub, without a slash at its end (`HF_ENDPOINT`).
    pub endpoint: String,
    /// The cache of repositories (`HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`).
    pub cache: PathBuf,
    /// The user's token (`HF_TOKEN`, `HF_TOKEN_PATH`, or what `hf auth login` stored).
    pub token: Option<Token>,
    /// The variable that forbids the network, if one does (`HF_HUB_OFFLINE`).
    pub offline: Option<&'static str>,
    /// Certificates to trust in place of those built in (`SSL_CERT_FILE` and its relatives).
    pub certificates: Option<PathBuf>,
    /// How long to wait before an attempt is repeated, the first time.
    pub pause: Duration,
    /// What a server may take.
    pub bounds: Bounds,
}

/// What a download is bounded by, whatever the server does.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// A connection that brings fewer bytes in this time is given up.
    pub slowest: (u64, Duration),
    /// The longest file, in bytes, whose size the hub does not announce.
    pub unannounced: u64,
    /// How long cached weights wait for each of the files that tell what they are, and for the list of them.
    pub patience: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            slowest: (16 << 10, Duration::from_secs(60)),
            unannounced: 4 << 30,
            patience: Duration::from_secs(5),
        }
    }
}

/// A token, which is never shown.
#[derive(Clone)]
pub struct Token {
    value: String,
    from: String,
}

impl Token {
    /// A token and where it was found. `None` for an empty one, which counts as none.
    ///
    /// # Errors
    /// When it has characters that no token has.
    pub fn new(value: &str, from: &str) -> Result<Option<Self>, HubError> {
        let value = value.trim();
        if value.is_empty() {
            return Ok(None);
        }
        if !value.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HubError::Setting {
                variable: from.to_owned(),
                problem: "holds spaces or letters that no token has: copy the token again from the settings of your account".to_owned(),
            });
        }
        Ok(Some(Self {
            value: value.to_owned(),
            from: from.to_owned(),
        }))
    }

    /// What is sent.
    #[cfg(feature = "network")]
    pub(crate) fn value(&self) -> &str {
        &self.value
    }

    /// Where it was found.
    #[must_use]
    pub fn from(&self) -> &str {
        &self.from
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value would end up in logs.
        write!(f, "Token(from {}, {} letters)", self.from, self.value.len())
    }
}

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// When a variable or the token file cannot be used, or there is no place for a cache.
    pub fn from_env() -> Result<Self, HubError> {
        Self::read(|variable| std::env::var_os(variable))
    }

    /// Reads an environment given as a function; empty variables count as unset.
    ///
    /// # Errors
    /// When a variable or the token file cannot be used, or there is no place for a cache.
    pub fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let get = |variable: &str| lookup(variable).filter(|value| !value.is_empty());
        let home = get("HOME")
            .or_else(|| get("USERPROFILE"))
            .map(PathBuf::from);
        let path = |variable: &str| get(variable).map(|value| at_home(&value, home.as_deref()));
        let hf_home = path("HF_HOME").or_else(|| {
            path("XDG_CACHE_HOME")
                .or_else(|| Some(home.as_deref()?.join(".cache")))
                .map(|cache| cache.join("huggingface"))
        });
        let cache = path("HF_HUB_CACHE")
            .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
            .or_else(|| Some(hf_home.as_deref()?.join("hub")))
            .ok_or_else(|| HubError::Setting {
                variable: "HF_HUB_CACHE".to_owned(),
                problem: "is not set, and there is no home folder to keep a cache in: set it"
                    .to_owned(),
            })?;
        let endpoint = match get("HF_ENDPOINT") {
            Some(value) => endpoint_of(&value.to_string_lossy())?,
            None => PUBLIC_HUB.to_owned(),
        };
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
            .into_iter()
            .find(|variable| get(variable).is_some_and(|value| is_true(&value.to_string_lossy())));
        let mut token = None;
        for variable in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
            if let (None, Some(value)) = (&token, get(variable)) {
                token = Token::new(&value.to_string_lossy(), variable)?;
            }
        }
        if token.is_none() {
            let file = path("HF_TOKEN_PATH").or_else(|| Some(hf_home?.join("token")));
            if let Some(file) = file.filter(|file| file.is_file()) {
                let text = std::fs::read_to_string(&file)
                    .map_err(HubError::io(&file, "read the token"))?;
                token = Token::new(&text, &file.display().to_string())?;
            }
        }
        let certificates = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]
            .into_iter()
            .find_map(path)
            .filter(|file| file.is_file());
        Ok(Self {
            endpoint,
            cache,
            token,
            offline,
            certificates,
            pause: Duration::from_secs(1),
            bounds: Bounds::default(),
        })
    }
}

fn at_home(value: &OsString, home: Option<&Path>) -> PathBuf {
    let path = PathBuf::from(value);
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

fn is_true(text: &str) -> bool {
    ["1", "on", "yes", "true"].contains(&text.trim().to_lowercase().as_str())
}

fn endpoint_of(text: &str) -> Result<String, HubError> {
    let text = text.trim().trim_end_matches('/');
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    match host {
        Some(host)
            if !host.is_empty()
                && text.bytes().all(|byte| byte.is_ascii_graphic())
                && !text.contains(['?', '#', '@']) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(HubError::Setting {
            variable: "HF_ENDPOINT".to_owned(),
            problem: format!(
                "is `{}`, which is no address: write it as {PUBLIC_HUB}",
                crate::error::printable(text)
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, HubError> {
        Settings::read(|name| {
            variables
                .iter()
                .find(|(variable, _)| *variable == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_python_puts_it() {
        let cache = |variables: &[(&str, &str)]| read(variables).unwrap().cache;
        let home = ("HOME", "/users/u");
        assert_eq!(
            cache(&[home]),
            PathBuf::from("/users/u/.cache/huggingface/hub")
        );
        assert_eq!(
            cache(&[home, ("XDG_CACHE_HOME", "/x")]),
            PathBuf::from("/x/huggingface/hub")
        );
        assert_eq!(
            cache(&[home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")]),
            PathBuf::from("/users/u/hf/hub")
        );
        assert_eq!(
            cache(&[home, ("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]),
            PathBuf::from("/c")
        );
        assert!(read(&[]).unwrap_err().is_usage());
    }

    #[test]
    fn offline_words_are_those_of_python() {
        for (value, offline) in [
            ("1", true),
            ("True", true),
            ("yes", true),
            ("0", false),
            ("", false),
        ] {
            let read = read(&[("HOME", "/h"), ("HF_HUB_OFFLINE", value)]).unwrap();
            assert_eq!(read.offline.is_some(), offline, "{value}");
        }
    }

    #[test]
    fn tokens_come_from_variable_or_file_and_stay_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_str().unwrap();
        std::fs::write(folder.path().join("token"), "hf_stored\n").unwrap();
        let stored = read(&[("HF_HOME", home)]).unwrap().token.unwrap();
        assert_eq!(stored.value, "hf_stored");
        assert!(stored.from().ends_with("token"));
        let said = read(&[("HF_HOME", home), ("HF_TOKEN", "hf_said")]).unwrap();
        assert_eq!(said.token.as_ref().unwrap().value, "hf_said");
        assert!(!format!("{said:?}").contains("hf_said"));
        assert!(read(&[("HF_HOME", home), ("HF_TOKEN", "two words")]).is_err());
        let other = folder.path().join("other");
        std::fs::write(&other, "hf_other").unwrap();
        let named = read(&[
            ("HF_HOME", home),
            ("HF_TOKEN_PATH", other.to_str().unwrap()),
        ]);
        assert_eq!(named.unwrap().token.unwrap().value, "hf_other");
    }

    #[test]
    fn endpoints_are_addresses() {
        let endpoint = |value| read(&[("HOME", "/h"), ("HF_ENDPOINT", value)]);
        assert_eq!(
            endpoint("https://mirror.example/").unwrap().endpoint,
            "https://mirror.example"
        );
        for wrong in [
            "mirror.example",
            "ftp://x",
            "https://",
            "https://u:p@x",
            "https://a b",
        ] {
            assert!(endpoint(wrong).unwrap_err().is_usage(), "{wrong}");
        }
    }
}
