//! What a sweep ends with: one comparison of everything, and the figures and tables that the plan names.

use std::path::{Path, PathBuf};

use serde::Serialize;
use vitscope_figure::{CompareOptions, ImageChoice, Look};
use vitscope_run::{Folder, Run, RunKind, Select, files, to_csv};
use vitscope_study::StudyError;
use vitscope_study::compare::{CompareRequest, Comparison, compare};
use vitscope_study::observer::Observer;

use crate::error::SweepError;
use crate::jobs::{PlannedJob, Sweep};
use crate::number_list::{COLUMNS, rows};
use crate::pages;
use crate::report_table::{INDEX, Report};
use crate::standing::is_done;

/// A figure or table that the plan names.
#[derive(Clone, Debug, Serialize)]
pub struct Named {
    /// Under which name.
    pub name: String,
    /// Of which report.
    pub report: String,
    /// Its files; none where it could not be made.
    pub files: Vec<PathBuf>,
    /// Why it could not be made.
    pub why: Option<String>,
}

/// What was written.
#[derive(Debug, Serialize)]
pub struct Reported {
    /// The page of everything.
    pub page: Option<PathBuf>,
    /// What the plan names.
    pub named: Vec<Named>,
    /// Jobs without a finished run.
    pub missing: Vec<String>,
    /// What could not be set side by side, and why.
    pub notes: Vec<String>,
}

/// Compares everything that is done, and makes what the plan names.
///
/// # Errors
/// One sentence, where a run is damaged, the folder of the sweep was removed or the disk refuses.
/// [`SweepError::Stopped`], where `observer` asked for it.
pub fn report(sweep: &Sweep, observer: &mut dyn Observer) -> Result<Reported, SweepError> {
    sweep.is_there()?;
    // Before it is seen what is done: whoever comes later sees more.
    let _turn = pages::begin(sweep, observer)?;
    let go_on = || match observer.stop() {
        true => Err(SweepError::Stopped),
        false => Ok(()),
    };
    go_on()?;
    let (done, missing): (Vec<&PlannedJob>, Vec<&PlannedJob>) = sweep
        .jobs
        .iter()
        .partition(|job| is_done(&sweep.run(&job.name)));
    let mut reported = Reported {
        page: None,
        named: Vec::new(),
        missing: missing.iter().map(|job| job.name.clone()).collect(),
        notes: Vec::new(),
    };
    let out = sweep.plan.out.join("comparison");
    if !done.is_empty() {
        match side_by_side(sweep, &done, &out, sweep.plan.select, false) {
            Ok(compared) => {
                reported.notes = compared.comparison.notes;
                reported.page = Some(compared.page);
            }
            // Everything a plan makes need not go together; the runs are there all the same.
            Err(SweepError::Study(StudyError::Setting(why))) => reported.notes.push(why),
            Err(error) => return Err(error),
        }
    }
    go_on()?;
    if !sweep.plan.reports.is_empty() {
        all_named(sweep, &done, &mut reported)?;
    }
    let names = done.iter().map(|job| job.name.clone());
    let refused = match reported.page {
        Some(_) => None,
        None => reported.notes.last().cloned(),
    };
    pages::end(sweep, names.collect(), refused)?;
    Ok(reported)
}

/// The figures and tables that the plan names, of the runs that are done.
fn all_named(
    sweep: &Sweep,
    done: &[&PlannedJob],
    reported: &mut Reported,
) -> Result<(), SweepError> {
    let named = sweep.plan.out.join("named");
    let mut folder = Folder::claim(&named, "sweep", &[])?;
    for report in &sweep.plan.reports {
        let own: Vec<&PlannedJob> = done
            .iter()
            .filter(|job| job.spec.has(&report.of))
            .copied()
            .collect();
        named_by(sweep, report, &own, &mut folder, reported)?;
    }
    let row = |entry: &Named| {
        let files = entry.files.iter().map(|file| {
            let short = file.strip_prefix(&named).unwrap_or(file);
            short.display().to_string()
        });
        let files: Vec<String> = files.collect();
        let why = entry.why.clone().unwrap_or_default();
        vec![
            entry.name.clone(),
            entry.report.clone(),
            files.join(" "),
            why,
        ]
    };
    let header = ["name", "report", "files", "missing_because"];
    let path = folder.place(&format!("{INDEX}.csv"))?;
    files::write(&path, &to_csv(header, reported.named.iter().map(row)))?;
    folder.finish()?;
    Ok(())
}

/// Runs that were compared.
struct SideBySide {
    comparison: Comparison,
    page: PathBuf,
}

fn side_by_side(
    sweep: &Sweep,
    jobs: &[&PlannedJob],
    out: &Path,
    select: Select,
    paper: bool,
) -> Result<SideBySide, SweepError> {
    let runs: Vec<PathBuf> = jobs.iter().map(|job| sweep.run(&job.name)).collect();
    let comparison = compare(&CompareRequest {
        runs: runs.clone(),
        out: out.to_owned(),
        select,
        paper,
        ..CompareRequest::default()
    })?;
    let options = CompareOptions {
        select,
        images: ImageChoice::default(),
        look: Look {
            labels: labels(sweep, jobs)?,
            ..Look::default()
        },
    };
    let page = vitscope_figure::compare(&runs, out, &options)?.page;
    Ok(SideBySide { comparison, page })
}

/// What runs are called beside one another: the model, where there are several, and every setting in
/// which they differ.
fn labels(sweep: &Sweep, jobs: &[&PlannedJob]) -> Result<Vec<String>, SweepError> {
    // A setting that jobs of another command do not have is no difference.
    let varying = |kind: RunKind| {
        let own = || jobs.iter().filter(|job| job.spec.work.kind() == kind);
        let mut keys: Vec<&String> = own().flat_map(|job| job.spec.keys.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| {
            let mut values: Vec<String> = own().map(|job| job.spec.value(key)).collect();
            values.sort_unstable();
            values.dedup();
            values.len() > 1
        });
        keys
    };
    let mut kinds = jobs.iter().map(|job| job.spec.work.kind());
    let first = kinds.next();
    let several_kinds = kinds.any(|kind| Some(kind) != first);
    let mut labels = Vec::new();
    for job in jobs {
        let record = Run::open(&sweep.run(&job.name))?.record;
        let keys = varying(job.spec.work.kind());
        let mut parts = Vec::new();
        let names = ["model", "features", "name", "family"];
        let several = keys.iter().any(|key| names.contains(&key.as_str()));
        if several || keys.is_empty() {
            parts.push(record.model.name.clone());
        }
        if several_kinds && job.spec.work.kind() != RunKind::Probe {
            parts.push(job.spec.work.kind().name().to_owned());
        }
        for key in &keys {
            let value = job.spec.value(key);
            match key.as_str() {
                key if names.contains(&key) => {}
                "data" => parts.push(record.data.kind.clone()),
                _ if value.is_empty() => {}
                _ => parts.push(format!("{key} {value}")),
            }
        }
        let mut label = parts.join(", ");
        if labels.contains(&label) {
            label = format!("{label} {}", &job.name[job.name.len().saturating_sub(4)..]);
        }
        labels.push(label);
    }
    Ok(labels)
}

/// The figures and tables of one report.
fn named_by(
    sweep: &Sweep,
    report: &Report,
    jobs: &[&PlannedJob],
    folder: &mut Folder,
    reported: &mut Reported,
) -> Result<(), SweepError> {
    let mut add = |name: &str, files: Vec<PathBuf>, why: Option<String>| {
        reported.named.push(Named {
            name: name.to_owned(),
            report: report.name.clone(),
            files,
            why,
        });
    };
    let names = || {
        let figures = report.figures.iter().map(|(name, _)| name);
        figures.chain(report.tables.iter().map(|(name, _)| name))
    };
    if jobs.is_empty() {
        for name in names() {
            add(
                name,
                Vec::new(),
                Some("no run of it is finished".to_owned()),
            );
        }
        return Ok(());
    }
    let out = sweep.plan.out.join("reports").join(&report.name);
    let select = report.select.unwrap_or(sweep.plan.select);
    let compared = match side_by_side(sweep, jobs, &out, select, report.paper) {
        Ok(compared) => compared,
        Err(SweepError::Study(StudyError::Setting(why))) => {
            for name in names() {
                add(name, Vec::new(), Some(why.clone()));
            }
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    for (name, stem) in &report.figures {
        let mut files = copy(folder, &out.join("figures"), stem, name)?;
        if files.is_empty() {
            for job in jobs {
                let figures = sweep.run(&job.name).join("figures");
                files.extend(copy(
                    folder,
                    &figures,
                    stem,
                    &format!("{name}.{}", job.name),
                )?);
            }
        }
        let why = files
            .is_empty()
            .then(|| format!("neither the comparison nor a run has the figure {stem}"));
        add(name, files, why);
    }
    let labels = labels(sweep, jobs)?;
    for (name, listing) in &report.tables {
        let rows = rows(listing, sweep, jobs, &labels, &compared.comparison)?;
        match rows.is_empty() {
            true => add(
                name,
                Vec::new(),
                Some(format!("no run measured {}", listing.metric)),
            ),
            false => {
                let path = folder.place(&format!("{name}.csv"))?;
                files::write(&path, &to_csv(COLUMNS, rows))?;
                add(name, vec![path], None);
            }
        }
    }
    Ok(())
}

/// Copies a figure in all its forms under another name.
fn copy(
    folder: &mut Folder,
    from: &Path,
    stem: &str,
    name: &str,
) -> Result<Vec<PathBuf>, SweepError> {
    let mut copied = Vec::new();
    for form in ["svg", "png", "pdf", "csv"] {
        let source = from.join(format!("{stem}.{form}"));
        if let Some(bytes) = files::read_if_there(&source)? {
            let path = folder.place(&format!("{name}.{form}"))?;
            files::write(&path, &bytes)?;
            copied.push(path);
        }
    }
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use vitscope_study::observer::Silent;

    use super::*;
    use crate::claim::{Claimant, STALE};
    use crate::standing::note_failure;

    #[test]
    fn whoever_waits_for_the_pages_says_so_and_can_be_stopped() {
        struct Stopping(Vec<String>);
        impl Observer for Stopping {
            fn wait(&mut self, why: &str) {
                self.0.push(why.to_owned());
            }
            fn stop(&self) -> bool {
                !self.0.is_empty()
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let sweep = Sweep::of_nothing(dir.path()).unwrap();
        let claim = sweep.plan.out.join("comparison.claim");
        let mut old = Claimant::elsewhere();
        old.time -= 2 * STALE;
        std::fs::write(&claim, serde_json::to_vec(&old).unwrap()).unwrap();
        let mut observer = Stopping(Vec::new());
        let ended = report(&sweep, &mut observer).unwrap_err();
        assert!(matches!(ended, SweepError::Stopped), "{ended}");
        assert!(observer.0[0].contains("of elsewhere may have ended"));
        assert!(claim.exists());
    }

    #[test]
    fn a_folder_that_was_removed_is_not_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let sweep = Sweep::of_nothing(dir.path()).unwrap();
        std::fs::remove_dir_all(&out).unwrap();
        let told = report(&sweep, &mut Silent).unwrap_err().to_string();
        assert!(told.contains("was removed while the sweep"), "{told}");
        note_failure(&sweep, &sweep.jobs[0].name, "why").unwrap();
        assert!(!out.exists());
        std::fs::create_dir_all(out.join("runs")).unwrap();
        let told = Sweep::of_nothing(dir.path()).unwrap_err().to_string();
        // The binary writes a setting in backticks as a flag, and `sweep` has none of this name.
        assert!(told.contains("another out under [sweep]"), "{told}");
    }
}
