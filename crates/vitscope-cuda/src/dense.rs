//! What lies between the products of a transformer, over whole batches.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::element::{Element, Factors};
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::program::{Program, Source, args};

pub(crate) const SOURCE: Source = Source {
    name: "dense",
    text: include_str!("kernels/dense.cu"),
    kernels: &[
        "patchify",
        "join",
        "layer_norm",
        "layer_norm_float",
        "rotate",
        "split_heads",
        "softmax",
        "unpad",
        "merge_heads",
        "add_branch",
        "gelu",
        "quick_gelu",
        "swiglu",
    ],
};

/// The activation of a feed-forward part, each with its bias added before.
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
    program: Program,
}

fn expect(what: &str, found: usize, needed: usize) {
    assert!(found >= needed, "{what}: room for {found}, {needed} needed");
}

impl Dense {
    /// Compiles the operations.
    ///
    /// # Errors
    /// When NVRTC or the driver refuses.
    pub fn new(gpu: &Arc<Gpu>, element: Element) -> Result<Self, CudaError> {
        Ok(Self {
            gpu: Arc::clone(gpu),
            element,
            program: Program::load(gpu, SOURCE, element)?,
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
        self.program.rows(&self.gpu, "patchify", patches, args)
    }

    /// Puts prefix rows before `y + bias + table`.
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
        bias: Option<&Buffer<f32>>,
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
            bias.is_none_or(|bias| bias.len() >= width),
            "a bias per column"
        );
        assert!(
            table.is_none_or(|table| table.len() >= patches * width),
            "a position per patch"
        );
        use crate::program::Arg;
        let (bias, table) = (Arg::maybe(bias), Arg::maybe(table));
        let args = args![y, bias, table, prefix_rows, &*x, tokens, prefix, width];
        self.program.rows(&self.gpu, "join", batch * tokens, args)
    }

    /// LayerNorm of every row, as factors of a product.
    ///
    /// # Shapes
    /// `x` and `out` `[rows, width]`, `weight` and `bias` `[width]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn layer_norm(
        &self,
        x: &Buffer<f32>,
        [weight, bias]: [&Buffer<f32>; 2],
        eps: f64,
        rows: usize,
        out: &mut Factors,
    ) -> Result<(), CudaError> {
        let width = weight.len();
        expect("rows", x.len(), rows * width);
        expect("bias", bias.len(), width);
        self.check(out, rows * width);
        let args = args![x, weight, bias, &*out, rows, width, eps];
        self.program.warps(&self.gpu, "layer_norm", rows, args)
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
        [weight, bias]: [&Buffer<f32>; 2],
        eps: f64,
        rows: usize,
        out: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        let width = weight.len();
        expect("rows", x.len(), rows * width);
        expect("bias", bias.len(), width);
        expect("the result", out.len(), rows * width);
        let args = args![x, weight, bias, &*out, rows, width, eps];
        self.program
            .warps(&self.gpu, "layer_norm_float", rows, args)
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
        qkv: &mut Buffer<f32>,
        [cosines, sines]: [&Buffer<f32>; 2],
        [batch, tokens, heads, d]: [usize; 4],
        prefix: usize,
    ) -> Result<(), CudaError> {
        let patches = tokens - prefix;
        expect("rows", qkv.len(), batch * tokens * 3 * heads * d);
        expect("cosines", cosines.len(), patches * d);
        expect("sines", sines.len(), patches * d);
        let args = args![&*qkv, cosines, sines, tokens, prefix, heads, d];
        self.program
            .rows(&self.gpu, "rotate", batch * patches, args)
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
        qkv: &Buffer<f32>,
        [batch, tokens, heads, d]: [usize; 4],
        out: &mut Factors,
    ) -> Result<(), CudaError> {
        let total = batch * tokens * 3 * heads * d;
        expect("rows", qkv.len(), total);
        self.check(out, total);
        let args = args![qkv, &*out, batch, tokens, heads, d];
        self.program
            .rows(&self.gpu, "split_heads", batch * tokens, args)
    }

    /// Softmax over the first `width` numbers of every row of `scale * scores`: as factors, and
    /// where `keep` is set also in place.
    ///
    /// # Shapes
    /// `scores` and `out` `[rows, stride]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn softmax(
        &self,
        scores: &mut Buffer<f32>,
        [rows, width, stride]: [usize; 3],
        scale: f32,
        keep: bool,
        out: &mut Factors,
    ) -> Result<(), CudaError> {
        assert!(width <= stride, "rows overlap");
        expect("scores", scores.len(), rows * stride);
        self.check(out, rows * stride);
        let args = args![&*scores, &*out, rows, width, stride, scale, keep];
        self.program.warps(&self.gpu, "softmax", rows, args)
    }

    /// Copies rows without their padding.
    ///
    /// # Shapes
    /// `from` `[rows, stride]`, `to` `[rows, width]` from element `offset` on.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn unpad(
        &self,
        from: &Buffer<f32>,
        [rows, width, stride]: [usize; 3],
        to: &mut Buffer<f32>,
        offset: usize,
    ) -> Result<(), CudaError> {
        use crate::program::Arg;
        let total = rows * width;
        expect("padded rows", from.len(), rows * stride);
        expect("rows", to.len(), offset + total);
        let args = args![from, Arg::at(to, offset), width, stride];
        self.program.rows(&self.gpu, "unpad", rows, args)
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
        self.program
            .rows(&self.gpu, "merge_heads", batch * tokens, args)
    }

    /// `x += scale * (y + bias)`; an absent scale is 1, an absent bias is 0.
    ///
    /// # Shapes
    /// `x` and `y` `[rows, width]`, `bias` and `scale` `[width]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn add_branch(
        &self,
        x: &mut Buffer<f32>,
        y: &Buffer<f32>,
        [bias, scale]: [Option<&Buffer<f32>>; 2],
        [rows, width]: [usize; 2],
    ) -> Result<(), CudaError> {
        use crate::program::Arg;
        let total = rows * width;
        expect("rows", x.len(), total);
        expect("the branch", y.len(), total);
        for column in [bias, scale].into_iter().flatten() {
            expect("bias or scale", column.len(), width);
        }
        let args = args![&*x, y, Arg::maybe(bias), Arg::maybe(scale), width];
        self.program.rows(&self.gpu, "add_branch", rows, args)
    }

    /// The activation of `y + bias`, as factors.
    ///
    /// # Shapes
    /// `out` `[rows, width]`; `y` `[rows, width]` and `bias` `[width]`, both twice as wide for
    /// [`Activation::SwiGlu`].
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn activate(
        &self,
        activation: Activation,
        y: &Buffer<f32>,
        bias: &Buffer<f32>,
        [rows, width]: [usize; 2],
        out: &mut Factors,
    ) -> Result<(), CudaError> {
        let (name, parts) = match activation {
            Activation::Gelu => ("gelu", 1),
            Activation::QuickGelu => ("quick_gelu", 1),
            Activation::SwiGlu => ("swiglu", 2),
        };
        let total = rows * width;
        expect("rows", y.len(), parts * total);
        expect("bias", bias.len(), parts * width);
        self.check(out, total);
        self.program
            .rows(&self.gpu, name, rows, args![y, bias, &*out, width])
    }
}
