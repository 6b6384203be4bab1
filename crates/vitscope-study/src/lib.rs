//! A run: settings, order of work, resume, and the run directory.

pub mod attention;
pub mod cache;
pub mod check;
pub mod check_pairs;
pub mod compare;
pub mod correspond;
mod device;
pub mod error;
mod evaluate;
mod examine;
pub mod extract;
pub mod features;
mod files;
pub mod metrics;
pub mod model;
pub mod observer;
pub mod order;
pub mod outcome;
pub mod paper;
mod picture;
pub mod probe;
pub mod record;
pub mod relations;
pub mod screen;
pub mod select;
pub mod settings;
pub mod slot;
pub mod source;
mod start;
mod state;
pub mod stored;
mod train;
mod training;
pub mod variants;
pub mod verify;

pub use error::StudyError;
