//! Shards of a run made into the run: their counts add up to exactly those of an unbroken one.

use std::path::{Path, PathBuf};

use vitscope_data::{DataSet, Geometry, Split};
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Record, RunState, Session, Slot, apart, files, names, session, whole};

use crate::attention::{self, Localities};
use crate::baselines::TrainLabels;
use crate::error::StudyError;
use crate::evaluate::{self, Evaluation, waiting_folder, waiting_map};
use crate::job::{counting_fingerprint, kept_indices};
use crate::outcome::{self, ProbeOutcome};
use crate::picture;
use crate::probe::patches;
use crate::record;
use crate::settings::Settings;
use crate::shard::Shard;
use crate::state::{Origin, StoredState};
use crate::training;

/// What to merge.
#[derive(Clone, Debug)]
pub struct MergeRequest {
    /// The directories of all shards of one run, in any order.
    pub shards: Vec<PathBuf>,
    /// The data set, where it does not lie where the shards found it.
    pub data: Option<String>,
    /// The run directory.
    pub out: PathBuf,
}

/// A shard as it was stored.
struct ShardRun {
    run: PathBuf,
    record: Record,
    settings: Settings,
    shard: Shard,
    /// What all shards of a run have in common.
    fingerprint: String,
}

impl ShardRun {
    fn open(run: &Path) -> Result<Self, StudyError> {
        let path = run.join(names::RECORD);
        let other = |problem: &dyn std::fmt::Display| {
            StudyError::file(&path, format!("is not the record of a shard: {problem}"))
        };
        let record = Record::read(run)?;
        if record.state == RunState::Shard {
            record.prove_shard(run)?;
        }
        let settings: Settings = serde_json::from_value(record.settings.clone().into())
            .map_err(|error| other(&error))?;
        settings.check()?;
        let [rows, columns] = record.grid;
        if rows == 0
            || rows != columns
            || record.size < rows
            || record.size % rows != 0
            || record.clusters == 0
        {
            return Err(other(&format!(
                "its size {}, grid {rows} x {columns} and {} clusters go with no run",
                record.size, record.clusters
            )));
        }
        let Some(shard) = settings.shard else {
            return Err(other(&"it was made without `shard`"));
        };
        if record.state != RunState::Shard {
            return Err(StudyError::setting(format!(
                "{}: shard {shard} is not finished: continue it with `resume`",
                run.display()
            )));
        }
        let found = StoredState::open(run, training::NAME)?;
        let lost = || other(&"its folder `state` is missing: run this shard again with `resume`");
        let fingerprint = found.ok_or_else(lost)?.fingerprint().to_owned();
        if record.fingerprint() != fingerprint {
            return Err(StudyError::file(
                &path,
                "is the record of another run than its folder `state`: put that of this shard back, or make this shard again in a new folder",
            ));
        }
        record.prove_files_of_shard(run)?;
        Ok(Self {
            run: run.to_owned(),
            record,
            settings,
            shard,
            fingerprint,
        })
    }
}

/// The files beside the counts of the first shard that the run takes over: every shard has fitted the same transforms, and
/// the first has looked for artifacts.
fn beside(first: &ShardRun) -> Result<Vec<(&'static str, Vec<u8>)>, StudyError> {
    let of_shards = [names::TRANSFORMS, names::ARTIFACTS].into_iter();
    let proved = of_shards.filter(|name| first.record.files.contains_key(*name));
    proved
        .map(|name| {
            let path = first.run.join(name);
            let bytes = std::fs::read(&path).map_err(StudyError::io(&path, "read"))?;
            Ok((name, bytes))
        })
        .collect()
}

/// All shards of one run, in their order.
fn open_parts(folders: &[PathBuf]) -> Result<Vec<ShardRun>, StudyError> {
    let mut parts = folders
        .iter()
        .map(|folder| ShardRun::open(folder))
        .collect::<Result<Vec<_>, _>>()?;
    parts.sort_by_key(|part| part.shard.index);
    let Some(first) = parts.first() else {
        return Err(StudyError::setting("merge needs the shards of a run"));
    };
    for part in &parts {
        if part.fingerprint != first.fingerprint || part.shard.of != first.shard.of {
            return Err(StudyError::setting(format!(
                "{} and {}: are not shards of one run: their settings, models, data or program versions differ",
                first.run.display(),
                part.run.display()
            )));
        }
    }
    for part in &parts {
        if !part.record.data.is_same(&first.record.data) {
            return Err(StudyError::setting(format!(
                "{} and {}: are not shards of one run: the images or masks that they read are not the same",
                first.run.display(),
                part.run.display()
            )));
        }
    }
    for index in 1..=first.shard.of {
        let of = parts.iter().filter(|part| part.shard.index == index);
        match of.count() {
            1 => {}
            0 => {
                return Err(StudyError::setting(format!(
                    "shard {index}/{} is missing: give the directories of all of them",
                    first.shard.of
                )));
            }
            _ => {
                return Err(StudyError::setting(format!(
                    "shard {index}/{} is given twice",
                    first.shard.of
                )));
            }
        }
    }
    Ok(parts)
}

/// Adds up the counts of all shards of a run and writes its directory, with the bytes of the run made in
/// one piece.
///
/// # Errors
/// One sentence.
pub fn merge(request: &MergeRequest) -> Result<ProbeOutcome, StudyError> {
    let parts = open_parts(&request.shards)?;
    let Some(ShardRun {
        record: first,
        settings,
        ..
    }) = parts.first()
    else {
        return Err(StudyError::setting("merge needs the shards of a run"));
    };
    let data = open_data(request, first)?;
    let training = training::load(&parts[0].run, &parts[0].fingerprint, settings.adam())?;
    let training = training.ok_or_else(|| StudyError::Internal("a lost training".to_owned()))?;
    let slots = slots(&parts[0].run)?;
    let beside = beside(&parts[0])?;
    let settings = Settings {
        shard: None,
        ..settings.clone()
    };
    let mut record = merged(&parts, &settings);
    let session = begin(request, &data, &record)?;
    if session.complete().is_some() {
        return outcome::stored(session, settings.select);
    }
    for (name, bytes) in &beside {
        files::write(&request.out.join(name), bytes)?;
    }
    let grid = (first.grid[0], first.grid[1]);
    let mut evaluation = Evaluation::new(
        &settings,
        &data,
        (&request.out, &parts[0].fingerprint),
        &slots,
        first.clusters,
        grid,
        first.size / first.grid[0],
        first.data.test,
    )?;
    let mut localities = settings.attention.then(|| {
        let layers = settings.layers.resolve(first.model.depth);
        let heads = first.model.heads.unwrap_or(0);
        Localities::new(&layers.unwrap_or_default(), heads, grid.0 * grid.1)
    });
    let codebooks = training.codebooks().map_err(StudyError::Protocol)?;
    let hash = evaluate::hash_of(&codebooks);
    for part in &parts {
        add(part, &hash, &mut evaluation, localities.as_mut())?;
        take_labels(part, &request.out, &slots, &data, &settings)?;
        let own = part.shard.images(first.data.test);
        patches::take(&part.run, &request.out, &settings, &data, &own, first)?;
    }
    let geometry = Geometry { size: first.size };
    let labels = TrainLabels::new(&data, geometry, record.grid, record.data.train);
    let outcome = outcome::write(outcome::CountedRun {
        session,
        settings: &settings,
        data: &data,
        labels: &labels,
        record: &record,
        slots: &slots,
        geometry,
        codebooks: &codebooks,
        training: &training,
        evaluation,
        localities: localities.as_ref(),
    })?;
    outcome.note(&mut record);
    outcome.session.set(&mut record, RunState::Complete)?;
    Ok(outcome)
}

/// The record of the run that the shards make.
fn merged(parts: &[ShardRun], settings: &Settings) -> Record {
    let mut record = parts[0].record.clone();
    record.settings = crate::settings::object(settings);
    record.state = RunState::Running;
    record.files.clear();
    for part in &parts[1..] {
        for (name, value) in &part.record.times {
            if name.starts_with("evaluate_") {
                *record.times.entry(name.clone()).or_insert(0.0) += value;
            }
        }
    }
    record.notes.push(format!(
        "Merged from {} shards; times of the evaluation are those of all of them, other times those of the first.",
        parts.len()
    ));
    record
}

/// Begins the run directory. What a killed merge of the same shards has left is made anew; there is
/// nothing in it that the shards do not hold.
fn begin(request: &MergeRequest, data: &DataSet, record: &Record) -> Result<Session, StudyError> {
    let mut inputs = data.folders(&whole(&request.out));
    inputs.extend_from_slice(&request.shards);
    apart(&request.out, &inputs)?;
    let left = session::look_anew(&request.out, record)?;
    Ok(Session::begin(&request.out, record, left)?)
}

/// The data set that the shards looked at.
fn open_data(request: &MergeRequest, record: &Record) -> Result<DataSet, StudyError> {
    let spec = request.data.as_deref().unwrap_or(&record.asked);
    let mut data = DataSet::open(spec)?;
    for split in [Split::Train, Split::Test] {
        let of_split = record
            .skipped
            .iter()
            .filter(|s| s.split == split.to_string());
        let names: Vec<&str> = of_split.map(|s| s.name.as_str()).collect();
        let bad = data.split(split).iter().enumerate();
        let bad: Vec<usize> = bad
            .filter(|(_, item)| names.contains(&item.name.as_str()))
            .map(|(index, _)| index)
            .collect();
        data = data.without(split, &bad);
    }
    let found = record::of_data(&data, record.data.train, record.data.test);
    let there = [Split::Train, Split::Test].map(|split| data.split(split).len());
    let enough = record.data.train <= there[0] && record.data.test <= there[1];
    if !enough || !found.is_same(&record.data) {
        return Err(StudyError::setting(format!(
            "{spec}: is not the data set that the shards looked at: give that one with `data`"
        )));
    }
    Ok(data)
}

/// The slots of a run, in the order in which it lists them.
fn slots(run: &Path) -> Result<Vec<Slot>, StudyError> {
    let path = run.join(names::CODEBOOKS);
    let wrong = |problem: &dyn std::fmt::Display| {
        StudyError::file(
            &path,
            format!("cannot be read ({problem}): remove the folder of its run and make that again"),
        )
    };
    let file = TensorFile::open(&path, wrong)?;
    let file = file.ok_or_else(|| wrong(&"it is missing"))?;
    let names = file
        .names()
        .into_iter()
        .filter(|name| !name.starts_with("match."));
    let mut slots = names
        .map(|name| name.parse::<Slot>().map_err(|problem| wrong(&problem)))
        .collect::<Result<Vec<_>, _>>()?;
    slots.sort_by_key(|slot| (slot.layer, slot.facet));
    Ok(slots)
}

/// Adds the counts of a shard, which must be those of these codebooks.
fn add(
    part: &ShardRun,
    codebooks: &str,
    evaluation: &mut Evaluation,
    localities: Option<&mut Localities>,
) -> Result<(), StudyError> {
    let lost = || {
        StudyError::file(
            &part.run,
            "holds no counts any more: run this shard again with `resume`",
        )
    };
    let key = counting_fingerprint(&part.fingerprint, Some(part.shard));
    let origin = Origin {
        run: &key,
        codebooks,
    };
    let mut found = evaluate::stored(&part.run, origin)?.ok_or_else(lost)?;
    if found.done() != part.shard.images(part.record.data.test).len() {
        return Err(found.damaged("it is of another number of images"));
    }
    evaluation.add_stored(&mut found)?;
    if let Some(localities) = localities {
        let found = StoredState::of(&part.run, attention::BESIDE, key.as_str().into())?;
        localities.append_stored(&mut found.ok_or_else(lost)?)?;
    }
    Ok(())
}

/// Takes over the label maps that a shard has kept.
fn take_labels(
    part: &ShardRun,
    out: &Path,
    slots: &[Slot],
    data: &DataSet,
    settings: &Settings,
) -> Result<(), StudyError> {
    let test = part.record.data.test;
    let own = part.shard.images(test);
    let items = data.split(Split::Test);
    let kept = kept_indices(settings, test).into_iter();
    let kept: Vec<usize> = kept.filter(|image| own.contains(image)).collect();
    for &slot in slots {
        for &image in &kept {
            let name = format!("{}.png", items[image].name);
            let from = waiting_folder(&part.run, slot).join(&name);
            let of = waiting_map(&part.fingerprint, slot, &items[image].name);
            let lost = |problem: &dyn std::fmt::Display| patches::lost_by_shard(&from, problem);
            picture::read_indices(&from, &of, &lost)?;
            let bytes = std::fs::read(&from).map_err(StudyError::io(&from, "read"))?;
            files::write(&waiting_folder(out, slot).join(&name), &bytes)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_of_the_evaluation_add_up_and_others_are_the_firsts() {
        let part = |index, evaluate: f64, train: f64| {
            let record = json!({
                "format": 1, "state": "shard", "clusters": 2,
                "times": {"evaluate_secs": evaluate, "train_secs": train},
            });
            ShardRun {
                run: PathBuf::from("run"),
                record: serde_json::from_value(record).unwrap(),
                settings: Settings::default(),
                shard: Shard { index, of: 2 },
                fingerprint: "f".to_owned(),
            }
        };
        let record = merged(
            &[part(1, 2.0, 5.0), part(2, 3.0, 7.0)],
            &Settings::default(),
        );
        assert_eq!(record.times["evaluate_secs"], 5.0);
        assert_eq!(record.times["train_secs"], 5.0);
        assert_eq!(record.state, RunState::Running);
        assert_eq!(record.settings["batch"], 24);
        assert!(record.notes[0].starts_with("Merged from 2 shards"));
    }

    #[test]
    fn a_folder_that_is_no_shard_is_told() {
        let run = tempfile::tempdir().unwrap();
        let told = |state: &str| {
            let record = json!({
                "format": 1, "state": state, "clusters": 2, "grid": [2, 2], "size": 32,
                "settings": Settings::default(),
            });
            std::fs::write(run.path().join(names::RECORD), record.to_string()).unwrap();
            open_parts(&[run.path().to_owned()])
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        assert!(told("complete").contains("made without `shard`"));
        let error = open_parts(&[]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("merge needs the shards"), "{error}");
    }
}
