//! Own models: a TOML file in which the user says which tensor is which part, and what tensors
//! cannot tell.
//!
//! [`describe`] reads that file, [`fit`] assigns a checkpoint's tensors by it, and [`decide`]
//! joins what the file says with what the tensors show.

pub(crate) mod decide;
pub(crate) mod describe;
pub(crate) mod fit;
mod nearest;

pub(crate) use self::{decide::decide, describe::Description, fit::fit};
