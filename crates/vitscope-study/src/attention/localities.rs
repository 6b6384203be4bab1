//! Locality bias and mean attention, image by image.

use ndarray::{Array2, ArrayView2, ArrayView3, ArrayView4, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use safetensors::tensor::Dtype;
use vitscope_measure::{locality, mean_interval, mean_over_heads};
use vitscope_run::Measured;
use vitscope_run::tensors::Lazy;

use crate::error::StudyError;
use crate::state::StoredState;

/// The level of the intervals.
const LEVEL: f64 = 0.95;

/// What is said of one layer.
#[derive(Clone, Debug)]
pub struct LayerSummary {
    /// The layer, from 1.
    pub layer: usize,
    /// `I(K,Q)` of the head-averaged matrix.
    pub whole: Measured,
    /// `I(K,Q)` of each head.
    pub heads: Vec<Measured>,
}

/// What is kept of the attention of one layer.
#[derive(Clone, Debug)]
struct LayerCounts {
    layer: usize,
    /// `I(K,Q)` of the head-averaged matrix, per image.
    whole: Vec<Option<f64>>,
    /// The same of each head, `[heads][images]`.
    heads: Vec<Vec<Option<f64>>>,
    /// Sum of the head-averaged weights from patch to patch, `[N, N]`, in units of [`UNIT`]: whole numbers
    /// add up to the same in any order, so shards add up to the whole.
    sum: Array2<i64>,
}

/// What sums of weights count in. A weight is at most 1, so there is room for eight million images, and a
/// rounding moves a mean by less than 5e-13.
pub(super) const UNIT: f64 = 1.0 / (1_u64 << 40) as f64;

/// Locality bias and mean attention of some layers, image by image.
///
/// An image's numbers depend on no other image, and sums are of whole numbers, so results depend neither
/// on the batches nor on the number of threads.
#[derive(Clone, Debug)]
pub struct Localities {
    patches: usize,
    layers: Vec<LayerCounts>,
}

impl Localities {
    /// Nothing seen yet of layers of `heads` heads over `patches` patch tokens.
    #[must_use]
    pub fn new(layers: &[usize], heads: usize, patches: usize) -> Self {
        let counts = |&layer: &usize| LayerCounts {
            layer,
            whole: Vec::new(),
            heads: vec![Vec::new(); heads],
            sum: Array2::zeros((patches, patches)),
        };
        Self {
            patches,
            layers: layers.iter().map(counts).collect(),
        }
    }

    /// The layers, ascending.
    #[must_use]
    pub fn layers(&self) -> Vec<usize> {
        self.layers.iter().map(|counts| counts.layer).collect()
    }

    /// Adds a batch of one layer, and hands each image's head-averaged matrix `[N, N]`, patch tokens
    /// only and not normalized, to `look`.
    ///
    /// # Shapes
    /// `weights` `[images, heads, T, T]`, rows are queries, tokens that are no patches first.
    ///
    /// # Errors
    /// Weights that are negative or not finite, or of other sizes than announced.
    pub fn add(
        &mut self,
        layer: usize,
        weights: ArrayView4<'_, f32>,
        mut look: impl FnMut(usize, ArrayView2<'_, f64>),
    ) -> Result<(), StudyError> {
        let (images, heads, tokens, _) = weights.dim();
        let index = self.index(layer, heads, tokens)?;
        let counts = &mut self.layers[index];
        let prefix = tokens - self.patches;
        let patches = weights.slice(s![.., .., prefix.., prefix..]);
        let wrong = |error: vitscope_measure::MeasureError| StudyError::Attention {
            layer,
            problem: error.to_string(),
        };
        let of_heads = (0..images * heads)
            .into_par_iter()
            .map(|index| locality(patches.slice(s![index / heads, index % heads, .., ..]), 0))
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        let wholes = (0..images)
            .into_par_iter()
            .map(|image| {
                let heads: ArrayView3<'_, f32> = patches.slice(s![image, .., .., ..]);
                let mean = mean_over_heads(heads);
                locality(mean.view(), 0).map(|whole| (whole, mean))
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrong)?;
        for (image, (whole, mean)) in wholes.into_iter().enumerate() {
            counts.whole.push(whole);
            for (head, list) in counts.heads.iter_mut().enumerate() {
                list.push(of_heads[image * heads + head]);
            }
            counts.sum.zip_mut_with(&mean, |sum, weight| {
                *sum += (weight / UNIT).round() as i64;
            });
            look(image, mean.view());
        }
        Ok(())
    }

    /// The index of a layer of so many heads and tokens.
    pub(super) fn index(
        &self,
        layer: usize,
        heads: usize,
        tokens: usize,
    ) -> Result<usize, StudyError> {
        self.layers
            .iter()
            .position(|counts| counts.layer == layer && counts.heads.len() == heads)
            .filter(|_| tokens >= self.patches)
            .ok_or_else(|| StudyError::Internal(format!("attention of layer {layer}")))
    }

    /// Adds what was measured of a batch of one layer, which is told by its index: the sum of weights and
    /// `I(K,Q)` of every head and of their mean, image by image.
    ///
    /// # Errors
    /// Weights that are not finite.
    #[cfg(feature = "cuda")]
    pub(super) fn add_measured(
        &mut self,
        index: usize,
        found: &[[f64; 2]],
    ) -> Result<(), StudyError> {
        let counts = &mut self.layers[index];
        for of_image in found.chunks_exact(counts.heads.len() + 1) {
            let lists = counts.heads.iter_mut().chain([&mut counts.whole]);
            for (&[weights, information], list) in of_image.iter().zip(lists) {
                if !weights.is_finite() {
                    let problem = vitscope_measure::MeasureError::Value {
                        what: "attention weights",
                    };
                    return Err(StudyError::Attention {
                        layer: counts.layer,
                        problem: problem.to_string(),
                    });
                }
                list.push((weights > 0.0).then_some(information.max(0.0)));
            }
        }
        Ok(())
    }

    /// Adds the sum over such images of head-averaged weights, `[N, N]` in units.
    #[cfg(feature = "cuda")]
    pub(super) fn add_sum(&mut self, index: usize, sum: &[u64]) {
        let sums = self.layers[index].sum.iter_mut();
        sums.zip(sum).for_each(|(sum, &more)| *sum += more as i64);
    }

    /// The numbers of every layer; `resamples` of 0 leaves the intervals out.
    #[must_use]
    pub fn finish(&self, resamples: usize, seed: u64) -> Vec<LayerSummary> {
        let measured = |values: &Vec<Option<f64>>| {
            let values: Vec<f64> = values.iter().copied().flatten().collect();
            // The same seed throughout: layers and heads are resampled over the same images.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            Measured {
                value: (!values.is_empty())
                    .then(|| values.iter().sum::<f64>() / values.len() as f64),
                interval: (resamples > 0)
                    .then(|| mean_interval(&values, resamples, LEVEL, &mut rng))
                    .flatten(),
            }
        };
        self.layers
            .iter()
            .map(|counts| LayerSummary {
                layer: counts.layer,
                whole: measured(&counts.whole),
                heads: counts.heads.par_iter().map(measured).collect(),
            })
            .collect()
    }

    /// Patches of an image.
    pub(super) fn patches(&self) -> usize {
        self.patches
    }

    /// Images seen.
    #[must_use]
    pub(crate) fn images(&self) -> usize {
        self.layers.first().map_or(0, |counts| counts.whole.len())
    }

    /// What was seen so far, for [`append_stored`](Self::append_stored): by layer, the numbers of each
    /// image (`NaN` for none) and the sums.
    pub(crate) fn to_tensors(&self) -> Vec<(String, Lazy<'_>)> {
        let plain = |values: &[Option<f64>]| -> Vec<u8> {
            let values = values.iter().map(|value| value.unwrap_or(f64::NAN));
            values.flat_map(f64::to_le_bytes).collect()
        };
        let of_layer = |counts: &LayerCounts| {
            let (images, heads) = (counts.whole.len(), counts.heads.len());
            let numbers: Vec<u8> = counts.heads.iter().flat_map(|head| plain(head)).collect();
            let sums = counts
                .sum
                .iter()
                .flat_map(|sum| sum.to_le_bytes())
                .collect();
            [
                ("whole", Dtype::F64, vec![images], plain(&counts.whole)),
                ("heads", Dtype::F64, vec![heads, images], numbers),
                ("sum", Dtype::I64, counts.sum.shape().to_vec(), sums),
            ]
            .map(|(name, dtype, shape, bytes)| {
                let lazy = Lazy {
                    dtype,
                    shape,
                    bytes: Box::new(move || bytes.into()),
                };
                (format!("{name}.{}", counts.layer), lazy)
            })
        };
        self.layers.iter().flat_map(of_layer).collect()
    }

    /// Adds what [`to_tensors`](Self::to_tensors) gave of other images, which come after those seen.
    ///
    /// # Errors
    /// When it is not of these layers, heads and patches.
    pub(crate) fn append_stored(&mut self, stored: &mut StoredState) -> Result<(), StudyError> {
        let other = "it is not of this run's layers";
        for counts in &mut self.layers {
            let mut take = |name: &str| stored.tensor(&format!("{name}.{}", counts.layer));
            let (whole, heads, sum) = (take("whole")?, take("heads")?, take("sum")?);
            let (whole, heads, sum) = (whole.f64s(), heads.f64s(), sum.i64s());
            let images = whole.len();
            if heads.len() != counts.heads.len() * images || sum.len() != counts.sum.len() {
                return Err(stored.damaged(other));
            }
            let back = |values: &[f64]| -> Vec<Option<f64>> {
                values.iter().map(|&v| (!v.is_nan()).then_some(v)).collect()
            };
            for (list, values) in counts
                .heads
                .iter_mut()
                .zip(heads.chunks_exact(images.max(1)))
            {
                list.extend(back(values));
            }
            counts.whole.extend(back(&whole));
            counts
                .sum
                .iter_mut()
                .zip(sum)
                .for_each(|(sum, more)| *sum += more);
        }
        Ok(())
    }

    /// The mean over images of the head-averaged weights from patch to patch, `[N, N]` per layer.
    pub(super) fn means(&self) -> impl Iterator<Item = (usize, Array2<f64>)> {
        self.layers.iter().map(|counts| {
            let images = counts.whole.len().max(1) as f64;
            (
                counts.layer,
                counts.sum.mapv(|sum| sum as f64 * UNIT / images),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    /// One token before four patches; a patch looks at itself in the first head, at all alike in the second.
    fn weights(images: usize) -> Array4<f32> {
        Array4::from_shape_fn((images, 2, 5, 5), |(_, head, query, key)| {
            match (head, query, key) {
                (_, 0, _) | (_, _, 0) => 0.2,
                (0, query, key) if query == key => 0.8,
                (0, ..) => 0.0,
                _ => 0.2,
            }
        })
    }

    #[test]
    fn heads_that_look_at_themselves_and_at_all_are_the_two_ends() {
        let mut counts = Localities::new(&[3], 2, 4);
        counts.add(3, weights(2).view(), |_, _| {}).unwrap();
        let found = &counts.finish(0, 0)[0];
        let heads: Vec<f64> = found.heads.iter().map(|head| head.value.unwrap()).collect();
        assert!((heads[0] - 4.0_f64.ln()).abs() < 1e-6, "{heads:?}");
        assert!(heads[1].abs() < 1e-6, "{heads:?}");
        assert!(found.whole.value.unwrap() < heads[0]);
    }

    #[test]
    fn batches_change_no_bit() {
        let mut whole = Localities::new(&[1], 2, 4);
        whole.add(1, weights(3).view(), |_, _| {}).unwrap();
        let mut parts = Localities::new(&[1], 2, 4);
        for images in [1, 2] {
            parts.add(1, weights(images).view(), |_, _| {}).unwrap();
        }
        assert_eq!(whole.layers[0].sum, parts.layers[0].sum);
        assert_eq!(whole.finish(50, 1)[0].whole, parts.finish(50, 1)[0].whole);
        assert!(whole.add(2, weights(1).view(), |_, _| {}).is_err());
    }
}
