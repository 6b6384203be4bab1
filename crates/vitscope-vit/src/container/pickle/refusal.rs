//! Why a pickle was not read.

/// Why a pickle was not read.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It names something that is not on the list.
    Name(String),
    /// It describes a tensor that repeats elements, which says nothing against the file.
    Repeats(String),
    /// It is malformed or exceeds a limit.
    Broken(String),
}

impl From<&str> for Refusal {
    fn from(what: &str) -> Self {
        Self::Broken(what.to_owned())
    }
}
