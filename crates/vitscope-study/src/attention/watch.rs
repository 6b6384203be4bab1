//! The pass over the images: what is kept of each, and of the work while it is unfinished.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use safetensors::tensor::Dtype;
use vitscope_data::{DataSet, Split};
use vitscope_run::Record;
use vitscope_run::tensors::Lazy;
use vitscope_vit::vit::{AttentionWeights, Rows};

use super::localities::Localities;
use super::meter::LocalityMeter;
use super::settings::{AttentionSettings, PatchQuery};
use super::write::KeptRows;
use crate::error::StudyError;
use crate::model::Opened;
use crate::observer::{self, Observer};
use crate::settings::Side;
use crate::source::{MICRO_BATCH, Pass, PassTimes, Seen, Source, Visitor};
use crate::state::{self, SAVE_INTERVAL, StoredState};

/// The attention weights of one layer of a batch take at most about this many bytes.
const WEIGHT_BYTES: usize = 256 << 20;

/// Follows the pass over the images.
pub(super) struct Watcher<'a> {
    pub(super) observer: &'a mut dyn Observer,
    pub(super) run: &'a Path,
    pub(super) fingerprint: String,
    /// Images seen.
    pub(super) done: usize,
    pub(super) saved: Instant,
    pub(super) localities: LocalityMeter,
    /// Queries by the index of their image.
    pub(super) queries: BTreeMap<usize, Vec<&'a PatchQuery>>,
    pub(super) columns: usize,
    /// Kept rows, by name.
    pub(super) rows: KeptRows,
}

impl Visitor for Watcher<'_> {
    fn reading(&mut self, _: usize, _: &Rows<'_>, _: &Seen) -> Result<(), StudyError> {
        Ok(())
    }

    fn attention_layers(&self) -> Vec<usize> {
        self.localities.layers()
    }

    fn attention(
        &mut self,
        layer: usize,
        weights: &AttentionWeights<'_>,
        seen: &Seen,
    ) -> Result<(), StudyError> {
        let mut asked = Vec::new();
        let mut names = Vec::new();
        for (image, index) in seen.images.iter().enumerate() {
            for query in self.queries.get(index).into_iter().flatten() {
                asked.push([image, query.row * self.columns + query.column]);
                names.push(query.name(layer));
            }
        }
        let rows = self.localities.add(layer, weights, &asked)?;
        self.rows.extend(names.into_iter().zip(rows));
        Ok(())
    }

    fn batch(&mut self, seen: &Seen, _: bool) -> Result<(), StudyError> {
        self.done += seen.images.len();
        self.observer.advance(seen.images.len() as u64, None);
        let stop = self.observer.stop();
        if stop || self.saved.elapsed() > SAVE_INTERVAL {
            self.store()?;
            self.saved = Instant::now();
        }
        if stop {
            return Err(StudyError::Interrupted {
                run: self.run.to_owned(),
            });
        }
        Ok(())
    }
}

/// What the work is called while it is unfinished, and how the names of kept rows begin there.
const UNFINISHED: &str = "attention";
const ROW: &str = "row.";

impl Watcher<'_> {
    /// Stores the work as it is between two batches.
    fn store(&mut self) -> Result<(), StudyError> {
        let mut tensors = self.localities.counted()?.to_tensors();
        for (name, row) in &self.rows {
            let bytes: &[u8] = bytemuck::cast_slice(row);
            let tensor = Lazy::of(Dtype::F32, vec![row.len()], bytes);
            tensors.push((format!("{ROW}{name}"), tensor));
        }
        let origin = self.fingerprint.as_str().into();
        state::store_lazily(self.run, UNFINISHED, origin, self.done, tensors)
    }

    /// Takes up stored work, if there is any.
    pub(super) fn restore(&mut self) -> Result<(), StudyError> {
        let Some(mut found) =
            StoredState::of(self.run, UNFINISHED, self.fingerprint.as_str().into())?
        else {
            return Ok(());
        };
        for name in found.names() {
            if let Some(query) = name.strip_prefix(ROW) {
                let row = found.tensor(&name)?.f32s();
                self.rows.insert(query.to_owned(), row);
            }
        }
        let counted = self.localities.counted()?;
        counted.append_stored(&mut found)?;
        self.done = found.done();
        if counted.images() != self.done {
            return Err(found.damaged("it is of another number of images"));
        }
        self.observer
            .note(&format!("continuing at image {}", self.done));
        Ok(())
    }
}

/// The index of each query's image, and the queries of it.
pub(super) fn find_queries<'a>(
    queries: &'a [PatchQuery],
    data: &DataSet,
    split: Split,
    count: usize,
    grid: [usize; 2],
) -> Result<BTreeMap<usize, Vec<&'a PatchQuery>>, StudyError> {
    let mut found: BTreeMap<usize, Vec<&PatchQuery>> = BTreeMap::new();
    for query in queries {
        let Some(index) = data
            .split(split)
            .iter()
            .take(count)
            .position(|item| item.name == query.image)
        else {
            return Err(StudyError::setting(format!(
                "`queries`: no image is called {} among the first {count} of the {split} split",
                query.image
            )));
        };
        if query.row >= grid[0] || query.column >= grid[1] {
            return Err(StudyError::setting(format!(
                "`queries`: {}:{},{} lies outside the {} x {} patches, whose rows and columns count from 0",
                query.image, query.row, query.column, grid[0], grid[1]
            )));
        }
        found.entry(index).or_default().push(query);
    }
    Ok(found)
}

/// Shows every image that is left to a watcher.
pub(super) fn pass(
    source: &mut Source,
    opened: &Opened,
    data: &DataSet,
    settings: &AttentionSettings,
    count: usize,
    watcher: &mut Watcher<'_>,
    record: &mut Record,
) -> Result<(), StudyError> {
    let batch = batch(opened, source);
    let images: Vec<usize> = (watcher.done..count).collect();
    let groups: Vec<Vec<usize>> = images.chunks(batch).map(<[usize]>::to_vec).collect();
    let done = watcher.done as u64;
    watcher
        .observer
        .begin(observer::ATTENTION, done, count as u64);
    let pass = Pass {
        readings: &[],
        rope: Side::Before,
        data,
        geometry: opened.geometry,
        split: settings.split,
        labels: false,
        turn: crate::source::Turn::None,
        groups: &groups,
        threads: rayon::current_num_threads(),
    };
    let mut times = PassTimes::default();
    let ran = source.facets().run(&pass, watcher, &mut times);
    for (name, value) in [
        ("attention_images", times.images as f64),
        ("attention_secs", times.total().as_secs_f64()),
        ("attention_forward_secs", times.forward().as_secs_f64()),
        ("attention_measure_secs", times.visit.as_secs_f64()),
        ("attention_stall_secs", times.stall.as_secs_f64()),
    ] {
        *record.times.entry(name.to_owned()).or_insert(0.0) += value;
    }
    ran?;
    watcher.observer.end();
    Ok(())
}

/// Nothing seen yet of some layers of a model.
pub(crate) fn localities(opened: &Opened, layers: &[usize]) -> Localities {
    let heads = opened.record.heads.unwrap_or(0);
    Localities::new(layers, heads, opened.grid[0] * opened.grid[1])
}

/// What the locality bias of a probing run is called while it is unfinished.
pub(crate) const BESIDE: &str = "locality";

/// Images that go through the backbone together while its attention is looked at: on a card, where no
/// weights are written, as many as ever.
pub(crate) fn batch(opened: &Opened, source: &Source) -> usize {
    if source.is_card() {
        return source.unit();
    }
    // Class token and registers are few; an estimate is enough here.
    let tokens = opened.grid[0] * opened.grid[1] + 8;
    let of_image = opened.record.heads.unwrap_or(1) * tokens * tokens * size_of::<f32>();
    (WEIGHT_BYTES / of_image).clamp(1, MICRO_BATCH)
}
