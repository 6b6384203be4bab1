//! Locality bias and attention pictures of every layer, over a whole data set (PROTOCOL section 9).
//!
//! One forward pass per batch. The attention weights of a layer are looked at as soon as they exist
//! and then overwritten by the next layer's: what stays is one number per image, layer and head, one
//! `[N, N]` sum per layer, and the rows that were asked for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use ndarray::{Array2, ArrayView2, ArrayView3, ArrayView4, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use vitscope_data::{DataSet, Split};
use vitscope_measure::{locality, mean_interval, mean_over_heads, quantile};
use vitscope_run::tensors::{self, Lazy};
use vitscope_run::{Fixed, Part, Record, RunKind, RunState, Subject, Table, files, names};
use vitscope_vit::identify::Settle;
use vitscope_vit::vit::Rows;

use crate::error::StudyError;
use crate::folder;
use crate::layers::Layers;
use crate::model::{Model, Opened};
use crate::observer::{Observer, Phase};
use crate::picture;
use crate::record;
use crate::settings::{Settings as ProbeSettings, Side};
use crate::source::{MICRO_BATCH, Pass, Seen, Source, Visitor};
use crate::state::{self, Found, SAVE_INTERVAL};

/// The attention weights of one layer of a batch take at most about this many bytes.
const WEIGHT_BYTES: usize = 256 << 20;

/// The quantile above which a mean weight is shown in the binary picture.
const SHOWN: f64 = 0.95;

/// The level of the intervals.
const LEVEL: f64 = 0.95;

/// A patch of an image whose attention is to be kept: `name:row,column`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Query {
    /// The image's name: its file name without extension.
    pub image: String,
    /// Row of patches, from 0 at the top.
    pub row: usize,
    /// Column of patches, from 0 at the left.
    pub column: usize,
}

impl FromStr for Query {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (image, place) = text.rsplit_once(':')?;
            let (row, column) = place.split_once(',')?;
            Some(Self {
                image: image.to_owned(),
                row: row.trim().parse().ok()?,
                column: column.trim().parse().ok()?,
            })
        };
        parse().filter(|query| !query.image.is_empty()).ok_or_else(|| {
            format!(
                "`{text}` is no query: expected an image's name and a patch from 0, such as 0001TP_008550:3,12"
            )
        })
    }
}

impl Query {
    /// The name used in files.
    fn name(&self, layer: usize) -> String {
        format!("query.{layer}.{}.{}-{}", self.image, self.row, self.column)
    }
}

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The checkpoint.
    pub model: PathBuf,
    /// What it leaves open.
    pub settle: Settle,
    /// The data set, as the user names it.
    pub data: String,
    /// The run directory; `runs/MODEL-DATA-attention` unless set.
    pub out: Option<PathBuf>,
    /// The settings.
    pub settings: Settings,
    /// Whether to continue what is there.
    pub resume: bool,
}

/// The settings that can change a figure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Asked side of the crop in pixels.
    pub size: usize,
    /// Which layers.
    pub layers: Layers,
    /// Which images.
    pub split: Split,
    /// Only the first so many of them.
    pub limit: Option<usize>,
    /// Patches whose attention is kept.
    pub queries: Vec<Query>,
    /// Bootstrap samples behind an interval; 0 for none.
    pub resamples: usize,
    /// Their seed.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size: 320,
            layers: Layers::All,
            split: Split::Test,
            limit: None,
            queries: Vec::new(),
            resamples: 1000,
            seed: 0,
        }
    }
}

/// How `run.json` shows the settings.
#[derive(Serialize)]
struct Stored {
    size: usize,
    layers: String,
    split: String,
    limit: Option<usize>,
    queries: Vec<String>,
    resamples: usize,
    seed: u64,
}

impl Settings {
    fn stored(&self) -> Stored {
        let query = |q: &Query| format!("{}:{},{}", q.image, q.row, q.column);
        Stored {
            size: self.size,
            layers: self.layers.to_string(),
            split: self.split.to_string(),
            limit: self.limit,
            queries: self.queries.iter().map(query).collect(),
            resamples: self.resamples,
            seed: self.seed,
        }
    }
}

/// A mean over images and its bootstrap interval, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The mean; `None` where no image has patch-to-patch attention.
    pub mean: Option<f64>,
    /// Its interval, where one was asked for.
    pub interval: Option<(f64, f64)>,
}

/// What is said of one layer.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The layer, from 1.
    pub layer: usize,
    /// `I(K,Q)` of the head-averaged matrix.
    pub whole: Figure,
    /// `I(K,Q)` of each head.
    pub heads: Vec<Figure>,
}

/// A finished run.
#[derive(Debug)]
pub struct Outcome {
    /// Its directory.
    pub run: PathBuf,
    /// Per layer.
    pub layers: Vec<Summary>,
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
const UNIT: f64 = 1.0 / (1_u64 << 40) as f64;

/// Locality bias and mean attention of some layers, image by image.
///
/// An image's figures depend on no other image, and sums are of whole numbers, so results depend neither
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
        let counts = self
            .layers
            .iter_mut()
            .find(|counts| counts.layer == layer && counts.heads.len() == heads)
            .filter(|_| tokens >= self.patches)
            .ok_or_else(|| StudyError::Internal(format!("attention of layer {layer}")))?;
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

    /// The figures of every layer; `resamples` of 0 leaves the intervals out.
    #[must_use]
    pub fn finish(&self, resamples: usize, seed: u64) -> Vec<Summary> {
        let figure = |values: &Vec<Option<f64>>| {
            let values: Vec<f64> = values.iter().copied().flatten().collect();
            // The same seed throughout: layers and heads are resampled over the same images.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            Figure {
                mean: (!values.is_empty())
                    .then(|| values.iter().sum::<f64>() / values.len() as f64),
                interval: (resamples > 0)
                    .then(|| mean_interval(&values, resamples, LEVEL, &mut rng))
                    .flatten(),
            }
        };
        self.layers
            .iter()
            .map(|counts| Summary {
                layer: counts.layer,
                whole: figure(&counts.whole),
                heads: counts.heads.par_iter().map(figure).collect(),
            })
            .collect()
    }

    /// Images seen.
    #[must_use]
    pub(crate) fn images(&self) -> usize {
        self.layers.first().map_or(0, |counts| counts.whole.len())
    }

    /// What was seen so far, for [`append_stored`](Self::append_stored): by layer, the figures of each
    /// image (`NaN` for none) and the sums.
    pub(crate) fn to_tensors(&self) -> Vec<(String, Lazy<'_>)> {
        let plain = |values: &[Option<f64>]| -> Vec<u8> {
            let values = values.iter().map(|value| value.unwrap_or(f64::NAN));
            values.flat_map(f64::to_le_bytes).collect()
        };
        let of_layer = |counts: &LayerCounts| {
            let (images, heads) = (counts.whole.len(), counts.heads.len());
            let figures: Vec<u8> = counts.heads.iter().flat_map(|head| plain(head)).collect();
            let sums = counts
                .sum
                .iter()
                .flat_map(|sum| sum.to_le_bytes())
                .collect();
            [
                ("whole", Dtype::F64, vec![images], plain(&counts.whole)),
                ("heads", Dtype::F64, vec![heads, images], figures),
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
    pub(crate) fn append_stored(&mut self, stored: &mut Found) -> Result<(), StudyError> {
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
    fn means(&self) -> impl Iterator<Item = (usize, Array2<f64>)> {
        self.layers.iter().map(|counts| {
            let images = counts.whole.len().max(1) as f64;
            (
                counts.layer,
                counts.sum.mapv(|sum| sum as f64 * UNIT / images),
            )
        })
    }
}

/// Follows the pass over the images.
struct Watcher<'a> {
    observer: &'a mut dyn Observer,
    run: &'a Path,
    fingerprint: String,
    /// Images seen.
    done: usize,
    saved: Instant,
    localities: Localities,
    /// Queries by the index of their image.
    queries: BTreeMap<usize, Vec<&'a Query>>,
    columns: usize,
    /// Kept rows, by name.
    rows: BTreeMap<String, Vec<f32>>,
}

impl Visitor for Watcher<'_> {
    fn slot(&mut self, _: usize, _: &Rows<'_>, _: &Seen) -> Result<(), StudyError> {
        Ok(())
    }

    fn attention_layers(&self) -> Vec<usize> {
        self.localities.layers()
    }

    fn attention(
        &mut self,
        layer: usize,
        weights: ArrayView4<'_, f32>,
        seen: &Seen,
    ) -> Result<(), StudyError> {
        let (queries, rows, columns) = (&self.queries, &mut self.rows, self.columns);
        self.localities.add(layer, weights, |image, mean| {
            for query in queries.get(&seen.images[image]).into_iter().flatten() {
                let row = mean.row(query.row * columns + query.column);
                let row = row.iter().map(|&weight| weight as f32).collect();
                rows.insert(query.name(layer), row);
            }
        })
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
    fn store(&self) -> Result<(), StudyError> {
        let mut tensors = self.localities.to_tensors();
        for (name, row) in &self.rows {
            let view = TensorView::new(Dtype::F32, vec![row.len()], bytemuck::cast_slice(row))
                .map_err(|error| StudyError::Internal(error.to_string()))?;
            tensors.push((format!("{ROW}{name}"), view.into()));
        }
        state::store_lazily(self.run, UNFINISHED, &self.fingerprint, self.done, tensors)
    }

    /// Takes up stored work, if there is any.
    fn restore(&mut self) -> Result<(), StudyError> {
        let Some(mut found) = Found::of(self.run, UNFINISHED, &self.fingerprint)? else {
            return Ok(());
        };
        for name in found.names() {
            if let Some(query) = name.strip_prefix(ROW) {
                let row = found.tensor(&name)?.f32s();
                self.rows.insert(query.to_owned(), row);
            }
        }
        self.localities.append_stored(&mut found)?;
        self.done = found.done();
        if self.localities.images() != self.done {
            return Err(found.damaged("it is of another number of images"));
        }
        self.observer
            .note(&format!("continuing at image {}", self.done));
        Ok(())
    }
}

/// Measures the locality bias of every layer and draws its attention.
///
/// # Errors
/// One sentence.
pub fn attention(request: &Request, observer: &mut dyn Observer) -> Result<Outcome, StudyError> {
    let settings = &request.settings;
    let data = DataSet::open(&request.data)?;
    let model = Model::Checkpoint(request.model.clone(), request.settle.clone());
    let (mut source, opened) = model.open(settings.size, &settings.layers, &[])?;
    let layers = settings
        .layers
        .resolve(opened.record.depth)
        .map_err(StudyError::Setting)?;
    let images = data.split(settings.split);
    let count = images.len().min(settings.limit.unwrap_or(usize::MAX));
    let queries = find_queries(&settings.queries, &data, settings.split, count, opened.grid)?;
    let run = request.out.clone().unwrap_or_else(|| {
        let name = format!("{}-{}-attention", opened.stem, data.kind.name());
        Path::new("runs").join(name.replace(['/', '\\'], "_"))
    });
    folder::begin(&run, request.resume)?;
    let mut record = describe(request, &data, &opened, count);
    for note in &record.notes {
        observer.note(note);
    }
    let mut watcher = Watcher {
        observer,
        run: &run,
        fingerprint: record.fingerprint(),
        done: 0,
        saved: Instant::now(),
        localities: localities(&opened, &layers),
        queries,
        columns: opened.grid[1],
        rows: BTreeMap::new(),
    };
    if request.resume {
        watcher.restore()?;
    }
    record.write(&run)?;
    let result = pass(
        &mut source,
        &opened,
        &data,
        settings,
        count,
        &mut watcher,
        &mut record,
    );
    let Watcher {
        localities, rows, ..
    } = watcher;
    if let Err(error) = result {
        if matches!(error, StudyError::Interrupted { .. }) {
            record.state = RunState::Interrupted;
            record.write(&run)?;
        }
        return Err(error);
    }
    let writing = Instant::now();
    let summaries = localities.finish(settings.resamples, settings.seed);
    write_metrics(&run, &record, &summaries)?;
    write_tensors(&run, &localities, &rows, opened.grid)?;
    draw(&run, &localities, &rows, &opened, &data, settings)?;
    record
        .times
        .insert("write_secs".to_owned(), writing.elapsed().as_secs_f64());
    record.state = RunState::Complete;
    record.write(&run)?;
    state::remove(&run)?;
    Ok(Outcome {
        run,
        layers: summaries,
    })
}

fn find_queries<'a>(
    queries: &'a [Query],
    data: &DataSet,
    split: Split,
    count: usize,
    grid: [usize; 2],
) -> Result<BTreeMap<usize, Vec<&'a Query>>, StudyError> {
    let mut found: BTreeMap<usize, Vec<&Query>> = BTreeMap::new();
    for query in queries {
        let Some(index) = data
            .split(split)
            .iter()
            .take(count)
            .position(|item| item.name == query.image)
        else {
            return Err(StudyError::setting(format!(
                "--queries: no image is called {} among the first {count} of the {split} split",
                query.image
            )));
        };
        if query.row >= grid[0] || query.column >= grid[1] {
            return Err(StudyError::setting(format!(
                "--queries: {}:{},{} lies outside the {} x {} patches, whose rows and columns count from 0",
                query.image, query.row, query.column, grid[0], grid[1]
            )));
        }
        found.entry(index).or_default().push(query);
    }
    Ok(found)
}

fn describe(request: &Request, data: &DataSet, opened: &Opened, count: usize) -> Record {
    let settings = &request.settings;
    let [train, test] = match settings.split {
        Split::Train => [count, 0],
        Split::Test => [0, count],
    };
    let notes = opened.notes.iter().chain(data.notes()).cloned().collect();
    let fixed = Fixed {
        settings: serde_json::to_value(settings.stored()).unwrap_or_default(),
        model: opened.record.clone(),
        data: record::of_data(data, train, test),
        clusters: 0,
        grid: opened.grid,
        size: opened.geometry.size,
        seed: settings.seed,
        threads: rayon::current_num_threads(),
    };
    Record::new(RunKind::Attention, &request.data, fixed, notes)
}

/// Nothing seen yet of some layers of a model.
pub(crate) fn localities(opened: &Opened, layers: &[usize]) -> Localities {
    let heads = opened.record.heads.unwrap_or(0);
    Localities::new(layers, heads, opened.grid[0] * opened.grid[1])
}

/// What the locality bias of a probing run is called while it is unfinished.
pub(crate) const BESIDE: &str = "locality";

/// Images that go through the backbone together while its attention is looked at.
pub(crate) fn batch(opened: &Opened) -> usize {
    // Class token and registers are few; an estimate is enough here.
    let tokens = opened.grid[0] * opened.grid[1] + 8;
    let of_image = opened.record.heads.unwrap_or(1) * tokens * tokens * size_of::<f32>();
    (WEIGHT_BYTES / of_image).clamp(1, MICRO_BATCH)
}

/// What `probe --attention` leaves in its run directory: the rows of a table, the mean matrices and
/// their pictures, as a run of this module has them.
pub(crate) fn write_beside(
    run: &Path,
    settings: &ProbeSettings,
    localities: &Localities,
    grid: [usize; 2],
    table: &mut Table,
) -> Result<(), StudyError> {
    let resamples = match settings.resamples {
        0 => 0,
        _ => Settings::default().resamples,
    };
    add_rows(table, &localities.finish(resamples, settings.seed));
    write_tensors(run, localities, &BTreeMap::new(), grid)?;
    draw_means(run, localities)
}

fn pass(
    source: &mut Source,
    opened: &Opened,
    data: &DataSet,
    settings: &Settings,
    count: usize,
    watcher: &mut Watcher<'_>,
    record: &mut Record,
) -> Result<(), StudyError> {
    let batch = batch(opened);
    let images: Vec<usize> = (watcher.done..count).collect();
    let groups: Vec<Vec<usize>> = images.chunks(batch).map(<[usize]>::to_vec).collect();
    let done = watcher.done as u64;
    watcher.observer.begin(Phase::Attention, done, count as u64);
    let pass = Pass {
        readings: &[],
        rope: Side::Before,
        data,
        geometry: opened.geometry,
        split: settings.split,
        labels: false,
        groups: &groups,
        threads: rayon::current_num_threads(),
    };
    let times = source.run(&pass, watcher)?;
    watcher.observer.end();
    for (name, value) in [
        ("attention_images", times.images as f64),
        ("attention_secs", times.total.as_secs_f64()),
        ("attention_forward_secs", times.forward().as_secs_f64()),
        ("attention_measure_secs", times.visit.as_secs_f64()),
        ("attention_stall_secs", times.stall.as_secs_f64()),
    ] {
        record.times.insert(name.to_owned(), value);
    }
    Ok(())
}

fn write_metrics(run: &Path, record: &Record, summaries: &[Summary]) -> Result<(), StudyError> {
    let model = &record.model;
    let mut table = Table::new(&model.name, &model.family, &model.size);
    add_rows(&mut table, summaries);
    Ok(table.write(&run.join(names::METRICS))?)
}

fn add_rows(table: &mut Table, summaries: &[Summary]) {
    for summary in summaries {
        let subject = Subject::Layer(summary.layer);
        let mut add = |metric: &str, part: Part, figure: Figure| {
            table.add(subject, metric, part, figure.mean, figure.interval);
        };
        add("locality", Part::Whole, summary.whole);
        for (head, &figure) in summary.heads.iter().enumerate() {
            add("locality_head", Part::Index(head), figure);
        }
    }
}

fn write_tensors(
    run: &Path,
    localities: &Localities,
    rows: &BTreeMap<String, Vec<f32>>,
    grid: [usize; 2],
) -> Result<(), StudyError> {
    let path = run.join(names::ATTENTION);
    let n = localities.patches;
    let means = localities.means().map(|(layer, mean)| {
        let bytes: Vec<u8> = mean
            .iter()
            .flat_map(|&weight| (weight as f32).to_le_bytes())
            .collect();
        (format!("mean.{layer}"), vec![n, n], bytes)
    });
    let rows = rows.iter().map(|(name, row)| {
        let bytes = row.iter().flat_map(|weight| weight.to_le_bytes()).collect();
        (name.clone(), grid.to_vec(), bytes)
    });
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = means.chain(rows).collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes)
                .map(|view| (name.clone(), view))
                .map_err(|error| StudyError::file(&path, error.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(tensors::write(&path, views, None)?)
}

/// The folder of the pictures.
const PICTURES: &str = "attention";

/// A picture per layer.
fn draw_means(run: &Path, localities: &Localities) -> Result<(), StudyError> {
    let folder = run.join(PICTURES);
    files::make_dir(&folder)?;
    for (layer, mean) in localities.means() {
        let size = [mean.nrows(), mean.ncols()];
        picture::write_indices(
            &folder.join(format!("mean.{layer}.png")),
            size,
            &binary(&mean),
            &[[0; 3], [255; 3]],
        )?;
    }
    Ok(())
}

/// A picture per layer and per kept query.
fn draw(
    run: &Path,
    localities: &Localities,
    rows: &BTreeMap<String, Vec<f32>>,
    opened: &Opened,
    data: &DataSet,
    settings: &Settings,
) -> Result<(), StudyError> {
    draw_means(run, localities)?;
    let folder = run.join(PICTURES);
    for query in &settings.queries {
        let Some(item) = data
            .split(settings.split)
            .iter()
            .find(|item| item.name == query.image)
        else {
            continue;
        };
        let crop = data.image(item, &opened.geometry)?;
        for counts in &localities.layers {
            let name = query.name(counts.layer);
            if let Some(row) = rows.get(&name) {
                let pixels = spotlight(&crop.pixels, crop.size, row, opened.grid, query);
                // A name may hold any character that its image's file name holds, and no other.
                let path = folder.join(format!("{name}.png"));
                picture::write_rgb(&path, [crop.size; 2], &pixels)?;
            }
        }
    }
    Ok(())
}

/// 1 where a weight lies above the 95 % quantile of its matrix, else 0.
fn binary(mean: &Array2<f64>) -> Vec<u8> {
    let mut sorted: Vec<f64> = mean.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let threshold = quantile(&sorted, SHOWN).unwrap_or(f64::INFINITY);
    mean.iter().map(|&w| u8::from(w > threshold)).collect()
}

/// An image in gray, lit by the attention of one query from black over red and yellow to white (the
/// largest weight), with the query's patch framed in cyan.
fn spotlight(rgb: &[u8], side: usize, row: &[f32], grid: [usize; 2], query: &Query) -> Vec<u8> {
    let patch = side / grid[0];
    let largest = row.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let mut out = Vec::with_capacity(rgb.len());
    let (rgb, _) = rgb.as_chunks::<3>();
    for (index, &[r, g, b]) in rgb.iter().enumerate() {
        let (y, x) = (index / side, index % side);
        let (cell_y, cell_x) = (y / patch, x / patch);
        let own = (cell_y, cell_x) == (query.row, query.column);
        let edge = [y % patch, x % patch]
            .iter()
            .any(|&at| at == 0 || at + 1 == patch);
        if own && edge {
            out.extend([0, 220, 255]);
            continue;
        }
        let gray = 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
        let heat = row[cell_y * grid[1] + cell_x] / largest;
        for channel in 0..3 {
            let lit = (3.0 * heat - channel as f32).clamp(0.0, 1.0) * 255.0;
            out.push((0.4 * gray + 0.6 * lit).round() as u8);
        }
    }
    out
}
