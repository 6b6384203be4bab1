//! SHA-256 of weights, each computed once: a file of the same size and time is the same file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use vitscope_run::files;

use crate::error::SweepError;

/// What was known of some files when they were read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct KnownHash {
    /// Size in bytes and time of change in nanoseconds, of each file.
    stamps: Vec<(u64, u128)>,
    sha256: String,
}

/// Hashes that were computed before.
#[derive(Debug)]
pub(crate) struct Hashes {
    path: PathBuf,
    known: BTreeMap<String, KnownHash>,
    changed: bool,
}

impl Hashes {
    /// Reads them. A file that is damaged costs time, and nothing else.
    pub(crate) fn read(path: &Path) -> Self {
        let read = std::fs::read(path).ok();
        let known = read.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self {
            path: path.to_owned(),
            known: known.unwrap_or_default(),
            changed: false,
        }
    }

    /// SHA-256 of files, one after the other.
    pub(crate) fn of(&mut self, paths: &[PathBuf]) -> Result<String, SweepError> {
        let mut stamps = Vec::new();
        let mut names = Vec::new();
        for path in paths {
            let found = path.metadata().map_err(SweepError::io(path, "open"))?;
            stamps.push((found.len(), changed(&found)));
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            names.push(whole.display().to_string());
        }
        let key = names.join("\n");
        if let Some(known) = self.known.get(&key).filter(|known| known.stamps == stamps) {
            return Ok(known.sha256.clone());
        }
        let sha256 = files::sha256_of(paths)?;
        let known = KnownHash {
            stamps,
            sha256: sha256.clone(),
        };
        self.known.insert(key, known);
        self.changed = true;
        Ok(sha256)
    }

    /// Writes them, where there is something new.
    pub(crate) fn write(&self) -> Result<(), SweepError> {
        if !self.changed {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&self.known)
            .map_err(|error| SweepError::file(&self.path, error))?;
        Ok(files::write(&self.path, &text)?)
    }
}

/// When a file was last changed, in nanoseconds: by the system's own time, which copying a file's time does not
/// move back, where it tells that.
fn changed(found: &std::fs::Metadata) -> u128 {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        u128::from(found.ctime().unsigned_abs()) * 1_000_000_000
            + u128::from(found.ctime_nsec().unsigned_abs())
    }
    #[cfg(not(unix))]
    {
        let time = found.modified().ok();
        let time = time.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        time.map_or(0, |time| time.as_nanos())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let (file, list) = (dir.path().join("weights"), dir.path().join("hashes.json"));
        std::fs::write(&file, "one").unwrap();
        let mut hashes = Hashes::read(&list);
        let one = hashes.of(std::slice::from_ref(&file)).unwrap();
        hashes.write().unwrap();
        assert_eq!(one, files::sha256_of(std::slice::from_ref(&file)).unwrap());
        let mut again = Hashes::read(&list);
        assert_eq!(again.of(std::slice::from_ref(&file)).unwrap(), one);
        assert!(!again.changed);
        std::fs::write(&file, "longer").unwrap();
        assert_ne!(again.of(std::slice::from_ref(&file)).unwrap(), one);
        assert!(again.changed);
    }
}
