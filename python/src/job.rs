//! The main job, as the command `probe` does it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::prelude::*;
use vitscope_figure::draw;
use vitscope_hub::progress::Progress;
use vitscope_hub::resolve;
use vitscope_protocol::{Observer, Phase};
use vitscope_study::model::Model;
use vitscope_study::probe::{Made, ProbeRequest, probe_together, tidy};
use vitscope_study::settings::{SETTINGS, Settings};
use vitscope_study::variants::{Vary, split};
use vitscope_vit::identify::{Format, Settle};

use crate::errors::{InputError, Told};
use crate::work::watched;

/// Downloads, told to whoever watches the run.
struct DownloadNotes<'a>(&'a mut dyn Observer);

impl Progress for DownloadNotes<'_> {
    fn begin(&mut self, file: &str, done: u64, total: Option<u64>) {
        self.0.note(&format!("downloading {file}"));
        self.0
            .begin(Phase::new("download"), done, total.unwrap_or(0));
    }

    fn advance(&mut self, bytes: u64) {
        self.0.advance(bytes, None);
    }

    fn end(&mut self) {
        self.0.end();
    }

    fn note(&mut self, text: &str) {
        self.0.note(text);
    }
}

/// What settles what a checkpoint leaves open.
fn settle(words: &BTreeMap<String, String>) -> PyResult<Settle> {
    let mut settle = Settle::default();
    for (name, text) in words {
        match settle.set(name, text) {
            Ok(()) => {}
            Err(_) if !Settle::NAMES.contains(&name.as_str()) => {
                return Err(InputError::new_err(format!("`{name}` is no setting")));
            }
            Err(problem) => {
                return Err(InputError::new_err(format!("{name} {text}: {problem}")));
            }
        }
    }
    Ok(settle)
}

/// Settings by name, each as it would be typed after its flag.
fn settings(typed: &[(String, String)], seeds: Option<usize>) -> PyResult<(Settings, Vary)> {
    let (mut settings, mut vary) = (Settings::default(), Vary::default());
    vary.seeds = seeds;
    for (name, text) in typed {
        if name == "threads" {
            return Err(InputError::new_err(
                "`threads` holds for everything in Python: call set_threads",
            ));
        }
        let known = SETTINGS.iter().find(|setting| setting.is_called(name));
        let Some(setting) = known else {
            return Err(InputError::new_err(format!("`{name}` is no setting")));
        };
        // As a flag it says no: `--no-shuffle`.
        let negated = setting.name == name && setting.flag.starts_with("no-");
        let text = match (negated, text.as_str()) {
            (true, "true") => "false",
            (true, "false") => "true",
            (_, text) => text,
        };
        let values = match setting.varies {
            true => split(setting, text),
            false => vec![text.to_owned()],
        };
        settings.set(setting.name, &values[0]).map_err(Told::told)?;
        if setting.varies {
            vary = vary.with(setting.name, values);
        }
    }
    Ok((settings, vary))
}

/// Probes a checkpoint or a feature directory, draws the figures of every run, and gives the runs' directories.
#[pyfunction]
#[expect(
    clippy::too_many_arguments,
    reason = "one for each thing that can be said"
)]
pub fn probe(
    py: Python<'_>,
    model: Option<PathBuf>,
    features: Option<PathBuf>,
    data: String,
    out: Option<PathBuf>,
    typed: Vec<(String, String)>,
    settled: BTreeMap<String, String>,
    seeds: Option<usize>,
    resume: bool,
    progress: Option<Py<PyAny>>,
) -> PyResult<Vec<PathBuf>> {
    let (settings, vary) = settings(&typed, seeds)?;
    let settle = settle(&settled)?;
    watched(py, progress, |observer| {
        let model = match (model, features) {
            (Some(name), _) => {
                let format = settle.format.filter(|&format| format != Format::Own);
                let located =
                    resolve(&name, format, &mut DownloadNotes(observer)).map_err(Told::told)?;
                Model::Checkpoint(located.path, settle)
            }
            (None, features) => Model::Features(features.unwrap_or_default()),
        };
        let request = ProbeRequest {
            model,
            data,
            out,
            settings,
            resume,
            trained: None,
        };
        let made = probe_together(&request, &vary, observer).map_err(Told::told)?;
        let mut runs = Vec::new();
        let mut drawn = Vec::new();
        for made in made {
            match made {
                Made::Run(outcome) => {
                    draw(&outcome.run).map_err(Told::told)?;
                    drawn.push(outcome.run.clone());
                    runs.push(outcome.run.clone());
                }
                Made::Shard { run, .. } => runs.push(run),
            }
        }
        // Only now: a run whose unfinished work is gone would begin again.
        for run in drawn {
            tidy(&run).map_err(Told::told)?;
        }
        Ok::<_, PyErr>(runs)
    })
}
