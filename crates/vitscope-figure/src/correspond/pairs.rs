//! The example pairs of a run, their photographs, and what every slot matched.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::error::FigureError;
use crate::pixels::Rgb;
use crate::run_dir::{Facet, Run, Slot, read_bytes_if_there, read_if_there};

/// A match within this share of the target box's longer side is right.
const ALPHA: f64 = 0.1;

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
    /// The key point that is shown alone: the middle one.
    pub(super) fn shown(&self) -> Option<usize> {
        self.source_points.len().checked_sub(1).map(|last| last / 2)
    }

    /// How far off a match may be.
    pub(super) fn limit(&self) -> f64 {
        let [left, top, right, bottom] = self.target_box;
        ALPHA * (right - left).max(bottom - top)
    }
}

pub(super) fn pairs(run: &Run) -> Result<Vec<PointPair>, FigureError> {
    let path = run.root().join("examples.json");
    let Some(text) = read_if_there(&path)? else {
        return Ok(Vec::new());
    };
    let pairs: Vec<PointPair> = serde_json::from_str(&text).map_err(|error| {
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
pub(super) fn photograph(run: &Run, path: &str) -> Result<Option<Rgb>, FigureError> {
    let path = run.root().join(path);
    read_bytes_if_there(&path)?
        .map(|bytes| Rgb::photograph(&path, &bytes))
        .transpose()
}

type SlotMatches = BTreeMap<(Facet, u32), Vec<[f64; 2]>>;

/// The matches of the first listed pair by slot, and its row in `pairs.csv`.
pub(super) fn stored_matches(
    run: &Run,
    listed: &[PointPair],
) -> Result<Option<(usize, SlotMatches)>, FigureError> {
    let table = run.root().join("pairs.csv");
    let path = run.root().join("pairs.safetensors");
    let (Some(text), Some(bytes), Some(pair)) = (
        read_if_there(&table)?,
        read_bytes_if_there(&path)?,
        listed.first(),
    ) else {
        return Ok(None);
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Result<Vec<csv::StringRecord>, _> = reader.records().collect();
    let names = names
        .map_err(|error| FigureError::malformed(&table, format!("is not a table ({error})")))?;
    let row = names
        .iter()
        .position(|record| record.get(0) == Some(&pair.pair));
    let Some(row) = row else {
        return Err(FigureError::malformed(
            &table,
            format!("does not list {}, which examples.json does", pair.pair),
        ));
    };
    let bad = |problem| FigureError::malformed(&path, problem);
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| bad(format!("is not a safetensors file ({error})")))?;
    let index = tensors
        .tensor("pair")
        .map_err(|_| bad("has no pair".to_owned()))?;
    let of_pair = index.data().as_chunks().0.iter();
    let of_pair: Vec<bool> = of_pair
        .map(|&bytes| u32::from_le_bytes(bytes) as usize == row)
        .collect();
    let mut matches = SlotMatches::new();
    for (facet, layer) in run.probes() {
        let name = format!("match.{}", Slot::Probe(facet, layer));
        let Ok(tensor) = tensors.tensor(&name) else {
            continue;
        };
        let numbers = tensor.data().as_chunks::<2>().0;
        let numbers = numbers
            .iter()
            .map(|&bytes| f64::from(u16::from_le_bytes(bytes)));
        let numbers: Vec<f64> = numbers.collect();
        let points = numbers.as_chunks::<2>().0;
        if tensor.dtype() != Dtype::U16 || points.len() != of_pair.len() {
            return Err(bad(format!(
                "has {name} of another type or length than expected"
            )));
        }
        let found: Vec<[f64; 2]> = points
            .iter()
            .zip(&of_pair)
            .filter(|(_, here)| **here)
            .map(|(point, _)| *point)
            .collect();
        if found.len() != pair.true_points.len() {
            return Err(bad(format!("has {} points of {}", found.len(), pair.pair)));
        }
        matches.insert((facet, layer), found);
    }
    Ok((!matches.is_empty()).then_some((row, matches)))
}
