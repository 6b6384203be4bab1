//! What a command works on: model, features, device, the passes over images and who watches them.

pub mod backbone;
pub(crate) mod device;
pub mod embeddings;
pub mod features;
pub mod model;
pub mod observer;
pub mod pass;
pub mod screen;
pub mod source;
pub mod turn;
