//! A run: settings, order of work, resume, and the run directory.

pub mod artifacts;
pub mod attention;
pub mod causes;
pub mod check;
pub mod compare;
pub mod correspond;
pub mod error;
pub mod extract;
pub mod inputs;
pub mod probe;
pub mod session;

pub use check::pairs as check_pairs;
pub use compare::{paper, relations, stored};
pub use extract::verify;
pub(crate) use inputs::device;
pub use inputs::{backbone, embeddings, features, model, observer, pass, screen, source, turn};
pub(crate) use probe::{
    baselines, edits, evaluate, examine, fit, job, rows, start, train, training,
};
pub use probe::{cache, estimate, merge, outcome, shard, variants};
pub use session::{inspected, layers, record, settings, transforms};
pub(crate) use session::{picture, state, unedited};
pub(crate) use vitscope_run::{files, tensors};

pub use error::StudyError;
