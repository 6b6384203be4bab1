//! The folder of a run, before its work begins.

use std::path::Path;

use vitscope_run::{files, names};

use crate::error::StudyError;

/// Makes the directory of a run, or refuses to touch one that holds a run unless that is to be
/// continued.
pub fn begin(run: &Path, resume: bool) -> Result<(), StudyError> {
    refuse_held(run, resume)?;
    files::make_dir(run)?;
    Ok(files::sweep(run)?)
}

/// Refuses to touch a directory that holds a run, unless that is to be continued.
pub fn refuse_held(run: &Path, resume: bool) -> Result<(), StudyError> {
    if run.join(names::RECORD).exists() && !resume {
        return Err(StudyError::setting(format!(
            "{}: holds a run already: continue it with --resume, or choose another --out",
            run.display()
        )));
    }
    Ok(())
}
