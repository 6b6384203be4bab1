//! Files that are either whole or absent: written beside their place, then renamed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::StudyError;

/// How the names of files begin that are still being written.
const UNFINISHED: &str = ".writing-";

/// Creates a folder and its parents.
pub fn make_dir(path: &Path) -> Result<(), StudyError> {
    std::fs::create_dir_all(path).map_err(StudyError::io(path, "create the folder"))
}

/// Makes the directory of a run, or refuses to touch one that holds a run unless that is to be
/// continued.
pub fn begin(run: &Path, resume: bool) -> Result<(), StudyError> {
    refuse_held(run, resume)?;
    make_dir(run)?;
    sweep(run)
}

/// Refuses to touch a directory that holds a run, unless that is to be continued.
pub fn refuse_held(run: &Path, resume: bool) -> Result<(), StudyError> {
    if run.join("run.json").exists() && !resume {
        return Err(StudyError::setting(format!(
            "{}: holds a run already: continue it with --resume, or choose another --out",
            run.display()
        )));
    }
    Ok(())
}

/// Writes a file through `fill` beside its place, flushes it to the disk and renames it.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<(), StudyError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_dir(folder)?;
    let beside = temporary(folder, path)?;
    let io = StudyError::io(path, "write");
    let mut writer = BufWriter::new(beside.as_file());
    let written = fill(&mut writer).and_then(|()| writer.flush());
    drop(writer);
    written.map_err(io)?;
    put(beside, path)
}

/// Writes bytes to a file.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), StudyError> {
    write_with(path, |out| out.write_all(bytes))
}

/// Removes what a killed process was writing beside its place.
fn sweep(folder: &Path) -> Result<(), StudyError> {
    let io = |action| StudyError::io(folder, action);
    for entry in std::fs::read_dir(folder).map_err(io("list"))? {
        let entry = entry.map_err(io("list"))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(io("list"))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if kind.is_dir() {
            sweep(&path)?;
        } else if name.starts_with(UNFINISHED) || name.ends_with(".partial") {
            std::fs::remove_file(&path).map_err(StudyError::io(&path, "remove"))?;
        }
    }
    Ok(())
}

/// A file beside `path`, with the permissions that an ordinary new file would have.
pub fn temporary(folder: &Path, path: &Path) -> Result<NamedTempFile, StudyError> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(UNFINISHED);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(folder)
        .map_err(StudyError::io(path, "write"))
}

/// Flushes a finished file to the disk and gives it its name.
pub fn put(beside: NamedTempFile, path: &Path) -> Result<(), StudyError> {
    let io = |action| StudyError::io(path, action);
    beside.as_file().sync_data().map_err(io("write"))?;
    beside
        .persist(path)
        .map_err(|error| io("replace the file")(error.error))?;
    Ok(())
}
