//! Keypoints of photographs, and the pixels of others that are most like them.
//!
//! Embeddings at keypoints are sampled where they lie, multiplied with the patches of photographs, and the best
//! pixel is found by bounds: what `TargetImage` of vitscope-probe does on the host. To the host come matches.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

mod asked;

use std::sync::Arc;

use crate::buffer::{Buffer, expect};
use crate::element::Element;
use crate::error::CudaError;
use crate::factors::Factors;
use crate::gpu::Gpu;
use crate::program::{Arg, CompiledProgram, KernelSource, THREADS, WARP, args};
use crate::rows::RowsView;
use asked::narrow;
pub use asked::{AxisCells, KeypointPlaces, PhotoViews, WantedPoints};

pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "search",
    text: concat!(
        include_str!("kernels/common.cu"),
        include_str!("kernels/rows.cu"),
        include_str!("kernels/keypoints.cu"),
        include_str!("kernels/photos.cu"),
        include_str!("kernels/search.cu")
    ),
    kernels: &[
        "sample_points",
        "hold_rows",
        "neighbor_products",
        "cell_ratios",
        "point_products",
        "find_matches",
    ],
    ampere: &[],
};

/// Lanes that add up a row, patches of a tile, and numbers of a patch and its neighbors, as in `keypoints.cu` and
/// `photos.cu`.
const LANES: usize = 16;
const TILE_PATCHES: usize = 128;
const NEAR: usize = 5;

/// Rows that stay on the card when the batch that they were made in is gone, side by side.
#[derive(Debug)]
pub struct HeldRows {
    gpu: Arc<Gpu>,
    numbers: Option<Factors>,
    shape: [usize; 3],
}

impl HeldRows {
    /// None yet.
    #[must_use]
    pub fn new(gpu: &Arc<Gpu>) -> Self {
        Self {
            gpu: Arc::clone(gpu),
            numbers: None,
            shape: [0; 3],
        }
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.numbers.as_ref().map_or(0, |held| held.bytes.len())
    }

    /// Bytes that will be taken once these rows are held.
    #[must_use]
    pub fn bytes_with(&self, rows: &RowsView<'_>) -> usize {
        let needed = rows.shape().iter().product::<usize>() * rows.element().size();
        self.bytes().max(needed)
    }

    /// What is held.
    ///
    /// # Panics
    /// When nothing is.
    #[must_use]
    pub fn view(&self) -> RowsView<'_> {
        let [_, patches, width] = self.shape;
        let numbers = self.numbers.as_ref().expect("rows are held");
        let strides = [patches * width, width];
        RowsView::factors(&self.gpu, numbers, 0, self.shape, strides)
    }
}

/// Arrays that a search uses again from one slot to the next.
#[derive(Debug)]
pub struct SearchScratch {
    near: Buffer<f64>,
    inverse: Buffer<f64>,
    ratios: Buffer<f64>,
    products: Buffer<f64>,
}

impl SearchScratch {
    /// Arrays that grow when they are needed.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        Ok(Self {
            near: Buffer::new(gpu, 0)?,
            inverse: Buffer::new(gpu, 0)?,
            ratios: Buffer::new(gpu, 0)?,
            products: Buffer::new(gpu, 0)?,
        })
    }
}

/// What samples keypoints and looks for them, compiled.
#[derive(Debug)]
pub struct SearchKernels {
    gpu: Arc<Gpu>,
    program: CompiledProgram,
}

impl SearchKernels {
    /// Compiles it.
    ///
    /// # Errors
    /// When NVRTC or the driver refuses.
    pub fn new(gpu: &Arc<Gpu>) -> Result<Self, CudaError> {
        Ok(Self {
            gpu: Arc::clone(gpu),
            // It reads rows of every type.
            program: CompiledProgram::load(gpu, SOURCE, Element::F32)?,
        })
    }

    /// The card.
    #[must_use]
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Samples the embeddings at some pixels as unit vectors; all zeros where they are zero. They become the rows
    /// of `sources` from `first` on. `bad` becomes `slot` where one is not finite, if it is not lower already.
    ///
    /// # Shapes
    /// `rows` `[photos, patches, width]`, `sources` `[any, width]`, `bad` `[1]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small, or the places are of other photographs.
    pub fn sample(
        &self,
        rows: &RowsView<'_>,
        points: &KeypointPlaces,
        (sources, first): (&mut Buffer<f64>, usize),
        (slot, bad): (usize, &mut Buffer<i32>),
    ) -> Result<(), CudaError> {
        let [photos, patches, width] = rows.shape();
        let count = points.len();
        assert!(
            points.photos <= photos && points.patches <= patches,
            "places among the patches"
        );
        narrow(photos * patches);
        expect("sources", sources.len(), (first + count) * width);
        expect("the flag", bad.len(), 1);
        let out = Arg::at(sources, first * width);
        let rest = args![
            &points.places,
            &points.shares,
            out,
            &*bad,
            count,
            patches,
            width,
            slot
        ];
        let together = THREADS as usize / LANES;
        // SAFETY: the rows have all patches that the places name, and the sources room for them, as was checked
        // above; the view lies inside its array.
        unsafe {
            rows.launch(
                &self.program,
                "sample_points",
                [count.div_ceil(together), 1, 1],
                rest,
            )
        }
    }

    /// Copies rows to where they stay.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice; then nothing is held.
    pub fn hold(&self, rows: &RowsView<'_>, held: &mut HeldRows) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        let (total, element) = (images * patches, rows.element());
        let mut numbers = match held.numbers.take() {
            Some(numbers) if numbers.element == element => numbers,
            _ => Factors::new(&self.gpu, element, 0)?,
        };
        numbers.reserve(&self.gpu, total * width)?;
        narrow(total);
        let numbers = held.numbers.insert(numbers);
        held.shape = [images, patches, width];
        let rest = args![&*numbers, images, patches, width];
        let warps = (THREADS / WARP) as usize;
        // SAFETY: there is room for every row, made above, and the view lies inside its array.
        unsafe {
            rows.launch(
                &self.program,
                "hold_rows",
                [total.div_ceil(warps), 1, 1],
                rest,
            )
        }
    }

    /// Looks for keypoints in photographs. Of every search, `found` gets column and row of the pixel that is most
    /// like it, the first in reading order on a tie; searches are written from `first` on. `bad` becomes `slot`
    /// where a patch that is looked at is not finite, if it is not lower already.
    ///
    /// # Shapes
    /// `rows` `[photos, patches, width]`, `sources` `[any, width]` of [`sample`](Self::sample), `found` `[any, 2]`,
    /// `bad` `[1]`.
    ///
    /// # Errors
    /// When the driver refuses, or memory does not suffice.
    ///
    /// # Panics
    /// When an array is too small, or the views are of other photographs.
    pub fn find(
        &self,
        rows: &RowsView<'_>,
        (views, wanted): (&PhotoViews, &WantedPoints),
        sources: &Buffer<f64>,
        scratch: &mut SearchScratch,
        (found, first): (&mut Buffer<u16>, usize),
        (slot, bad): (usize, &mut Buffer<i32>),
    ) -> Result<(), CudaError> {
        let [photos, patches, width] = rows.shape();
        let [grid_y, grid_x] = views.grid;
        assert_eq!(patches, grid_y * grid_x, "patches of the photographs");
        assert!(
            views.with_cells.len() == photos,
            "as many photographs as views"
        );
        let searched = |&photo: &usize| views.with_cells.get(photo) == Some(&true);
        assert!(
            wanted.photos.iter().all(searched),
            "views of what is searched"
        );
        narrow(photos * patches);
        expect("sources", sources.len(), wanted.points * width);
        expect("matches", found.len(), 2 * (first + wanted.count));
        self.prepare(rows, views, scratch, (slot, bad))?;
        for [searches, tiles] in &wanted.parts {
            let count = searches.len();
            scratch.products.reserve(&self.gpu, count * patches)?;
            let rest = args![
                Arg::at(&wanted.tiles, 3 * tiles.start),
                &wanted.searches,
                sources,
                &scratch.products,
                searches.start,
                patches,
                width
            ];
            let grid = [tiles.len(), patches.div_ceil(TILE_PATCHES), 1];
            // SAFETY: searches name photographs and keypoints that are there, and there is room for the products
            // of this part's, as was checked and made above; the view lies inside its array.
            unsafe { rows.launch(&self.program, "point_products", grid, rest)? };
            let rest = args![
                &views.heads,
                &views.cells,
                &views.shares,
                Arg::at(&wanted.searches, 2 * searches.start),
                &scratch.near,
                &scratch.inverse,
                &scratch.ratios,
                &scratch.products,
                Arg::at(found, 2 * (first + searches.start)),
                count,
                patches,
                width,
                grid_x,
                views.most
            ];
            let warps = (THREADS / WARP) as usize;
            // SAFETY: as above; cells name patches and pixels of their photographs, which was checked when the
            // views were made, and `found` has room for this part's searches.
            unsafe {
                rows.launch(
                    &self.program,
                    "find_matches",
                    [count.div_ceil(warps), 1, 1],
                    rest,
                )?
            };
        }
        Ok(())
    }

    /// What is known of photographs before anything is looked for in them.
    fn prepare(
        &self,
        rows: &RowsView<'_>,
        views: &PhotoViews,
        scratch: &mut SearchScratch,
        (slot, bad): (usize, &mut Buffer<i32>),
    ) -> Result<(), CudaError> {
        let [photos, patches, width] = rows.shape();
        let grid_x = views.grid[1];
        expect("the flag", bad.len(), 1);
        scratch.near.reserve(&self.gpu, photos * patches * NEAR)?;
        scratch.inverse.reserve(&self.gpu, photos * patches)?;
        scratch.ratios.reserve(&self.gpu, photos * views.most)?;
        let rest = args![
            &scratch.near,
            &scratch.inverse,
            photos,
            patches,
            width,
            grid_x
        ];
        let blocks = (photos * patches).div_ceil(THREADS as usize / LANES);
        // SAFETY: there is room for the numbers of every patch, made above, and the view lies inside its array.
        unsafe { rows.launch(&self.program, "neighbor_products", [blocks, 1, 1], rest)? };
        let args = args![
            &views.heads,
            &views.cells,
            &views.shares,
            &scratch.near,
            &scratch.ratios,
            &*bad,
            patches,
            grid_x,
            views.most,
            slot
        ];
        let warps = (THREADS / WARP) as usize;
        let grid = [views.most.div_ceil(warps), photos, 1];
        // SAFETY: there is room for every cell, made above; cells name patches and pixels of their photographs,
        // which was checked when the views were made.
        unsafe { self.program.launch(&self.gpu, "cell_ratios", grid, args) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches that have to wait for room give the same bytes as all together.
    #[test]
    fn searches_in_pieces_are_all_searches() {
        let gpu = match Gpu::open() {
            Ok(gpu) => gpu,
            Err(error) => {
                println!("not run: {error}");
                return;
            }
        };
        let (photos, patches, width, points) = (3, 4, 5, 40);
        let numbers: Vec<f32> = (0..photos * patches * width)
            .map(|i| ((i * 37) % 29) as f32 * 0.1 - 1.4)
            .collect();
        let numbers = Buffer::upload(&gpu, &numbers).expect("it fits");
        let strides = [patches * width, width];
        let rows = RowsView::new(&gpu, &numbers, 0, [photos, patches, width], strides);
        let sources: Vec<f64> = (0..points * width)
            .map(|i| f64::from(((i * 53) % 31) as u8) * 0.1 - 1.5)
            .collect();
        let sources = Buffer::upload(&gpu, &sources).expect("it fits");
        let axis = AxisCells {
            cells: vec![[0, 0, 0, 2], [0, 1, 2, 6], [1, 1, 6, 8]],
            shares: vec![0.0, 0.0, 0.125, 0.375, 0.625, 0.875, 0.0, 0.0],
        };
        let views = vec![[axis.clone(), axis]; photos];
        let views = PhotoViews::upload(&gpu, [2, 2], &views).expect("it fits");
        let wanted: Vec<[usize; 2]> = (0..photos)
            .flat_map(|photo| (0..points).map(move |point| [photo, point]))
            .collect();
        let kernels = SearchKernels::new(&gpu).expect("it compiles");
        let outcomes = [1 << 20, 70 * patches, 1].map(|most| {
            let wanted = WantedPoints::upload_by(&gpu, &wanted, patches, most).expect("it fits");
            let mut found = Buffer::new(&gpu, 2 * wanted.len()).expect("it fits");
            let mut bad = Buffer::upload(&gpu, &[i32::MAX]).expect("it fits");
            let mut scratch = SearchScratch::new(&gpu).expect("it fits");
            let (to, flag) = ((&mut found, 0), (0, &mut bad));
            kernels
                .find(&rows, (&views, &wanted), &sources, &mut scratch, to, flag)
                .expect("it works");
            (wanted.parts.len(), found.download(&gpu).expect("it works"))
        });
        assert_eq!(outcomes.each_ref().map(|outcome| outcome.0), [1, 3, 6]);
        assert!(outcomes.iter().all(|outcome| outcome.1 == outcomes[0].1));
        assert!(outcomes[0].1.iter().any(|&at| at > 0));
    }
}
