//! Centroids of every slot, by the protocol, from patches that are drawn of the training images.

use ndarray::{Array2, Array4, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use vitscope_measure::random::index;
use vitscope_protocol::{CheckedProtocol, Protocol, ProtocolError};

use super::kept::CausesState;
use super::look::ViewLooker;
use super::settings::CausesSettings;
use crate::error::StudyError;
use crate::observer::Observer;

/// Patches that are drawn of each training image, so that one forward pass serves all slots and all steps.
const PATCHES: usize = 64;

/// Images of a training step, where there are as many.
const BATCH: usize = 24;

/// The centroids of every slot at unit length, those that an unfinished run has kept where there are any, `[K, D]` each.
pub(super) fn codebooks(
    looker: &ViewLooker<'_>,
    images: usize,
    clusters: usize,
    settings: &CausesSettings,
    kept: &CausesState<'_>,
    observer: &mut dyn Observer,
) -> Result<Vec<Array2<f32>>, StudyError> {
    if let Some(fitted) = kept.centroids()? {
        return Ok(fitted);
    }
    let protocol = Protocol::new(clusters)
        .steps(settings.steps)
        .batch(images.min(BATCH))
        .seed(settings.seed)
        .check()
        .map_err(StudyError::Protocol)?;
    let all = looker.grid.side * looker.grid.side;
    let chosen = |image| drawn(all, all.min(PATCHES), image, settings.seed);
    let samples = looker.sample(images, observer, || kept.interrupted(), chosen)?;
    let fitted: Vec<Array2<f32>> = (0..looker.slots.len())
        .into_par_iter()
        .map(|slot| codebook(looker, slot, &samples, &protocol))
        .collect::<Result<_, _>>()?;
    kept.store_centroids(&fitted)?;
    Ok(fitted)
}

/// `count` of `all` patches of an image, in rising order.
fn drawn(all: usize, count: usize, image: usize, seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // The upper half of the streams, apart from those of the views.
    rng.set_stream((1 << 63) | image as u64);
    let mut places: Vec<usize> = (0..all).collect();
    for first in 0..count {
        places.swap(first, first + index(&mut rng, all - first));
    }
    places.truncate(count);
    places.sort_unstable();
    places
}

fn codebook(
    looker: &ViewLooker<'_>,
    slot: usize,
    samples: &[Vec<Array2<f32>>],
    protocol: &CheckedProtocol,
) -> Result<Array2<f32>, StudyError> {
    let (patches, width) = samples[0][slot].dim();
    let mut vectors = Array4::zeros((samples.len(), 1, patches, width));
    for (image, sample) in samples.iter().enumerate() {
        vectors
            .slice_mut(s![image, 0, .., ..])
            .assign(&sample[slot]);
    }
    match protocol.fit(&vectors) {
        Ok(probe) => Ok(probe.codebook().to_owned()),
        Err(ProtocolError::Stage { error, .. }) => Err(looker.failed(slot, error)),
        Err(error) => Err(StudyError::Protocol(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_are_drawn_once_each() {
        let places = drawn(100, 64, 3, 0);
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(places.len() == 64 && places[63] < 100);
        assert_ne!(places, drawn(100, 64, 4, 0));
        assert_eq!(drawn(9, 9, 0, 5), Vec::from_iter(0..9));
    }
}
