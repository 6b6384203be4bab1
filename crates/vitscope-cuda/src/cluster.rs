//! Sums, scores and labels of patch vectors.

use std::sync::Arc;

use crate::buffer::Buffer;
use crate::element::Element;
use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::product::{Matrix, Product, Target};
use crate::program::{Program, Source, THREADS, args};
use crate::rows::RowsView;

pub(crate) const SOURCE: Source = Source {
    name: "cluster",
    text: include_str!("kernels/cluster.cu"),
    kernels: &[
        "unit_rows",
        "assign",
        "sum_rows",
        "add_images",
        "sum_similarities",
        "adam",
        "mean_row",
        "shift_rows",
        "add_rows",
        "add_products",
        "check_scores",
        "label_pixels",
    ],
};

/// The operations of the probes, compiled.
#[derive(Debug)]
pub struct Cluster {
    gpu: Arc<Gpu>,
    program: Program,
}

/// The numbers of one step of Adam.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// One over the number of vectors.
    pub scale: f64,
    /// The rate over the first bias correction.
    pub step_size: f64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of the squared gradients.
    pub beta2: f64,
    /// The root of the second bias correction.
    pub correction2: f64,
    /// Keeps the quotient finite.
    pub eps: f64,
}

/// Where the pixels of one axis lie between its patches.
#[derive(Debug)]
pub struct Axis {
    places: Buffer<i32>,
    weights: Buffer<f32>,
    patches: usize,
}

impl Axis {
    /// Uploads, per pixel, the two patches it lies between and their weights.
    ///
    /// # Errors
    /// When the memory does not suffice.
    ///
    /// # Panics
    /// When a pixel names a patch that the axis does not have.
    pub fn upload(
        gpu: &Gpu,
        pixels: &[([usize; 2], [f32; 2])],
        patches: usize,
    ) -> Result<Self, CudaError> {
        let named = pixels.iter().flat_map(|(places, _)| places);
        let places: Vec<i32> = named
            .map(|&place| {
                assert!(place < patches, "there is no patch {place}");
                i32::try_from(place).expect("fewer patches than 2^31")
            })
            .collect();
        let weights: Vec<f32> = pixels.iter().flat_map(|(_, weights)| *weights).collect();
        Ok(Self {
            places: Buffer::upload(gpu, &places)?,
            weights: Buffer::upload(gpu, &weights)?,
            patches,
        })
    }

    fn pixels(&self) -> usize {
        self.weights.len() / 2
    }
}

fn expect(what: &str, found: usize, needed: usize) {
    assert!(found >= needed, "{what}: room for {found}, {needed} needed");
}

impl Cluster {
    /// Compiles the operations.
    ///
    /// # Errors
    /// When NVRTC or the driver refuses.
    pub fn new(gpu: &Arc<Gpu>) -> Result<Arc<Self>, CudaError> {
        Ok(Arc::new(Self {
            gpu: Arc::clone(gpu),
            program: Program::load(gpu, SOURCE, Element::F32)?,
        }))
    }

    /// The card.
    #[must_use]
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Scales rows to unit length; rows of zeros stay zero. `bad` becomes the lowest `first` +
    /// image with a row that is not finite.
    ///
    /// # Shapes
    /// `out` `[images * rows, width]`, `bad` `[1]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn unit_rows(
        &self,
        rows: &RowsView<'_>,
        first: usize,
        out: &mut Buffer<f32>,
        bad: &mut Buffer<i32>,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        expect("unit rows", out.len(), images * patches * width);
        expect("the flag", bad.len(), 1);
        let [image_stride, row_stride] = rows.strides();
        let args = args![
            rows.start(),
            image_stride,
            row_stride,
            &*out,
            &*bad,
            images,
            patches,
            width,
            first
        ];
        self.program
            .warps(&self.gpu, "unit_rows", images * patches, args)
    }

    /// The scores of rows against a codebook.
    ///
    /// # Shapes
    /// `rows` `[images, patches, width]`, `codebook` `[clusters, width]`, `scores`
    /// `[images, patches, clusters]`.
    ///
    /// # Errors
    /// When cuBLASLt refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn scores(
        &self,
        rows: &RowsView<'_>,
        codebook: &Buffer<f32>,
        scores: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        let clusters = codebook.len() / width;
        let product = Product {
            rows: patches,
            inputs: width,
            outputs: clusters,
            batch: 1,
        };
        // Image by image: other rows may lie between those of two images.
        for image in 0..images {
            self.gpu.product(
                product,
                rows.image(image).matrix(),
                Matrix::floats(codebook, 0, width).transposed(),
                Target::new(scores, clusters).at(image * patches * clusters),
                None,
            )?;
        }
        Ok(())
    }

    /// The cluster of each row's largest score, the lowest on ties, and that score.
    ///
    /// # Shapes
    /// `scores` `[rows, clusters]`, `best` and `similarity` `[rows]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn assign(
        &self,
        scores: &Buffer<f32>,
        [rows, clusters]: [usize; 2],
        best: &mut Buffer<i32>,
        similarity: &mut Buffer<f32>,
    ) -> Result<(), CudaError> {
        assert!(clusters > 0, "there are no clusters");
        expect("scores", scores.len(), rows * clusters);
        expect("assignments", best.len(), rows);
        expect("similarities", similarity.len(), rows);
        let args = args![scores, &*best, &*similarity, rows, clusters];
        self.program.each(&self.gpu, "assign", rows, args)
    }

    /// Per image, the sums of the rows of every cluster and of their similarities, in their order.
    ///
    /// # Shapes
    /// `unit` `[images, patches, width]`, `best` and `similarity` `[images, patches]`; `sums`
    /// `[images, clusters, width]`, `similarities` `[images]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn sum_images(
        &self,
        unit: &Buffer<f32>,
        (best, similarity): (&Buffer<i32>, &Buffer<f32>),
        [images, patches, width, clusters]: [usize; 4],
        (sums, similarities): (&mut Buffer<f64>, &mut Buffer<f64>),
    ) -> Result<(), CudaError> {
        expect("unit rows", unit.len(), images * patches * width);
        expect("assignments", best.len(), images * patches);
        expect("similarities", similarity.len(), images * patches);
        expect("sums", sums.len(), images * clusters * width);
        expect("sums of similarities", similarities.len(), images);
        let columns = width.div_ceil(THREADS as usize);
        let args = args![unit, best, &*sums, patches, width, clusters];
        self.program
            .launch(&self.gpu, "sum_rows", [columns, clusters, images], args)?;
        let args = args![similarity, &*similarities, images, patches];
        self.program
            .each(&self.gpu, "sum_similarities", images, args)
    }

    /// `total += parts` of every image, image by image.
    ///
    /// # Shapes
    /// `parts` `[images, groups]`, `total` `[groups]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn add_images(
        &self,
        parts: &Buffer<f64>,
        [images, groups]: [usize; 2],
        total: &mut Buffer<f64>,
    ) -> Result<(), CudaError> {
        expect("parts", parts.len(), images * groups);
        expect("totals", total.len(), groups);
        let args = args![parts, &*total, images, groups];
        self.program.each(&self.gpu, "add_images", groups, args)
    }

    /// A step of Adam for every centroid, after which `sums` is zero; without a step only the
    /// codebook is made, the centroids at unit length.
    ///
    /// # Shapes
    /// `state`: centroids and the two means, with `sums` and `codebook` all `[clusters, width]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn adam(
        &self,
        [values, first, second]: [&mut Buffer<f64>; 3],
        sums: &mut Buffer<f64>,
        codebook: &mut Buffer<f32>,
        [clusters, width]: [usize; 2],
        step: Option<Adam>,
    ) -> Result<(), CudaError> {
        for state in [&*values, &*first, &*second, &*sums] {
            expect("centroids", state.len(), clusters * width);
        }
        expect("codebook", codebook.len(), clusters * width);
        let Adam {
            scale,
            step_size,
            beta1,
            beta2,
            correction2,
            eps,
        } = step.unwrap_or(Adam {
            scale: 0.0,
            step_size: 0.0,
            beta1: 0.0,
            beta2: 0.0,
            correction2: 1.0,
            eps: 1.0,
        });
        let args = args![
            &*values,
            &*first,
            &*second,
            &*sums,
            &*codebook,
            clusters,
            width,
            scale,
            step_size,
            beta1,
            beta2,
            correction2,
            eps,
            step.is_some()
        ];
        self.program.warps(&self.gpu, "adam", clusters, args)
    }

    /// The mean of an image's rows.
    ///
    /// # Shapes
    /// `rows` one image, `mean` `[width]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn mean_row(&self, rows: &RowsView<'_>, mean: &mut Buffer<f32>) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        assert_eq!(images, 1, "one image at a time");
        expect("mean", mean.len(), width);
        let args = args![rows.start(), rows.strides()[1], &*mean, patches, width];
        self.program.each(&self.gpu, "mean_row", width, args)
    }

    /// Adds an image to sums of rows and of their outer products, all less `mean`, `weight` times.
    /// `bad` becomes the lowest `image` whose rows are not finite.
    ///
    /// # Shapes
    /// `rows` one image; `mean` and `sum` `[width]`, `products` `[width, width]`; `shifted`
    /// `[patches, width]` and `product` `[width, width]` are scratch.
    ///
    /// # Errors
    /// When the driver or cuBLASLt refuses.
    ///
    /// # Panics
    /// When an array is too small.
    #[expect(
        clippy::too_many_arguments,
        reason = "two sums, two scratch arrays and a flag"
    )]
    pub fn add_moments(
        &self,
        rows: &RowsView<'_>,
        mean: &Buffer<f32>,
        (image, weight): (usize, f64),
        sum: &mut Buffer<f64>,
        products: &mut Buffer<f64>,
        (shifted, product): (&mut Buffer<f32>, &mut Buffer<f32>),
        bad: &mut Buffer<i32>,
    ) -> Result<(), CudaError> {
        let [images, patches, width] = rows.shape();
        assert_eq!(images, 1, "one image at a time");
        expect("mean", mean.len(), width);
        expect("sum", sum.len(), width);
        expect("sums of products", products.len(), width * width);
        expect("scratch", shifted.len(), patches * width);
        expect("scratch", product.len(), width * width);
        expect("the flag", bad.len(), 1);
        let args = args![rows.start(), rows.strides()[1], mean, &*shifted, width];
        self.program.rows(&self.gpu, "shift_rows", patches, args)?;
        let args = args![&*shifted, &*sum, &*bad, patches, width, weight, image];
        self.program.each(&self.gpu, "add_rows", width, args)?;
        let shape = Product {
            rows: width,
            inputs: patches,
            outputs: width,
            batch: 1,
        };
        let all = Matrix::floats(shifted, 0, width);
        let target = Target::new(product, width);
        self.gpu
            .product(shape, all.transposed(), all, target, None)?;
        let length = width * width;
        let args = args![&*product, &*products, length, weight];
        self.program.each(&self.gpu, "add_products", length, args)
    }

    /// `bad` becomes the lowest image with a score beyond `limit`, or one that is not a number.
    ///
    /// # Shapes
    /// `scores` `[images, per_image]`, `bad` `[1]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small.
    pub fn check_scores(
        &self,
        scores: &Buffer<f32>,
        [images, per_image]: [usize; 2],
        limit: f32,
        bad: &mut Buffer<i32>,
    ) -> Result<(), CudaError> {
        let total = images * per_image;
        expect("scores", scores.len(), total);
        expect("the flag", bad.len(), 1);
        let args = args![scores, &*bad, total, per_image, limit];
        self.program.each(&self.gpu, "check_scores", total, args)
    }

    /// The cluster of every pixel, by bilinear mixes of the scores of the patches around it; the
    /// lowest cluster on ties.
    ///
    /// # Shapes
    /// `scores` `[images, rows.patches, columns.patches, clusters]`, `labels`
    /// `[images, rows.pixels, columns.pixels]`.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When an array is too small, or there are more clusters than a `u8` counts.
    pub fn label_pixels(
        &self,
        scores: &Buffer<f32>,
        [images, clusters]: [usize; 2],
        [rows, columns]: [&Axis; 2],
        labels: &mut Buffer<u8>,
    ) -> Result<(), CudaError> {
        assert!((1..=256).contains(&clusters), "a label is a u8");
        let (grid_y, grid_x) = (rows.patches, columns.patches);
        let (height, width) = (rows.pixels(), columns.pixels());
        let total = images * height * width;
        expect("scores", scores.len(), images * grid_y * grid_x * clusters);
        expect("labels", labels.len(), total);
        let args = args![
            scores,
            &rows.places,
            &rows.weights,
            &columns.places,
            &columns.weights,
            &*labels,
            height,
            width,
            grid_y,
            grid_x,
            clusters
        ];
        self.program
            .rows(&self.gpu, "label_pixels", images * height, args)
    }
}
