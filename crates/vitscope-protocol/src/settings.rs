//! The settings of the protocol, with the paper's values as defaults.

use vitscope_measure::{Matching, Positions};
use vitscope_probe::{AdamSettings, MAX_CLUSTERS};

use crate::error::ProtocolError;
use crate::order::TrainOrder;

/// Settings of the protocol. [`check`](Self::check) makes them a [`CheckedProtocol`], which fits probes.
///
/// ```
/// use vitscope_protocol::{Protocol, ProtocolError};
///
/// let protocol = Protocol::new(27).steps(500).seed(1).check()?;
/// assert_eq!((protocol.clusters(), protocol.batch()), (27, 24));
///
/// let error = Protocol::new(0).check().unwrap_err();
/// assert_eq!(error.to_string(), "clusters must lie in 1..=255, got 0");
/// # Ok::<(), ProtocolError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    clusters: usize,
    classes: usize,
    steps: usize,
    batch: usize,
    adam: AdamSettings,
    pca_batches: usize,
    pca_interval: usize,
    seed: u64,
    shuffle: bool,
    matching: Matching,
    positions: Positions,
    resamples: usize,
}

impl Protocol {
    /// The paper's protocol with `clusters` clusters, over as many classes.
    #[must_use]
    pub fn new(clusters: usize) -> Self {
        Self {
            clusters,
            classes: clusters,
            steps: 5000,
            batch: 24,
            adam: AdamSettings::default(),
            pca_batches: 96,
            pca_interval: 1,
            seed: 0,
            shuffle: true,
            matching: Matching::Hungarian,
            positions: Positions::All,
            resamples: 100,
        }
    }

    /// Classes of the ground truth, where they are not as many as the clusters (overclustering, paper
    /// 0.A.5).
    #[must_use]
    pub fn classes(mut self, classes: usize) -> Self {
        self.classes = classes;
        self
    }

    /// Training steps; 5,000 unless set.
    #[must_use]
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Images of a training step; 24 unless set.
    #[must_use]
    pub fn batch(mut self, images: usize) -> Self {
        self.batch = images;
        self
    }

    /// Adam's rate; 0.005 unless set.
    #[must_use]
    pub fn lr(mut self, rate: f64) -> Self {
        self.adam.rate = rate;
        self
    }

    /// Training batches whose patch vectors give the principal directions; 96 unless set.
    #[must_use]
    pub fn pca_batches(mut self, batches: usize) -> Self {
        self.pca_batches = batches;
        self
    }

    /// The step from one of those batches to the next, in training batches; 1 unless set.
    #[must_use]
    pub fn pca_interval(mut self, interval: usize) -> Self {
        self.pca_interval = interval;
        self
    }

    /// Seed of the order of images and of everything else that is drawn; 0 unless set.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether every epoch has an order of its own; otherwise images come as they are numbered. They are
    /// shuffled unless set.
    #[must_use]
    pub fn shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// How clusters find their classes; one to one unless set.
    #[must_use]
    pub fn matching(mut self, matching: Matching) -> Self {
        self.matching = matching;
        self
    }

    /// At which pixels predictions count for the positional effect; at all unless set.
    #[must_use]
    pub fn positions(mut self, positions: Positions) -> Self {
        self.positions = positions;
        self
    }

    /// Shifted maps for the null of the positional effect, and as many bootstrap samples for its interval;
    /// 100 unless set, 0 for neither.
    #[must_use]
    pub fn resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ProtocolError::Setting`] for the first that lies outside its range: clusters and classes in
    /// `1..=255` (255 marks a pixel without a label), batch and the two settings of the principal
    /// directions at least 1, a positive rate, and resamples other than 1.
    pub fn check(self) -> Result<CheckedProtocol, ProtocolError> {
        let refuse = |setting, expected, got: String| {
            Err(ProtocolError::Setting {
                setting,
                expected,
                got,
            })
        };
        for (setting, value) in [("clusters", self.clusters), ("classes", self.classes)] {
            if !(1..=MAX_CLUSTERS).contains(&value) {
                return refuse(setting, "must lie in 1..=255", value.to_string());
            }
        }
        for (setting, value) in [
            ("batch", self.batch),
            ("pca_batches", self.pca_batches),
            ("pca_interval", self.pca_interval),
        ] {
            if value == 0 {
                return refuse(setting, "must be at least 1", value.to_string());
            }
        }
        if !(self.adam.rate.is_finite() && self.adam.rate > 0.0) {
            return refuse(
                "lr",
                "must be a positive number",
                self.adam.rate.to_string(),
            );
        }
        if self.resamples == 1 {
            let expected = "must be 0 or at least 2, since one sample has no spread";
            return refuse("resamples", expected, self.resamples.to_string());
        }
        Ok(CheckedProtocol(self))
    }
}

/// Settings that were found to be within their ranges.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedProtocol(Protocol);

impl CheckedProtocol {
    /// Clusters `K`.
    #[must_use]
    pub fn clusters(&self) -> usize {
        self.0.clusters
    }

    /// Classes `C`.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.0.classes
    }

    /// Training steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.0.steps
    }

    /// Images of a training step.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.0.batch
    }

    /// How centroids move.
    #[must_use]
    pub fn adam(&self) -> AdamSettings {
        self.0.adam
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// How clusters find their classes.
    #[must_use]
    pub fn matching(&self) -> Matching {
        self.0.matching
    }

    /// At which pixels predictions count for the positional effect.
    #[must_use]
    pub fn positions(&self) -> Positions {
        self.0.positions
    }

    /// Shifted maps, and as many bootstrap samples.
    #[must_use]
    pub fn resamples(&self) -> usize {
        self.0.resamples
    }

    /// The order in which `images` training images are seen.
    ///
    /// # Errors
    /// [`ProtocolError::TooFewImages`].
    pub fn order(&self, images: usize) -> Result<TrainOrder, ProtocolError> {
        let seed = self.0.shuffle.then_some(self.0.seed);
        TrainOrder::new(images, self.0.batch, seed)
    }

    /// The images that the principal directions come from, in rising order, each with how often it counts
    /// (docs/protocol.md section 3).
    #[must_use]
    pub fn start_images(&self, order: &TrainOrder) -> Vec<(usize, u32)> {
        let distinct = order.distinct(self.0.pca_batches, self.0.pca_interval);
        distinct.into_iter().collect()
    }
}
