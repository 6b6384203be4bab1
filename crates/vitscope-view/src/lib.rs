//! Looking into opened models: what a click on a patch shows.
//!
//! - [`Pane`] is an opened model, alone or as a run of it read it: [`Pane::of_model`], [`Pane::of_run`].
//! - [`Desk`] holds panes and pictures side by side, and answers: the cosine of a patch with every patch of every
//!   picture ([`Desk::cosines`]), colors of principal components ([`Desk::colors`]), the clusters of the run at every
//!   pixel ([`Desk::clusters`]).
//! - [`Server`] and [`Served`] put a desk behind a page on this machine.
//!
//! Nothing is written to the disk.

mod answers;
mod colors;
mod desk;
mod error;
mod page;
mod pane;
mod routes;
mod server;
mod similar;

pub use answers::{
    AboutDesk, AboutPane, AboutPicture, ClusterLine, ClusterMap, ColorMap, Colors, CosineMap,
    png_of,
};
pub use colors::{Axes, RULE};
pub use desk::{Desk, FIT_IMAGES, MOST_PICTURES};
pub use error::ViewError;
pub use pane::{Pane, SlotReading};
pub use routes::Served;
pub use server::{Answer, Answerer, Asked, MOST_BYTES, Server, Stopper};
pub use similar::cosines;
