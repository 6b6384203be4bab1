//! Photographs of one category, and what the backbone makes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ndarray::ArrayView2;
use rayon::prelude::*;
use vitscope_data::pairs::{Pair, PairImage};
use vitscope_data::resize::{RgbImage, pil_resize};
use vitscope_probe::{ProbeError, View};
use vitscope_run::Slot;
use vitscope_vit::facet::Taps;
use vitscope_vit::vit::Rows;

use super::settings::{CorrespondSettings, Fit};
use crate::error::StudyError;
use crate::model::Opened;
use crate::source::{Backbone, tapped_kind};

/// A photograph of one category.
pub(super) struct Photo {
    pub(super) path: PathBuf,
    /// Width and height in pixels.
    pub(super) size: (usize, usize),
    /// Pixels (column, row) at which pairs give keypoints, each once.
    pub(super) points: Vec<[usize; 2]>,
    /// What is looked for in it: number of the keypoint among all, photograph and point there.
    pub(super) wanted: Vec<(usize, usize, usize)>,
}

/// A photograph as the network sees it, and how its pixels lie over the patches.
pub(super) struct PhotoInput {
    pub(super) square: Vec<u8>,
    pub(super) view: View,
}

/// Embeddings of one photograph, per slot `[N, D]`.
pub(super) type PhotoEmbeddings = Vec<Vec<f32>>;

/// Everything that is fixed once model and pairs are open.
pub(super) struct PhotoJob<'a> {
    pub(super) settings: &'a CorrespondSettings,
    pub(super) opened: &'a Opened,
    pub(super) taps: Taps,
    pub(super) run: &'a Path,
    pub(super) fingerprint: String,
}

/// Where time went. A card goes on by itself: while the next photographs are decoded, and while matches are waited
/// for.
#[derive(Default)]
pub(super) struct Times {
    pub(super) load: Duration,
    pub(super) forward: Duration,
    pub(super) matching: Duration,
    pub(super) forwards: usize,
}

/// The pixel that holds a keypoint, inside the image.
pub(super) fn pixel_of(point: [f64; 2], (width, height): (usize, usize)) -> [usize; 2] {
    // A float below zero becomes 0, one beyond every integer the largest.
    [
        (point[0] as usize).min(width - 1),
        (point[1] as usize).min(height - 1),
    ]
}

/// The place of an image among a category's photographs, where it is put if it is new.
fn place<'a>(
    image: &'a PairImage,
    places: &mut BTreeMap<&'a Path, usize>,
    photos: &mut Vec<Photo>,
) -> usize {
    *places.entry(&image.image).or_insert_with(|| {
        photos.push(Photo {
            path: image.image.clone(),
            size: image.size,
            points: Vec::new(),
            wanted: Vec::new(),
        });
        photos.len() - 1
    })
}

/// The photographs of one category's pairs. `pairs` come with the number of their first keypoint.
pub(super) fn photos(pairs: &[(&Pair, usize)]) -> Vec<Photo> {
    let mut places = BTreeMap::new();
    let mut photos = Vec::new();
    for &(pair, first) in pairs {
        let source = place(&pair.source, &mut places, &mut photos);
        let target = place(&pair.target, &mut places, &mut photos);
        for (point, &at) in pair.source.points.iter().enumerate() {
            let pixel = pixel_of(at, pair.source.size);
            let points = &mut photos[source].points;
            let known = points.iter().position(|&other| other == pixel);
            let known = known.unwrap_or_else(|| {
                points.push(pixel);
                points.len() - 1
            });
            photos[target].wanted.push((first + point, source, known));
        }
    }
    photos
}

/// Decodes the photographs of a batch.
pub(super) fn load_photos(
    job: &PhotoJob<'_>,
    photos: &[Photo],
    batch: &[usize],
    times: &mut Times,
) -> Result<Vec<PhotoInput>, StudyError> {
    let begun = Instant::now();
    let inputs = batch
        .par_iter()
        .map(|&index| load(job, &photos[index].path, photos[index].size))
        .collect::<Vec<_>>()
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    times.load += begun.elapsed();
    Ok(inputs)
}

/// Decodes a photograph and makes the network's square of it.
pub(super) fn load(
    job: &PhotoJob<'_>,
    path: &Path,
    size: (usize, usize),
) -> Result<PhotoInput, StudyError> {
    let image = RgbImage::open(path)?;
    let (width, height) = (image.width(), image.height());
    if (width, height) != size {
        return Err(StudyError::file(
            path,
            format!(
                "is {width} x {height} pixels, but its pair's annotation says {} x {}",
                size.0, size.1
            ),
        ));
    }
    if width.max(height) > usize::from(u16::MAX) {
        return Err(StudyError::file(path, "is more than 65,535 pixels long"));
    }
    let side = job.opened.geometry.size;
    let [rows, columns] = job.opened.grid;
    let wrong = |error: ProbeError| StudyError::Internal(error.to_string());
    match job.settings.fit {
        Fit::Stretch => Ok(PhotoInput {
            square: pil_resize(&image, side, side).into_pixels(),
            view: View::stretched((height, width), (rows, columns)).map_err(wrong)?,
        }),
        Fit::Pad => {
            let longer = width.max(height);
            let scaled = |length: usize| ((2 * length * side + longer) / (2 * longer)).max(1);
            let (w, h) = (scaled(width), scaled(height));
            let (left, top) = ((side - w) / 2, (side - h) / 2);
            let small = pil_resize(&image, w, h);
            let mut square = vec![0; side * side * 3];
            for (row, line) in small.pixels().chunks_exact(w * 3).enumerate() {
                let at = ((top + row) * side + left) * 3;
                square[at..at + w * 3].copy_from_slice(line);
            }
            let patch = job.opened.record.patch;
            let view = View::placed((height, width), (rows, columns), patch, (h, w), (top, left));
            Ok(PhotoInput {
                square,
                view: view.map_err(wrong)?,
            })
        }
    }
}

/// Runs a batch and shows the embeddings of its photographs, `[photographs, N, D]` of each slot by its number.
pub(super) fn show_slots(
    job: &PhotoJob<'_>,
    backbone: &mut Backbone,
    inputs: &[PhotoInput],
    mut look: impl FnMut(usize, &Rows<'_>) -> Result<(), StudyError>,
) -> Result<(), StudyError> {
    let squares: Vec<&[u8]> = inputs.iter().map(|input| input.square.as_slice()).collect();
    let depth = job.opened.record.depth;
    let (token_norm, rope) = (job.settings.token_norm, job.settings.rope);
    backbone.squares(&squares, &job.taps, |tapped| {
        let Some((tensor, patches)) = tapped.patches() else {
            return Ok(());
        };
        for (number, &slot) in job.opened.slots.iter().enumerate() {
            if (slot.layer, tapped_kind(slot, depth, token_norm, rope)) == tensor {
                look(number, patches)?;
            }
        }
        Ok(())
    })
}

/// The embeddings of a batch in the host's memory.
pub(super) fn run_inputs(
    job: &PhotoJob<'_>,
    backbone: &mut Backbone,
    inputs: &[PhotoInput],
) -> Result<Vec<PhotoEmbeddings>, StudyError> {
    let slots = job.opened.slots.len();
    let mut features: Vec<PhotoEmbeddings> = vec![vec![Vec::new(); slots]; inputs.len()];
    show_slots(job, backbone, inputs, |number, patches| {
        let patches = patches.host()?;
        for (features, rows) in features.iter_mut().zip(patches.outer_iter()) {
            features[number] = rows.iter().copied().collect();
        }
        Ok(())
    })?;
    Ok(features)
}

pub(super) fn slot_error(slot: Slot) -> impl FnOnce(ProbeError) -> StudyError {
    move |source| StudyError::Probe {
        slot: slot.to_string(),
        source,
    }
}

pub(super) fn rows_of(features: &[f32], width: usize) -> Result<ArrayView2<'_, f32>, StudyError> {
    ArrayView2::from_shape((features.len().div_ceil(width.max(1)), width), features)
        .map_err(|error| StudyError::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(name: &str, points: &[[f64; 2]]) -> PairImage {
        PairImage {
            image: PathBuf::from(name),
            size: (10, 8),
            bbox: [0.0, 0.0, 10.0, 8.0],
            points: points.to_vec(),
        }
    }

    #[test]
    fn a_keypoint_lies_in_a_pixel_of_its_image() {
        assert_eq!(pixel_of([2.9, 7.0], (10, 8)), [2, 7]);
        assert_eq!(pixel_of([-0.5, 8.0], (10, 8)), [0, 7]);
        assert_eq!(pixel_of([1e300, f64::NAN], (10, 8)), [9, 0]);
    }

    #[test]
    fn a_photograph_of_several_pairs_is_there_once_with_each_pixel_once() {
        let pair = |source, target| Pair {
            name: String::new(),
            category: 0,
            source,
            target,
            point_ids: vec![0, 1],
        };
        let pairs = [
            pair(
                image("a", &[[1.2, 2.0], [5.0, 5.0]]),
                image("b", &[[0.0, 0.0], [3.0, 3.0]]),
            ),
            // The same photograph again, once at a pixel that is known.
            pair(
                image("a", &[[1.9, 2.5], [6.0, 6.0]]),
                image("c", &[[0.0, 0.0], [4.0, 4.0]]),
            ),
        ];
        let found = photos(&[(&pairs[0], 0), (&pairs[1], 2)]);
        assert_eq!(found.len(), 3);
        assert_eq!(found[0].points, [[1, 2], [5, 5], [6, 6]]);
        assert_eq!(found[1].wanted, [(0, 0, 0), (1, 0, 1)]);
        assert_eq!(found[2].wanted, [(2, 0, 0), (3, 0, 2)]);
        assert!(found[1].points.is_empty() && found[0].wanted.is_empty());
    }

    #[test]
    fn features_are_rows_of_their_width() {
        assert_eq!(rows_of(&[0.0; 6], 3).unwrap().dim(), (2, 3));
        assert!(rows_of(&[0.0; 7], 3).is_err());
    }
}
