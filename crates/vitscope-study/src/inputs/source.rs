//! Where facets come from: a backbone run over images, or a feature directory.

use std::time::{Duration, Instant};

use ndarray::{Array3, ArrayView4};
use vitscope_data::{DataSet, Geometry, IGNORE, LabelCrop, Sample, Split};
use vitscope_probe::ProbeError;
use vitscope_protocol::TestBatch;
use vitscope_run::{Facet, Record, Slot};
use vitscope_vit::Vit;
use vitscope_vit::facet::{Kind, Taps};
use vitscope_vit::vit::{Rows, Tapped, Workspace};

use crate::error::StudyError;
use crate::features::FeatureDir;
use crate::settings::Side;
pub use crate::turn::Turn;

/// Images that go through the backbone together. The last bits of an embedding may depend on what it is
/// computed with, so the number is part of what makes a run repeatable.
pub const MICRO_BATCH: usize = vitscope_protocol::MICRO_BATCH;

/// The same on a card, which is not filled by fewer. What a batch adds is summed image by image there,
/// too; but the products of a forward pass add up their terms in an order that may depend on how many
/// images there are, so this number, too, is part of what makes a run repeatable.
#[cfg(feature = "cuda")]
const CARD_BATCH: usize = 64;

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

    fn push(&mut self, index: usize, label: Option<&LabelCrop>, pixels: usize) {
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
    /// # Shapes
    /// `weights` `[images, heads, tokens, tokens]`, rows are queries; class and registers first.
    ///
    /// # Errors
    /// Ends the pass.
    fn attention(
        &mut self,
        _layer: usize,
        _weights: ArrayView4<'_, f32>,
        _seen: &Seen,
    ) -> Result<(), StudyError> {
        Ok(())
    }

    /// Every reading of a batch has been seen; `last` says whether its group ends here.
    ///
    /// # Errors
    /// Ends the pass.
    fn batch(&mut self, seen: &Seen, last: bool) -> Result<(), StudyError>;
}

/// Where the time of a pass went.
#[derive(Clone, Copy, Debug, Default)]
pub struct PassTimes {
    /// Images seen.
    pub images: u64,
    /// The whole pass.
    pub total: Duration,
    /// In the visitor.
    pub visit: Duration,
    /// Waiting for decoded images.
    pub stall: Duration,
}

impl PassTimes {
    /// The forward pass itself.
    #[must_use]
    pub fn forward(&self) -> Duration {
        self.total.saturating_sub(self.visit + self.stall)
    }

    /// Adds the times of a pass to the record of a run.
    pub(crate) fn note(&self, record: &mut Record, name: &str) {
        let mut put = |what: &str, value: f64| {
            *record.times.entry(format!("{name}_{what}")).or_insert(0.0) += value;
        };
        put("images", self.images as f64);
        put("secs", self.total.as_secs_f64());
        put("forward_secs", self.forward().as_secs_f64());
        put("probe_secs", self.visit.as_secs_f64());
        put("stall_secs", self.stall.as_secs_f64());
    }
}

/// A loaded backbone with what turns images into its input.
#[derive(Debug)]
pub struct Backbone {
    vit: Vit,
    work: Workspace,
    geometry: Geometry,
    /// `[3][256]`: the normalized value of every byte, as `(x / 255 - mean) / std` in f32.
    levels: [[f32; 256]; 3],
}

impl Backbone {
    /// Prepares a backbone for square crops of `geometry.size` pixels.
    ///
    /// # Errors
    /// When the size is no multiple of the patch.
    pub fn new(
        vit: Vit,
        geometry: Geometry,
        mean: [f64; 3],
        std: [f64; 3],
    ) -> Result<Self, StudyError> {
        let work = vit.workspace([geometry.size; 2])?;
        let levels = std::array::from_fn(|c| {
            std::array::from_fn(|x| (x as f32 / 255.0 - mean[c] as f32) / std[c] as f32)
        });
        Ok(Self {
            vit,
            work,
            geometry,
            levels,
        })
    }

    /// The model.
    #[must_use]
    pub fn vit(&self) -> &Vit {
        &self.vit
    }

    /// What the model is given for each byte of each channel.
    pub(crate) fn levels(&self) -> &[[f32; 256]; 3] {
        &self.levels
    }
}

/// Facets that were kept when the backbone gave them.
pub trait Replay: std::fmt::Debug {
    /// As [`Source::run`].
    ///
    /// # Errors
    /// From the disk or the visitor.
    fn run(
        &mut self,
        pass: &Pass<'_>,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError>;

    /// Gives the disk back.
    ///
    /// # Errors
    /// When the file cannot be removed.
    fn remove(self: Box<Self>) -> Result<(), StudyError>;
}

/// Something that gives the facets of a data set's images.
#[derive(Debug)]
pub enum Source {
    /// Runs the model.
    Backbone(Box<Backbone>),
    /// Reads what some program has written.
    Features(Box<FeatureDir>),
    /// Reads what the backbone has given before.
    Cached(Box<dyn Replay>),
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
    /// Groups of images (training steps, say); each is cut into batches of [`MICRO_BATCH`], on a card of
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
                    "the model's {slot} of this image holds a value that is not finite: leave the image out, or run with --dtype f32"
                ),
            ),
        }
    }
}

/// The tensor of a forward pass that a slot reads.
#[must_use]
pub fn tapped_kind(slot: Slot, depth: usize, token_norm: Side, rope: Side) -> Kind {
    match slot.facet {
        Facet::Key if rope == Side::After => Kind::KeyRotated,
        Facet::Query if rope == Side::After => Kind::QueryRotated,
        Facet::Key => Kind::Key,
        Facet::Query => Kind::Query,
        Facet::Value => Kind::Value,
        Facet::Token if slot.layer == depth && token_norm == Side::After => Kind::FinalNorm,
        Facet::Token => Kind::Token,
    }
}

impl Pass<'_> {
    fn nothing_seen(&self) -> Seen {
        Seen {
            images: Vec::with_capacity(MICRO_BATCH),
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

impl Source {
    /// The card that its rows lie on, if they do.
    #[cfg(feature = "cuda")]
    pub(crate) fn gpu(&self) -> Option<&std::sync::Arc<vitscope_probe::cuda::Gpu>> {
        match self {
            Self::Backbone(backbone) => backbone.vit.gpu(),
            Self::Features(_) | Self::Cached(_) => None,
        }
    }

    /// Images that go through it together: [`MICRO_BATCH`], on a card more.
    pub(crate) fn unit(&self) -> usize {
        #[cfg(feature = "cuda")]
        if self.gpu().is_some() {
            return CARD_BATCH;
        }
        MICRO_BATCH
    }

    /// Shows every reading of every image of a pass to a visitor, in order.
    ///
    /// # Errors
    /// From the data, the files or the visitor.
    pub fn run(
        &mut self,
        pass: &Pass<'_>,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError> {
        let (unit, start) = (self.unit(), Instant::now());
        let ran = match self {
            Self::Backbone(backbone) => backbone.run(pass, unit, visitor, times),
            Self::Features(dir) => run_features(dir, pass, visitor, times),
            Self::Cached(cache) => cache.run(pass, visitor, times),
        };
        times.total += start.elapsed();
        ran
    }
}

/// Hands a tapped tensor to the readings that it is.
fn show(
    tapped: Tapped<'_>,
    kinds: &[(usize, Kind)],
    seen: &Seen,
    visitor: &mut dyn Visitor,
) -> Result<(), StudyError> {
    match tapped {
        Tapped::Rows {
            layer,
            kind,
            patches,
            ..
        } => {
            let readings = kinds.iter().enumerate();
            let mut readings = readings.filter(|(_, k)| **k == (layer, kind));
            readings.try_for_each(|(reading, _)| visitor.reading(reading, &patches, seen))
        }
        Tapped::Attention { layer, weights } => visitor.attention(layer, weights, seen),
    }
}

impl Backbone {
    fn run(
        &mut self,
        pass: &Pass<'_>,
        unit: usize,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError> {
        let depth = self.vit.config().depth;
        let kind = |reading: &Reading| {
            let kind = tapped_kind(reading.slot, depth, reading.token_norm, pass.rope);
            (reading.slot.layer, kind)
        };
        let kinds: Vec<(usize, Kind)> = pass.readings.iter().map(kind).collect();
        let mut taps = Taps::new();
        for &(layer, kind) in &kinds {
            taps.add(layer, kind);
        }
        for layer in visitor.attention_layers() {
            taps.add(layer, Kind::Attention);
        }
        let order: Vec<usize> = pass.groups.concat();
        let mut stream = vitscope_data::stream(
            pass.data,
            pass.split,
            order,
            self.geometry,
            pass.labels,
            2 * unit,
            pass.threads,
        );
        let side = self.geometry.size;
        let mut pixels = Vec::new();
        let mut unit = unit;
        let stalled = times.stall;
        for (batch, last) in pass.batches(unit) {
            let samples = stream.by_ref().take(batch.len());
            let samples: Vec<Sample> = samples.collect::<Result<_, _>>()?;
            times.stall = stalled + stream.stall();
            let mut left = &samples[..];
            while !left.is_empty() {
                let (now, after) = left.split_at(unit.min(left.len()));
                let mut seen = pass.nothing_seen();
                pixels.clear();
                for sample in now {
                    let start = pixels.len();
                    pixels.extend_from_slice(&sample.image.pixels);
                    pass.turn.apply(&mut pixels[start..], side);
                    seen.push(sample.index, sample.label.as_ref(), side * side);
                }
                let (visit, work) = (&mut times.visit, &mut self.work);
                let mut shown = false;
                let ran = self
                    .vit
                    .forward_bytes(&pixels, &self.levels, &taps, work, |tapped| {
                        let start = Instant::now();
                        shown = true;
                        show(tapped, &kinds, &seen, visitor)
                            .map_err(|error| pass.named(error, &seen, None))?;
                        *visit += start.elapsed();
                        Ok::<(), StudyError>(())
                    });
                match ran {
                    // Too many at a time for this card: from here on fewer.
                    Err(StudyError::Device(error))
                        if error.is_memory() && !shown && now.len() > 1 =>
                    {
                        unit = now.len() / 2;
                        continue;
                    }
                    ran => ran?,
                }
                left = after;
                // Before the visitor, which may end the pass when it has taken them.
                times.images += seen.images.len() as u64;
                let start = Instant::now();
                visitor.batch(&seen, last && left.is_empty())?;
                times.visit += start.elapsed();
            }
        }
        Ok(())
    }

    /// Runs RGB squares together and hands out what is tapped.
    ///
    /// # Shapes
    /// `squares`: `[side, side, 3]` each, with the side of the crop.
    ///
    /// # Errors
    /// Whatever `sink` returns; the pass stops there.
    pub fn squares(
        &mut self,
        squares: &[&[u8]],
        taps: &Taps,
        sink: impl FnMut(Tapped<'_>) -> Result<(), StudyError>,
    ) -> Result<(), StudyError> {
        let pixels = squares.concat();
        self.vit
            .forward_bytes(&pixels, &self.levels, taps, &mut self.work, sink)
    }
}

fn run_features(
    dir: &mut FeatureDir,
    pass: &Pass<'_>,
    visitor: &mut dyn Visitor,
    times: &mut PassTimes,
) -> Result<(), StudyError> {
    if !visitor.attention_layers().is_empty() {
        return Err(StudyError::setting(
            "a feature directory holds no attention weights: give the model itself",
        ));
    }
    let mut rows = Array3::zeros((0, 0, 0));
    let items = pass.data.split(pass.split);
    for (batch, last) in pass.batches(MICRO_BATCH) {
        let mut seen = pass.nothing_seen();
        for &index in batch {
            let label = if pass.labels {
                pass.data.label(&items[index], &pass.geometry)?
            } else {
                None
            };
            seen.push(index, label.as_ref(), pass.geometry.size.pow(2));
        }
        for (number, reading) in pass.readings.iter().enumerate() {
            dir.read(pass.split, reading.slot, batch, &mut rows)?;
            let visiting = Instant::now();
            visitor
                .reading(number, &Rows::Host(rows.view()), &seen)
                .map_err(|error| pass.named(error, &seen, Some(&*dir)))?;
            times.visit += visiting.elapsed();
        }
        times.images += seen.images.len() as u64;
        let visiting = Instant::now();
        visitor.batch(&seen, last)?;
        times.visit += visiting.elapsed();
    }
    Ok(())
}
