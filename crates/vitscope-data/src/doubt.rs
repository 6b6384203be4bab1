//! A sentence of doubt.

/// A reason to look again before a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Its sort in a word or two, such as `ignored class` or `interpolated masks`.
    pub sort: &'static str,
    /// One sentence, with its full stop.
    pub text: String,
}
