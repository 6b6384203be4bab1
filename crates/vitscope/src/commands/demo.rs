//! `vitscope demo`: the whole protocol on built-in models and scenes, offline.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::{Value, json};
use vitscope_data::Split;
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_demo::{BuiltIn, Scenes, models::write_models, pairs::write_pairs};
use vitscope_figure::CompareOptions;
use vitscope_run::Facet;
use vitscope_run::Select;
use vitscope_study::layers::Layers;
use vitscope_study::observer::Observer;
use vitscope_study::outcome::SlotSummary;
use vitscope_study::settings::{Settings, Side};
use vitscope_study::{StudyError, attention, compare, correspond, model::Model, probe};
use vitscope_vit::identify::Settle;

use super::print;
use crate::args::{Cli, DemoArgs, Output};
use crate::exit::usage;
use crate::progress::Teller;

/// The scenes that centroids are trained on (the models saw them too) and the held-out ones on which
/// everything is measured. What lies where is chance in them: any positional effect is the model's own.
const SCENES: Scenes = Scenes {
    seed: 0,
    bias: 0.0,
    train: 320,
    test: 128,
};

/// Pairs of held-out scenes for the correspondence test.
const PAIRS: usize = 40;

/// The file by which a folder is known to hold a demo; at the end, with all results.
const MARK: &str = "demo.json";

/// The folder of the page that shows both models.
const COMPARISON: &str = "comparison";

/// Everything that was found for one model.
struct Found {
    model: BuiltIn,
    probe: vitscope_study::outcome::ProbeOutcome,
    page: PathBuf,
    attention: attention::AttentionOutcome,
    correspond: correspond::CorrespondOutcome,
}

/// Makes scenes and models in a folder, runs everything on them, and says what to look at.
pub fn run(cli: &Cli, args: &DemoArgs) -> anyhow::Result<()> {
    let out = &args.out;
    begin(out)?;
    let mut teller = Teller::new(cli);
    let (scenes, pairs, models) = (out.join("scenes"), out.join("pairs"), out.join("models"));
    teller.note("drawing scenes");
    SCENES.write(&scenes)?;
    write_pairs(&pairs, SCENES.seed, PAIRS)?;
    write_models(&models)?;
    let found = BuiltIn::ALL
        .iter()
        .map(|model| {
            teller.note(&format!("the {} model", model.name));
            look(
                out,
                model,
                &model.path(&models),
                &scenes,
                &pairs,
                &mut teller,
            )
        })
        .collect::<anyhow::Result<Vec<Found>>>()?;
    let page = set_side_by_side(&found, &out.join(COMPARISON))?;
    let results = results(&found, &page);
    write_mark(out, &results)?;
    match cli.output() {
        Output::Human => print(&text(&found, &page)),
        Output::Json => print(&serde_json::to_string(&results)?),
    }
}

/// Tables, relations, figures and page of both models; returns the page.
fn set_side_by_side(found: &[Found], out: &Path) -> anyhow::Result<PathBuf> {
    let runs: Vec<PathBuf> = found
        .iter()
        .flat_map(|found| {
            [
                &found.probe.run,
                &found.attention.run,
                &found.correspond.run,
            ]
        })
        .cloned()
        .collect();
    compare::compare(&compare::CompareRequest {
        runs: runs.clone(),
        out: out.to_owned(),
        select: Select::BestMiou,
        paper: false,
    })?;
    Ok(vitscope_figure::compare(&runs, out, &CompareOptions::default())?.page)
}

/// Probes a model, measures its attention, and lets it find key points.
fn look(
    out: &Path,
    model: &BuiltIn,
    path: &Path,
    scenes: &Path,
    pairs: &Path,
    teller: &mut Teller,
) -> anyhow::Result<Found> {
    let folder = |suffix: &str| out.join(format!("{}{suffix}", model.name));
    let size = vitscope_demo::SIDE;
    let probed = probe::probe(
        &probe::ProbeRequest {
            model: Model::Checkpoint(path.to_owned(), Settle::default()),
            data: format!("folder:{}", scenes.display()),
            out: Some(folder("")),
            settings: Settings {
                size,
                // Few steps at twice the rate, so that the whole demo takes about a minute.
                steps: 200,
                batch: 8,
                lr: 0.01,
                pca_batches: 16,
                ..Settings::default()
            },
            resume: false,
            trained: None,
        },
        teller,
    )
    .map_err(unfinished)?;
    let drawn = vitscope_figure::draw(&probed.run)?;
    probe::tidy(&probed.run)?;
    let attention = attention::attention(
        &attention::AttentionRequest {
            model: path.to_owned(),
            settle: Settle::default(),
            data: format!("folder:{}", scenes.display()),
            out: Some(folder("-attention")),
            resume: false,
            settings: attention::AttentionSettings {
                size,
                layers: Layers::All,
                split: Split::Test,
                limit: None,
                queries: Vec::new(),
                resamples: 1000,
                seed: 0,
            },
        },
        teller,
    )
    .map_err(unfinished)?;
    let correspond = correspond::correspond(
        &correspond::CorrespondRequest {
            model: path.to_owned(),
            settle: Settle::default(),
            data: format!("spair71k:{}", pairs.display()),
            out: Some(folder("-correspond")),
            resume: false,
            settings: correspond::CorrespondSettings {
                size,
                layers: Layers::All,
                facets: Facet::ALL.to_vec(),
                token_norm: Side::After,
                rope: Side::Before,
                fit: correspond::Fit::Stretch,
                split: PairSplit::Test,
                layout: Layout::Large,
                limit_pairs: None,
                alphas: vec![0.1],
                examples: 6,
                memory: 1 << 30,
            },
        },
        teller,
    )
    .map_err(unfinished)?;
    for session in [&attention.session, &correspond.session] {
        session.tidy().map_err(StudyError::from)?;
    }
    Ok(Found {
        model: *model,
        probe: probed,
        page: drawn.page,
        attention,
        correspond,
    })
}

/// A demo that was stopped starts again from the beginning: it takes a minute.
fn unfinished(error: StudyError) -> StudyError {
    match error {
        StudyError::Interrupted { .. } => StudyError::StoppedEarly,
        other => other,
    }
}

/// Takes a folder that is new, empty, or holds a demo, of which it removes what a demo makes.
fn begin(out: &Path) -> anyhow::Result<()> {
    let mark = out.join(MARK);
    if !mark.exists() {
        let filled =
            out.is_file() || std::fs::read_dir(out).is_ok_and(|mut list| list.next().is_some());
        if filled {
            return Err(usage(anyhow!(
                "{}: holds something that is no demo: choose another folder with --out",
                out.display()
            )));
        }
        std::fs::create_dir_all(out).map_err(StudyError::io(out, "create the folder"))?;
    }
    write_mark(out, &json!({"state": "running"}))?;
    let runs = BuiltIn::ALL.iter().flat_map(|model| {
        ["", "-attention", "-correspond"].map(|suffix| format!("{}{suffix}", model.name))
    });
    for name in ["scenes", "pairs", "models", COMPARISON]
        .map(str::to_owned)
        .into_iter()
        .chain(runs)
    {
        let folder = out.join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .map_err(StudyError::io(&folder, "remove the folder"))?;
        }
    }
    Ok(())
}

/// Writes `demo.json` beside its place and renames it.
fn write_mark(out: &Path, results: &Value) -> anyhow::Result<()> {
    let (beside, path) = (out.join(".writing-demo.json"), out.join(MARK));
    let text = serde_json::to_string_pretty(results)? + "\n";
    std::fs::write(&beside, text).map_err(StudyError::io(&path, "write"))?;
    std::fs::rename(&beside, &path).map_err(StudyError::io(&path, "write"))?;
    Ok(())
}

impl Found {
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

fn results(found: &[Found], page: &Path) -> Value {
    let models: Vec<Value> = found
        .iter()
        .map(|found| {
            json!({
                "model": found.model.name,
                "objective": found.model.objective,
                "run": found.probe.run,
                "page": found.page,
                "ground_truth_nmi": found.probe.truth_nmi,
                "selection": found.probe.selection,
                "slots": found.probe.slots.iter().map(super::probe::slot_json).collect::<Vec<_>>(),
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
fn text(found: &[Found], page: &Path) -> String {
    let number = |value: Option<f64>| value.map_or("undefined".to_owned(), |v| format!("{v:.3}"));
    let mut text = format!(
        "Two tiny Vision Transformers of one architecture, each trained on drawn scenes; measured on {} that\nneither has seen. Per embedding, the layer that segments best and the layer that follows position most:\n\n\
         {:<12} {:<6}  {:>5} {:>6} {:>6}   {:>5} {:>6} {:>6}  beyond chance [95 % interval]\n",
        SCENES.test, "model", "", "layer", "mIoU", "NMI", "layer", "mIoU", "NMI"
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
            "{:<12} locality of attention {} to {} nats over layers; key points found at best {} ({})",
            found.model.name,
            number(means.clone().reduce(f64::min)),
            number(means.reduce(f64::max)),
            number(pck.and_then(|summary| summary.pck.per_point)),
            pck.map_or(String::new(), |summary| summary.slot.to_string()),
        );
    }
    text.push('\n');
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

fn interval(summary: &SlotSummary) -> String {
    summary
        .excess
        .map_or("undefined".to_owned(), |(value, low, high)| {
            format!("{value:.3} [{low:.3}, {high:.3}]")
        })
}

/// Whether the paper's finding shows, as far as the intervals allow.
fn said(found: &[Found]) -> String {
    let [masked, contrastive] = found else {
        return String::new();
    };
    let most = |found: &Found| {
        found
            .best_by(Facet::Key, |summary| summary.nmi)
            .and_then(|summary| summary.excess)
    };
    let position = match (most(masked), most(contrastive)) {
        (Some((a, low, _)), Some((b, _, high))) if low > high => format!(
            "The masked model's keys cluster by position more than the contrastive model's: NMI {a:.3} against {b:.3} beyond chance, intervals apart."
        ),
        _ => "The intervals do not tell the positional effects of the two models' keys apart here."
            .to_owned(),
    };
    let best = |found: &Found| {
        let all = found.probe.slots.iter().filter_map(|summary| summary.miou);
        all.reduce(f64::max)
    };
    let meaning = match (best(masked), best(contrastive)) {
        (Some(a), Some(b)) if b > a => format!(
            "The contrastive model's best clusters follow the classes better: mIoU {b:.3} against {a:.3}."
        ),
        _ => "The contrastive model's best clusters do not follow the classes better here."
            .to_owned(),
    };
    format!("{position}\n{meaning}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_demo_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("demo");
        begin(&out).unwrap();
        std::fs::create_dir(out.join("scenes")).unwrap();
        std::fs::write(out.join("mine.txt"), "kept").unwrap();
        begin(&out).unwrap();
        assert!(!out.join("scenes").exists() && out.join("mine.txt").exists());

        let other = folder.path().join("other");
        std::fs::create_dir_all(other.join("scenes")).unwrap();
        let problem = begin(&other).unwrap_err().to_string();
        assert!(
            problem.contains("other: holds something that is no demo"),
            "{problem}"
        );
        assert!(other.join("scenes").exists());
    }
}
