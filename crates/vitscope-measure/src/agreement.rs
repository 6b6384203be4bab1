//! Agreement of two labelings beyond chance: Cohen's kappa (docs/protocol.md section 18).
//!
//! Over pairs of labels, `n(k, l)` of them with first label `k` and second label `l`, `N` in all,
//!
//! ```text
//! p = sum_k n(k, k) / N        e = sum_k n(k, .) n(., k) / N^2        kappa = (p - e) / (1 - e)
//! ```
//!
//! 1: the labels are equal. 0: they agree as often as labels drawn apart with the same frequencies. Undefined where
//! both labelings are one and the same label throughout (`e = 1`), and without pairs.
//!
//! Only agreements and frequencies matter, so an image is kept as `2 K + 2` numbers, and images are resampled by
//! adding them up.

use crate::error::check;
use crate::plan::ResamplingPlan;
use crate::{IGNORED, MeasureError};

/// What pairs of labels within an image come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairCounts {
    pairs: u64,
    equal: u64,
    /// How often each label comes first, then how often each comes second, `[2, K]`.
    labels: Vec<u64>,
}

impl PairCounts {
    /// Nothing counted yet, of `clusters` labels.
    #[must_use]
    pub fn new(clusters: usize) -> Self {
        Self {
            pairs: 0,
            equal: 0,
            labels: vec![0; 2 * clusters],
        }
    }

    /// Adds a pair; one in which a label is 255 is left out.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Label`].
    pub fn add(&mut self, first: u8, second: u8) -> Result<(), MeasureError> {
        if first == IGNORED || second == IGNORED {
            return Ok(());
        }
        let count = self.labels.len() / 2;
        for label in [first, second] {
            if usize::from(label) >= count {
                return Err(MeasureError::Label {
                    what: "cluster",
                    label,
                    count,
                });
            }
        }
        self.pairs += 1;
        self.equal += u64::from(first == second);
        self.labels[usize::from(first)] += 1;
        self.labels[count + usize::from(second)] += 1;
        Ok(())
    }

    /// Adds another image's pairs, `times` over.
    fn add_counts(&mut self, other: &Self, times: u64) {
        self.pairs += times * other.pairs;
        self.equal += times * other.equal;
        for (mine, theirs) in self.labels.iter_mut().zip(&other.labels) {
            *mine += times * theirs;
        }
    }

    /// Cohen's kappa, in `[-1, 1]`; `None` where it is not defined.
    ///
    /// ```
    /// let mut counts = vitscope_measure::PairCounts::new(2);
    /// for (first, second) in [(0, 0), (0, 0), (0, 1), (1, 1)] {
    ///     counts.add(first, second)?;
    /// }
    /// // p = 3/4, e = (3 * 2 + 1 * 2) / 16 = 1/2
    /// assert_eq!(counts.kappa(), Some(0.5));
    /// # Ok::<(), vitscope_measure::MeasureError>(())
    /// ```
    #[must_use]
    pub fn kappa(&self) -> Option<f64> {
        let (first, second) = self.labels.split_at(self.labels.len() / 2);
        let products = first.iter().zip(second);
        let chance: u128 = products.map(|(&a, &b)| u128::from(a) * u128::from(b)).sum();
        let pairs = u128::from(self.pairs);
        let all = pairs * pairs;
        if chance == all {
            return None;
        }
        // In whole numbers up to the last division: (p - e) / (1 - e) times N^2 above and below.
        let above = (u128::from(self.equal) * pairs) as i128 - chance as i128;
        Some(above as f64 / (all - chance) as f64)
    }
}

/// Cohen's kappa over the pairs of all images, and of each bootstrap sample of them.
///
/// # Errors
///
/// [`MeasureError::Shape`] if there are not as many images as the plan has, or their labels differ in number.
pub fn kappa_of_images(
    images: &[PairCounts],
    plan: &ResamplingPlan,
) -> Result<(Option<f64>, Vec<Option<f64>>), MeasureError> {
    let labels = images.first().map_or(0, |image| image.labels.len());
    for image in images {
        check("number of labels", labels, image.labels.len())?;
    }
    let nothing = PairCounts::new(labels / 2);
    let mut whole = nothing.clone();
    for image in images {
        whole.add_counts(image, 1);
    }
    check("number of images", plan.images(), images.len())?;
    let sample = |replicate: usize| {
        let mut sum = nothing.clone();
        for (index, image) in images.iter().enumerate() {
            sum.add_counts(image, u64::from(plan.draws(index)[replicate]));
        }
        sum.kappa()
    };
    Ok((whole.kappa(), (0..plan.replicates()).map(sample).collect()))
}
