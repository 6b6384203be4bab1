//! Own models: a TOML file in which the user says which tensor is which part, and what tensors
//! cannot tell.
//!
//! [`describe`] reads that file and [`fit`] assigns a checkpoint's tensors by it; what it says of the
//! architecture is joined with what the tensors show where all checkpoints are decided about.

pub(crate) mod describe;
pub(crate) mod fit;
mod nearest;

pub(crate) use self::{describe::ModelDescription, fit::fit};
