//! What lies between the products of a transformer, over whole batches.
#![expect(
    unsafe_code,
    reason = "kernels are started here; every size is checked first"
)]

use std::sync::Arc;

use crate::buffer::{Buffer, expect};
use crate::element::Element;
use crate::error::CudaError;
use crate::factors::Factors;
use crate::gpu::Gpu;
use crate::program::{Arg, CompiledProgram, KernelSource, args};

pub(crate) const SOURCE: KernelSource = KernelSource {
    name: "dense",
    text: concat!(
        include_str!("kernels/common.cu"),
        include_str!("kernels/tiles.cu"),
        include_str!("kernels/dense.cu"),
        include_str!("kernels/attention.cu")
    ),
    kernels: &[
        "patchify",
        "patchify_bytes",
        "join",
        "layer_norm",
        "layer_norm_any",
        "rotate",
        "split_heads",
        "softmax",
        "merge_heads",
        "gelu",
        "quick_gelu",
        "swiglu",
    ],
    ampere: &["attend_64"],
};

/// The width of heads whose attention never writes its scores.
pub(crate) const FUSED_HEAD: usize = 64;

/// Queries that a block of that attention takes.
const QUERY_TILE: usize = 64;

/// The activation of a feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// The exact (erf) GELU.
    Gelu,
    /// `x sigmoid(1.702 x)`.
    QuickGelu,
    /// `silu(gate) * up` of rows `[gate, up]`.
    SwiGlu,
}

/// The operations, compiled for one type of factors.
#[derive(Debug)]
pub struct Dense {
    gpu: Arc<Gpu>,
    element: Element,
    program: CompiledProgram,
}

/// What scores of heads of `d` numbers are multiplied with where powers of two take the place of those of e.
pub(crate) fn binary_scale(d: usize) -> f32 {
    std::f32::consts::LOG2_E / (d as f32).sqrt()
}

impl Dense {
    /// Compiles the operations.
    ///
    /// # Errors
    /// When NVRTC or the driver refuses, or the card has no products of this type.
    pub fn new(gpu: &Arc<Gpu>, element: Element) -> Result<Self, CudaError> {
        if element == Element::Bf16 && gpu.capability().0 < 8 {
            return Err(CudaError::NoBf16 {
                card: gpu.name().to_owned(),
            });
        }
        Ok(Self {
            gpu: Arc::clone(gpu),
            element,
            program: CompiledProgram::load(gpu, SOURCE, element)?,
        })
    }

    /// The card.
    #[must_use]
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// The type of factors.
    #[must_use]
    pub fn element(&self) -> Element {
        self.element
    }

    fn check(&self, factors: &Factors, needed: usize) {
        assert_eq!(factors.element, self.element, "factors of another type");
        expect("factors", factors.len(), needed);
    }

    /// Cuts images into patches, flattened channel-major, patches row by row. What lies between two
    /// rows of the result is set to zero.
    ///
    /// # Shapes
    /// `images` `[batch, 3, height, width]`, `out` `[batch * patches, 3 * patch * patch]`, its rows
    /// `stride` apart.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn patchify(
        &self,
        images: &Buffer<f32>,
        [batch, height, width]: [usize; 3],
        patch: usize,
        out: &mut Factors,
        stride: usize,
    ) -> Result<(), CudaError> {
        assert!(height % patch == 0 && width % patch == 0, "whole patches");
        assert!(stride >= 3 * patch * patch, "rows overlap");
        let patches = batch * (height / patch) * (width / patch);
        expect("images", images.len(), batch * 3 * height * width);
        self.check(out, patches * stride);
        let args = args![images, &*out, height, width, patch, stride];
        // SAFETY: both arrays have the sizes that the kernel goes through, checked above.
        unsafe { self.program.rows(&self.gpu, "patchify", patches, args) }
    }

    /// The same of RGB bytes: `levels` has the number that each of the 256 values of a channel stands
    /// for.
    ///
    /// # Shapes
    /// `images` `[batch, height, width, 3]`, `levels` `[3, 256]`, `out` as for [`Self::patchify`].
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn patchify_bytes(
        &self,
        (images, levels): (&Buffer<u8>, &Buffer<f32>),
        [batch, height, width]: [usize; 3],
        patch: usize,
        out: &mut Factors,
        stride: usize,
    ) -> Result<(), CudaError> {
        assert!(height % patch == 0 && width % patch == 0, "whole patches");
        assert!(stride >= 3 * patch * patch, "rows overlap");
        let patches = batch * (height / patch) * (width / patch);
        expect("images", images.len(), batch * 3 * height * width);
        expect("levels", levels.len(), 3 * 256);
        self.check(out, patches * stride);
        let args = args![images, levels, &*out, height, width, patch, stride];
        // SAFETY: as above; a byte is below 256.
        unsafe {
            self.program
                .rows(&self.gpu, "patchify_bytes", patches, args)
        }
    }

    /// Puts prefix rows before `y + table`.
    ///
    /// # Shapes
    /// `y` `[batch, tokens - prefix, width]`, `table` `[tokens - prefix, width]`, `prefix_rows`
    /// `[prefix, width]`, `x` `[batch, tokens, width]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn join(
        &self,
        y: &Buffer<f32>,
        table: Option<&Buffer<f32>>,
        prefix_rows: &Buffer<f32>,
        [batch, tokens, width]: [usize; 3],
        x: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        let prefix = prefix_rows.len() / width;
        let patches = tokens - prefix;
        let total = batch * tokens * width;
        expect("products", y.len(), batch * patches * width);
        expect("the rows", x.len(), total);
        assert!(
            table.is_none_or(|table| table.len() >= patches * width),
            "a position per patch"
        );
        let table = Arg::maybe(table);
        let args = args![y, table, prefix_rows, &*x, tokens, prefix, width];
        // SAFETY: every array has the size that the kernel goes through, checked above.
        unsafe { self.program.rows(&self.gpu, "join", batch * tokens, args) }
    }

    /// LayerNorm of every row, as factors of a product. Rows of the result are `stride` apart: what
    /// follows a row are two ones, for a bias among the weights, and zeros.
    ///
    /// # Shapes
    /// `x` `[rows, width]`, `out` `[rows, stride]`, `weight` and `bias` `[width]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn layer_norm(
        &self,
        x: &Buffer<f32>,
        pair: [&Buffer<f32>; 2],
        eps: f64,
        rows: usize,
        (out, stride): (&mut Factors, usize),
    ) -> Result<(), CudaError> {
        let width = pair[0].len();
        assert!((width..=width + 32).contains(&stride), "a row and a little");
        self.check(out, rows * stride);
        let out = Arg::from(&*out);
        self.normalize(x, pair, eps, [rows, stride], (out, false))
    }

    /// LayerNorm of every row in f32.
    ///
    /// # Shapes
    /// As [`Self::layer_norm`].
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn layer_norm_float(
        &self,
        x: &Buffer<f32>,
        pair: [&Buffer<f32>; 2],
        eps: f64,
        rows: usize,
        out: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        expect("the result", out.len(), rows * pair[0].len());
        let shape = [rows, pair[0].len()];
        self.normalize(x, pair, eps, shape, (Arg::from(&*out), true))
    }

    fn normalize(
        &self,
        x: &Buffer<f32>,
        [weight, bias]: [&Buffer<f32>; 2],
        eps: f64,
        [rows, stride]: [usize; 2],
        (out, floats): (Arg, bool),
    ) -> Result<(), CudaError> {
        let width = weight.len();
        expect("rows", x.len(), rows * width);
        expect("bias", bias.len(), width);
        let name = match width.is_multiple_of(4) && stride.is_multiple_of(4) && width <= 1024 {
            true => "layer_norm",
            false => "layer_norm_any",
        };
        let args = args![x, weight, bias, out, rows, width, stride, eps, floats];
        // SAFETY: every array has the size that the kernel goes through, checked above and by the
        // two callers.
        unsafe { self.program.warps(&self.gpu, name, rows, args) }
    }

    /// Rotates queries and keys of the patches, in place.
    ///
    /// # Shapes
    /// `qkv` `[batch, tokens, 3 * heads * d]`, both angles `[tokens - prefix, d]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn rotate(
        &self,
        qkv: &mut Factors,
        [cosines, sines]: [&Buffer<f32>; 2],
        [batch, tokens, heads, d]: [usize; 4],
        prefix: usize,
    ) -> Result<(), CudaError> {
        assert!(d.is_multiple_of(2), "two halves of a head");
        let patches = tokens - prefix;
        self.check(qkv, batch * tokens * 3 * heads * d);
        expect("cosines", cosines.len(), patches * d);
        expect("sines", sines.len(), patches * d);
        let args = args![&*qkv, cosines, sines, tokens, prefix, heads, d];
        // SAFETY: every array has the size that the kernel goes through, checked above.
        unsafe {
            self.program
                .rows(&self.gpu, "rotate", batch * patches, args)
        }
    }

    /// Attention of every head without its scores ever being written, where there is a kernel for
    /// it (heads of 64 numbers; those of 16 bits need Ampere); tells whether there was. Where `norms` are
    /// given, each query's largest score and one over its sum go there: an
    /// [`AttentionView`](crate::AttentionView) makes weights of them again.
    ///
    /// # Shapes
    /// `qkv` `[batch, tokens, 3, heads, d]`, `out` `[batch, tokens, heads, d]`, `norms`
    /// `[batch, heads, tokens, 2]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn attend(
        &self,
        qkv: &Factors,
        [batch, tokens, heads, d]: [usize; 4],
        out: &mut Factors,
        norms: Option<&mut Buffer<f32>>,
    ) -> Result<bool, CudaError> {
        if d != FUSED_HEAD || !self.program.has("attend_64") || batch == 0 || tokens == 0 {
            return Ok(false);
        }
        let total = batch * tokens * heads * d;
        self.check(qkv, 3 * total);
        self.check(out, total);
        let norms = norms.map(|norms| &*norms);
        if let Some(norms) = norms {
            expect("norms", norms.len(), 2 * batch * heads * tokens);
        }
        let args = args![
            qkv,
            &*out,
            Arg::maybe(norms),
            tokens,
            heads,
            binary_scale(d)
        ];
        let grid = [tokens.div_ceil(QUERY_TILE), heads, batch];
        // SAFETY: the arrays have the sizes that the kernel goes through, checked above; rows begin
        // at multiples of 16 bytes, as a head has 128.
        unsafe { self.program.launch(&self.gpu, "attend_64", grid, args) }?;
        Ok(true)
    }

    /// Takes queries, keys and values apart, head by head.
    ///
    /// # Shapes
    /// `qkv` `[batch, tokens, 3, heads, d]`, `out` `[3, batch, heads, tokens, d]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn split_heads(
        &self,
        qkv: &Factors,
        [batch, tokens, heads, d]: [usize; 4],
        out: &mut Factors,
    ) -> Result<(), CudaError> {
        let total = batch * tokens * 3 * heads * d;
        self.check(qkv, total);
        self.check(out, total);
        let args = args![qkv, &*out, batch, tokens, heads, d];
        // SAFETY: both arrays have the sizes that the kernel goes through, checked above.
        unsafe {
            self.program
                .rows(&self.gpu, "split_heads", batch * tokens, args)
        }
    }

    /// Softmax over the first `width` numbers of every row of `scale * scores`, as factors. Where `norms`
    /// are given, those of each row go there from row `first` on, as [`Self::attend`] has them.
    ///
    /// # Shapes
    /// `scores` and `out` `[rows, stride]`, `norms` `[first + rows, 2]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn softmax(
        &self,
        scores: &Buffer<f32>,
        [rows, width, stride]: [usize; 3],
        scale: f32,
        out: &mut Factors,
        norms: Option<(&mut Buffer<f32>, usize)>,
    ) -> Result<(), CudaError> {
        assert!(width <= stride, "rows overlap");
        expect("scores", scores.len(), rows * stride);
        self.check(out, rows * stride);
        let norms = norms.map_or(Arg::NONE, |(norms, first)| {
            expect("norms", norms.len(), 2 * (first + rows));
            Arg::at(norms, 2 * first)
        });
        let args = args![scores, &*out, norms, rows, width, stride, scale];
        // SAFETY: the arrays have the sizes that the kernel goes through, checked above.
        unsafe { self.program.warps(&self.gpu, "softmax", rows, args) }
    }

    /// Puts the heads of every row side by side, as factors.
    ///
    /// # Shapes
    /// `mixed` `[batch, heads, tokens, d]`, `out` `[batch, tokens, heads, d]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn merge_heads(
        &self,
        mixed: &Buffer<f32>,
        [batch, tokens, heads, d]: [usize; 4],
        out: &mut Factors,
    ) -> Result<(), CudaError> {
        let total = batch * tokens * heads * d;
        expect("heads", mixed.len(), total);
        self.check(out, total);
        let args = args![mixed, &*out, tokens, heads, d];
        // SAFETY: both arrays have the sizes that the kernel goes through, checked above.
        unsafe {
            self.program
                .rows(&self.gpu, "merge_heads", batch * tokens, args)
        }
    }

    /// The activation of every row: in place, but for [`Activation::SwiGlu`], which reads from `y` and
    /// writes to `gated`. Gives the array that holds the result.
    ///
    /// # Shapes
    /// `y` `[rows, width]`; for [`Activation::SwiGlu`] `[rows, 2, width]`, and `gated` `[rows, width]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn activate<'a>(
        &self,
        activation: Activation,
        y: &'a mut Factors,
        gated: &'a mut Factors,
        [rows, width]: [usize; 2],
    ) -> Result<&'a Factors, CudaError> {
        let total = rows * width;
        let name = match activation {
            Activation::Gelu => "gelu",
            Activation::QuickGelu => "quick_gelu",
            Activation::SwiGlu => {
                self.check(y, 2 * total);
                self.check(gated, total);
                let args = args![&*y, &*gated, width];
                // SAFETY: both arrays have the sizes that the kernel goes through, checked above.
                unsafe { self.program.rows(&self.gpu, "swiglu", rows, args) }?;
                return Ok(gated);
            }
        };
        self.check(y, total);
        let args = args![&*y, total];
        let at_a_time = 32 / self.element.size();
        // SAFETY: the array has `total` numbers, checked above, and a thread takes 32 bytes of them at most.
        unsafe {
            self.program
                .each(&self.gpu, name, total.div_ceil(at_a_time), args)
        }?;
        Ok(y)
    }
}
