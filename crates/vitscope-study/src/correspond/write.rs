//! What a run of `correspond` leaves: numbers, matches and example pairs.

use std::collections::BTreeMap;
use std::path::Path;

use rayon::prelude::*;
use safetensors::tensor::Dtype;
use serde::Serialize;
use vitscope_data::pairs::{CATEGORIES, Pair, PairImage};
use vitscope_measure::{Pck, pck};
use vitscope_probe::TargetImage;
use vitscope_run::tensors::{self, Lazy};
use vitscope_run::{Part, Record, Subject, Table, files, limits, names, to_csv};

use super::outcome::SlotPck;
use super::photos::{PhotoJob, load, pixel_of, rows_of, run_inputs, slot_error};
use super::settings::at_alpha;
use crate::error::StudyError;
use crate::source::Backbone;

/// PCK of every slot at every threshold.
pub(super) fn measure(
    job: &PhotoJob<'_>,
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
                .map_err(StudyError::Measure)
            };
            job.settings.alphas.iter().map(at_alpha).collect()
        })
        .collect()
}

/// The layer of the largest PCK per point of each facet, the first on ties.
pub(super) fn best_layers(summaries: &[SlotPck]) -> BTreeMap<String, usize> {
    let mut best: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for SlotPck { slot, pck } in summaries {
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
pub(super) fn write_metrics(
    job: &PhotoJob<'_>,
    record: &Record,
    measured: &[Vec<Pck>],
) -> Result<(), StudyError> {
    let model = &record.model;
    let mut table = Table::new(&model.name, &model.family, &model.size);
    for (&slot, by_alpha) in job.opened.slots.iter().zip(measured) {
        let subject = Subject::Slot(slot);
        for (&alpha, pck) in job.settings.alphas.iter().zip(by_alpha) {
            let named = |metric| at_alpha(metric, alpha);
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
    Ok(table.write(&job.run.join(names::METRICS))?)
}

/// `pairs.csv`: the pairs in order. `pairs.safetensors`: every keypoint, pair by pair: `pair` `[P]`
/// (row of pairs.csv, from 0), `source` and `true` `[P, 2]` (x, y in pixels), `side` `[P]` (longer side
/// of the target's box), and `match.{facet}.{layer}` `[P, 2]` (x, y of the best pixel).
pub(super) fn write_pairs(
    job: &PhotoJob<'_>,
    pairs: &[Pair],
    matches: &[Vec<[u16; 2]>],
) -> Result<(), StudyError> {
    let mut rows = Vec::new();
    let name = |image: &PairImage| {
        let name = image.image.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let (mut index, mut from, mut to, mut side) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, pair) in pairs.iter().enumerate() {
        rows.push([
            pair.name.clone(),
            pair.category_name().to_owned(),
            name(&pair.source),
            name(&pair.target),
            pair.target.points.len().to_string(),
        ]);
        for (s, t) in pair.source.points.iter().zip(&pair.target.points) {
            index.extend((number as u32).to_le_bytes());
            from.extend(s.iter().flat_map(|&v| (v as f32).to_le_bytes()));
            to.extend(t.iter().flat_map(|&v| (v as f32).to_le_bytes()));
            side.extend((pair.target.box_side() as f32).to_le_bytes());
        }
    }
    let header = ["pair", "category", "source", "target", "points"];
    files::write(&job.run.join(names::PAIRS), &to_csv(header, rows))?;
    let points = index.len() / size_of::<u32>();
    let mut tensors: Vec<(String, Lazy<'_>)> = [
        ("pair", Lazy::of(Dtype::U32, vec![points], index)),
        ("source", Lazy::of(Dtype::F32, vec![points, 2], from)),
        ("true", Lazy::of(Dtype::F32, vec![points, 2], to)),
        ("side", Lazy::of(Dtype::F32, vec![points], side)),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor))
    .into();
    for (slot, found) in job.opened.slots.iter().zip(matches) {
        let bytes: Vec<u8> = found
            .as_flattened()
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let tensor = Lazy::of(Dtype::U16, vec![points, 2], bytes);
        tensors.push((format!("match.{slot}"), tensor));
    }
    let path = job.run.join(names::PAIR_TENSORS);
    Ok(tensors::write_lazily(&path, tensors, None)?)
}

/// One pair as `examples.json` lists it.
#[derive(Serialize)]
struct ExamplePair {
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

/// The pairs that are kept as examples: evenly spread over all.
fn chosen(examples: usize, pairs: usize) -> Vec<usize> {
    let count = examples.min(pairs);
    (0..count).map(|k| k * pairs / count).collect()
}

/// Refuses examples whose list would be longer than what is read of one.
///
/// # Errors
/// A sentence.
pub(super) fn check_examples(
    examples: usize,
    pairs: &[Pair],
    slots: usize,
) -> Result<(), StudyError> {
    let chosen = chosen(examples, pairs.len()).into_iter();
    let points: usize = chosen.map(|index| pairs[index].target.points.len()).sum();
    // As it is written: two points as numbers of up to 17 digits, and a pixel for each slot.
    let bytes = points.saturating_mul(200 + 60 * slots) as u64;
    if bytes > limits::JSON_BYTES {
        return Err(StudyError::setting(format!(
            "{points} keypoints of {} examples at {slots} slots are more than a run may list: lower `examples`, or choose fewer `layers` or `facets`",
            examples.min(pairs.len())
        )));
    }
    Ok(())
}

/// Copies a photograph into the run directory, as it is, and returns its place there: figures are drawn
/// from the directory alone.
fn keep(
    job: &PhotoJob<'_>,
    path: &Path,
    example: usize,
    which: &str,
) -> Result<String, StudyError> {
    let bytes = std::fs::read(path).map_err(StudyError::io(path, "read"))?;
    let suffix = path.extension().unwrap_or_default().to_string_lossy();
    let name = format!("examples/{example}-{which}.{suffix}");
    files::write(&job.run.join(&name), &bytes)?;
    Ok(name)
}

/// `examples.json`, the photographs under `examples/`, and `examples.safetensors` with the cosine of
/// every keypoint with every patch of the target: `{number}.{facet}.{layer}` `[points, Hp, Wp]`. The
/// photographs go through the backbone again. Returns the pairs' names.
pub(super) fn write_examples(
    job: &PhotoJob<'_>,
    backbone: &mut Backbone,
    pairs: &[Pair],
    matches: &[Vec<[u16; 2]>],
) -> Result<Vec<String>, StudyError> {
    let chosen = chosen(job.settings.examples, pairs.len());
    let slots = &job.opened.slots;
    let [rows, columns] = job.opened.grid;
    let mut tensors: Vec<(String, Lazy<'_>)> = Vec::new();
    let mut listed = Vec::new();
    for (example, &index) in chosen.iter().enumerate() {
        let pair = &pairs[index];
        let first: usize = pairs[..index].iter().map(|p| p.target.points.len()).sum();
        let points = pair.target.points.len();
        let inputs = [&pair.source, &pair.target]
            .map(|image| load(job, &image.image, image.size))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let features = run_inputs(job, backbone, &inputs)?;
        let mut found = BTreeMap::new();
        for (number, &slot) in slots.iter().enumerate() {
            let width = job.opened.widths[number];
            let source = rows_of(&features[0][number], width)?;
            let target = TargetImage::new(rows_of(&features[1][number], width)?, &inputs[1].view)
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
            let tensor = Lazy::of(Dtype::F32, shape, bytes);
            tensors.push((format!("{example}.{slot}"), tensor));
            found.insert(
                slot.to_string(),
                matches[number][first..first + points].to_vec(),
            );
        }
        listed.push(ExamplePair {
            pair: pair.name.clone(),
            category: pair.category_name(),
            source: keep(job, &pair.source.image, example, "source")?,
            target: keep(job, &pair.target.image, example, "target")?,
            source_points: pair.source.points.clone(),
            true_points: pair.target.points.clone(),
            target_box: pair.target.bbox,
            matches: found,
        });
    }
    tensors::write_lazily(&job.run.join(names::EXAMPLE_TENSORS), tensors, None)?;
    let path = job.run.join(names::EXAMPLES);
    let mut text = serde_json::to_string_pretty(&listed)
        .map_err(|error| StudyError::file(&path, format!("cannot be described: {error}")))?;
    text.push('\n');
    files::write(&path, text.as_bytes())?;
    Ok(listed.into_iter().map(|example| example.pair).collect())
}

#[cfg(test)]
mod tests {
    use vitscope_run::{Facet, Slot};

    use super::*;

    #[test]
    fn examples_that_could_not_be_read_again_are_refused() {
        let photo = PairImage {
            image: "a.jpg".into(),
            size: (64, 64),
            bbox: [0.0, 0.0, 64.0, 64.0],
            points: vec![[1.0, 2.0]; 1000],
        };
        let pair = Pair {
            name: "a".to_owned(),
            category: 0,
            source: photo.clone(),
            target: photo,
            point_ids: vec![0; 1000],
        };
        let pairs = vec![pair; 8];
        check_examples(5, &pairs, 48).unwrap();
        let refused = check_examples(6, &pairs, 48).unwrap_err().to_string();
        assert!(
            refused.starts_with("6000 keypoints of 6 examples at 48 slots"),
            "{refused}"
        );
        check_examples(6, &pairs, 4).unwrap();
        assert_eq!(chosen(3, 8), [0, 2, 5]);
    }

    #[test]
    fn the_best_layer_is_the_first_of_the_largest_pck() {
        let of = |facet, layer, per_point| SlotPck {
            slot: Slot { facet, layer },
            pck: Pck {
                per_point,
                per_pair: None,
                per_category: Vec::new(),
            },
        };
        let best = best_layers(&[
            of(Facet::Key, 1, Some(0.2)),
            of(Facet::Key, 2, Some(0.5)),
            of(Facet::Key, 3, Some(0.5)),
            of(Facet::Value, 1, None),
            of(Facet::Value, 2, Some(0.0)),
            of(Facet::Token, 4, None),
        ]);
        let best: Vec<(&str, usize)> = best.iter().map(|(f, &layer)| (&f[..], layer)).collect();
        // An undefined number is below every other, and the first layer where there is no other.
        assert_eq!(best, [("key", 2), ("token", 4), ("value", 2)]);
    }
}
