//! A folder of results that is no run: what a command may replace in it, and what it may not.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::RunError;
use crate::session::Lock;
use crate::{FORMAT, files};

/// Where a folder keeps what says that it is ours.
const MARK: &str = ".vitscope";
const MADE: &str = "made.json";

/// Bytes of a name that file systems can have.
const MOST_NAME: usize = 255;

/// What a command has written into a folder.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MadeBy {
    format: u32,
    command: String,
    files: BTreeSet<String>,
}

/// A folder that this process, and no other, fills. It was new, empty, or made by the same command
/// before; only files that the command has written are replaced or removed.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    made: MadeBy,
    /// Files of this time.
    placed: BTreeSet<String>,
    /// Held until the folder is filled; a kill frees it.
    _lock: Lock,
}

impl Folder {
    /// Takes a folder for `command`, which reads `inputs`.
    ///
    /// # Errors
    /// [`RunError::Refused`], for a folder that is not ours and not empty, that another process is at
    /// work in, and that lies in an input or around it.
    pub fn claim(path: &Path, command: &str, inputs: &[PathBuf]) -> Result<Self, RunError> {
        apart(path, inputs)?;
        let refused =
            |sentence: String| Err(RunError::Refused(format!("{}: {sentence}", path.display())));
        let mark = path.join(MARK);
        let made = match files::read_if_there(&mark.join(MADE))? {
            Some(bytes) => serde_json::from_slice::<MadeBy>(&bytes).ok(),
            None if files::is_blank(path)? => Some(MadeBy {
                format: FORMAT,
                command: command.to_owned(),
                files: BTreeSet::new(),
            }),
            None => None,
        };
        let Some(made) = made.filter(|made| made.format == FORMAT && made.command == command)
        else {
            return refused(format!(
                "holds something, and no mark that vitscope {command} made it: choose another `out`"
            ));
        };
        // A mark may come from a stranger, with the folder.
        if let Some(name) = made.files.iter().find(|name| !is_inside(path, name)) {
            return refused(format!(
                "says in {MARK}/{MADE} that vitscope wrote the file {name:?}, which cannot be one in it: put back what was moved or linked elsewhere, or choose another `out`"
            ));
        }
        let lock = Lock::take(&mark, path)?;
        files::sweep(path)?;
        Ok(Self {
            path: path.to_owned(),
            made,
            placed: BTreeSet::new(),
            _lock: lock,
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a file or folder of this name goes. It is noted as ours before it is written.
    ///
    /// # Errors
    /// [`RunError::Refused`], where one of this name is there that the command has not written.
    pub fn place(&mut self, name: &str) -> Result<PathBuf, RunError> {
        self.reserve([name])?;
        Ok(self.path.join(name))
    }

    /// [`Folder::place`] for many, noted at once.
    ///
    /// # Errors
    /// As [`Folder::place`].
    pub fn reserve<'a>(
        &mut self,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), RunError> {
        let mut is_new = false;
        for name in names {
            if !self.made.files.contains(name) {
                let path = self.path.join(name);
                // A link that leads nowhere is somebody's, too.
                if path.symlink_metadata().is_ok() {
                    return Err(RunError::Refused(format!(
                        "{}: is not of an earlier {} and is not replaced: move it away, or choose another `out`",
                        path.display(),
                        self.made.command
                    )));
                }
                is_new |= self.made.files.insert(name.to_owned());
            }
            self.placed.insert(name.to_owned());
        }
        match is_new {
            true => self.note(),
            false => Ok(()),
        }
    }

    /// Removes what an earlier call of the command has written and this one has not.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(self) -> Result<(), RunError> {
        self.finish_part(|_| true)
    }

    /// [`Folder::finish`] for a part of what the command writes, told by names; other parts stay as they are.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish_part(mut self, is_part: impl Fn(&str) -> bool) -> Result<(), RunError> {
        let old = self.made.files.difference(&self.placed);
        let old: BTreeSet<String> = old.filter(|name| is_part(name)).cloned().collect();
        for name in &old {
            let path = self.path.join(name);
            // A folder in a file's place is not what was written.
            if !path.is_dir() {
                files::remove_if_there(&path)?;
            }
        }
        if !old.is_empty() {
            // What comes under such a name later is not ours.
            self.made.files = self.made.files.difference(&old).cloned().collect();
            self.note()?;
        }
        Ok(())
    }

    fn note(&self) -> Result<(), RunError> {
        let path = self.path.join(MARK).join(MADE);
        let text = serde_json::to_vec_pretty(&self.made)
            .map_err(|error| RunError::Internal(error.to_string()))?;
        files::write(&path, &text)
    }
}

/// Whether what has this name in a folder can be a file of ours in it, links of its folders followed.
fn is_inside(folder: &Path, name: &str) -> bool {
    let plain = |component| matches!(component, Component::Normal(_));
    let parts_fit = name.split('/').all(|part| part.len() <= MOST_NAME);
    if name.is_empty() || name.contains('\0') || !parts_fit {
        return false;
    }
    if !Path::new(name).components().all(plain) {
        return false;
    }
    let Ok(folder) = folder.canonicalize() else {
        return true;
    };
    let place = folder.join(name);
    let parent = place.parent().unwrap_or(&folder);
    // What is not there cannot be removed.
    parent
        .canonicalize()
        .map_or(true, |parent| parent.starts_with(&folder))
}

/// Refuses an output that is an input, lies in one, or has one in it.
///
/// # Errors
/// [`RunError::Refused`].
pub fn apart(out: &Path, inputs: &[PathBuf]) -> Result<(), RunError> {
    let place = whole(out);
    for input in inputs {
        // A file among others is no folder that could be written into.
        let Ok(found) = input.canonicalize() else {
            continue;
        };
        let inside = if found.is_dir() {
            place.starts_with(&found) || found.starts_with(&place)
        } else {
            place == found
        };
        if inside {
            return Err(RunError::Refused(format!(
                "{}: lies in {}, or that in it, and what is read is never written into: choose another `out`",
                out.display(),
                input.display()
            )));
        }
    }
    Ok(())
}

/// A path without links as far as it exists, and without `..`.
#[must_use]
pub fn whole(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut found = PathBuf::new();
    for part in absolute.components() {
        // What is not there is made as a folder, so that `..` leads back out of it.
        if part == Component::ParentDir {
            found.pop();
        } else {
            found.push(part);
        }
        if let Ok(real) = found.canonicalize() {
            found = real;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_written_before_is_replaced_or_removed() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let mut folder = Folder::claim(&out, "compare", &[]).unwrap();
        for name in ["a.csv", "b.csv"] {
            std::fs::write(folder.place(name).unwrap(), "1").unwrap();
        }
        let busy = Folder::claim(&out, "compare", &[]).unwrap_err();
        assert!(busy.to_string().contains("at work"), "{busy}");
        folder.finish().unwrap();
        std::fs::write(out.join("mine.csv"), "mine").unwrap();
        assert!(Folder::claim(&out, "extract", &[]).is_err());
        let again = Folder::claim(&out, "compare", &[]).unwrap();
        again
            .finish_part(|name| name != "a.csv" && name != "b.csv")
            .unwrap();
        assert!(
            ["a.csv", "b.csv", "mine.csv"]
                .iter()
                .all(|name| out.join(name).exists())
        );
        let mut again = Folder::claim(&out, "compare", &[]).unwrap();
        again.place("a.csv").unwrap();
        let error = again.place("mine.csv").unwrap_err().to_string();
        assert!(error.contains("is not replaced"), "{error}");
        again.finish().unwrap();
        assert!(out.join("a.csv").exists() && out.join("mine.csv").exists());
        assert!(!out.join("b.csv").exists());
        std::fs::remove_file(out.join("a.csv")).unwrap();
        std::fs::create_dir(out.join("a.csv")).unwrap();
        let again = Folder::claim(&out, "compare", &[]).unwrap();
        again.finish().unwrap();
        assert!(out.join("a.csv").is_dir());
    }

    #[test]
    #[cfg(unix)]
    fn a_mark_reaches_no_farther_than_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (out, home) = (dir.path().join("out"), dir.path().join("home"));
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("thesis.tex"), "mine").unwrap();
        Folder::claim(&out, "compare", &[]).unwrap();
        std::os::unix::fs::symlink(&home, out.join("figures")).unwrap();
        let absolute = home.join("thesis.tex").display().to_string();
        let long = "x".repeat(256);
        for name in [
            "../home/thesis.tex",
            &absolute,
            "figures/thesis.tex",
            "",
            "a\0b",
            &long,
        ] {
            let mark = serde_json::json!({"format": FORMAT, "command": "compare", "files": [name]});
            std::fs::create_dir_all(out.join(MARK)).unwrap();
            std::fs::write(out.join(MARK).join(MADE), mark.to_string()).unwrap();
            let error = Folder::claim(&out, "compare", &[]).unwrap_err().to_string();
            assert!(error.contains("cannot be one in it"), "{error}");
        }
        assert!(home.join("thesis.tex").exists());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_that_leads_nowhere_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let mut folder = Folder::claim(&dir.path().join("out"), "compare", &[]).unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("paper.csv")).unwrap();
        let error = folder.place("paper.csv").unwrap_err().to_string();
        assert!(error.contains("is not replaced"), "{error}");
    }

    #[test]
    fn a_folder_of_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("photo.png"), "mine").unwrap();
        let error = Folder::claim(dir.path(), "extract", &[]).unwrap_err();
        assert!(error.to_string().contains("no mark"), "{error}");
        let file = dir.path().join("photo.png");
        assert!(Folder::claim(&file, "extract", &[]).is_err());
    }

    #[test]
    fn input_and_output_lie_apart() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir_all(data.join("images")).unwrap();
        for out in [
            "data",
            "data/run",
            "data/images/../run",
            "new/../data/run",
            "new/newer/../../data/images/../run",
            "",
        ] {
            let error = apart(&dir.path().join(out), std::slice::from_ref(&data));
            assert!(error.is_err(), "{out}");
        }
        #[cfg(unix)]
        {
            let link = dir.path().join("link");
            std::os::unix::fs::symlink(data.join("images"), &link).unwrap();
            for out in ["new/../link/run", "link/../run"] {
                let error = apart(&dir.path().join(out), std::slice::from_ref(&data));
                assert!(error.is_err(), "{out}");
            }
        }
        apart(&dir.path().join("data-run"), std::slice::from_ref(&data)).unwrap();
        let file = dir.path().join("weights");
        std::fs::write(&file, "").unwrap();
        apart(&dir.path().join("run"), &[file]).unwrap();
    }
}
