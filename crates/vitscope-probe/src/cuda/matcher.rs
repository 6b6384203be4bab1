//! Keypoints of photographs whose embeddings lie on the card, and where others have what is most like them.

use std::sync::Arc;

use vitscope_cuda::{
    Buffer, Gpu, HeldRows, KeypointPlaces, PhotoViews, RowsView, SearchKernels, SearchScratch,
    WantedPoints,
};

use super::{Flag, check};
use crate::{ProbeError, View};

/// What [`View::sample`] and [`TargetImage`](crate::TargetImage) are on the host, on the card.
///
/// All that is not a product has the operations of the host in their order, so that of the same products come
/// the same pixels, ties included. A product is a sum in the order of the numbers, each added with one rounding;
/// on the host its order is that of the library that multiplies. That a value is not finite is noticed when matches
/// are read.
#[derive(Debug)]
pub struct DeviceMatcher {
    kernels: SearchKernels,
    scratch: SearchScratch,
    /// The lowest slot that is not fit for use.
    bad: Flag,
}

/// The photographs of a batch, and which keypoints are looked for in which, on the card.
#[derive(Debug)]
pub struct DeviceTargets {
    views: PhotoViews,
    wanted: WantedPoints,
}

impl DeviceTargets {
    /// How many keypoints are looked for.
    #[must_use]
    pub fn wanted(&self) -> usize {
        self.wanted.len()
    }
}

/// That all views lie over one grid of patches, and which.
fn one_grid(views: &[&View]) -> Result<[usize; 2], ProbeError> {
    let grid = views.first().map_or((0, 0), |view| view.grid());
    for view in views {
        check("rows of patches", grid.0, view.grid().0)?;
        check("columns of patches", grid.1, view.grid().1)?;
    }
    Ok(grid.into())
}

impl DeviceMatcher {
    /// Compiles what is needed.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    pub fn new(gpu: &Arc<Gpu>) -> Result<Self, ProbeError> {
        Ok(Self {
            kernels: SearchKernels::new(gpu)?,
            scratch: SearchScratch::new(gpu)?,
            bad: Flag::new(gpu)?,
        })
    }

    /// Keypoints by photograph of the batch, row and column of the pixel. A pixel outside its image is moved to
    /// its edge.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] for a photograph without a view; [`ProbeError::Cuda`].
    pub fn places(
        &self,
        views: &[&View],
        points: &[[usize; 3]],
    ) -> Result<KeypointPlaces, ProbeError> {
        let place = |&[photo, row, column]: &[usize; 3]| {
            let view = views.get(photo).ok_or(ProbeError::Shape {
                what: "photographs with a view",
                expected: photo + 1,
                got: views.len(),
            })?;
            let ([a, b, c, d], shares) = view.around(row, column);
            Ok(([photo, a, b, c, d], shares))
        };
        let places = points.iter().map(place);
        let places = places.collect::<Result<Vec<_>, ProbeError>>()?;
        Ok(KeypointPlaces::upload(self.kernels.gpu(), &places)?)
    }

    /// What is looked for in a batch of photographs: of every search the photograph, in ascending order, and the
    /// number of the keypoint among those that were sampled.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Shape`] when the views are not all over one grid, or a photograph has no view;
    /// [`ProbeError::Cuda`].
    ///
    /// # Panics
    ///
    /// When the photographs are not in ascending order.
    pub fn targets(
        &self,
        views: &[&View],
        wanted: &[[usize; 2]],
    ) -> Result<DeviceTargets, ProbeError> {
        let grid = one_grid(views)?;
        // Nothing is made of photographs in which nothing is looked for, nor is anything said of them.
        let axes = views.iter().enumerate().map(|(photo, view)| {
            let found = wanted.binary_search_by_key(&photo, |&[photo, _]| photo);
            found.map_or_else(|_| Ok(Default::default()), |_| view.axes())
        });
        let axes = axes.collect::<Result<Vec<_>, ProbeError>>()?;
        if let Some(&[photo, _]) = wanted.last()
            && photo >= views.len()
        {
            return Err(ProbeError::Shape {
                what: "photographs with a view",
                expected: photo + 1,
                got: views.len(),
            });
        }
        let gpu = self.kernels.gpu();
        Ok(DeviceTargets {
            views: PhotoViews::upload(gpu, grid, &axes)?,
            wanted: WantedPoints::upload(gpu, wanted, grid[0] * grid[1])?,
        })
    }

    /// Queues sampling keypoints of a slot, which become rows of `sources` from `first` on: unit vectors, or zeros.
    ///
    /// # Shapes
    ///
    /// `rows`: `[photos, N, D]`; `sources`: `[any, D]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    ///
    /// # Panics
    ///
    /// When there is no room for them, or they are of other photographs.
    pub fn sample(
        &mut self,
        rows: &RowsView<'_>,
        places: &KeypointPlaces,
        (sources, first): (&mut Buffer<f64>, usize),
        slot: usize,
    ) -> Result<(), ProbeError> {
        let flag = (slot, &mut self.bad.0);
        Ok(self.kernels.sample(rows, places, (sources, first), flag)?)
    }

    /// Queues copying the rows of a slot to where they stay.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`]; then nothing is held.
    pub fn hold(&self, rows: &RowsView<'_>, held: &mut HeldRows) -> Result<(), ProbeError> {
        Ok(self.kernels.hold(rows, held)?)
    }

    /// Queues looking for keypoints in the photographs of a batch; of every search column and row of its match
    /// become those of `found` from search `first` on.
    ///
    /// # Shapes
    ///
    /// `rows`: `[photos, N, D]`; `sources`: `[any, D]`; `found`: `[any, 2]`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    ///
    /// # Panics
    ///
    /// When there is no room for the matches, or the targets are other photographs.
    pub fn find(
        &mut self,
        rows: &RowsView<'_>,
        targets: &DeviceTargets,
        sources: &Buffer<f64>,
        (found, first): (&mut Buffer<u16>, usize),
        slot: usize,
    ) -> Result<(), ProbeError> {
        let DeviceTargets { views, wanted } = targets;
        self.kernels.find(
            rows,
            (views, wanted),
            sources,
            &mut self.scratch,
            (found, first),
            (slot, &mut self.bad.0),
        )?;
        Ok(())
    }

    /// Waits for what was queued and copies matches from the front of `found`, column and row each. Gives, in place
    /// of them, the lowest slot in which anything that was sampled or searched since the last time is not finite.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Cuda`].
    ///
    /// # Panics
    ///
    /// When there are fewer matches than asked for.
    pub fn read(
        &mut self,
        found: &Buffer<u16>,
        matches: &mut [[u16; 2]],
    ) -> Result<Option<usize>, ProbeError> {
        let gpu = self.kernels.gpu();
        let refused = self.bad.take(gpu)?;
        if refused.is_none() {
            found.read(gpu, matches.as_flattened_mut())?;
        }
        Ok(refused)
    }
}
