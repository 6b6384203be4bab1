//! One probe from beginning to end, over embeddings that can be asked for by number.

use std::sync::Arc;

use ndarray::{Array2, Array3, ArrayView2, ArrayView3};
use vitscope_measure::{ResamplingPlan, twins};
use vitscope_probe::{Dispersion, Spread};

use crate::counts::{Counts, MapShape, Scores};
use crate::device::{Painter, PatchRows, Site};
use crate::embeddings::{Embeddings, Truth};
use crate::error::{ProtocolError, check};
use crate::observer::{Observer, Phase, Silent};
use crate::settings::CheckedProtocol;
use crate::sharing::{Setup, SharedOrder};
use crate::start::StartPass;
use crate::test_batch::TestBatch;
use crate::train::{TrainPass, Training};

/// Images that are read together. Results do not depend on it.
pub const MICRO_BATCH: usize = 8;

/// The centroids of one slot, learned: what labels pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    protocol: CheckedProtocol,
    codebook: Array2<f32>,
    grid: (usize, usize),
    loss: Option<f64>,
    spread: Option<Spread>,
    dispersion: Option<Dispersion>,
}

/// A [`Probe`] as plain numbers, for storing.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeParts {
    /// The centroids at unit length, `[K, D]`.
    pub codebook: Array2<f32>,
    /// Rows and columns of patches.
    pub grid: (usize, usize),
    /// The mean loss of the last 100 steps.
    pub loss: Option<f64>,
    /// How the vectors are spread that the probe started from.
    pub spread: Option<Spread>,
    /// How far its clusters lie apart.
    pub dispersion: Option<Dispersion>,
}

/// Rows of images that are read in turn.
struct EmbeddingReader<'a, E: ?Sized> {
    embeddings: &'a E,
    patches: usize,
    values: Vec<f32>,
}

impl<'a, E: Embeddings + ?Sized> EmbeddingReader<'a, E> {
    fn new(embeddings: &'a E) -> Self {
        let (rows, columns) = embeddings.grid();
        Self {
            embeddings,
            patches: rows * columns,
            values: Vec::new(),
        }
    }

    /// The rows of some images, `[B, N, D]`.
    fn rows(&mut self, images: &[usize]) -> Result<ArrayView3<'_, f32>, ProtocolError> {
        let width = self.embeddings.width();
        let length = images.len() * self.patches * width;
        self.values.resize(length, 0.0);
        let read = self.embeddings.read_batch(images, &mut self.values);
        read.map_err(|(image, source)| ProtocolError::Read {
            what: "embeddings",
            image,
            source,
        })?;
        let shape = (images.len(), self.patches, width);
        Ok(ArrayView3::from_shape(shape, &self.values).expect("as many values as the shape has"))
    }
}

impl CheckedProtocol {
    /// Fits a probe: principal directions of the first batches, then online k-means (docs/protocol.md sections 3 and 4).
    ///
    /// Work is done in the rayon pool that the caller is in; call it inside
    /// [`ThreadPool::install`](rayon::ThreadPool::install) to choose one. The result is the same, bit for bit,
    /// at any number of threads.
    ///
    /// # Errors
    /// [`ProtocolError::TooFewImages`]; [`ProtocolError::Shape`] for embeddings of no patches or no width;
    /// [`ProtocolError::Read`]; [`ProtocolError::Stage`] for embeddings that are not finite, or that span too
    /// few directions.
    pub fn fit<E: Embeddings + ?Sized>(&self, train: &E) -> Result<Probe, ProtocolError> {
        self.fit_observed(train, &mut Silent)
    }

    /// [`fit`](Self::fit), told to an observer, who may stop it.
    ///
    /// # Errors
    /// Those of [`fit`](Self::fit); [`ProtocolError::Stopped`].
    pub fn fit_observed<E: Embeddings + ?Sized>(
        &self,
        train: &E,
        observer: &mut dyn Observer,
    ) -> Result<Probe, ProtocolError> {
        check_sizes(train)?;
        let setup = Setup::new(self.clone(), train.len(), vec![0])?;
        let setups = [&setup];
        let mut reader = EmbeddingReader::new(train);

        let mut pass = StartPass::new(vec![&setup], &[train.width()], Site::host())?;
        let images = pass.images();
        let mut news = Announcer::begin(observer, Phase::START, images.len());
        for images in images.chunks(MICRO_BATCH) {
            pass.add(0, &PatchRows::Host(reader.rows(images)?), images)?;
            news.advance(images.len(), None)?;
        }
        let mut trainings = pass.finish()?;
        news.end();

        for shared in SharedOrder::of(&setups, |_| 0) {
            let mut news = Announcer::begin(observer, Phase::TRAIN, shared.images() as usize);
            let mut pass = TrainPass::new(&shared, &setups, &mut trainings, Site::host())?;
            for round in &shared.rounds {
                let mut batches = round.images.chunks(MICRO_BATCH).peekable();
                while let Some(images) = batches.next() {
                    pass.add(&[(0, PatchRows::Host(reader.rows(images)?))])?;
                    let loss = match batches.peek() {
                        Some(_) => None,
                        None => pass.end_round()?,
                    };
                    news.advance(images.len(), loss)?;
                }
            }
            pass.finish()?;
            news.end();
        }
        Probe::new(self, &trainings[0], train.grid())
    }

    /// The ground truth's own positional effect, which stands beside every probe's (docs/protocol.md section 8).
    ///
    /// # Errors
    /// [`ProtocolError::NoImages`]; [`ProtocolError::Shape`] where pixels do not divide into `grid` (rows,
    /// columns) of square patches; [`ProtocolError::Read`]; [`ProtocolError::Measure`] for a class beyond the
    /// protocol's.
    pub fn ground_truth<T: Truth + ?Sized>(
        &self,
        truth: &T,
        grid: (usize, usize),
    ) -> Result<Scores, ProtocolError> {
        let shape = map_shape(truth, grid)?;
        let plan = self.resampling(grid, truth.len())?;
        let mut counts = Counts::new(self.classes(), 0, shape, self.positions(), plan.as_ref());
        let mut labels = Vec::new();
        let images: Vec<usize> = (0..truth.len()).collect();
        for images in images.chunks(MICRO_BATCH) {
            read_truth(truth, images, &mut labels)?;
            let batch = TestBatch {
                images,
                truth: None,
            };
            counts.add(&labels, &batch)?;
        }
        Ok(counts.finish(self.matching())?)
    }

    /// The random numbers of resampling over `images` test images, which all slots share; `None` where none
    /// was asked for.
    ///
    /// # Errors
    /// [`ProtocolError::Measure`] for a grid without patches.
    pub fn resampling(
        &self,
        grid: (usize, usize),
        images: usize,
    ) -> Result<Option<Arc<ResamplingPlan>>, ProtocolError> {
        if self.resamples() == 0 || images == 0 {
            return Ok(None);
        }
        let plan = ResamplingPlan::new(grid, images, self.resamples(), self.seed())?;
        Ok(Some(Arc::new(plan)))
    }
}

impl Probe {
    /// The only slot of a training.
    pub(crate) fn new(
        protocol: &CheckedProtocol,
        training: &Training,
        grid: (usize, usize),
    ) -> Result<Self, ProtocolError> {
        Ok(Self {
            dispersion: training.dispersions()?.remove(0),
            ..Self::labeling(protocol, training, grid)?
        })
    }

    /// The only slot of a training, as far as labels need it.
    pub(crate) fn labeling(
        protocol: &CheckedProtocol,
        training: &Training,
        grid: (usize, usize),
    ) -> Result<Self, ProtocolError> {
        Ok(Self {
            protocol: protocol.clone(),
            codebook: training.codebooks()?.remove(0),
            grid,
            loss: training.recent_loss(0),
            spread: training.spread(0),
            dispersion: None,
        })
    }

    /// As plain numbers, for storing.
    #[must_use]
    pub fn to_parts(&self) -> ProbeParts {
        ProbeParts {
            codebook: self.codebook.clone(),
            grid: self.grid,
            loss: self.loss,
            spread: self.spread,
            dispersion: self.dispersion,
        }
    }

    /// The inverse of [`to_parts`](Self::to_parts), under the protocol that the probe was fitted by.
    ///
    /// # Errors
    /// [`ProtocolError::Shape`] for a codebook of other sizes; [`ProtocolError::Stage`] for one that labels nothing.
    pub fn from_parts(
        protocol: &CheckedProtocol,
        parts: ProbeParts,
    ) -> Result<Self, ProtocolError> {
        let clusters = parts.codebook.nrows();
        check("clusters of the codebook", protocol.clusters(), clusters)?;
        let probe = Self {
            protocol: protocol.clone(),
            codebook: parts.codebook,
            grid: parts.grid,
            loss: parts.loss,
            spread: parts.spread,
            dispersion: parts.dispersion,
        };
        probe.painter(1, &Site::host())?;
        Ok(probe)
    }

    /// The centroids at unit length.
    ///
    /// # Shapes
    /// `[K, D]`.
    #[must_use]
    pub fn codebook(&self) -> ArrayView2<'_, f32> {
        self.codebook.view()
    }

    /// The mean loss of the last 100 steps, in `[-1, 1]`; -1 where every vector coincides with its centroid.
    #[must_use]
    pub fn loss(&self) -> Option<f64> {
        self.loss
    }

    /// How the vectors that the probe started from are spread: one common direction, a few strong channels, or
    /// neither (protocol 14).
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        self.spread
    }

    /// How far the clusters lie apart and how wide they are, by some of the vectors that the probe started from
    /// (protocol 14).
    #[must_use]
    pub fn dispersion(&self) -> Option<Dispersion> {
        self.dispersion
    }

    /// Pairs of clusters whose centroids have a cosine above 0.99 (protocol 14).
    #[must_use]
    pub fn twins(&self) -> Vec<(usize, usize)> {
        twins(self.codebook.view())
    }

    /// The cluster of every pixel (Eq. 1).
    ///
    /// # Shapes
    /// `rows`: `[B, N, D]`, the patches of the grid row by row; the result is `[B, H, W]`, with `patch` pixels
    /// along every patch.
    ///
    /// # Errors
    /// [`ProtocolError::Stage`] for rows of another shape, or that are not finite.
    pub fn label(
        &self,
        rows: ArrayView3<'_, f32>,
        patch: usize,
    ) -> Result<Array3<u8>, ProtocolError> {
        let (rows_of, columns) = self.grid;
        let mut labels = Array3::zeros((rows.dim().0, rows_of * patch, columns * patch));
        let mut site = Site::host();
        let painter = self.painter(patch, &site)?;
        let out = labels.as_slice_mut().expect("a new array is contiguous");
        painter.label(
            &PatchRows::Host(rows),
            &mut site,
            out,
            ProtocolError::stage(0),
        )?;
        Ok(labels)
    }

    /// Labels every test image and measures the labels: segmentation quality and positional effect (docs/protocol.md section 5
    /// to 8). [`Unlabeled`](crate::Unlabeled) stands for a ground truth that is not there.
    ///
    /// # Errors
    /// [`ProtocolError::NoImages`]; [`ProtocolError::Shape`] where embeddings, ground truth and probe do not
    /// fit together; [`ProtocolError::Read`]; [`ProtocolError::Stage`] for embeddings that are not finite;
    /// [`ProtocolError::Measure`] for a class beyond the protocol's.
    pub fn evaluate<E: Embeddings + ?Sized, T: Truth + ?Sized>(
        &self,
        test: &E,
        truth: &T,
    ) -> Result<Scores, ProtocolError> {
        self.evaluate_observed(test, truth, &mut Silent)
    }

    /// [`evaluate`](Self::evaluate), told to an observer, who may stop it.
    ///
    /// # Errors
    /// Those of [`evaluate`](Self::evaluate); [`ProtocolError::Stopped`].
    pub fn evaluate_observed<E: Embeddings + ?Sized, T: Truth + ?Sized>(
        &self,
        test: &E,
        truth: &T,
        observer: &mut dyn Observer,
    ) -> Result<Scores, ProtocolError> {
        check("images of the ground truth", test.len(), truth.len())?;
        check("rows and columns of patches", self.grid, test.grid())?;
        check(
            "numbers of a patch vector",
            self.codebook.ncols(),
            test.width(),
        )?;
        let shape = map_shape(truth, self.grid)?;
        let protocol = &self.protocol;
        let classes = if truth.has_classes() {
            protocol.classes()
        } else {
            0
        };
        let plan = protocol.resampling(self.grid, test.len())?;
        let positions = protocol.positions();
        let mut counts = Counts::new(
            protocol.clusters(),
            classes,
            shape,
            positions,
            plan.as_ref(),
        );
        let mut site = Site::host();
        let painter = self.painter(shape.patch, &site)?;
        let mut reader = EmbeddingReader::new(test);
        let (mut labels, mut classes_of) = (Vec::new(), Vec::new());
        let images: Vec<usize> = (0..test.len()).collect();
        let mut news = Announcer::begin(observer, Phase::EVALUATE, images.len());
        for images in images.chunks(MICRO_BATCH) {
            if truth.has_classes() {
                read_truth(truth, images, &mut classes_of)?;
            }
            let batch = TestBatch {
                images,
                truth: truth.has_classes().then_some(&classes_of[..]),
            };
            let rows = PatchRows::Host(reader.rows(images)?);
            let maps = (&mut labels, false);
            painter.count(0, &rows, &batch, &mut site, &mut counts, maps)?;
            news.advance(images.len(), None)?;
        }
        news.end();
        Ok(counts.finish(protocol.matching())?)
    }

    fn painter(&self, patch: usize, site: &Site) -> Result<Painter, ProtocolError> {
        Painter::new(&self.codebook, self.grid, patch, site).map_err(ProtocolError::stage(0))
    }
}

/// News of one phase.
struct Announcer<'a> {
    observer: &'a mut dyn Observer,
    done: u64,
}

impl<'a> Announcer<'a> {
    fn begin(observer: &'a mut dyn Observer, phase: Phase, images: usize) -> Self {
        observer.begin(phase, 0, images as u64);
        Self { observer, done: 0 }
    }

    fn advance(&mut self, images: usize, loss: Option<f64>) -> Result<(), ProtocolError> {
        self.done += images as u64;
        self.observer.advance(images as u64, loss);
        if self.observer.stop() {
            return Err(ProtocolError::Stopped { images: self.done });
        }
        Ok(())
    }

    fn end(self) {
        self.observer.end();
    }
}

fn check_sizes<E: Embeddings + ?Sized>(embeddings: &E) -> Result<(), ProtocolError> {
    let (rows, columns) = embeddings.grid();
    for (what, size) in [
        ("rows of patches", rows),
        ("columns of patches", columns),
        ("numbers of a patch vector", embeddings.width()),
    ] {
        if size == 0 {
            return Err(ProtocolError::Shape {
                what,
                expected: "at least 1".to_owned(),
                got: "0".to_owned(),
            });
        }
    }
    Ok(())
}

/// How pixels lie over the patches of a grid.
fn map_shape<T: Truth + ?Sized>(
    truth: &T,
    grid: (usize, usize),
) -> Result<MapShape, ProtocolError> {
    if truth.is_empty() {
        return Err(ProtocolError::NoImages);
    }
    let (height, width) = truth.size();
    let patch = height.checked_div(grid.0).unwrap_or(0);
    if patch == 0 || (height, width) != (grid.0 * patch, grid.1 * patch) {
        return Err(ProtocolError::Shape {
            what: "height and width of the ground truth",
            expected: format!(
                "a whole number of pixels for each of {} x {} square patches",
                grid.0, grid.1
            ),
            got: format!("{height} x {width}"),
        });
    }
    Ok(MapShape { grid, patch })
}

/// Reads the classes of some images, one after the other.
fn read_truth<T: Truth + ?Sized>(
    truth: &T,
    images: &[usize],
    classes: &mut Vec<u8>,
) -> Result<(), ProtocolError> {
    let (height, width) = truth.size();
    classes.resize(images.len() * height * width, 0);
    for (&image, out) in images.iter().zip(classes.chunks_exact_mut(height * width)) {
        let read = truth.read(image, out);
        read.map_err(|source| ProtocolError::Read {
            what: "ground truth",
            image,
            source,
        })?;
    }
    Ok(())
}
