//! A run directory while it is made: settings, record, unfinished state and the files of a finished run.

pub(crate) mod files;
pub mod metrics;
pub(crate) mod picture;
pub mod record;
pub mod select;
pub mod settings;
pub mod slot;
pub(crate) mod state;
pub(crate) mod tensors;
