//! The random numbers of a resampling: shifts of every image, and how often a sample draws it.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{MeasureError, random};

/// The random numbers of a resampling, to be shared by all slots of a run.
#[derive(Debug)]
pub struct ResamplingPlan {
    pub(crate) grid: (usize, usize),
    pub(crate) images: usize,
    pub(crate) replicates: usize,
    pub(crate) seed: u64,
    /// How often replicate `r` draws image `i`: `[images, replicates]`.
    draws: Vec<u16>,
}

impl ResamplingPlan {
    /// A plan for `images` images on a grid of (rows, columns) patches, with `replicates` null maps and as
    /// many bootstrap samples.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`] with fewer than two replicates or an empty grid.
    pub fn new(
        grid: (usize, usize),
        images: usize,
        replicates: usize,
        seed: u64,
    ) -> Result<Self, MeasureError> {
        if replicates < 2 {
            return Err(MeasureError::Shape {
                what: "number of replicates",
                expected: 2,
                got: replicates,
            });
        }
        if grid.0 * grid.1 == 0 {
            return Err(MeasureError::Shape {
                what: "patches of an image",
                expected: 1,
                got: 0,
            });
        }
        let mut draws = vec![0_u16; images * replicates];
        for replicate in 0..replicates {
            // Streams 0.. belong to the images' shifts, the upper half to the bootstrap.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream((1 << 63) | replicate as u64);
            for _ in 0..images {
                let image = random::index(&mut rng, images);
                let draw = &mut draws[image * replicates + replicate];
                *draw = draw.saturating_add(1);
            }
        }
        Ok(Self {
            grid,
            images,
            replicates,
            seed,
            draws,
        })
    }

    /// Images of the evaluation set.
    #[must_use]
    pub fn images(&self) -> usize {
        self.images
    }

    /// Replicates of each kind.
    #[must_use]
    pub fn replicates(&self) -> usize {
        self.replicates
    }

    /// The shift (rows, columns) of an image in each replicate.
    #[must_use]
    pub fn shifts(&self, image: usize) -> Vec<(usize, usize)> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(image as u64);
        (0..self.replicates)
            .map(|_| {
                (
                    random::index(&mut rng, self.grid.0),
                    random::index(&mut rng, self.grid.1),
                )
            })
            .collect()
    }

    /// How often each sample of the bootstrap draws an image.
    #[must_use]
    pub fn draws(&self, image: usize) -> &[u16] {
        &self.draws[image * self.replicates..(image + 1) * self.replicates]
    }
}
