//! What follows the attention of a pass: on the host counted as it comes, on a card added up there.

use vitscope_vit::vit::AttentionWeights;
#[cfg(feature = "cuda")]
use vitscope_vit::vit::WeightTally;

use super::localities::Localities;
use crate::error::StudyError;

/// Localities at work.
///
/// Sums that a card has added up stay there until somebody asks for what was counted, so nobody sees the
/// localities without them.
#[derive(Debug)]
pub(crate) struct LocalityMeter {
    counts: Localities,
    #[cfg(feature = "cuda")]
    card: Option<CardSums>,
}

/// What is added up on a card.
#[cfg(feature = "cuda")]
#[derive(Debug)]
struct CardSums {
    tally: WeightTally,
    gpu: std::sync::Arc<vitscope_probe::cuda::Gpu>,
}

impl LocalityMeter {
    /// Goes on counting.
    pub(crate) fn new(counts: Localities) -> Self {
        Self {
            counts,
            #[cfg(feature = "cuda")]
            card: None,
        }
    }

    /// The layers, ascending.
    pub(crate) fn layers(&self) -> Vec<usize> {
        self.counts.layers()
    }

    /// Adds a batch of one layer. Gives, of every image and patch that is asked for, the head-averaged
    /// weights of all patches, `[N]`.
    ///
    /// # Errors
    /// Weights that are negative or not finite, or of other sizes than announced; and when the device
    /// fails.
    pub(crate) fn add(
        &mut self,
        layer: usize,
        weights: &AttentionWeights<'_>,
        asked: &[[usize; 2]],
    ) -> Result<Vec<Vec<f32>>, StudyError> {
        match weights {
            AttentionWeights::Host(weights) => {
                let mut rows = vec![Vec::new(); asked.len()];
                self.counts.add(layer, *weights, |image, mean| {
                    let of_image = asked.iter().zip(&mut rows);
                    for (&[_, patch], row) in of_image.filter(|(asked, _)| asked[0] == image) {
                        *row = mean.row(patch).iter().map(|&w| w as f32).collect();
                    }
                })?;
                Ok(rows)
            }
            #[cfg(feature = "cuda")]
            AttentionWeights::Cuda(weights) => self.add_card(layer, weights, asked),
        }
    }

    #[cfg(feature = "cuda")]
    fn add_card(
        &mut self,
        layer: usize,
        weights: &vitscope_vit::vit::AttentionView<'_>,
        asked: &[[usize; 2]],
    ) -> Result<Vec<Vec<f32>>, StudyError> {
        use super::localities::UNIT;
        use vitscope_vit::error::DeviceError;

        let [_, heads, tokens, _] = weights.shape();
        let patches = self.counts.patches();
        let index = self.counts.index(layer, heads, tokens)?;
        let card = match &mut self.card {
            Some(card) => card,
            none => {
                let layers = self.counts.layers().len();
                let gpu = weights.gpu();
                let tally = WeightTally::new(gpu, layers, patches, 1.0 / UNIT);
                none.insert(CardSums {
                    tally: tally.map_err(DeviceError::from)?,
                    gpu: std::sync::Arc::clone(gpu),
                })
            }
        };
        let found = card.tally.add(index, weights).map_err(DeviceError::from)?;
        self.counts.add_measured(index, &found)?;
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let prefix = tokens - patches;
        let asked: Vec<[usize; 2]> = asked
            .iter()
            .map(|&[i, patch]| [i, prefix + patch])
            .collect();
        let rows = weights.mean_rows(&asked).map_err(DeviceError::from)?;
        let rows = rows.chunks_exact(tokens);
        Ok(rows.map(|row| row[prefix..].to_vec()).collect())
    }

    /// What was counted so far, all of it.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn counted(&mut self) -> Result<&mut Localities, StudyError> {
        #[cfg(feature = "cuda")]
        if let Some(CardSums { tally, gpu }) = &mut self.card {
            for index in 0..self.counts.layers().len() {
                let sum = tally.take(gpu, index);
                let sum = sum.map_err(vitscope_vit::error::DeviceError::from)?;
                self.counts.add_sum(index, &sum);
            }
        }
        Ok(&mut self.counts)
    }

    /// The same when nothing comes after it.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn into_counted(mut self) -> Result<Localities, StudyError> {
        self.counted()?;
        Ok(self.counts)
    }
}
