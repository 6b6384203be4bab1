//! Zero-shot semantic correspondence of every slot on SPair-71k (PROTOCOL section 10).
//!
//! Each photograph of a category goes through the backbone once. First the embeddings at all key
//! points are sampled, then every target photograph is searched for all the key points that pairs
//! look for in it. Photographs that do not fit into the memory budget go through the backbone a
//! second time; that changes no figure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use ndarray::ArrayView2;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use serde::Serialize;
use vitscope_data::pairs::{CATEGORIES, Layout, Pair, PairImage, PairSet, PairSplit};
use vitscope_data::resize::{RgbImage, pil_resize};
use vitscope_measure::{Pck, pck};
use vitscope_probe::{Search, Target, View};
use vitscope_run::{
    Facet, Fixed, Part, Record, RunKind, RunState, Slot, Subject, Table, files, names, tensors,
};
use vitscope_vit::facet::Taps;
use vitscope_vit::identify::Settle;
use vitscope_vit::vit::Tapped;

use crate::error::StudyError;
use crate::folder;
use crate::layers::Layers;
use crate::model::{Model, Opened};
use crate::observer::{Observer, Phase};
use crate::record;
use crate::settings::Side;
use crate::source::{Backbone, MICRO_BATCH, Source, tapped_kind};
use crate::state::{self, Found, SAVE_INTERVAL};

/// The threshold whose metric carries no number in its name.
const USUAL_ALPHA: f64 = 0.1;

/// How a photograph becomes the network's square input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fit {
    /// Stretched to the square.
    #[default]
    Stretch,
    /// Resized in proportion and centered on black.
    Pad,
}

impl FromStr for Fit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "stretch" => Ok(Self::Stretch),
            "pad" => Ok(Self::Pad),
            _ => Err(format!("`{text}` is not one of stretch, pad")),
        }
    }
}

/// The settings that can change a figure, and the memory budget, which cannot.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Asked side of the square in pixels.
    pub size: usize,
    /// Which layers.
    pub layers: Layers,
    /// Which facets.
    pub facets: Vec<Facet>,
    /// Which reading of the last token.
    pub token_norm: Side,
    /// Keys and queries before or after rotation.
    pub rope: Side,
    /// How photographs become squares.
    pub fit: Fit,
    /// Which pairs.
    pub split: PairSplit,
    /// Which list of them.
    pub layout: Layout,
    /// Only the first so many.
    pub limit: Option<usize>,
    /// A match counts within `alpha` times the longer side of the target's box. The first one
    /// selects the best layers.
    pub alphas: Vec<f64>,
    /// Pairs whose similarity maps are kept.
    pub examples: usize,
    /// Embeddings of one category held at a time, in bytes.
    pub memory: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            size: 320,
            layers: Layers::All,
            facets: Facet::ALL.to_vec(),
            token_norm: Side::After,
            rope: Side::Before,
            fit: Fit::Stretch,
            split: PairSplit::Test,
            layout: Layout::Large,
            limit: None,
            alphas: vec![USUAL_ALPHA],
            examples: 6,
            memory: 2 << 30,
        }
    }
}

/// How `run.json` shows the settings.
#[derive(Serialize)]
struct Stored {
    size: usize,
    layers: String,
    facets: Vec<Facet>,
    token_norm: Side,
    rope: Side,
    fit: &'static str,
    split: &'static str,
    layout: &'static str,
    limit_pairs: Option<usize>,
    alphas: Vec<f64>,
    examples: usize,
}

impl Settings {
    fn check(&self) -> Result<(), StudyError> {
        if self.alphas.is_empty() || !self.alphas.iter().all(|a| a.is_finite() && *a > 0.0) {
            return Err(StudyError::setting(
                "--alpha must be one or more positive numbers, such as 0.1 0.05",
            ));
        }
        Ok(())
    }

    fn stored(&self) -> Stored {
        Stored {
            size: self.size,
            layers: self.layers.to_string(),
            facets: self.facets.clone(),
            token_norm: self.token_norm,
            rope: self.rope,
            fit: match self.fit {
                Fit::Stretch => "stretch",
                Fit::Pad => "pad",
            },
            split: self.split.name(),
            layout: self.layout.name(),
            limit_pairs: self.limit,
            alphas: self.alphas.clone(),
            examples: self.examples,
        }
    }
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Request {
    /// The checkpoint.
    pub model: PathBuf,
    /// What it leaves open.
    pub settle: Settle,
    /// The directory of SPair-71k, with or without `spair71k:` before it.
    pub data: String,
    /// The run directory; `runs/MODEL-spair71k` unless set.
    pub out: Option<PathBuf>,
    /// The settings.
    pub settings: Settings,
    /// Whether to continue what is there.
    pub resume: bool,
}

/// What is said of one slot, at the first threshold.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The slot.
    pub slot: Slot,
    /// Shares of correct key points.
    pub pck: Pck,
}

/// A finished run.
#[derive(Debug)]
pub struct Outcome {
    /// Its directory.
    pub run: PathBuf,
    /// Pairs and key points compared.
    pub counts: [usize; 2],
    /// Per slot.
    pub slots: Vec<Summary>,
    /// The best layer of each facet.
    pub selection: BTreeMap<String, usize>,
}

/// A photograph of one category.
struct Photo {
    path: PathBuf,
    /// Width and height in pixels.
    size: (usize, usize),
    /// Pixels (column, row) at which pairs give key points, each once.
    points: Vec<[usize; 2]>,
    /// What is looked for in it: number of the key point among all, photograph and point there.
    wanted: Vec<(usize, usize, usize)>,
}

/// A photograph as the network sees it, and how its pixels lie over the patches.
struct Input {
    square: Vec<u8>,
    view: View,
}

/// Embeddings of one photograph, per slot `[N, D]`.
type Features = Vec<Vec<f32>>;

/// Everything that is fixed once model and pairs are open.
struct Plan<'a> {
    settings: &'a Settings,
    opened: &'a Opened,
    taps: Taps,
    run: &'a Path,
    fingerprint: String,
}

#[derive(Default)]
struct Times {
    load: Duration,
    forward: Duration,
    matching: Duration,
    forwards: usize,
}

/// The pixel that holds a key point, inside the image.
fn pixel_of(point: [f64; 2], (width, height): (usize, usize)) -> [usize; 2] {
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

/// The photographs of one category's pairs. `pairs` come with the number of their first key point.
fn photos(pairs: &[(&Pair, usize)]) -> Vec<Photo> {
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

/// Compares the key points of every pair and writes the run directory.
///
/// # Errors
/// One sentence.
pub fn correspond(request: &Request, observer: &mut dyn Observer) -> Result<Outcome, StudyError> {
    let settings = &request.settings;
    settings.check()?;
    let set = PairSet::open(&request.data, settings.split, settings.layout)?;
    let pairs = &set.pairs[..set.pairs.len().min(settings.limit.unwrap_or(usize::MAX))];
    let points: usize = pairs.iter().map(|pair| pair.target.points.len()).sum();
    if points == 0 {
        return Err(StudyError::setting(
            "no pair with key points is left to compare",
        ));
    }
    let model = Model::Checkpoint(request.model.clone(), request.settle.clone());
    let (source, opened) = model.open(settings.size, &settings.layers, &settings.facets)?;
    let Source::Backbone(mut backbone) = source else {
        return Err(StudyError::Internal("a checkpoint gave no backbone".into()));
    };
    let run = request.out.clone().unwrap_or_else(|| {
        let name = format!("{}-spair71k", opened.stem);
        Path::new("runs").join(name.replace(['/', '\\'], "_"))
    });
    folder::begin(&run, request.resume)?;
    let mut record = describe(request, &set, pairs, &opened);
    for note in &record.notes {
        observer.note(note);
    }
    let mut taps = Taps::new();
    for &slot in &opened.slots {
        let depth = opened.record.depth;
        let kind = tapped_kind(slot, depth, settings.token_norm, settings.rope);
        taps.add(slot.layer, kind);
    }
    let plan = Plan {
        settings,
        opened: &opened,
        taps,
        run: &run,
        fingerprint: record.fingerprint(),
    };
    let begun = match request.resume {
        true => restore(&plan, points)?,
        false => None,
    };
    record.write(&run)?;
    let result = search(
        &plan,
        &mut backbone,
        (pairs, points),
        begun,
        &mut record,
        observer,
    );
    if matches!(result, Err(StudyError::Interrupted { .. })) {
        record.state = RunState::Interrupted;
        record.write(&run)?;
    }
    let matches = result?;
    let measured = measure(&plan, pairs, &matches)?;
    let summaries: Vec<Summary> = opened
        .slots
        .iter()
        .zip(&measured)
        .map(|(&slot, by_alpha)| Summary {
            slot,
            pck: by_alpha[0].clone(),
        })
        .collect();
    record.selection = best_layers(&summaries);
    write_metrics(&plan, &record, &measured)?;
    write_pairs(&plan, pairs, &matches)?;
    let examples = write_examples(&plan, &mut backbone, pairs, &matches)?;
    record.examples = examples;
    record.state = RunState::Complete;
    record.write(&run)?;
    state::remove(&run)?;
    Ok(Outcome {
        counts: [pairs.len(), points],
        slots: summaries,
        selection: record.selection,
        run,
    })
}

fn describe(request: &Request, set: &PairSet, pairs: &[Pair], opened: &Opened) -> Record {
    let settings = &request.settings;
    let notes = opened.notes.iter().chain(set.notes()).cloned().collect();
    let fixed = Fixed {
        settings: serde_json::to_value(settings.stored()).unwrap_or_default(),
        model: opened.record.clone(),
        data: record::of_pairs(&set.root, pairs),
        clusters: 0,
        grid: opened.grid,
        size: opened.geometry.size,
        seed: 0,
        threads: rayon::current_num_threads(),
    };
    Record::new(RunKind::Correspond, &request.data, fixed, notes)
}

/// The match of every key point, `[slots][points]`, as column and row.
type Matches = Vec<Vec<[u16; 2]>>;

/// What the work is called while it is unfinished.
const UNFINISHED: &str = "matches";

/// Stores the matches of the categories that are done.
fn store(plan: &Plan<'_>, matches: &Matches, done: usize) -> Result<(), StudyError> {
    let shape = vec![matches.len(), matches.first().map_or(0, Vec::len), 2];
    let of_slots = matches.iter().flat_map(|of_slot| of_slot.as_flattened());
    let bytes: Vec<u8> = of_slots.flat_map(|place| place.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::U16, shape, &bytes)
        .map_err(|error| StudyError::Internal(error.to_string()))?;
    let tensors = vec![(UNFINISHED.to_owned(), view)];
    state::store(plan.run, UNFINISHED, &plan.fingerprint, done, tensors)
}

/// Stored matches with the number of categories that are done, if there are any.
fn restore(plan: &Plan<'_>, points: usize) -> Result<Option<(Matches, usize)>, StudyError> {
    let Some(mut found) = Found::of(plan.run, UNFINISHED, &plan.fingerprint)? else {
        return Ok(None);
    };
    let stored = found.tensor(UNFINISHED)?;
    let shape = [plan.opened.slots.len(), points, 2];
    let of_this_run = stored.dtype == Dtype::U16 && stored.shape == shape;
    if !of_this_run || found.done() > CATEGORIES.len() {
        return Err(found.damaged("it is not of this run's slots and key points"));
    }
    let (places, _) = stored.bytes.as_chunks::<4>();
    let place = |b: &[u8; 4]| {
        [
            u16::from_le_bytes([b[0], b[1]]),
            u16::from_le_bytes([b[2], b[3]]),
        ]
    };
    let of_slot = |places: &[[u8; 4]]| places.iter().map(place).collect();
    Ok(Some((
        places.chunks(points).map(of_slot).collect(),
        found.done(),
    )))
}

/// Finds the match of every key point, category by category.
fn search(
    plan: &Plan<'_>,
    backbone: &mut Backbone,
    (pairs, points): (&[Pair], usize),
    begun: Option<(Matches, usize)>,
    record: &mut Record,
    observer: &mut dyn Observer,
) -> Result<Matches, StudyError> {
    let start = Instant::now();
    let nothing = || (vec![vec![[0; 2]; points]; plan.opened.slots.len()], 0);
    let (mut matches, done) = begun.unwrap_or_else(nothing);
    let mut of_category: Vec<Vec<(&Pair, usize)>> = vec![Vec::new(); CATEGORIES.len()];
    let mut first = 0;
    for pair in pairs {
        of_category[pair.category].push((pair, first));
        first += pair.target.points.len();
    }
    let categories: Vec<Vec<Photo>> = of_category.iter().map(|pairs| photos(pairs)).collect();
    let targets = |photos: &Vec<Photo>| photos.iter().filter(|p| !p.wanted.is_empty()).count();
    let total = |of: &[Vec<Photo>]| of.iter().map(targets).sum::<usize>() as u64;
    observer.begin(
        Phase::Correspond,
        total(&categories[..done]),
        total(&categories),
    );
    let mut times = Times::default();
    let mut saved = Instant::now();
    for (number, photos) in categories.iter().enumerate().skip(done) {
        let result = search_category(plan, backbone, photos, &mut matches, &mut times, observer);
        match &result {
            Ok(()) if saved.elapsed() > SAVE_INTERVAL => {
                store(plan, &matches, number + 1)?;
                saved = Instant::now();
            }
            // What was found of this category is found again.
            Err(StudyError::Interrupted { .. }) => store(plan, &matches, number)?,
            _ => {}
        }
        result?;
    }
    observer.end();
    for (name, value) in [
        ("correspond_secs", start.elapsed().as_secs_f64()),
        ("correspond_load_secs", times.load.as_secs_f64()),
        ("correspond_forward_secs", times.forward.as_secs_f64()),
        ("correspond_match_secs", times.matching.as_secs_f64()),
        ("correspond_images", times.forwards as f64),
        ("correspond_pairs", pairs.len() as f64),
    ] {
        record.times.insert(name.to_owned(), value);
    }
    Ok(matches)
}

fn search_category(
    plan: &Plan<'_>,
    backbone: &mut Backbone,
    photos: &[Photo],
    matches: &mut [Vec<[u16; 2]>],
    times: &mut Times,
    observer: &mut dyn Observer,
) -> Result<(), StudyError> {
    let patches: usize = plan.opened.grid.iter().product();
    let of_photo = patches * plan.opened.widths.iter().sum::<usize>() * size_of::<f32>();
    let mut room = plan.settings.memory / of_photo.max(1);
    // Embeddings at the key points, per photograph and slot, `[points, D]`.
    let mut sources: Vec<Vec<Vec<f64>>> = Vec::with_capacity(photos.len());
    let mut held: Vec<(usize, View, Features)> = Vec::new();
    let mut left: Vec<usize> = Vec::new();
    let all: Vec<usize> = (0..photos.len()).collect();
    for batch in all.chunks(MICRO_BATCH) {
        let (inputs, features) = run_photos(plan, backbone, photos, batch, times)?;
        let begun = Instant::now();
        for ((&index, input), features) in batch.iter().zip(inputs).zip(features) {
            sources.push(sample(plan, &photos[index], &input.view, &features)?);
            if photos[index].wanted.is_empty() {
                continue;
            }
            if room > 0 {
                room -= 1;
                held.push((index, input.view, features));
            } else {
                left.push(index);
            }
        }
        times.matching += begun.elapsed();
        stop(plan, observer)?;
    }
    for (index, view, features) in held {
        find(
            plan,
            &photos[index],
            &view,
            &features,
            &sources,
            matches,
            times,
        )?;
        observer.advance(1, None);
        stop(plan, observer)?;
    }
    for batch in left.chunks(MICRO_BATCH) {
        let (inputs, features) = run_photos(plan, backbone, photos, batch, times)?;
        for ((&index, input), features) in batch.iter().zip(inputs).zip(features) {
            find(
                plan,
                &photos[index],
                &input.view,
                &features,
                &sources,
                matches,
                times,
            )?;
            observer.advance(1, None);
            stop(plan, observer)?;
        }
    }
    Ok(())
}

fn stop(plan: &Plan<'_>, observer: &mut dyn Observer) -> Result<(), StudyError> {
    if observer.stop() {
        return Err(StudyError::Interrupted {
            run: plan.run.to_owned(),
        });
    }
    Ok(())
}

fn run_photos(
    plan: &Plan<'_>,
    backbone: &mut Backbone,
    photos: &[Photo],
    batch: &[usize],
    times: &mut Times,
) -> Result<(Vec<Input>, Vec<Features>), StudyError> {
    let begun = Instant::now();
    let inputs = batch
        .par_iter()
        .map(|&index| load(plan, &photos[index].path, photos[index].size))
        .collect::<Vec<_>>()
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    times.load += begun.elapsed();
    let begun = Instant::now();
    let features = run_inputs(plan, backbone, &inputs, &plan.opened.slots)?;
    times.forward += begun.elapsed();
    times.forwards += batch.len();
    Ok((inputs, features))
}

/// Decodes a photograph and makes the network's square of it.
fn load(plan: &Plan<'_>, path: &Path, size: (usize, usize)) -> Result<Input, StudyError> {
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
    let side = plan.opened.geometry.size;
    let [rows, columns] = plan.opened.grid;
    let wrong = |error: vitscope_probe::ProbeError| StudyError::Internal(error.to_string());
    match plan.settings.fit {
        Fit::Stretch => Ok(Input {
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
            let patch = plan.opened.record.patch;
            let view = View::placed((height, width), (rows, columns), patch, (h, w), (top, left));
            Ok(Input {
                square,
                view: view.map_err(wrong)?,
            })
        }
    }
}

/// The embeddings of some slots of a batch.
fn run_inputs(
    plan: &Plan<'_>,
    backbone: &mut Backbone,
    inputs: &[Input],
    slots: &[Slot],
) -> Result<Vec<Features>, StudyError> {
    let squares: Vec<&[u8]> = inputs.iter().map(|input| input.square.as_slice()).collect();
    let mut features: Vec<Features> = vec![vec![Vec::new(); slots.len()]; inputs.len()];
    let depth = plan.opened.record.depth;
    let (token_norm, rope) = (plan.settings.token_norm, plan.settings.rope);
    backbone.squares(&squares, &plan.taps, |tapped| {
        let Tapped::Rows {
            layer,
            kind,
            patches,
            ..
        } = tapped
        else {
            return Ok(());
        };
        let patches = patches.host()?;
        for (number, &slot) in slots.iter().enumerate() {
            if (slot.layer, tapped_kind(slot, depth, token_norm, rope)) == (layer, kind) {
                for (rows, features) in patches.outer_iter().zip(&mut features) {
                    features[number] = rows.iter().copied().collect();
                }
            }
        }
        Ok(())
    })?;
    Ok(features)
}

fn rows_of(features: &[f32], width: usize) -> Result<ArrayView2<'_, f32>, StudyError> {
    ArrayView2::from_shape((features.len() / width.max(1), width), features)
        .map_err(|error| StudyError::Internal(error.to_string()))
}

/// The embeddings at a photograph's key points, per slot.
fn sample(
    plan: &Plan<'_>,
    photo: &Photo,
    view: &View,
    features: &Features,
) -> Result<Vec<Vec<f64>>, StudyError> {
    let slots = &plan.opened.slots;
    (0..slots.len())
        .into_par_iter()
        .map(|number| {
            let rows = rows_of(&features[number], plan.opened.widths[number])?;
            let mut sampled = Vec::with_capacity(photo.points.len() * rows.ncols());
            for &[column, row] in &photo.points {
                sampled.extend(
                    view.sample(rows, row, column)
                        .map_err(slot_error(slots[number]))?,
                );
            }
            Ok(sampled)
        })
        .collect()
}

fn slot_error(slot: Slot) -> impl FnOnce(vitscope_probe::ProbeError) -> StudyError {
    move |source| StudyError::Probe {
        slot: slot.to_string(),
        source,
    }
}

/// Looks for every key point that pairs look for in one target.
fn find(
    plan: &Plan<'_>,
    photo: &Photo,
    view: &View,
    features: &Features,
    sources: &[Vec<Vec<f64>>],
    matches: &mut [Vec<[u16; 2]>],
    times: &mut Times,
) -> Result<(), StudyError> {
    let begun = Instant::now();
    let patches: usize = plan.opened.grid.iter().product();
    let found = (0..plan.opened.slots.len())
        .into_par_iter()
        .map(|number| {
            let width = plan.opened.widths[number];
            let target = Target::new(rows_of(&features[number], width)?, view)
                .map_err(slot_error(plan.opened.slots[number]))?;
            let mut wanted = Vec::with_capacity(photo.wanted.len() * width);
            for &(_, source, point) in &photo.wanted {
                wanted.extend_from_slice(&sources[source][number][point * width..][..width]);
            }
            let products = target
                .products(&wanted)
                .map_err(slot_error(plan.opened.slots[number]))?;
            let mut search = Search::default();
            let best = |products| {
                let found = target.best(products, &mut search);
                [found.column as u16, found.row as u16]
            };
            Ok(products.chunks_exact(patches).map(best).collect::<Vec<_>>())
        })
        .collect::<Result<Vec<_>, StudyError>>()?;
    for (matches, found) in matches.iter_mut().zip(found) {
        for (&(point, ..), at) in photo.wanted.iter().zip(found) {
            matches[point] = at;
        }
    }
    times.matching += begun.elapsed();
    Ok(())
}

/// PCK of every slot at every threshold.
fn measure(
    plan: &Plan<'_>,
    pairs: &[Pair],
    matches: &[Vec<[u16; 2]>],
) -> Result<Vec<Vec<Pck>>, StudyError> {
    let points = pairs.iter().enumerate().flat_map(|(index, pair)| {
        let points = pair.target.points.iter();
        points.map(move |&point| (point, pair.target.box_side(), index, pair.category))
    });
    let points: Vec<([f64; 2], f64, usize, usize)> = points.collect();
    let of_pair: Vec<usize> = points.iter().map(|point| point.2).collect();
    let of_category: Vec<usize> = points.iter().map(|point| point.3).collect();
    matches
        .par_iter()
        .map(|found| {
            let distances: Vec<f64> = points
                .iter()
                .zip(found)
                .map(|(([x, y], ..), at)| (f64::from(at[0]) - x).hypot(f64::from(at[1]) - y))
                .collect();
            let at_alpha = |&alpha: &f64| {
                let limits: Vec<f64> = points.iter().map(|point| alpha * point.1).collect();
                pck(
                    &distances,
                    &limits,
                    &of_pair,
                    &of_category,
                    CATEGORIES.len(),
                )
                .map_err(|error| StudyError::Internal(error.to_string()))
            };
            plan.settings.alphas.iter().map(at_alpha).collect()
        })
        .collect()
}

/// The layer of the largest PCK per point of each facet, the first on ties.
fn best_layers(summaries: &[Summary]) -> BTreeMap<String, usize> {
    let mut best: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for Summary { slot, pck } in summaries {
        let value = pck.per_point.unwrap_or(f64::NEG_INFINITY);
        let entry = best
            .entry(slot.facet.name().to_owned())
            .or_insert((value, slot.layer));
        if value > entry.0 {
            *entry = (value, slot.layer);
        }
    }
    best.into_iter()
        .map(|(facet, (_, layer))| (facet, layer))
        .collect()
}

/// `pck` and `pck_image`, with `@alpha` behind unless it is 0.1; `pck` with a class is a category's.
fn write_metrics(
    plan: &Plan<'_>,
    record: &Record,
    measured: &[Vec<Pck>],
) -> Result<(), StudyError> {
    let model = &record.model;
    let mut table = Table::new(&model.name, &model.family, &model.size);
    for (&slot, by_alpha) in plan.opened.slots.iter().zip(measured) {
        let subject = Subject::Slot(slot);
        for (&alpha, pck) in plan.settings.alphas.iter().zip(by_alpha) {
            let named = |metric: &str| {
                if (alpha - USUAL_ALPHA).abs() < 1e-12 {
                    metric.to_owned()
                } else {
                    format!("{metric}@{alpha}")
                }
            };
            table.add(subject, &named("pck"), Part::Whole, pck.per_point, None);
            table.add(
                subject,
                &named("pck_image"),
                Part::Whole,
                pck.per_pair,
                None,
            );
            for (category, &value) in pck.per_category.iter().enumerate() {
                if value.is_some() {
                    table.add(subject, &named("pck"), Part::Index(category), value, None);
                }
            }
        }
    }
    Ok(table.write(&plan.run.join(names::METRICS))?)
}

/// A tensor to be written: name, type, shape, bytes.
type NamedTensor = (String, Dtype, Vec<usize>, Vec<u8>);

fn write_all(path: &Path, tensors: &[NamedTensor]) -> Result<(), StudyError> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| {
            TensorView::new(*dtype, shape.clone(), bytes)
                .map(|view| (name.clone(), view))
                .map_err(|error| StudyError::file(path, error.to_string()))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(tensors::write(path, views, None)?)
}

/// `pairs.csv`: the pairs in order. `pairs.safetensors`: every key point, pair by pair: `pair` `[P]`
/// (row of pairs.csv, from 0), `source` and `true` `[P, 2]` (x, y in pixels), `side` `[P]` (longer side
/// of the target's box), and `match.{facet}.{layer}` `[P, 2]` (x, y of the best pixel).
fn write_pairs(
    plan: &Plan<'_>,
    pairs: &[Pair],
    matches: &[Vec<[u16; 2]>],
) -> Result<(), StudyError> {
    let mut csv = "pair,category,source,target,points\n".to_owned();
    let name = |image: &PairImage| {
        let name = image.image.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let (mut index, mut from, mut to, mut side) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, pair) in pairs.iter().enumerate() {
        let (source, target) = (name(&pair.source), name(&pair.target));
        let count = pair.target.points.len();
        let category = pair.category_name();
        csv += &format!("{},{category},{source},{target},{count}\n", pair.name);
        for (s, t) in pair.source.points.iter().zip(&pair.target.points) {
            index.extend((number as u32).to_le_bytes());
            from.extend(s.iter().flat_map(|&v| (v as f32).to_le_bytes()));
            to.extend(t.iter().flat_map(|&v| (v as f32).to_le_bytes()));
            side.extend((pair.target.box_side() as f32).to_le_bytes());
        }
    }
    files::write(&plan.run.join("pairs.csv"), csv.as_bytes())?;
    let points = index.len() / size_of::<u32>();
    let mut tensors: Vec<NamedTensor> = vec![
        ("pair".to_owned(), Dtype::U32, vec![points], index),
        ("source".to_owned(), Dtype::F32, vec![points, 2], from),
        ("true".to_owned(), Dtype::F32, vec![points, 2], to),
        ("side".to_owned(), Dtype::F32, vec![points], side),
    ];
    for (slot, found) in plan.opened.slots.iter().zip(matches) {
        let bytes = found
            .as_flattened()
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        tensors.push((format!("match.{slot}"), Dtype::U16, vec![points, 2], bytes));
    }
    write_all(&plan.run.join("pairs.safetensors"), &tensors)
}

/// One pair as `examples.json` lists it.
#[derive(Serialize)]
struct Example {
    pair: String,
    category: &'static str,
    source: String,
    target: String,
    source_points: Vec<[f64; 2]>,
    true_points: Vec<[f64; 2]>,
    target_box: [f64; 4],
    /// Best matches by slot.
    matches: BTreeMap<String, Vec<[u16; 2]>>,
}

/// Copies a photograph into the run directory, as it is, and returns its place there: figures are drawn
/// from the directory alone.
fn keep(plan: &Plan<'_>, path: &Path, example: usize, which: &str) -> Result<String, StudyError> {
    let bytes = std::fs::read(path).map_err(StudyError::io(path, "read"))?;
    let suffix = path.extension().unwrap_or_default().to_string_lossy();
    let name = format!("examples/{example}-{which}.{suffix}");
    files::write(&plan.run.join(&name), &bytes)?;
    Ok(name)
}

/// `examples.json`, the photographs under `examples/`, and `examples.safetensors` with the cosine of
/// every key point with every patch of the target: `{number}.{facet}.{layer}` `[points, Hp, Wp]`. The
/// photographs go through the backbone again. Returns the pairs' names.
fn write_examples(
    plan: &Plan<'_>,
    backbone: &mut Backbone,
    pairs: &[Pair],
    matches: &[Vec<[u16; 2]>],
) -> Result<Vec<String>, StudyError> {
    let count = plan.settings.examples.min(pairs.len());
    let chosen: Vec<usize> = (0..count).map(|k| k * pairs.len() / count).collect();
    let slots = &plan.opened.slots;
    let [rows, columns] = plan.opened.grid;
    let mut tensors: Vec<NamedTensor> = Vec::new();
    let mut listed = Vec::new();
    for (example, &index) in chosen.iter().enumerate() {
        let pair = &pairs[index];
        let first: usize = pairs[..index].iter().map(|p| p.target.points.len()).sum();
        let points = pair.target.points.len();
        let inputs = [&pair.source, &pair.target]
            .map(|image| load(plan, &image.image, image.size))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let features = run_inputs(plan, backbone, &inputs, slots)?;
        let mut found = BTreeMap::new();
        for (number, &slot) in slots.iter().enumerate() {
            let width = plan.opened.widths[number];
            let source = rows_of(&features[0][number], width)?;
            let target = Target::new(rows_of(&features[1][number], width)?, &inputs[1].view)
                .map_err(slot_error(slot))?;
            let mut bytes = Vec::new();
            for &point in &pair.source.points {
                let [column, row] = pixel_of(point, pair.source.size);
                let sampled = inputs[0].view.sample(source, row, column);
                let products = target.products(&sampled.map_err(slot_error(slot))?);
                let map = target.patch_map(&products.map_err(slot_error(slot))?);
                bytes.extend(map.iter().flat_map(|value| value.to_le_bytes()));
            }
            let shape = vec![points, rows, columns];
            tensors.push((format!("{example}.{slot}"), Dtype::F32, shape, bytes));
            found.insert(
                slot.to_string(),
                matches[number][first..first + points].to_vec(),
            );
        }
        listed.push(Example {
            pair: pair.name.clone(),
            category: pair.category_name(),
            source: keep(plan, &pair.source.image, example, "source")?,
            target: keep(plan, &pair.target.image, example, "target")?,
            source_points: pair.source.points.clone(),
            true_points: pair.target.points.clone(),
            target_box: pair.target.bbox,
            matches: found,
        });
    }
    write_all(&plan.run.join("examples.safetensors"), &tensors)?;
    let path = plan.run.join("examples.json");
    let mut text = serde_json::to_string_pretty(&listed)
        .map_err(|error| StudyError::file(&path, format!("cannot be described: {error}")))?;
    text.push('\n');
    files::write(&path, text.as_bytes())?;
    Ok(listed.into_iter().map(|example| example.pair).collect())
}
