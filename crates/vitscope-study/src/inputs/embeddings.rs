//! One slot of a model, or of a feature directory, as the protocol's library reads embeddings.

use std::cell::RefCell;

use ndarray::ArrayViewMut3;
use vitscope_data::{DataSet, Split};
use vitscope_protocol::{Embeddings, ReadError};
use vitscope_run::Slot;
use vitscope_vit::vit::Rows;

use crate::error::StudyError;
use crate::model::Opened;
use crate::settings::Side;
use crate::source::{Pass, PassTimes, Reading, Seen, Source, Visitor};

/// The embeddings of one slot of a data set's images, in the order of its files. Images that are asked for
/// together go through a backbone together.
#[derive(Debug)]
pub struct SlotEmbeddings<'a> {
    source: RefCell<&'a mut Source>,
    opened: &'a Opened,
    data: &'a DataSet,
    split: Split,
    reading: Reading,
    rope: Side,
    width: usize,
}

impl<'a> SlotEmbeddings<'a> {
    /// The embeddings of a slot of an opened model: the last token after or before the final LayerNorm, keys and
    /// queries of a rotary model before or after rotation.
    ///
    /// # Errors
    /// A sentence, for a slot that was not opened.
    pub fn new(
        source: &'a mut Source,
        opened: &'a Opened,
        data: &'a DataSet,
        split: Split,
        slot: Slot,
        token_norm: Side,
        rope: Side,
    ) -> Result<Self, StudyError> {
        let known = opened.slots.iter().position(|&other| other == slot);
        let missing = || StudyError::setting(format!("{slot}: the model was opened without it"));
        Ok(Self {
            width: opened.widths[known.ok_or_else(missing)?],
            source: RefCell::new(source),
            opened,
            data,
            split,
            reading: Reading { slot, token_norm },
            rope,
        })
    }
}

/// Copies rows to where they are wanted.
struct Copier<'a> {
    out: &'a mut [f32],
    done: usize,
}

impl Visitor for Copier<'_> {
    fn reading(&mut self, _: usize, rows: &Rows<'_>, _: &Seen) -> Result<(), StudyError> {
        let rows = rows.host()?;
        let left = &mut self.out[self.done..];
        let mut out = ArrayViewMut3::from_shape(rows.dim(), left)
            .map_err(|error| StudyError::Internal(error.to_string()))?;
        out.assign(&rows);
        self.done += rows.len();
        Ok(())
    }

    fn batch(&mut self, _: &Seen, _: bool) -> Result<(), StudyError> {
        Ok(())
    }
}

impl Embeddings for SlotEmbeddings<'_> {
    fn len(&self) -> usize {
        self.data.split(self.split).len()
    }

    fn grid(&self) -> (usize, usize) {
        self.opened.grid.into()
    }

    fn width(&self) -> usize {
        self.width
    }

    fn read(&self, image: usize, out: &mut [f32]) -> Result<(), ReadError> {
        self.read_batch(&[image], out).map_err(|(_, error)| error)
    }

    fn read_batch(&self, images: &[usize], out: &mut [f32]) -> Result<(), (usize, ReadError)> {
        let groups = [images.to_vec()];
        let pass = Pass {
            readings: &[self.reading],
            rope: self.rope,
            data: self.data,
            geometry: self.opened.geometry,
            split: self.split,
            labels: false,
            turn: crate::source::Turn::None,
            groups: &groups,
            threads: rayon::current_num_threads(),
        };
        let mut copier = Copier { out, done: 0 };
        let mut source = self.source.borrow_mut();
        let run = source
            .facets()
            .run(&pass, &mut copier, &mut PassTimes::default());
        // Which of several images it was is told in the error itself.
        let first = images.first().copied().unwrap_or(0);
        run.map_err(|error| (first, error.into()))
    }
}
