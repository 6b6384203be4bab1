//! Attention weights that exist only while they are looked at.
//!
//! What a batch leaves of its attention are queries, keys and two numbers a query. Weights are made of
//! them again, tile by tile, by whoever wants to know something of them.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

use std::sync::Arc;

use crate::buffer::{Buffer, expect};
use crate::dense::{FUSED_HEAD, binary_scale};
use crate::element::Element;
use crate::error::CudaError;
use crate::factors::Factors;
use crate::gpu::Gpu;
use crate::program::{Arg, CompiledProgram, KernelSource, THREADS, WARP, args};

pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "weights",
    text: concat!(
        include_str!("kernels/common.cu"),
        include_str!("kernels/tiles.cu"),
        include_str!("kernels/weights.cu")
    ),
    kernels: &[
        "measure_weights",
        "mutual_information",
        "mean_weights",
        "write_weights",
    ],
    ampere: &["measure_weights_64"],
};

/// Queries and keys of a tile, as in `weights.cu`.
const SIDE: usize = 64;

/// Numbers of partial sums, or of written weights, that exist at a time, at most: images beyond wait.
const MOST: usize = 64 << 20;

/// What looks at weights, compiled for one type of factors: apart from [`Dense`](crate::Dense), so that
/// nobody waits for it who asks for no weights.
#[derive(Debug)]
pub struct WeightKernels {
    gpu: Arc<Gpu>,
    element: Element,
    program: CompiledProgram,
}

impl WeightKernels {
    /// Compiles it.
    ///
    /// # Errors
    /// When NVRTC or the driver refuses.
    pub fn new(gpu: &Arc<Gpu>, element: Element) -> Result<Self, CudaError> {
        Ok(Self {
            gpu: Arc::clone(gpu),
            element,
            program: CompiledProgram::load(gpu, SOURCE, element)?,
        })
    }
}

/// The attention of every head of a batch.
#[derive(Clone, Copy, Debug)]
pub struct AttentionView<'a> {
    kernels: &'a WeightKernels,
    qkv: &'a Factors,
    norms: &'a Buffer<f32>,
    /// Batch, tokens, heads and the width of one.
    shape: [usize; 4],
}

impl<'a> AttentionView<'a> {
    /// The attention that [`Dense::attend`](crate::Dense::attend) or, of scores over the root of `d`,
    /// [`Dense::softmax`](crate::Dense::softmax) gave the norms of.
    ///
    /// # Shapes
    /// `qkv` `[batch, tokens, 3, heads, d]`, `norms` `[batch, heads, tokens, 2]`, with `shape`
    /// `[batch, tokens, heads, d]`.
    ///
    /// # Panics
    /// When an array is too small, or the factors are of another type than the kernels'.
    #[must_use]
    pub fn new(
        kernels: &'a WeightKernels,
        qkv: &'a Factors,
        norms: &'a Buffer<f32>,
        shape: [usize; 4],
    ) -> Self {
        let [batch, tokens, heads, d] = shape;
        assert_eq!(qkv.element, kernels.element, "factors of another type");
        expect("factors", qkv.len(), 3 * batch * tokens * heads * d);
        expect("norms", norms.len(), 2 * batch * heads * tokens);
        Self {
            kernels,
            qkv,
            norms,
            shape,
        }
    }

    /// Images, heads, and twice the tokens: the shape of all weights, rows being queries.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        let [batch, tokens, heads, _] = self.shape;
        [batch, heads, tokens, tokens]
    }

    /// The card.
    #[must_use]
    pub fn gpu(&self) -> &'a Arc<Gpu> {
        &self.kernels.gpu
    }

    /// All weights in the host's memory, `[batch, heads, tokens, tokens]`.
    ///
    /// # Errors
    /// When the driver refuses, earlier work failed, or memory does not suffice.
    pub fn download(&self) -> Result<Vec<f32>, CudaError> {
        self.download_by(MOST)
    }

    /// The same with so many weights at a time.
    fn download_by(&self, most: usize) -> Result<Vec<f32>, CudaError> {
        let [batch, tokens, heads, d] = self.shape;
        let gpu = self.gpu();
        let of_image = heads * tokens * tokens;
        let mut out = vec![0.0; batch * of_image];
        let together = (most / of_image.max(1)).clamp(1, batch.max(1));
        let written = Buffer::new(gpu, together * of_image)?;
        let tiles = tokens.div_ceil(SIDE);
        let parts = out.chunks_mut((together * of_image).max(1));
        for (part, first) in parts.zip((0..batch).step_by(together)) {
            let scale = binary_scale(d);
            let args = args![
                self.qkv, self.norms, &written, first, tokens, heads, d, scale
            ];
            let grid = [tiles, tiles, part.len() / of_image];
            // SAFETY: queries, keys and norms were checked when the view was made; there is room for
            // `together` images, and no more are written.
            unsafe {
                self.kernels
                    .program
                    .launch(gpu, "write_weights", grid, args)?;
            }
            written.read(gpu, part)?;
        }
        Ok(out)
    }

    /// The mean over heads of some queries' weights for all tokens, `[asked, tokens]`, in the host's
    /// memory; each is asked for by its image and its token.
    ///
    /// # Errors
    /// When the driver refuses, earlier work failed, or memory does not suffice.
    ///
    /// # Panics
    /// When there is no such image or token.
    pub fn mean_rows(&self, asked: &[[usize; 2]]) -> Result<Vec<f32>, CudaError> {
        let [batch, tokens, heads, d] = self.shape;
        let there = |&[image, token]: &[usize; 2]| image < batch && token < tokens;
        assert!(asked.iter().all(there), "queries of the batch");
        let gpu = self.gpu();
        let places: Vec<u32> = asked.iter().flatten().map(|&at| at as u32).collect();
        let places = Buffer::upload(gpu, &places)?;
        let rows = Buffer::new(gpu, asked.len() * tokens)?;
        let scale = binary_scale(d);
        let args = args![
            self.qkv, self.norms, &places, &rows, tokens, heads, d, scale
        ];
        let grid = [tokens.div_ceil((THREADS / WARP) as usize), asked.len(), 1];
        // SAFETY: queries, keys and norms were checked when the view was made, what is asked for above.
        unsafe {
            self.kernels
                .program
                .launch(gpu, "mean_weights", grid, args)?
        };
        rows.download(gpu)
    }
}

/// What is added up of the weights among patches of some layers, image by image.
///
/// Within a tile of 64 by 64 weights sums are f32, beyond it f64, each in one order; sums over images are
/// of whole units.
#[derive(Debug)]
pub struct WeightTally {
    patches: usize,
    units: f64,
    most: usize,
    /// Per layer, `[patches, patches]`.
    sums: Vec<Buffer<u64>>,
    /// Sums of tiles of the images at hand, by queries and by keys.
    rows: Buffer<f32>,
    columns: Buffer<f32>,
    numbers: Buffer<f64>,
}

impl WeightTally {
    /// Nothing added up yet of a number of layers over so many patches, of whose mean weights a one
    /// counts as `units`.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu, layers: usize, patches: usize, units: f64) -> Result<Self, CudaError> {
        let sums = (0..layers).map(|_| Buffer::zeros(gpu, patches * patches));
        Ok(Self {
            patches,
            units,
            most: MOST,
            sums: sums.collect::<Result<_, _>>()?,
            rows: Buffer::new(gpu, 0)?,
            columns: Buffer::new(gpu, 0)?,
            numbers: Buffer::new(gpu, 0)?,
        })
    }

    /// Adds a batch of a layer, which is told by its index. Patches are the last tokens.
    ///
    /// Gives the sum of each map's weights and the mutual information of its keys and queries in nats,
    /// which is not finite where there are no weights: `[batch, heads + 1]`, where the map after those of
    /// the heads is their mean.
    ///
    /// # Errors
    /// When the driver refuses, earlier work failed, or memory does not suffice.
    ///
    /// # Panics
    /// When there is no such layer, or there are fewer tokens than patches.
    pub fn add(
        &mut self,
        layer: usize,
        view: &AttentionView<'_>,
    ) -> Result<Vec<[f64; 2]>, CudaError> {
        let AttentionView {
            kernels,
            qkv,
            norms,
            ..
        } = *view;
        let (gpu, patches) = (view.gpu(), self.patches);
        let [batch, tokens, heads, d] = view.shape;
        assert!(patches <= tokens, "patches among the tokens");
        let (maps, tiles) = (heads + 1, patches.div_ceil(SIDE));
        let of_image = maps * tiles * patches;
        let together = (self.most / (3 * of_image).max(1)).clamp(1, batch.max(1));
        self.rows.reserve(gpu, 2 * together * of_image)?;
        self.columns.reserve(gpu, together * of_image)?;
        self.numbers.reserve(gpu, 2 * batch * maps)?;
        let Self {
            sums,
            rows,
            columns,
            numbers,
            units,
            ..
        } = self;
        let (units, sum, scale) = (*units, &sums[layer], binary_scale(d));
        let fused = d == FUSED_HEAD && kernels.program.has("measure_weights_64");
        let name = match fused {
            true => "measure_weights_64",
            false => "measure_weights",
        };
        for first in (0..batch).step_by(together) {
            let images = together.min(batch - first);
            let args = args![
                qkv, norms, &*rows, &*columns, sum, units, first, tokens, patches, heads, d, scale
            ];
            // SAFETY: queries, keys and norms were checked when the view was made; there is room for the
            // sums of `together` images, made above, and for those of the layer.
            unsafe {
                kernels
                    .program
                    .launch(gpu, name, [tiles, tiles, images], args)?;
            }
            let out = Arg::at(numbers, 2 * first * maps);
            let args = args![&*rows, &*columns, out, patches, tiles];
            // SAFETY: as above; there are two numbers for every map of the batch.
            unsafe {
                kernels
                    .program
                    .launch(gpu, "mutual_information", [maps, images, 1], args)?;
            }
        }
        let mut found = vec![[0.0; 2]; batch * maps];
        numbers.read(gpu, found.as_flattened_mut())?;
        Ok(found)
    }

    /// The sum over images of a layer's mean weights from patch to patch since the last time, in units,
    /// `[patches, patches]`; adding up begins anew.
    ///
    /// # Errors
    /// When the driver refuses, or earlier work failed.
    ///
    /// # Panics
    /// When there is no such layer.
    pub fn take(&mut self, gpu: &Gpu, layer: usize) -> Result<Vec<u64>, CudaError> {
        let sum = self.sums[layer].download(gpu)?;
        self.sums[layer].clear(gpu)?;
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images that have to wait for room give the same bytes as all together.
    #[test]
    fn a_batch_in_pieces_is_the_batch() {
        let gpu = match Gpu::open() {
            Ok(gpu) => gpu,
            Err(error) => {
                println!("not run: {error}");
                return;
            }
        };
        let shape = [3, 6, 2, 8];
        let kernels = WeightKernels::new(&gpu, Element::F32).expect("it compiles");
        let numbers: Vec<f32> = (0..3 * 6 * 3 * 2 * 8)
            .map(|i| ((i * 37) % 29) as f32 * 0.1 - 1.4)
            .collect();
        let qkv = Factors::upload(&gpu, Element::F32, &numbers).expect("it fits");
        let norms = Buffer::upload(&gpu, &[1.0, 0.2].repeat(3 * 2 * 6)).expect("it fits");
        let view = AttentionView::new(&kernels, &qkv, &norms, shape);
        let outcomes = [MOST, 2 * 3 * 3 * 5, 1].map(|most| {
            let mut tally = WeightTally::new(&gpu, 1, 5, 1024.0).expect("it fits");
            tally.most = most;
            let numbers = tally.add(0, &view).expect("it works");
            let sum = tally.take(&gpu, 0).expect("it works");
            (numbers, sum, view.download_by(most).expect("it works"))
        });
        assert_eq!(outcomes[0].2.len(), 3 * 2 * 6 * 6);
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
    }
}
