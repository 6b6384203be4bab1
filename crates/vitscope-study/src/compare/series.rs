//! The checkpoints of one training as a series: numbers over steps, and the best step.

use std::path::PathBuf;

use serde::Serialize;
use vitscope_measure::Difference;
use vitscope_run::{Facet, Folder, Measured, Select, Slot};

use super::csv::{number, write_table};
use super::paired::{Samples, difference, samples};
use crate::error::StudyError;
use crate::stored::StoredRun;

/// What a series shows of every facet at the layer that is followed, as far as a run has stored it; and [`DSE`].
pub const SERIES: [&str; 8] = [
    "miou",
    "nmi_excess",
    "locality",
    "effective_rank",
    "participation",
    "clusters_used",
    "loss",
    "pck",
];

/// The number that only a series has (protocol 14): `dse_inter - dse_intra + lambda effective_rank`, where lambda makes
/// both parts vary alike over the checkpoints that are compared. It ranks them, and says nothing beyond them.
pub const DSE: &str = "dse";

/// One number of one checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesRow {
    /// The training step.
    pub step: u64,
    /// The run.
    pub run: String,
    /// The facet; none for runs that measured layers as a whole.
    pub facet: Option<Facet>,
    /// The layer that is followed.
    pub layer: usize,
    /// One of [`SERIES`], or [`DSE`].
    pub metric: &'static str,
    /// The number.
    pub measured: Measured,
}

/// The step of highest mIoU of a facet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BestStep {
    /// The facet.
    pub facet: Facet,
    /// The step.
    pub step: u64,
    /// The layer that is followed.
    pub layer: usize,
    /// mIoU with its interval.
    pub miou: Measured,
    /// The other steps that are not told apart from it: where the two were measured over the same images, the paired
    /// interval of their difference holds 0, otherwise their intervals overlap.
    pub ties: Vec<u64>,
    /// Whether all other steps were held against it in pairs over images.
    pub paired: bool,
}

impl BestStep {
    /// "key: step 5000 at layer 9, mIoU 0.2100 [0.2000, 0.2200]; not told apart from step 4000"
    #[must_use]
    pub fn sentence(&self) -> String {
        let value = self.miou.value.unwrap_or(f64::NAN);
        let interval = self.miou.interval;
        let interval =
            interval.map_or_else(String::new, |(low, high)| format!(" [{low:.4}, {high:.4}]"));
        let ties: Vec<String> = self.ties.iter().map(u64::to_string).collect();
        let how = if self.paired {
            " in pairs over images"
        } else {
            ""
        };
        let ties = match ties.as_slice() {
            [] => String::new(),
            ties => format!("; not told apart{how} from step {}", ties.join(", ")),
        };
        let Self {
            facet, step, layer, ..
        } = self;
        format!("{facet}: step {step} at layer {layer}, mIoU {value:.4}{interval}{ties}")
    }
}

/// Numbers over steps.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// In the order of steps.
    pub rows: Vec<SeriesRow>,
    /// The best step of every facet that has mIoU.
    pub best: Vec<BestStep>,
}

/// The step of every run: those given, or the number in each run's name.
///
/// # Errors
/// A sentence, for a name without a step, for two runs of one step, and where their number is not that of runs.
pub fn steps(runs: &[StoredRun], given: &[u64]) -> Result<Vec<u64>, StudyError> {
    let steps = match given {
        [] => {
            let steps = runs.iter().map(|run| {
                let name = run.run.root.canonicalize().unwrap_or_else(|_| run.run.root.clone());
                let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
                step_in(&name).ok_or_else(|| {
                    StudyError::setting(format!(
                        "{}: its name says no training step: expected one such as step-5000, or `steps` with a number for every run",
                        run.run.root.display()
                    ))
                })
            });
            steps.collect::<Result<Vec<u64>, _>>()?
        }
        given if given.len() == runs.len() => given.to_vec(),
        given => {
            return Err(StudyError::setting(format!(
                "`steps` has {} numbers for {} runs: give one for every run, in their order",
                given.len(),
                runs.len()
            )));
        }
    };
    for (index, step) in steps.iter().enumerate() {
        if let Some(first) = steps[..index].iter().position(|other| other == step) {
            return Err(StudyError::setting(format!(
                "{} and {} are both of step {step}: leave one of them out{}",
                runs[first].name,
                runs[index].name,
                if given.is_empty() {
                    ", or give `steps`"
                } else {
                    ""
                }
            )));
        }
    }
    Ok(steps)
}

/// The training step that a folder's name tells: the number behind a word such as `step` or `epoch`, or
/// else the only number. `None` where that leaves a doubt.
#[must_use]
pub fn step_in(name: &str) -> Option<u64> {
    const WORDS: [&str; 9] = [
        "step",
        "steps",
        "iter",
        "iters",
        "iteration",
        "epoch",
        "ep",
        "ckpt",
        "checkpoint",
    ];
    let name = name.to_lowercase();
    let mut numbers: Vec<(&str, u64)> = Vec::new();
    let mut rest = name.as_str();
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|letter: char| !letter.is_ascii_digit());
        let (digits, after) = from.split_at(end.unwrap_or(from.len()));
        // A word may be parted from its number by one sign: `step-500`, `step_500`, `step=500`.
        let word = before
            .strip_suffix(['-', '_', '=', '.', ' '])
            .unwrap_or(before);
        let word = word.rsplit(|letter: char| !letter.is_alphabetic()).next();
        numbers.push((word.unwrap_or_default(), digits.parse().ok()?));
        rest = after;
    }
    let mut named = numbers.iter().filter(|(word, _)| WORDS.contains(word));
    match (named.next(), named.next(), numbers.as_slice()) {
        (Some((_, step)), None, _) => Some(*step),
        (None, None, [(_, step)]) => Some(*step),
        _ => None,
    }
}

/// The series of runs with their steps. Every facet is followed at one layer, that at which the last
/// checkpoint shows it: another layer's number would look like a change of the training.
///
/// # Errors
/// When the bootstrap samples of a run are damaged.
pub fn series(runs: &[StoredRun], steps: &[u64], select: Select) -> Result<Series, StudyError> {
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by_key(|&index| steps[index]);
    let last = order.last().map(|&index| &runs[index]);
    let mut rows = Vec::new();
    for &index in &order {
        let (run, step) = (&runs[index], steps[index]);
        for facet in Facet::ALL.map(Some).into_iter().chain([None]) {
            let Some(layer) = last.and_then(|last| last.run.selected(facet, select)) else {
                continue;
            };
            for metric in SERIES {
                let measured = match metric {
                    // Its own alone: checkpoints may share a name, by which runs are joined elsewhere.
                    "locality" => run.number(None, layer, metric),
                    _ => run.number(facet, layer, metric),
                };
                // Attention has a row of its own only where no facet carries it.
                let is_doubled = facet.is_none() && run.has("loss");
                if let Some(measured) = measured.filter(|one| one.value.is_some() && !is_doubled) {
                    rows.push(SeriesRow {
                        step,
                        run: run.name.clone(),
                        facet,
                        layer,
                        metric,
                        measured,
                    });
                }
            }
        }
    }
    for facet in Facet::ALL {
        let layer = last.and_then(|last| last.run.selected(Some(facet), select));
        let Some(layer) = layer else { continue };
        let parts = order.iter().map(|&index| {
            let value = |metric| runs[index].number(Some(facet), layer, metric)?.value;
            let apart = value("dse_inter")? - value("dse_intra")?;
            Some((index, [apart, value("effective_rank")?]))
        });
        let parts: Vec<(usize, [f64; 2])> = parts.flatten().collect();
        let values = weighted(&parts.iter().map(|(_, parts)| *parts).collect::<Vec<_>>());
        for ((index, _), value) in parts.into_iter().zip(values.unwrap_or_default()) {
            rows.push(SeriesRow {
                step: steps[index],
                run: runs[index].name.clone(),
                facet: Some(facet),
                layer,
                metric: DSE,
                measured: Measured {
                    value: Some(value),
                    interval: None,
                },
            });
        }
    }
    rows.sort_by_key(|row| row.step);
    let drawn: Vec<Samples> = runs.iter().map(samples).collect::<Result<_, _>>()?;
    let run = |step: u64| steps.iter().position(|&own| own == step);
    let less = |slot: Slot, top: u64, other: u64| {
        let (top, other) = (run(top)?, run(other)?);
        difference(
            (&runs[top], &drawn[top]),
            (&runs[other], &drawn[other]),
            slot,
        )
    };
    let best = Facet::ALL
        .into_iter()
        .filter_map(|facet| best(&rows, facet, less));
    Ok(Series {
        best: best.collect(),
        rows,
    })
}

/// `a + lambda b` of every pair, with lambda the standard deviation of a over that of b; `None` where b does not vary, or
/// there are fewer than two pairs.
fn weighted(parts: &[[f64; 2]]) -> Option<Vec<f64>> {
    let deviation = |part: usize| {
        let count = parts.len() as f64;
        let mean = parts.iter().map(|parts| parts[part]).sum::<f64>() / count;
        let squares = parts.iter().map(|parts| (parts[part] - mean).powi(2));
        (squares.sum::<f64>() / count).sqrt()
    };
    let (apart, rank) = (deviation(0), deviation(1));
    let lambda = (parts.len() > 1 && rank > 0.0).then(|| apart / rank)?;
    let values = parts.iter().map(|[apart, rank]| apart + lambda * rank);
    Some(values.collect())
}

/// The best step of a facet; `less` is the paired difference of a slot between two steps, where there is one.
fn best(
    rows: &[SeriesRow],
    facet: Facet,
    less: impl Fn(Slot, u64, u64) -> Option<Difference>,
) -> Option<BestStep> {
    let own = || {
        let rows = rows.iter();
        rows.filter(move |row| row.facet == Some(facet) && row.metric == "miou")
    };
    let value = |row: &SeriesRow| row.measured.value.unwrap_or(f64::NEG_INFINITY);
    // The earlier one on ties.
    let top = own().reduce(|best, row| if value(row) > value(best) { row } else { best })?;
    let ends = |row: &SeriesRow| row.measured.interval.unwrap_or((value(row), value(row)));
    let slot = Slot {
        facet,
        layer: top.layer,
    };
    let mut paired = own().count() > 1;
    let mut ties = Vec::new();
    for row in own().filter(|row| row.step != top.step) {
        let difference = less(slot, top.step, row.step);
        paired &= difference.is_some();
        let is_tie = match difference {
            Some(difference) => !difference.rises(),
            None => ends(row).1 >= ends(top).0,
        };
        if is_tie {
            ties.push(row.step);
        }
    }
    Some(BestStep {
        facet,
        step: top.step,
        layer: top.layer,
        miou: top.measured,
        ties,
        paired,
    })
}

/// `series.csv`, a row for every number, and `best_steps.csv`.
pub(super) fn write(folder: &mut Folder, series: &Series) -> Result<[PathBuf; 2], StudyError> {
    let three = |measured: Measured| {
        let (low, high) = measured.interval.unzip();
        [measured.value, low, high].map(number)
    };
    let rows = series.rows.iter().map(|row| {
        let mut fields = vec![
            row.step.to_string(),
            row.run.clone(),
            row.facet
                .map_or_else(String::new, |facet| facet.to_string()),
            row.layer.to_string(),
            row.metric.to_owned(),
        ];
        fields.extend(three(row.measured));
        fields
    });
    let header = "step,run,facet,layer,metric,value,low,high";
    let table = write_table(folder, "series.csv", header, rows)?;
    let rows = series.best.iter().map(|best| {
        let mut fields = vec![
            best.facet.to_string(),
            best.step.to_string(),
            best.layer.to_string(),
        ];
        fields.extend(three(best.miou));
        let ties: Vec<String> = best.ties.iter().map(u64::to_string).collect();
        fields.push(ties.join(" "));
        fields.push(best.paired.to_string());
        fields
    });
    let header = "facet,step,layer,miou,low,high,not_told_apart_from,paired";
    Ok([table, write_table(folder, "best_steps.csv", header, rows)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_steps_or_leave_a_doubt() {
        for (name, step) in [
            ("step-5000", Some(5000)),
            ("vitb16_step_5000_seed0", Some(5000)),
            ("dino-epoch=007", Some(7)),
            ("ckpt120", Some(120)),
            ("1000", Some(1000)),
            ("run 2000", Some(2000)),
            ("vitb16-0500", None),
            ("vitb16-step-20000", Some(20000)),
            ("step1-epoch2", None),
            ("final", None),
            ("step-99999999999999999999", None),
        ] {
            assert_eq!(step_in(name), step, "{name}");
        }
    }

    #[test]
    fn both_parts_of_dse_weigh_alike() {
        // Deviations 1 and 10: lambda is a tenth.
        let parts = [[1.0, 40.0], [3.0, 60.0]];
        assert_eq!(weighted(&parts), Some(vec![5.0, 9.0]));
        assert_eq!(weighted(&parts[..1]), None);
        assert_eq!(weighted(&[[1.0, 4.0], [3.0, 4.0]]), None);
        assert_eq!(weighted(&[]), None);
    }

    fn row(step: u64, value: f64, interval: Option<(f64, f64)>) -> SeriesRow {
        SeriesRow {
            step,
            run: step.to_string(),
            facet: Some(Facet::Key),
            layer: 3,
            metric: "miou",
            measured: Measured {
                value: Some(value),
                interval,
            },
        }
    }

    #[test]
    fn the_best_step_is_not_ranked_above_what_it_overlaps() {
        let rows = [
            row(10, 0.2, Some((0.18, 0.22))),
            row(20, 0.4, Some((0.35, 0.45))),
            row(30, 0.3, Some((0.25, 0.35))),
            row(40, 0.4, Some((0.36, 0.44))),
        ];
        let alone = |_: Slot, _: u64, _: u64| None;
        let found = best(&rows, Facet::Key, alone).unwrap();
        assert_eq!((found.step, found.ties), (20, vec![30, 40]));
        assert_eq!(best(&rows, Facet::Value, alone), None);
        // In pairs 30 is told apart as well, and 40 is not.
        let paired = |_: Slot, top: u64, other: u64| {
            let low = if other == 40 { -0.01 } else { 0.05 };
            Some(Difference {
                value: if (top, other) == (20, 40) { 0.0 } else { 0.1 },
                interval: (low, 0.2),
            })
        };
        let found = best(&rows, Facet::Key, paired).unwrap();
        assert_eq!((found.ties, found.paired), (vec![40], true));
        // Without intervals only equal values tie.
        let rows = [row(1, 0.4, None), row(2, 0.4, None), row(3, 0.3, None)];
        let found = best(&rows, Facet::Key, alone).unwrap();
        assert_eq!((found.step, found.ties, found.paired), (1, vec![2], false));
    }
}
