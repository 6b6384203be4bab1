//! `vitscope demo`: the whole protocol on built-in models and scenes, offline.

mod found;

use std::path::{Path, PathBuf};

use vitscope_data::Split;
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_demo::pairs::{DEMO_PAIRS, write_pairs};
use vitscope_demo::{BuiltIn, Scenes, models::write_models};
use vitscope_figure::CompareOptions;
use vitscope_run::{Facet, Folder, Select, files};
use vitscope_study::layers::Layers;
use vitscope_study::observer::Observer;
use vitscope_study::settings::{Settings, Side};
use vitscope_study::{StudyError, attention, compare, correspond, model::Model, probe};
use vitscope_vit::identify::Settle;

use self::found::DemoFound;
use crate::args::{Cli, DemoArgs, Output};
use crate::progress::Teller;
use crate::stdout::{print, print_exactly};

/// The file with all results, which is there when the demo has come to its end.
const FOUND: &str = "demo.json";

/// The folder of the page that shows all models.
const COMPARISON: &str = "comparison";

/// Makes scenes and models in a folder, runs everything on them, and says what to look at.
pub fn run(cli: &Cli, args: &DemoArgs) -> anyhow::Result<()> {
    let out = &args.out;
    let mut folder = begin(out)?;
    let mut teller = Teller::new(cli);
    let (scenes, pairs, models) = (out.join("scenes"), out.join("pairs"), out.join("models"));
    teller.note("drawing scenes");
    Scenes::DEMO.write(&scenes)?;
    write_pairs(&pairs, Scenes::DEMO.seed, DEMO_PAIRS)?;
    write_models(&models)?;
    let found = BuiltIn::all()
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
        .collect::<anyhow::Result<Vec<DemoFound>>>()?;
    let page = set_side_by_side(&found, &out.join(COMPARISON))?;
    let results = found::results(&found, &page);
    let text = serde_json::to_string_pretty(&results)? + "\n";
    files::write(&folder.place(FOUND)?, text.as_bytes())?;
    match cli.output() {
        Output::Human => print(&found::text(&found, Scenes::DEMO.test, &page)),
        Output::Json => print_exactly(&serde_json::to_string(&results)?),
    }
}

/// Tables, relations, figures and page of all models; returns the page.
fn set_side_by_side(found: &[DemoFound], out: &Path) -> anyhow::Result<PathBuf> {
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
        ..compare::CompareRequest::default()
    })?;
    Ok(vitscope_figure::compare(&runs, out, &CompareOptions::default())?.page)
}

/// Probes a model, measures its attention, and lets it find keypoints.
fn look(
    out: &Path,
    model: &BuiltIn,
    path: &Path,
    scenes: &Path,
    pairs: &Path,
    teller: &mut Teller,
) -> anyhow::Result<DemoFound> {
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
                memory: Some(1 << 30),
            },
        },
        teller,
    )
    .map_err(unfinished)?;
    for session in [&attention.session, &correspond.session] {
        session.tidy().map_err(StudyError::from)?;
    }
    Ok(DemoFound {
        model: *model,
        verdict: vitscope_figure::verdict(&probed.run)?,
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
fn begin(out: &Path) -> Result<Folder, StudyError> {
    let mut folder = Folder::claim(out, "demo", &[])?;
    // Until all is there, nothing says what was found.
    files::remove_if_there(&folder.place(FOUND)?)?;
    let runs = BuiltIn::all().flat_map(|model| {
        ["", "-attention", "-correspond"].map(|suffix| format!("{}{suffix}", model.name))
    });
    for name in ["scenes", "pairs", "models", COMPARISON]
        .map(str::to_owned)
        .into_iter()
        .chain(runs)
    {
        files::remove_folder(&folder.place(&name)?)?;
    }
    Ok(folder)
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

        // What others call a demo, or lies where one would go.
        let other = folder.path().join("other");
        std::fs::create_dir_all(other.join("scenes")).unwrap();
        std::fs::write(other.join("demo.json"), "{}").unwrap();
        let problem = begin(&other).unwrap_err().to_string();
        assert!(
            problem.contains("no mark that vitscope demo made it"),
            "{problem}"
        );
        assert!(other.join("scenes").exists());
    }
}
