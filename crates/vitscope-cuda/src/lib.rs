//! Arrays on an NVIDIA GPU, and the operations that models and probes are made of.
//!
//! Nothing of CUDA is needed to build this crate: the driver, cuBLASLt and NVRTC are loaded when
//! [`Gpu::open`] is called, and a machine without them gets one sentence that says so. Kernels are
//! the `.cu` files beside this one, compiled by NVRTC for the card that is there.
//!
//! The crate knows no model and no probe. Its operations take [`Buffer`]s, check every size, and
//! queue their work; only a download waits for it.
//!
//! # Determinism
//!
//! No kernel adds floats by atomics: every sum has one order. cuBLASLt's products are the same for
//! the same card, library and shapes: where a faster algorithm takes the place of cuBLASLt's first choice, it is one
//! that gave the same bytes.

mod blas;
mod buffer;
mod cluster;
mod compiler;
mod count;
mod dense;
mod element;
mod error;
mod factors;
mod gpu;
mod libraries;
mod matrix;
mod product;
mod program;
mod rows;
mod search;
mod sources;
mod thread;
mod trial;
mod trial_rules;
mod weights;

pub use blas::Product;
pub use buffer::{Buffer, Staging};
pub use cluster::{
    Adam, Assigned, Axis, CentroidShape, Centroids, Cluster, MomentScratch, SlotRows,
};
pub use compiler::{compile, compiler_is_here};
pub use count::{CardCounts, CountParts, CountScratch, CountShape};
pub use dense::{Activation, Dense};
pub use element::Element;
pub use error::CudaError;
pub use factors::Factors;
pub use gpu::Gpu;
pub use matrix::{Matrix, ProductTarget, ROW_UNIT};
pub use rows::RowsView;
pub use search::{
    AxisCells, HeldRows, KeypointPlaces, PhotoViews, SearchKernels, SearchScratch, WantedPoints,
};
pub use sources::sources;
pub use weights::{AttentionView, WeightKernels, WeightTally};
