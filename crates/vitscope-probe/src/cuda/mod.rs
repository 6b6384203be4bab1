//! The three stages on an NVIDIA GPU, and the search for keypoints, fed with rows that lie there.
//!
//! The mathematics is that of the CPU, and so are the states: training can stop on one device and go
//! on on the other, within rounding. What differs is the order in which a product adds up its terms,
//! and that a value which is not finite is only noticed when a stage looks at its sums.

mod labeler;
mod matcher;
mod moments;
mod trainer;

pub use labeler::DeviceLabeler;
pub use matcher::{DeviceMatcher, DeviceTargets};
pub use moments::DeviceMoments;
pub use trainer::DeviceTrainers;
pub use vitscope_cuda::{
    Buffer, CardCounts, Cluster, CountParts, CountScratch, CountShape, CudaError, Gpu, HeldRows,
    KeypointPlaces, RowsView,
};

use vitscope_cuda::{Assigned, MomentScratch};

use crate::ProbeError;
use crate::error::check;

/// Arrays that the stages use again from one call to the next, for all slots.
#[derive(Debug)]
pub struct StageScratch {
    assigned: Assigned,
    moments: MomentScratch,
    scores: Buffer<f32>,
    mixes: Buffer<f32>,
    inverse: Buffer<f64>,
    labels: Buffer<u8>,
    bad: Flag,
}

impl StageScratch {
    /// Arrays that grow when they are needed.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    pub fn new(gpu: &Gpu) -> Result<Self, ProbeError> {
        Ok(Self {
            assigned: Assigned::new(gpu)?,
            moments: MomentScratch::new(gpu)?,
            scores: Buffer::new(gpu, 0)?,
            mixes: Buffer::new(gpu, 0)?,
            inverse: Buffer::new(gpu, 0)?,
            labels: Buffer::new(gpu, 0)?,
            bad: Flag::new(gpu)?,
        })
    }

    /// The label maps that were made last, `[images, height, width]`.
    #[must_use]
    pub fn labels(&self) -> &Buffer<u8> {
        &self.labels
    }

    /// The lowest number of an image that could not be labeled since this was asked last; waits for
    /// what was queued.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    pub fn refused(&mut self, gpu: &Gpu) -> Result<Option<usize>, ProbeError> {
        self.bad.take(gpu)
    }
}

/// The lowest image that is not fit for use, if there is one.
#[derive(Debug)]
struct Flag(Buffer<i32>);

impl Flag {
    fn new(gpu: &Gpu) -> Result<Self, ProbeError> {
        Ok(Self(Buffer::upload(gpu, &[i32::MAX])?))
    }

    /// Waits for what was queued, and lowers the flag.
    fn take(&mut self, gpu: &Gpu) -> Result<Option<usize>, ProbeError> {
        let mut image = [0];
        self.0.read(gpu, &mut image)?;
        if image[0] == i32::MAX {
            return Ok(None);
        }
        self.0.write(gpu, &[i32::MAX])?;
        Ok(usize::try_from(image[0]).ok())
    }
}
