//! From the name of a model to a file on this machine.
//!
//! [`vitscope_vit::known::models`] lists what was released, where and on what terms. [`resolve()`] takes what a
//! user typed (a path, a short name such as `dinov2-b14`, or a Hugging Face id) and returns a
//! local file: from the cache that Hugging Face's Python tools use, or downloaded into it, so that
//! nothing is downloaded twice whichever program asks first.
//!
//! This is the only crate with network code, and the feature `network` turns that off: names are
//! then still found in the cache.
//!
//! # Why not hf-hub
//! hf-hub 1.0.0 shares the cache's layout, but on each point that matters here it falls short: it
//! does not take up a broken download, does not compare what came with the announced SHA-256, and
//! does not read `HF_HUB_OFFLINE`. It brings about 300 crates (tokio, reqwest, the Xet client);
//! ureq with rustls brings 27, no asynchronous runtime among them.

mod cache;
mod choose;
pub mod error;
#[cfg(feature = "network")]
mod fetch;
#[cfg(feature = "network")]
mod http;
pub mod name;
#[cfg(feature = "network")]
mod place;
pub mod progress;
pub mod resolve;
pub mod settings;
#[cfg(feature = "network")]
mod sink;

pub use error::HubError;
pub use resolve::{Located, ModelOrigin, resolve, resolve_with};
