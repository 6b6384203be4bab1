//! A backbone at work: images in, the readings of a pass out.

use std::time::Instant;

use vitscope_data::{Geometry, Sample};
use vitscope_protocol::MICRO_BATCH;
use vitscope_run::{Facet, Slot};
use vitscope_vit::Vit;
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::vit::{Tapped, Workspace};

use crate::error::StudyError;
use crate::pass::{Facets, Pass, PassTimes, Reading, Seen, Visitor};
use crate::settings::Side;

/// Images that go through the backbone together on a card, which is not filled by fewer. What a batch adds is summed image by image there,
/// too; but the products of a forward pass add up their terms in an order that may depend on how many
/// images there are, so this number, too, is part of what makes a run repeatable.
#[cfg(feature = "cuda")]
const CARD_BATCH: usize = 64;

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

    /// Images that go through it together.
    pub(crate) fn unit(&self) -> usize {
        #[cfg(feature = "cuda")]
        if self.vit.gpu().is_some() {
            return CARD_BATCH;
        }
        MICRO_BATCH
    }

    /// What the model is given for each byte of each channel.
    pub(crate) fn levels(&self) -> &[[f32; 256]; 3] {
        &self.levels
    }
}

/// The tensor of a forward pass that a slot reads.
#[must_use]
pub fn tapped_kind(slot: Slot, depth: usize, token_norm: Side, rope: Side) -> TapKind {
    match slot.facet {
        Facet::Key if rope == Side::After => TapKind::KeyRotated,
        Facet::Query if rope == Side::After => TapKind::QueryRotated,
        Facet::Key => TapKind::Key,
        Facet::Query => TapKind::Query,
        Facet::Value => TapKind::Value,
        Facet::Token if slot.layer == depth && token_norm == Side::After => TapKind::FinalNorm,
        Facet::Token => TapKind::Token,
    }
}

impl Backbone {
    /// The tensor that each reading of a pass is, and all that its visitor looks at.
    fn tapped(&self, pass: &Pass<'_>, visitor: &dyn Visitor) -> (Vec<(usize, TapKind)>, Taps) {
        let depth = self.vit.config().depth;
        let kind = |reading: &Reading| {
            let kind = tapped_kind(reading.slot, depth, reading.token_norm, pass.rope);
            (reading.slot.layer, kind)
        };
        let kinds: Vec<(usize, TapKind)> = pass.readings.iter().map(kind).collect();
        let attention = visitor.attention_layers().into_iter();
        let attention = attention.map(|layer| (layer, TapKind::Attention));
        let mut taps = Taps::new();
        for (layer, kind) in kinds.iter().copied().chain(visitor.also()).chain(attention) {
            taps.add(layer, kind);
        }
        (kinds, taps)
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
        mut sink: impl FnMut(Tapped<'_>) -> Result<(), StudyError>,
    ) -> Result<(), StudyError> {
        self.work.send(|pixels| {
            let squares = squares.iter();
            squares.for_each(|square| pixels.extend_from_slice(square));
        })?;
        self.vit
            .forward_sent(&self.levels, taps, &mut self.work, |tapped| {
                tapped.into_iter().try_for_each(&mut sink)
            })
    }
}

impl Facets for Backbone {
    fn run(
        &mut self,
        pass: &Pass<'_>,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError> {
        let (kinds, taps) = self.tapped(pass, visitor);
        let mut unit = self.unit();
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
        let stalled = times.stall;
        let mut due = None;
        for (batch, last) in pass.batches(unit) {
            let samples: Result<Vec<Sample>, _> = stream.by_ref().take(batch.len()).collect();
            times.stall = stalled + stream.stall();
            if samples.is_err() {
                // What was seen before them counts.
                end_batch(&mut due, visitor, times)?;
            }
            let samples = samples?;
            let mut left = &samples[..];
            while !left.is_empty() {
                let (now, after) = left.split_at(unit.min(left.len()));
                let mut seen = pass.nothing_seen();
                for sample in now {
                    seen.push(sample.index, sample.label.as_ref(), side * side);
                }
                // Before the visitor ends the batch before, for which it may have to wait for a card: that has the
                // next images then.
                let sent = self.work.send(|pixels| {
                    for sample in now {
                        let start = pixels.len();
                        pixels.extend_from_slice(&sample.image.pixels);
                        pass.turn.apply(&mut pixels[start..], side);
                    }
                });
                end_batch(&mut due, visitor, times)?;
                let (visit, work) = (&mut times.visit, &mut self.work);
                let mut shown = false;
                let ran = sent.map_err(StudyError::from).and_then(|()| {
                    self.vit
                        .forward_sent(&self.levels, &taps, work, |together| {
                            let start = Instant::now();
                            shown = true;
                            let looked = show(&together, &kinds, visitor, &seen);
                            *visit += start.elapsed();
                            looked.map_err(|error| pass.named(error, &seen, None))
                        })
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
                due = Some((seen, last && left.is_empty()));
            }
        }
        end_batch(&mut due, visitor, times)
    }
}

/// Shows a visitor the tensors that exist together, each of which may be any number of readings.
fn show(
    together: &[Tapped<'_>],
    kinds: &[(usize, TapKind)],
    visitor: &mut dyn Visitor,
    seen: &Seen,
) -> Result<(), StudyError> {
    let own = |tensor| (0..kinds.len()).filter(move |&own| kinds[own] == tensor);
    let rows = together.iter().filter_map(Tapped::patches);
    let readings = rows.flat_map(|(tensor, rows)| own(tensor).map(move |own| (own, rows)));
    visitor.readings(&readings.collect::<Vec<_>>(), seen)?;
    for tapped in together {
        match tapped {
            Tapped::Rows {
                layer,
                kind,
                prefix,
                patches,
            } => visitor.tapped((*layer, *kind), [prefix, patches])?,
            Tapped::Attention { layer, weights } => visitor.attention(*layer, weights, seen)?,
        }
    }
    Ok(())
}

/// Ends the batch that is due, if one is.
fn end_batch(
    due: &mut Option<(Seen, bool)>,
    visitor: &mut dyn Visitor,
    times: &mut PassTimes,
) -> Result<(), StudyError> {
    let Some((seen, last)) = due.take() else {
        return Ok(());
    };
    // Before the visitor, which may end the pass when it has taken them.
    times.images += seen.images.len() as u64;
    let start = Instant::now();
    visitor.batch(&seen, last)?;
    times.visit += start.elapsed();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_read_where_its_settings_say() {
        let kind = |facet, layer, norm, rope| tapped_kind(Slot { facet, layer }, 12, norm, rope);
        let (after, before) = (Side::After, Side::Before);
        assert_eq!(kind(Facet::Key, 3, after, before), TapKind::Key);
        assert_eq!(kind(Facet::Key, 3, before, after), TapKind::KeyRotated);
        assert_eq!(kind(Facet::Query, 3, before, after), TapKind::QueryRotated);
        assert_eq!(kind(Facet::Value, 3, after, after), TapKind::Value);
        // Only the last token has a norm behind it.
        assert_eq!(kind(Facet::Token, 11, after, after), TapKind::Token);
        assert_eq!(kind(Facet::Token, 12, after, before), TapKind::FinalNorm);
        assert_eq!(kind(Facet::Token, 12, before, before), TapKind::Token);
    }
}
