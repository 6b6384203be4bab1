//! What the files of a finished run were when it ended, so that none is believed that has changed since; and what the
//! record of a shard was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::slice;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::RunError;
use crate::record::Record;
use crate::{files, limits, names};

/// The files that hold what a run measured. Pictures and pages are drawn from them again.
pub(crate) const PROVED: [&str; 13] = [
    names::METRICS,
    names::CODEBOOKS,
    names::COUNTS,
    names::SAMPLES,
    names::SOFT,
    names::PATCHES,
    names::ATTENTION,
    names::TRANSFORMS,
    names::ARTIFACTS,
    names::PAIRS,
    names::PAIR_TENSORS,
    names::EXAMPLES,
    names::EXAMPLE_TENSORS,
];

/// The SHA-256 of each of these files that a run has.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn of(run: &Path) -> Result<BTreeMap<String, String>, RunError> {
    let mut proofs = BTreeMap::new();
    for name in PROVED {
        let path = run.join(name);
        if path.exists() {
            proofs.insert(name.to_owned(), files::sha256_of(slice::from_ref(&path))?);
        }
    }
    Ok(proofs)
}

/// The SHA-256 of each file of numbers that a shard has, and of what its record says, by which [`Record::prove_shard`] knows
/// them again.
///
/// # Errors
/// When it cannot be described.
pub(crate) fn of_shard(run: &Path, record: &Record) -> Result<BTreeMap<String, String>, RunError> {
    let mut proofs = of(run)?;
    let record = serde_json::to_value(record)
        .map_err(|error| RunError::file(run, format!("cannot be described: {error}")))?;
    let said = said(record, proofs.clone());
    proofs.insert(names::RECORD.to_owned(), said);
    Ok(proofs)
}

/// The SHA-256 of all that a record says, with what it says of other files.
fn said(mut record: Value, mut files: BTreeMap<String, String>) -> String {
    if let Some(fields) = record.as_object_mut() {
        fields.shift_remove("files");
    }
    files.remove(names::RECORD);
    files::hex(&Sha256::digest(json!([record, files]).to_string()))
}

impl Record {
    /// Checks that the record of a finished shard, which this is, says what the shard wrote.
    ///
    /// # Errors
    /// A sentence, where it says anything else.
    pub fn prove_shard(&self, run: &Path) -> Result<(), RunError> {
        let path = run.join(names::RECORD);
        let text = files::read_up_to(&path, limits::JSON_BYTES)?.unwrap_or_default();
        let noted = [names::RECORD, names::CODEBOOKS].map(|name| self.files.get(name));
        let [Some(hash), Some(_)] = noted else {
            return Err(RunError::file(
                &path,
                "does not say what its shard wrote, as an earlier version did not: run this shard again with `resume`",
            ));
        };
        let value = serde_json::from_slice(&text).map(|record| said(record, self.files.clone()));
        if !value.is_ok_and(|value| value == *hash) {
            return Err(RunError::file(
                &path,
                "is not what its shard wrote (its SHA-256 is another): put that back, or make this shard again in a new folder",
            ));
        }
        Ok(())
    }

    /// Checks that the files of numbers of a finished shard, whose proved record this is, are those with which it ended.
    ///
    /// # Errors
    /// A sentence about the first that is missing, or another.
    pub fn prove_files_of_shard(&self, run: &Path) -> Result<(), RunError> {
        match self.other_file(run)? {
            None => Ok(()),
            Some((path, true)) => Err(RunError::file(
                &path,
                "is not what its shard wrote (its SHA-256 is another than run.json says): remove it, then run this shard again with `resume`",
            )),
            Some((path, false)) => Err(RunError::file(
                &path,
                "is missing: run this shard again with `resume`",
            )),
        }
    }

    /// Checks that the files of a finished run are those with which it ended, as far as its version noted that.
    ///
    /// # Errors
    /// A sentence about the first that is missing, or another.
    pub fn prove(&self, run: &Path) -> Result<(), RunError> {
        match self.other_file(run)? {
            None => Ok(()),
            Some((path, true)) => Err(changed(&path)),
            Some((path, false)) => Err(RunError::damaged(&path, "is missing from a complete run")),
        }
    }

    /// The first file of numbers that is not what this record says, and whether it exists.
    fn other_file(&self, run: &Path) -> Result<Option<(PathBuf, bool)>, RunError> {
        // A record from elsewhere may name anything.
        let noted = self.files.iter();
        for (name, hash) in noted.filter(|(name, _)| PROVED.contains(&name.as_str())) {
            let path = run.join(name);
            let exists = path.exists();
            if !exists || files::sha256_of(slice::from_ref(&path))? != *hash {
                return Ok(Some((path, exists)));
            }
        }
        Ok(None)
    }
}

/// The sentence about a file that is another than when its run ended.
pub(crate) fn changed(path: &Path) -> RunError {
    RunError::file(
        path,
        "is not what its run wrote (its SHA-256 is another than run.json says): put that back, or remove the folder of its run and make that again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Fixed, Part, Run, RunKind, RunState, Session, Subject, Table};

    #[test]
    fn a_file_that_changed_after_its_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        let fixed = Fixed {
            settings: serde_json::json!({}),
            model: Default::default(),
            data: Default::default(),
            clusters: 2,
            grid: [2, 2],
            size: 32,
            seed: 0,
            threads: 1,
        };
        let mut record = Record::new(RunKind::Probe, "folder:x", fixed, Vec::new());
        let session = Session::begin(&run, &record, false).unwrap();
        let mut table = Table::new("m", "", "");
        table.add(Subject::GroundTruth, "nmi", Part::Whole, Some(0.5), None);
        table.write(&run.join(names::METRICS)).unwrap();
        files::write(&run.join(names::COUNTS), b"counts").unwrap();
        session.set(&mut record, RunState::Complete).unwrap();
        session.tidy().unwrap();
        let noted: Vec<&String> = record.files.keys().collect();
        assert_eq!(noted, [names::COUNTS, names::METRICS]);
        // A figure is no number, and a file of the user's own is nothing of ours.
        files::write(&run.join(names::PAGE), b"page").unwrap();
        files::write(&run.join("notes.csv"), b"mine").unwrap();
        Run::finished(&run).unwrap();
        for name in noted {
            let path = run.join(name);
            let whole = std::fs::read(&path).unwrap();
            for index in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[index] ^= 1;
                std::fs::write(&path, bytes).unwrap();
                let said = Run::finished(&run).unwrap_err().to_string();
                assert!(said.starts_with(&path.display().to_string()), "{said}");
                assert!(said.contains("is not what its run wrote"), "{said}");
            }
            std::fs::remove_file(&path).unwrap();
            let said = Run::finished(&run).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains("is missing"), "{said}");
            std::fs::write(&path, &whole).unwrap();
        }
        Run::finished(&run).unwrap();
        // A record of before there were proofs.
        record.files.clear();
        record.write(&run).unwrap();
        std::fs::write(run.join(names::COUNTS), "other").unwrap();
        Run::finished(&run).unwrap();
    }
}
