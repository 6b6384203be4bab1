//! The example pairs of a run, their photographs, and what every slot matched.

use std::collections::BTreeMap;

use safetensors::Dtype;
use serde::Deserialize;
use vitscope_run::{Slot, Subject, cell, files, limits, names};

use crate::error::FigureError;
use crate::pixels::Rgb;
use crate::run_view::{RunView, open_tensors, read_picture};

/// A match within this share of the target box's longer side is right.
const ALPHA: f64 = 0.1;

/// Which keypoint of a pair is to be shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum KeypointOutcome {
    Found,
    Missed,
}

/// A pair as `examples.json` lists it; points are x, y in the photograph's pixels.
#[derive(Debug, Deserialize)]
pub(super) struct PointPair {
    pub(super) pair: String,
    pub(super) category: String,
    pub(super) source: String,
    pub(super) target: String,
    pub(super) source_points: Vec<[f64; 2]>,
    pub(super) true_points: Vec<[f64; 2]>,
    target_box: [f64; 4],
    pub(super) matches: BTreeMap<String, Vec<[f64; 2]>>,
}

impl PointPair {
    /// The keypoint that is shown alone: of those that `judge` finds or misses, as is wanted, the
    /// middle one; of all, where there are no such.
    pub(super) fn shown(&self, judge: Option<Slot>, wanted: KeypointOutcome) -> Option<usize> {
        let found = judge.and_then(|slot| self.matches.get(&slot.to_string()));
        let is_wanted = |point: &usize| {
            let right = found.map(|found| self.is_right(*point, found[*point]));
            right == Some(wanted == KeypointOutcome::Found)
        };
        let mut points: Vec<usize> = (0..self.true_points.len()).filter(is_wanted).collect();
        if points.is_empty() {
            points = (0..self.true_points.len()).collect();
        }
        let last = points.len().checked_sub(1)?;
        Some(points[last / 2])
    }

    /// How many pixels a match is off.
    pub(super) fn distance(&self, point: usize, matched: [f64; 2]) -> f64 {
        let truth = self.true_points[point];
        (truth[0] - matched[0]).hypot(truth[1] - matched[1])
    }

    pub(super) fn is_right(&self, point: usize, matched: [f64; 2]) -> bool {
        self.distance(point, matched) <= self.limit()
    }

    /// How far off a match may be.
    pub(super) fn limit(&self) -> f64 {
        let [left, top, right, bottom] = self.target_box;
        ALPHA * (right - left).max(bottom - top)
    }
}

/// The slot by which keypoints are called found or missed: the shown one of the largest PCK.
pub(super) fn judge(run: &RunView) -> Option<Slot> {
    let pck = |slot: Slot| run.get(Subject::Slot(slot), "pck").value;
    let shown = run.selection.iter().copied();
    shown.reduce(|best, other| if pck(other) > pck(best) { other } else { best })
}

/// "(213, 94)", a pixel's column and row.
pub(super) fn pixel([x, y]: [f64; 2]) -> String {
    format!("({x:.0}, {y:.0})")
}

pub(super) fn pairs(run: &RunView) -> Result<Vec<PointPair>, FigureError> {
    let path = run.root.join(names::EXAMPLES);
    let Some(text) = files::read_up_to(&path, limits::JSON_BYTES)? else {
        return Ok(Vec::new());
    };
    let pairs: Vec<PointPair> = serde_json::from_slice(&text).map_err(|error| {
        FigureError::malformed(&path, format!("does not list pairs as expected ({error})"))
    })?;
    match pairs.iter().find(|pair| {
        let count = pair.true_points.len();
        pair.source_points.len() != count || pair.matches.values().any(|found| found.len() != count)
    }) {
        Some(pair) => Err(FigureError::malformed(
            &path,
            format!("lists {} with unequal numbers of points", pair.pair),
        )),
        None => Ok(pairs),
    }
}

/// A photograph in the run directory (or, of older runs, where the data set lay), or `None`.
pub(super) fn photograph(run: &RunView, path: &str) -> Result<Option<Rgb>, FigureError> {
    let path = run.root.join(path);
    read_picture(&path, Rgb::photograph)
}

type SlotMatches = BTreeMap<Slot, Vec<[f64; 2]>>;

/// The matches of the first listed pair by slot, and its row in `pairs.csv`.
pub(super) fn stored_matches(
    run: &RunView,
    listed: &[PointPair],
) -> Result<Option<(usize, SlotMatches)>, FigureError> {
    let path = run.root.join(names::PAIR_TENSORS);
    let Some(pair) = listed.first() else {
        return Ok(None);
    };
    let (Some(row), Some(mut file)) = (row_of(run, pair)?, open_tensors(&path)?) else {
        return Ok(None);
    };
    let bad = |problem: String| FigureError::malformed(&path, problem);
    let index = file.read_up_to("pair", limits::TENSOR_BYTES)?;
    let index = index.ok_or_else(|| bad("has no pair".to_owned()))?.u32s();
    let mut matches = SlotMatches::new();
    for slot in run.slots() {
        let name = format!("match.{slot}");
        let Some(tensor) = file.read_up_to(&name, 8 * index.len())? else {
            continue;
        };
        let points = tensor.bytes.as_chunks::<4>().0;
        if tensor.dtype != Dtype::U16 || points.len() != index.len() {
            let problem = format!("has {name} of another type or length than expected");
            return Err(bad(problem));
        }
        let point = |&[x0, x1, y0, y1]: &[u8; 4]| {
            [[x0, x1], [y0, y1]].map(|bytes| f64::from(u16::from_le_bytes(bytes)))
        };
        let found = points.iter().zip(&index);
        let found = found.filter(|&(_, &of)| of as usize == row);
        let found: Vec<[f64; 2]> = found.map(|(bytes, _)| point(bytes)).collect();
        if found.len() != pair.true_points.len() {
            return Err(bad(format!("has {} points of {}", found.len(), pair.pair)));
        }
        matches.insert(slot, found);
    }
    Ok((!matches.is_empty()).then_some((row, matches)))
}

/// The row of a pair in `pairs.csv`; `None` where there is no such table.
fn row_of(run: &RunView, pair: &PointPair) -> Result<Option<usize>, FigureError> {
    let path = run.root.join(names::PAIRS);
    let Some(bytes) = files::read_up_to(&path, limits::TABLE_BYTES)? else {
        return Ok(None);
    };
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    for (row, record) in reader.records().enumerate() {
        let record = record
            .map_err(|error| FigureError::malformed(&path, format!("is not a table ({error})")))?;
        if record.get(0).map(str::as_bytes) == Some(cell(pair.pair.as_bytes()).as_ref()) {
            return Ok(Some(row));
        }
    }
    let problem = format!("does not list {}, which examples.json does", pair.pair);
    Err(FigureError::malformed(&path, problem))
}
