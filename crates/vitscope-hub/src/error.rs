//! Why a name did not lead to a file.
//!
//! Every message is one sentence that names the file or address, what was expected, and what to
//! do.

use std::path::{Path, PathBuf};

/// Anything that can go wrong between a name and a local file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A name that is nothing that is known.
    #[error(
        "`{name}` is no file or folder, no short name of the table and no Hugging Face id (owner/name): {}",
        suggestion(near)
    )]
    Unknown {
        /// What was typed.
        name: String,
        /// Names that are close to it.
        near: Vec<String>,
    },
    /// A name that the table of models does not have.
    #[error("no known model is called `{name}`: {}", suggestion(near))]
    NotInTable {
        /// What was typed.
        name: String,
        /// Names that are close to it.
        near: Vec<String>,
    },
    /// A path that is not there.
    #[error("there is no file or folder `{name}`{hint}")]
    NoFile {
        /// What was typed.
        name: String,
        /// Where such a file is published, if that is known.
        hint: String,
    },
    /// A model whose weights are published elsewhere.
    #[error(
        "the {format} weights of {name} are not on Hugging Face: download {file} from {from} and give its path"
    )]
    NotOnHub {
        /// The short name.
        name: String,
        /// Which publication.
        format: String,
        /// The file's name, in words.
        file: String,
        /// The address of the file, or the page that leads to it.
        from: String,
    },
    /// A model that is not published in the asked format.
    #[error("{name} is not published as {format}: its formats are {offered}")]
    NoSuchFormat {
        /// The short name.
        name: String,
        /// What was asked for.
        format: String,
        /// What there is.
        offered: String,
    },
    /// An environment variable, or the token file, that cannot be used.
    #[error("{variable} {problem}")]
    Setting {
        /// The variable.
        variable: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// Not cached, and the network is not to be used.
    #[error(
        "{id} is not in the cache {}, and {because}: {cached}",
        cache.display()
    )]
    NotCached {
        /// The id, with its revision and file where they were asked for.
        id: String,
        /// The cache.
        cache: PathBuf,
        /// Why it cannot be downloaded, and what would change that.
        because: String,
        /// What the cache holds.
        cached: String,
    },
    /// No such repository, or a private one.
    #[error(
        "{endpoint} has no repository {id} that can be read without further rights, and there is no such file or folder here: check the spelling ({}); a private one needs a token (HF_TOKEN or `hf auth login`)",
        suggestion(near)
    )]
    NoRepository {
        /// The id.
        id: String,
        /// The hub.
        endpoint: String,
        /// Ids of the table that are close to it.
        near: Vec<String>,
    },
    /// No such branch, tag or commit.
    #[error("{id} has no revision `{revision}`: see {page} for its branches and tags")]
    NoRevision {
        /// The id.
        id: String,
        /// What was asked for.
        revision: String,
        /// The repository's page.
        page: String,
    },
    /// No such file in the repository.
    #[error("{id} has no file `{file}` at revision {revision}: {found}")]
    NoEntry {
        /// The id.
        id: String,
        /// The file.
        file: String,
        /// The revision.
        revision: String,
        /// What the repository holds, or where to look.
        found: String,
    },
    /// No weights, or more than one candidate.
    #[error("{id} does not say which file holds its weights: {found}")]
    NoWeights {
        /// The id.
        id: String,
        /// What it holds, and how to choose.
        found: String,
    },
    /// Access has to be granted first.
    #[error("{id} is gated: {why}; visit {page} to ask for access, {token}")]
    Gated {
        /// The id.
        id: String,
        /// What the hub answered.
        why: String,
        /// The page where access is granted.
        page: String,
        /// What to do about the token.
        token: String,
    },
    /// The hub does not know the token.
    #[error(
        "{endpoint} does not accept the token from {from}: renew it with `hf auth login`, or remove it to go without one"
    )]
    Token {
        /// The hub.
        endpoint: String,
        /// Where the token was found.
        from: String,
    },
    /// No answer.
    #[error(
        "cannot reach {url}: {cause}; check the connection (HF_ENDPOINT, HTTPS_PROXY), or set HF_HUB_OFFLINE=1 to use the cache alone"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// The network's reason.
        cause: String,
    },
    /// An answer that is an error.
    #[error("{url} answered with status {status}{message}: {}", after_status(*status))]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
        /// The server's words, if any.
        message: String,
    },
    /// An answer that does not follow the hub's protocol.
    #[error("{url} is not a Hugging Face hub or not working as one: {problem}; check HF_ENDPOINT")]
    Protocol {
        /// The address.
        url: String,
        /// What is wrong with the answer.
        problem: String,
    },
    /// A download that broke more often than it is taken up again.
    #[error("the download of {file} broke off at {received} bytes{}: {cause}; {kept}", of(*total))]
    Broken {
        /// Id and file.
        file: String,
        /// Bytes received.
        received: u64,
        /// Bytes expected.
        total: Option<u64>,
        /// What happened.
        cause: String,
        /// What becomes of the bytes received.
        kept: &'static str,
    },
    /// A download of another length than the hub announced.
    #[error(
        "{file} should have {expected} bytes but {received} came: nothing of it was kept, try again"
    )]
    Size {
        /// Id and file.
        file: String,
        /// Announced.
        expected: u64,
        /// Received.
        received: u64,
    },
    /// A file that another program is bringing, for longer than can be waited.
    #[error("{file} is being downloaded by another program: run again when that is done")]
    Busy {
        /// Id and file.
        file: String,
    },
    /// A file that is longer than any of its kind that is read.
    #[error(
        "{file} has {size} bytes, and of such a file at most {most} are read: look at {page} what it is, or download the weights alone and give their path"
    )]
    TooLong {
        /// Id and file.
        file: String,
        /// Announced.
        size: u64,
        /// What is read at most.
        most: u64,
        /// The repository's page.
        page: String,
    },
    /// A cached file that is not what its name says.
    #[error(
        "{}: the cached file is damaged, since it is no JSON and its hash is not its name: remove it, and it is downloaded again",
        path.display()
    )]
    Damaged {
        /// The file among the blobs.
        path: PathBuf,
    },
    /// A download with other contents than the hub announced.
    #[error(
        "{file} should have {kind} {expected} but has {found}: nothing of it was kept, so try again; where that helps nothing, download it otherwise and give its path"
    )]
    Hash {
        /// Id and file.
        file: String,
        /// Which hash.
        kind: &'static str,
        /// Announced.
        expected: String,
        /// Computed.
        found: String,
    },
    /// The operating system refused a read or a write.
    #[error("{}: cannot {action}: {source}{}", path.display(), hint(source))]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl HubError {
    /// Whether the user's words or settings are at fault, and not the world.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Unknown { .. }
                | Self::NotInTable { .. }
                | Self::NotOnHub { .. }
                | Self::NoSuchFormat { .. }
                | Self::Setting { .. }
        )
    }

    /// Wraps an I/O error with the file and what was tried.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            path,
            action,
            source,
        }
    }
}

fn suggestion(near: &[String]) -> String {
    match near {
        [] => "`vitscope models` lists the known ones".to_owned(),
        near => format!("did you mean {}", listed(near, " or ")),
    }
}

fn of(total: Option<u64>) -> String {
    total.map_or(String::new(), |total| format!(" of {total}"))
}

fn after_status(status: u16) -> &'static str {
    match status {
        408 | 425 | 429 | 500..=599 => "try again later",
        _ => {
            "no hub answers so where there is a file; check HF_ENDPOINT, and HTTPS_PROXY if there is a proxy"
        }
    }
}

fn hint(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull => {
            "; free some space, or choose another place with HF_HUB_CACHE, and run again: a download goes on where it stopped"
        }
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; check its permissions, or choose another place with HF_HUB_CACHE"
        }
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            "; a file is in the place of a folder: remove it, or choose another place with HF_HUB_CACHE"
        }
        _ => "",
    }
}

/// At most eight names, the last one after `last`.
pub(crate) fn listed<T: AsRef<str>>(names: &[T], last: &str) -> String {
    const SHOWN: usize = 8;
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match names.as_slice() {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., end] if names.len() <= SHOWN => format!("{}{last}{end}", first.join(", ")),
        names => format!(
            "{} and {} more",
            names[..SHOWN].join(", "),
            names.len() - SHOWN
        ),
    }
}

/// Words from elsewhere, printable and of bounded length.
pub(crate) fn printable(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
