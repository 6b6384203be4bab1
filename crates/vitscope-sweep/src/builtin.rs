//! What a plan can name that no file holds yet: the built-in models, scenes and pairs of `vitscope demo`,
//! written into the folder of the sweep when they are first asked for.

use std::path::{Path, PathBuf};

use vitscope_demo::pairs::{DEMO_PAIRS, write_pairs};
use vitscope_demo::{BuiltIn, DemoError, Scenes, models::write_models};

use crate::error::SweepError;

/// How the name of something built in begins.
pub(crate) const PREFIX: &str = "demo:";

/// Makes a folder unless it is there.
fn made(
    folder: &Path,
    make: impl FnOnce(&Path) -> Result<(), DemoError>,
) -> Result<(), SweepError> {
    if folder.exists() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        vitscope_run::files::make_dir(parent)?;
    }
    match make(folder) {
        // Another sweep of the same folder was faster; what is there is whole.
        Err(_) if folder.exists() => Ok(()),
        made => made.map_err(|error| SweepError::file(folder, error)),
    }
}

/// A model as the study opens it.
pub(crate) fn model(out: &Path, typed: &Path) -> Result<PathBuf, SweepError> {
    let text = typed.to_string_lossy();
    let Some(name) = text.strip_prefix(PREFIX) else {
        return Ok(typed.to_owned());
    };
    let Some(model) = BuiltIn::all().find(|model| model.name == name) else {
        let names: Vec<String> = BuiltIn::all()
            .map(|model| format!("{PREFIX}{}", model.name))
            .collect();
        return Err(SweepError::Usage(format!(
            "{text}: is no built-in model: there are {}",
            names.join(", ")
        )));
    };
    let folder = out.join("demo/models");
    made(&folder, write_models)?;
    Ok(model.path(&folder))
}

/// A data set as the study opens it.
pub(crate) fn data(out: &Path, typed: &str) -> Result<String, SweepError> {
    let Some(name) = typed.strip_prefix(PREFIX) else {
        return Ok(typed.to_owned());
    };
    let folder = out.join("demo").join(name);
    match name {
        "scenes" => {
            made(&folder, |folder| Scenes::DEMO.write(folder))?;
            Ok(format!("folder:{}", folder.display()))
        }
        "pairs" => {
            made(&folder, |folder| {
                write_pairs(folder, Scenes::DEMO.seed, DEMO_PAIRS)
            })?;
            Ok(format!("spair71k:{}", folder.display()))
        }
        _ => Err(SweepError::Usage(format!(
            "{typed}: is no built-in data set: there are demo:scenes and demo:pairs"
        ))),
    }
}
