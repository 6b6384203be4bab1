//! What the commands' runs have in common: settings, record, unfinished state, transforms and pictures.

pub mod inspected;
pub mod layers;
pub(crate) mod picture;
pub mod record;
pub mod settings;
pub(crate) mod state;
pub mod transforms;
pub(crate) mod unedited;
