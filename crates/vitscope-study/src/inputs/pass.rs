//! A pass over images: what it looks at, who is shown what, and where its time goes.

use std::time::{Duration, Instant};

use vitscope_data::{DataSet, Geometry, IGNORE, LabelCrop, Split};
use vitscope_probe::ProbeError;
use vitscope_protocol::TestBatch;
use vitscope_run::{Record, Slot};
use vitscope_vit::facet::TapKind;
use vitscope_vit::vit::{AttentionWeights, Rows};

use crate::error::StudyError;
use crate::features::FeatureDir;
use crate::settings::Side;
use crate::turn::Turn;

/// The images of a batch, as a visitor sees them.
#[derive(Debug, Default)]
pub struct Seen {
    /// Their indices in the split.
    pub images: Vec<usize>,
    /// Class of every pixel of every crop, [`IGNORE`] for none, image by image; absent without
    /// ground truth or when labels were not asked for.
    pub truth: Option<Vec<u8>>,
}

impl Seen {
    /// As test images that are counted.
    pub(crate) fn as_test(&self) -> TestBatch<'_> {
        TestBatch {
            images: &self.images,
            truth: self.truth.as_deref(),
        }
    }

    pub(crate) fn push(&mut self, index: usize, label: Option<&LabelCrop>, pixels: usize) {
        self.images.push(index);
        if let Some(truth) = &mut self.truth {
            match label {
                Some(label) => truth.extend_from_slice(&label.ids),
                None => truth.resize(truth.len() + pixels, IGNORE),
            }
        }
    }
}

/// Receives the facets of a pass, batch by batch.
pub trait Visitor {
    /// One reading of a batch, by its number in the pass.
    ///
    /// # Shapes
    /// `rows` `[images, patches, D]`.
    ///
    /// # Errors
    /// Ends the pass.
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError>;

    /// Readings of a batch that exist at the same time, by their numbers; one at a time unless told otherwise.
    ///
    /// # Errors
    /// Ends the pass.
    fn readings(&mut self, readings: &[(usize, &Rows<'_>)], seen: &Seen) -> Result<(), StudyError> {
        let mut readings = readings.iter();
        readings.try_for_each(|&(reading, rows)| self.reading(reading, rows, seen))
    }

    /// Whether a reading will be looked at in the batch that comes; one that is not may be left out.
    fn wants(&self, _reading: usize) -> bool {
        true
    }

    /// Layers, from 1, whose attention weights are wanted as well.
    fn attention_layers(&self) -> Vec<usize> {
        Vec::new()
    }

    /// The attention weights of one of those layers, before the batch ends.
    ///
    /// # Errors
    /// Ends the pass.
    fn attention(
        &mut self,
        _layer: usize,
        _weights: &AttentionWeights<'_>,
        _seen: &Seen,
    ) -> Result<(), StudyError> {
        Ok(())
    }

    /// Tensors of a backbone's pass that are looked at beside the readings, class token and registers included.
    fn also(&self) -> Vec<(usize, TapKind)> {
        Vec::new()
    }

    /// One of those of a batch, before the batch ends.
    ///
    /// # Shapes
    /// `[images, 1 + registers, D]` and `[images, patches, D]`.
    ///
    /// # Errors
    /// Ends the pass.
    fn tapped(
        &mut self,
        _tensor: (usize, TapKind),
        _prefix_and_patches: [&Rows<'_>; 2],
    ) -> Result<(), StudyError> {
        Ok(())
    }

    /// Every reading of a batch has been seen; `last` says whether its group ends here.
    ///
    /// # Errors
    /// Ends the pass.
    fn batch(&mut self, seen: &Seen, last: bool) -> Result<(), StudyError>;
}

/// What gives the facets of a data set's images.
pub trait Facets: std::fmt::Debug {
    /// Shows every reading of every image of a pass to a visitor, in order.
    ///
    /// # Errors
    /// From the data, the files or the visitor.
    fn run(
        &mut self,
        pass: &Pass<'_>,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError>;
}

/// Where the time of a pass goes, from now on.
#[derive(Clone, Copy, Debug)]
pub struct PassTimes {
    begun: Instant,
    /// Images seen.
    pub images: u64,
    /// In the visitor.
    pub visit: Duration,
    /// Waiting for decoded images.
    pub stall: Duration,
}

impl Default for PassTimes {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            images: 0,
            visit: Duration::ZERO,
            stall: Duration::ZERO,
        }
    }
}

impl PassTimes {
    /// The whole pass so far.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The forward pass itself.
    #[must_use]
    pub fn forward(&self) -> Duration {
        self.total().saturating_sub(self.visit + self.stall)
    }

    /// Adds the times of a pass to the record of a run.
    pub(crate) fn note(&self, record: &mut Record, name: &str) {
        let mut put = |what: &str, value: f64| {
            *record.times.entry(format!("{name}_{what}")).or_insert(0.0) += value;
        };
        put("images", self.images as f64);
        put("secs", self.total().as_secs_f64());
        put("forward_secs", self.forward().as_secs_f64());
        put("probe_secs", self.visit.as_secs_f64());
        put("stall_secs", self.stall.as_secs_f64());
    }
}

/// A slot as a pass reads it. Runs that are made together may differ in how they read the last
/// token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The slot.
    pub slot: Slot,
    /// Where the slot is the last token: after or before the final LayerNorm.
    pub token_norm: Side,
}

impl Reading {
    /// All slots with one reading of the last token.
    #[must_use]
    pub fn all(slots: &[Slot], token_norm: Side) -> Vec<Self> {
        let reading = |&slot| Self { slot, token_norm };
        slots.iter().map(reading).collect()
    }
}

/// What a pass looks at.
#[derive(Debug)]
pub struct Pass<'a> {
    /// The slots, in the order in which a visitor numbers them.
    pub readings: &'a [Reading],
    /// Keys and queries before or after rotation.
    pub rope: Side,
    /// The data set.
    pub data: &'a DataSet,
    /// Its crop.
    pub geometry: Geometry,
    /// Which split.
    pub split: Split,
    /// Whether ground truth is wanted.
    pub labels: bool,
    /// How images are turned before the model sees them. Labels are not.
    pub turn: Turn,
    /// Groups of images (training steps, say); each is cut into batches of [`MICRO_BATCH`](crate::source::MICRO_BATCH), on a card of
    /// more.
    pub groups: &'a [Vec<usize>],
    /// Threads that decode.
    pub threads: usize,
}

impl Pass<'_> {
    /// An error about an image of a batch, with the image's file, and that of its features where a
    /// program of the user's made them.
    pub(crate) fn named(
        &self,
        error: StudyError,
        seen: &Seen,
        features: Option<&FeatureDir>,
    ) -> StudyError {
        let StudyError::Probe {
            slot,
            source: ProbeError::NonFinite { image },
        } = &error
        else {
            return error;
        };
        let Some(&index) = seen.images.get(*image) else {
            return error;
        };
        let Some(item) = self.data.split(self.split).get(index) else {
            return error;
        };
        match features.and_then(|dir| dir.file_of(self.split, index)) {
            Some((file, number)) => StudyError::file(
                &file,
                format!(
                    "the {slot} of its image {number} ({}) holds a value that is not finite: make it again",
                    item.image.display()
                ),
            ),
            None => StudyError::file(
                &item.image,
                format!(
                    "the model's {slot} of this image holds a value that is not finite: leave the image out, or run with `dtype` f32"
                ),
            ),
        }
    }

    pub(crate) fn nothing_seen(&self) -> Seen {
        Seen {
            images: Vec::new(),
            truth: self.labels.then(Vec::new),
        }
    }

    /// The batches of at most `unit` images in order, each with whether it ends its group.
    pub(crate) fn batches(&self, unit: usize) -> impl Iterator<Item = (&[usize], bool)> {
        self.groups.iter().flat_map(move |group| {
            let count = group.len().div_ceil(unit);
            group
                .chunks(unit)
                .enumerate()
                .map(move |(index, batch)| (batch, index + 1 == count))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_without_a_mask_count_nowhere() {
        let label = LabelCrop {
            size: 2,
            ids: vec![0, 1, 2, 3],
        };
        let mut seen = Seen {
            images: Vec::new(),
            truth: Some(Vec::new()),
        };
        seen.push(5, Some(&label), 4);
        seen.push(9, None, 4);
        assert_eq!(seen.images, [5, 9]);
        let none = IGNORE;
        assert_eq!(
            seen.truth.as_deref(),
            Some(&[0, 1, 2, 3, none, none, none, none][..])
        );
        let mut unlabeled = Seen::default();
        unlabeled.push(5, Some(&label), 4);
        assert_eq!((unlabeled.images.len(), unlabeled.truth), (1, None));
    }

    #[test]
    fn a_group_ends_with_its_last_batch() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.png"), "no image").unwrap();
        let data = DataSet::open(&format!("folder:{}", folder.path().display())).unwrap();
        let groups = [vec![4, 2, 7], vec![], vec![1, 0]];
        let pass = Pass {
            readings: &[],
            rope: Side::Before,
            data: &data,
            geometry: Geometry { size: 2 },
            split: Split::Train,
            labels: true,
            turn: Turn::None,
            groups: &groups,
            threads: 1,
        };
        let batches: Vec<(&[usize], bool)> = pass.batches(2).collect();
        assert_eq!(
            batches,
            [(&[4, 2][..], false), (&[7][..], true), (&[1, 0][..], true)]
        );
        assert_eq!(pass.nothing_seen().truth, Some(Vec::new()));
    }
}
