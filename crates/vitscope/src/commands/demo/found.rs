//! What the demo found, as JSON and in words.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vitscope_demo::BuiltIn;
use vitscope_figure::Verdict;
use vitscope_run::{Facet, decimals};
use vitscope_study::outcome::{ProbeOutcome, SlotSummary};
use vitscope_study::{attention, correspond};

/// Everything that was found for one model.
pub(super) struct DemoFound {
    pub(super) model: BuiltIn,
    pub(super) probe: ProbeOutcome,
    pub(super) verdict: Verdict,
    pub(super) page: PathBuf,
    pub(super) attention: attention::AttentionOutcome,
    pub(super) correspond: correspond::CorrespondOutcome,
}

impl DemoFound {
    fn best_by(
        &self,
        facet: Facet,
        value: impl Fn(&SlotSummary) -> Option<f64>,
    ) -> Option<&SlotSummary> {
        let of_facet = self
            .probe
            .slots
            .iter()
            .filter(|summary| summary.slot.facet == facet);
        // The first of equals, as everywhere.
        of_facet
            .filter(|summary| value(summary).is_some())
            .reduce(|best, summary| {
                if value(summary) > value(best) {
                    summary
                } else {
                    best
                }
            })
    }

    fn best_pck(&self) -> Option<&correspond::SlotPck> {
        self.correspond
            .slots
            .iter()
            .filter(|summary| summary.pck.per_point.is_some())
            .reduce(|best, summary| {
                if summary.pck.per_point > best.pck.per_point {
                    summary
                } else {
                    best
                }
            })
    }
}

pub(super) fn results(found: &[DemoFound], page: &Path) -> Value {
    let models: Vec<Value> = found
        .iter()
        .map(|found| {
            json!({
                "model": found.model.name,
                "objective": found.model.objective,
                "run": found.probe.run,
                "page": found.page,
                "ground_truth_nmi": found.probe.truth_nmi,
                "verdict": found.verdict.to_string(),
                "selection": found.probe.selection,
                "slots": found.probe.slots.iter().map(crate::commands::probe::slot_json).collect::<Vec<_>>(),
                "attention": found.attention.run,
                "locality": found.attention.layers.iter().map(|layer| json!({
                    "layer": layer.layer,
                    "value": layer.whole.value,
                    "low": layer.whole.interval.map(|interval| interval.0),
                    "high": layer.whole.interval.map(|interval| interval.1),
                })).collect::<Vec<_>>(),
                "correspond": found.correspond.run,
                "pck": found.correspond.slots.iter().map(|summary| json!({
                    "facet": summary.slot.facet,
                    "layer": summary.slot.layer,
                    "pck": summary.pck.per_point,
                })).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"state": "complete", "page": page, "models": models})
}

/// The short table, what it says, and where to look.
pub(super) fn text(found: &[DemoFound], scenes: usize, page: &Path) -> String {
    let number = |value: Option<f64>| value.map_or("undefined".to_owned(), |v| format!("{v:.3}"));
    let mut text = format!(
        "{} tiny Vision Transformers of one architecture, each trained on drawn scenes; measured on {scenes} that\nnone of them has seen. Per embedding, the layer that segments best and the layer that follows position most:\n\n\
         {:<12} {:<6}  {:>5} {:>6} {:>6}   {:>5} {:>6} {:>6}  beyond chance [95 % interval]\n",
        counted(found.len()),
        "model",
        "",
        "layer",
        "mIoU",
        "NMI",
        "layer",
        "mIoU",
        "NMI"
    );
    for found in found {
        for facet in Facet::ALL {
            let best = found.best_by(facet, |summary| summary.miou);
            let most = found.best_by(facet, |summary| summary.nmi);
            let (Some(best), Some(most)) = (best, most) else {
                continue;
            };
            let _ = writeln!(
                text,
                "{:<12} {:<6}  {:>5} {:>6} {:>6}   {:>5} {:>6} {:>6}  {}",
                found.model.name,
                facet.name(),
                best.slot.layer,
                number(best.miou),
                number(best.nmi),
                most.slot.layer,
                number(most.miou),
                number(most.nmi),
                interval(most),
            );
        }
    }
    let truth = found.first().and_then(|found| found.probe.truth_nmi);
    let _ = writeln!(text, "{:<12} {:>52}\n", "ground truth", number(truth));
    for found in found {
        let means = found
            .attention
            .layers
            .iter()
            .filter_map(|layer| layer.whole.value);
        let pck = found.best_pck();
        let _ = writeln!(
            text,
            "{:<12} locality of attention {} to {} nats over layers; keypoints found at best {} ({})",
            found.model.name,
            number(means.clone().reduce(f64::min)),
            number(means.reduce(f64::max)),
            number(pck.and_then(|summary| summary.pck.per_point)),
            pck.map_or(String::new(), |summary| summary.slot.to_string()),
        );
    }
    text.push('\n');
    for found in found {
        let findings = found.verdict.findings.join(" ");
        let _ = writeln!(
            text,
            "{} ({}): {findings}\n",
            found.model.name, found.model.objective
        );
    }
    text += &said(found);
    text.push('\n');
    let _ = writeln!(text, "page: {}", page.display());
    for found in found {
        let _ = writeln!(
            text,
            "page of the {} model alone: {}",
            found.model.name,
            found.page.display()
        );
    }
    text
}

/// A small number at the beginning of a sentence.
fn counted(count: usize) -> &'static str {
    ["No", "One", "Two", "Three"]
        .get(count)
        .unwrap_or(&"Several")
}

fn interval(summary: &SlotSummary) -> String {
    summary
        .excess
        .map_or("undefined".to_owned(), |(value, low, high)| {
            let [value, low, high] = [value, low, high].map(|value| decimals(value, 3));
            format!("{value} [{low}, {high}]")
        })
}

/// The models in order of what their keys know of the place, and of what their clusters know of the classes.
fn said(found: &[DemoFound]) -> String {
    let keys = found.iter().filter_map(|found| {
        let most = found.best_by(Facet::Key, |summary| summary.nmi)?;
        Some((found.model.name, most.excess?))
    });
    let classes = found.iter().filter_map(|found| {
        let slots = found.probe.slots.iter();
        let known = slots.filter_map(|summary| {
            let (low, high) = summary.miou_interval?;
            Some((summary.miou?, low, high))
        });
        let best = known.reduce(|best, slot| if slot.0 > best.0 { slot } else { best })?;
        Some((found.model.name, best))
    });
    format!(
        "How much keys follow the place beyond chance, from most to least: {}.\n\
         How well the best clusters follow the classes (mIoU), from best to worst: {}.\n",
        ranked(keys.collect()),
        ranked(classes.collect())
    )
}

/// Models with their values, greatest first, and which of them their intervals do not tell apart.
fn ranked(mut models: Vec<(&str, (f64, f64, f64))>) -> String {
    models.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    let list: Vec<String> = models
        .iter()
        .map(|(name, (value, ..))| format!("{name} {}", decimals(*value, 3)))
        .collect();
    let pairs = models
        .iter()
        .enumerate()
        .flat_map(|(i, one)| models[i + 1..].iter().map(move |other| (one, other)));
    let alike: Vec<String> = pairs
        .filter(|(one, other)| one.1.1 <= other.1.2)
        .map(|(one, other)| format!("of {} and {}", one.0, other.0))
        .collect();
    let told = if alike.is_empty() {
        "apart".to_owned()
    } else {
        format!("{} overlap", alike.join(", "))
    };
    format!("{} (95 % intervals over scenes {told})", list.join(", "))
}
