//! The protocol of "Unsupervised Semantic Segmentation Facilitates Model Understanding" (arXiv 2605.29691)
//! as a library: a clustering probe is fitted on the patch embeddings of a frozen model, labels the pixels
//! of test images, and the labels are measured.
//!
//! ```text
//! Protocol -> check -> fit(&Embeddings) -> Probe -> evaluate(&Embeddings, &Truth) -> Scores
//! ```
//!
//! Embeddings come from anywhere: [`Embeddings`] is implemented for arrays, and is four short methods for
//! anything else. From the same embeddings, the library gives the bytes of the program `vitscope probe
//! --features`: the same centroids, counts and numbers.
//!
//! # Example
//!
//! This is `examples/own_array.rs`, whole:
//!
//! ```
#![doc = include_str!("../examples/own_array.rs")]
//! ```
//!
//! # What is computed
//!
//! - *Start*: patch vectors of the first 96 training batches are centered, and their top `K` principal
//!   directions are the first centroids.
//! - *Training*: online k-means under cosine similarity; with unit vectors `x^` and unit centroids `c^`
//!   ```text
//!   loss = -(1/M) sum_i max_k  x^_i . c^_k
//!   ```
//!   over the `M` patch vectors of a batch of 24 images, 5,000 steps of Adam.
//! - *Labels* (Eq. 1): embeddings are upsampled bilinearly, and a pixel takes `argmax_k f^.c_k / (|f^| |c_k|)`.
//! - *Segmentation quality*: clusters are matched to classes one to one; IoU, mIoU, accuracy.
//! - *Positional effect* (Eq. 3): `I = sum_p,c P(p,c) log(P(p,c) / (P(p) P(c)))`, `NMI = I / H(C)`, with its
//!   null under random shifts and an interval.
//!
//! # Ways in
//!
//! - [`CheckedProtocol::fit`] and [`Probe::evaluate`], for embeddings that can be asked for by number.
//! - [`ProbeStream`], for embeddings that come as they are made: `observe`, `start`, `step`, `label`.
//! - [`StartPass`], [`TrainPass`], [`Painter`] and [`Counts`] with [`Setup`], for many slots and settings that
//!   share every pass; the program is their caller. Where they run is [`Site`]: the host or, with the
//!   feature `cuda`, an NVIDIA GPU.
//!
//! # Promises
//!
//! - The same embeddings, settings and seed give the same bytes, at any number of threads. Work is done in the
//!   rayon pool of the caller.
//! - An [`Observer`] is told of progress and may stop the work after any batch.
//! - Undefined numbers are `None`, never 0.

#[cfg(feature = "cuda")]
mod card;
mod counts;
mod device;
mod embeddings;
mod error;
mod observer;
mod order;
mod probe;
mod read;
mod settings;
mod sharing;
mod shuffle;
mod start;
mod stream;
mod test_batch;
mod train;

pub use counts::{Counts, MapShape, Scores};
pub use device::{Painter, PatchRows, Site};
pub use embeddings::{Embeddings, Truth, Unlabeled};
pub use error::{ProtocolError, ReadError};
pub use observer::{Observer, Phase, Silent};
pub use order::{Round, Taker, TrainOrder};
pub use probe::{MICRO_BATCH, Probe, ProbeParts};
pub use read::{ReaderCounts, ReaderScores};
pub use settings::{CheckedProtocol, Protocol};
pub use sharing::{Setup, SharedOrder};
pub use start::{RESERVOIR, StartPass};
pub use stream::ProbeStream;
pub use test_batch::TestBatch;
pub use train::{LOSS_WINDOW, SlotState, TrainPass, Training, TrainingState};
pub use vitscope_measure::{IGNORED, Matching, Positions};
pub use vitscope_probe::{Dispersion, Spread, TrainerState};
