//! Nothing that was stored is believed: one flipped bit is refused with the file named, and so are data
//! that changed since the run began.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use vitscope_study::StudyError;
use vitscope_study::merge::{MergeRequest, merge};
use vitscope_study::model::Model;
use vitscope_study::observer::{Observer, Phase, Silent};
use vitscope_study::probe::{ProbeRequest, probe_together};
use vitscope_study::settings::Settings;
use vitscope_study::variants::Vary;
use vitscope_testkit::scenes;

use crate::common::{camvid, checkpoint, copy_folder, settled};
use crate::continued::Counter;

fn request(data: &str, out: &Path, resume: bool) -> ProbeRequest {
    ProbeRequest {
        model: Model::Checkpoint(checkpoint(), settled()),
        data: data.to_owned(),
        out: Some(out.to_owned()),
        settings: Settings {
            size: 32,
            steps: 6,
            batch: 4,
            pca_batches: 2,
            limit_train: Some(8),
            limit_test: Some(12),
            examples: 2,
            attention: true,
            ..Settings::default()
        },
        resume,
        trained: None,
    }
}

/// Begins a run, or goes on with it, and stops it after so many images of a phase.
fn stop(request: &ProbeRequest, phase: Phase, images: u64) {
    let mut counter = Counter::new(phase, images);
    let ended = probe_together(request, &Vary::default(), &mut counter);
    assert!(matches!(ended, Err(StudyError::Interrupted { .. })));
}

fn go_on(request: &ProbeRequest) -> Result<(), StudyError> {
    probe_together(request, &Vary::default(), &mut Silent).map(|_| ())
}

/// Every file below a folder that is not empty.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_in(&path));
        } else if path.metadata().unwrap().len() > 0 {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Flips a bit in each file of a run's state in turn, at its beginning, in its middle and at its end; the
/// run is refused each time with the file's name. Gives the kinds of the files.
fn flip_everywhere(run: &Path, request: &ProbeRequest) -> Vec<String> {
    let mut kinds = Vec::new();
    for path in files_in(&run.join("state")) {
        let extension = path.extension().unwrap().to_string_lossy().into_owned();
        let is_map = extension == "png";
        let folder = path.parent().and_then(Path::file_name).unwrap();
        let folder = folder.to_string_lossy().into_owned();
        // One cluster map is enough, and the patches of one image: they are read when all is counted.
        if is_map && kinds.contains(&extension) || kinds.contains(&folder) {
            continue;
        }
        let whole = std::fs::read(&path).unwrap();
        let places = match is_map {
            true => vec![whole.len() / 2],
            false => vec![0, 9, whole.len() / 2, whole.len() - 1],
        };
        for place in places {
            let mut bytes = whole.clone();
            bytes[place] ^= 4;
            std::fs::write(&path, &bytes).unwrap();
            let error = go_on(request).unwrap_err().to_string();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(error.contains(&name), "{name} at {place}: {error}");
        }
        std::fs::write(&path, &whole).unwrap();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        kinds.push(match extension.as_str() {
            _ if folder == "patches" => folder,
            "safetensors" | "json" => stem,
            _ => extension,
        });
    }
    kinds
}

#[test]
fn one_flipped_bit_of_unfinished_work_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let (begin, resume) = (
        request(&camvid(), &run, false),
        request(&camvid(), &run, true),
    );
    stop(&begin, Phase::TRAIN, 8);
    assert_eq!(flip_everywhere(&run, &resume), ["data", "f32", "training"]);
    stop(&resume, Phase::EVALUATE, 4);
    let kinds = flip_everywhere(&run, &resume);
    assert_eq!(
        kinds,
        [
            "data",
            "evaluation",
            "png",
            "locality",
            "patches",
            "training"
        ]
    );
    // What the advice says is done, it works: without its state the run begins anew.
    std::fs::remove_dir_all(run.join("state")).unwrap();
    go_on(&resume).unwrap();
}

#[test]
fn a_shard_is_believed_neither_in_its_counts_nor_in_its_codebooks() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
    let shard = |run: &Path, shard: &str, trained: Option<PathBuf>, resume| {
        let mut request = request(&camvid(), run, resume);
        request.settings.attention = false;
        request.settings.shard = Some(shard.parse().unwrap());
        request.trained = trained;
        go_on(&request).unwrap();
    };
    let merged = |out: &str| {
        let request = MergeRequest {
            shards: vec![one.clone(), two.clone()],
            data: None,
            out: dir.path().join(out),
        };
        merge(&request)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    shard(&one, "1/2", None, false);
    shard(&two, "2/2", Some(one.clone()), false);
    let path = two.join("state/evaluation.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for place in [0, 9, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 4;
        std::fs::write(&path, &bytes).unwrap();
        let error = merged("flipped").unwrap_err();
        assert!(
            error.contains("two/state/evaluation.safetensors"),
            "{error}"
        );
    }
    // A training of the same settings that came to other centroids, with a good seal.
    let training = one.join("state/training.safetensors");
    let kept = std::fs::read(&training).unwrap();
    std::fs::write(&training, turned(&kept)).unwrap();
    std::fs::remove_dir_all(&two).unwrap();
    shard(&two, "2/2", Some(one.clone()), false);
    std::fs::write(&training, &kept).unwrap();
    let error = merged("mixed").unwrap_err();
    assert!(
        error.contains("two/state/evaluation.safetensors"),
        "{error}"
    );
    assert!(error.contains("other codebooks"), "{error}");
    // Its advice.
    std::fs::remove_dir_all(two.join("state")).unwrap();
    shard(&two, "2/2", Some(one.clone()), true);
    merged("whole").unwrap();
}

/// A request whose run stores transforms and what is odd beside its state.
fn edited(run: &Path, resume: bool) -> ProbeRequest {
    let mut request = request(&camvid(), run, resume);
    request.settings.attention = false;
    request.settings.transform = "mean".parse().unwrap();
    request.settings.artifacts = true;
    request
}

/// Flips a bit in a file of these bytes, at a few places in turn, and looks that what is tried then is refused with its name.
fn flip(path: &Path, refused: &dyn Fn() -> String) {
    let whole = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    for place in [0, 9, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 4;
        std::fs::write(path, &bytes).unwrap();
        let error = refused();
        assert!(error.contains(&name), "{name} at {place}: {error}");
    }
    std::fs::write(path, &whole).unwrap();
}

#[test]
fn what_lies_beside_unfinished_work_is_believed_no_more_than_that() {
    let dir = tempfile::tempdir().unwrap();
    let (run, whole) = (dir.path().join("run"), dir.path().join("whole"));
    go_on(&edited(&whole, false)).unwrap();
    stop(&edited(&run, false), Phase::EVALUATE, 4);
    let resume = edited(&run, true);
    let files = ["transforms.safetensors", "artifacts.safetensors"].map(|name| run.join(name));
    for path in &files {
        flip(path, &|| go_on(&resume).unwrap_err().to_string());
    }
    // Nor does another run take them over.
    let mut other = request(&camvid(), &dir.path().join("other"), false);
    other.settings.transform_from = Some(run.display().to_string());
    flip(&files[0], &|| go_on(&other).unwrap_err().to_string());
    // What the advice says is done, it works.
    for path in &files {
        std::fs::write(path, "no tensors").unwrap();
        let error = go_on(&resume).unwrap_err().to_string();
        assert!(error.contains("remove it, then continue"), "{error}");
        std::fs::remove_file(path).unwrap();
    }
    go_on(&resume).unwrap();
    for run in [&run, &whole] {
        std::fs::remove_dir_all(run.join("state")).unwrap();
    }
    crate::common::assert_same(&whole, &run);
}

/// Puts each of two files in the other's place.
fn exchange(a: &Path, b: &Path) {
    let [of_a, of_b] = [a, b].map(|path| std::fs::read(path).unwrap());
    assert!(of_a != of_b, "{} is {}", a.display(), b.display());
    std::fs::write(a, of_b).unwrap();
    std::fs::write(b, of_a).unwrap();
}

/// The waiting map of the first image of a slot, and that of another.
fn maps(run: &Path, slot: &str) -> [PathBuf; 2] {
    let maps = files_in(&run.join("state/labels").join(slot));
    [maps[0].clone(), maps[maps.len() - 1].clone()]
}

#[test]
fn a_waiting_map_is_taken_for_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let [run, other] = ["run", "other"].map(|name| dir.path().join(name));
    stop(&request(&camvid(), &run, false), Phase::EVALUATE, 8);
    let mut of_other = request(&camvid(), &other, false);
    of_other.settings.seed = 1;
    stop(&of_other, Phase::EVALUATE, 8);
    let resume = request(&camvid(), &run, true);
    let [own, of_image] = maps(&run, "key.1");
    let ([of_slot, _], [of_run, _]) = (maps(&run, "key.2"), maps(&other, "key.1"));
    let patches = [&run, &other].map(|run| files_in(&run.join("state/patches")).remove(0));
    let [patches, of_other] = &patches;
    for (path, in_place) in [
        (&own, &of_image),
        (&own, &of_slot),
        (&own, &of_run),
        (patches, of_other),
    ] {
        exchange(path, in_place);
        let error = go_on(&resume).unwrap_err().to_string();
        assert!(
            error.contains("/state/") && error.contains("it is of another image"),
            "{error}"
        );
        exchange(path, in_place);
    }
    std::fs::remove_file(&own).unwrap();
    let error = go_on(&resume).unwrap_err().to_string();
    assert!(error.contains(&own.display().to_string()), "{error}");
    assert!(
        error.contains("it is missing): remove its folder `state`"),
        "{error}"
    );
    std::fs::remove_dir_all(run.join("state")).unwrap();
    go_on(&resume).unwrap();
}

#[test]
fn a_shard_is_believed_neither_in_its_record_nor_in_what_lies_beside_its_counts() {
    let dir = tempfile::tempdir().unwrap();
    let [one, two, other] = ["one", "two", "other"].map(|name| dir.path().join(name));
    let shard = |run: &Path, shard: &str, seed, resume| {
        let mut request = edited(run, resume);
        request.settings.shard = Some(shard.parse().unwrap());
        request.settings.seed = seed;
        go_on(&request).unwrap();
    };
    shard(&one, "1/2", 0, false);
    shard(&two, "2/2", 0, false);
    shard(&other, "1/2", 1, false);
    let merged = |out: &str| {
        let request = MergeRequest {
            shards: vec![one.clone(), two.clone()],
            data: None,
            out: dir.path().join(out),
        };
        let merged = merge(&request).map(|_| ());
        merged.map_err(|error| error.to_string())
    };
    let refused = || merged("refused").unwrap_err();
    // Its record, and that of another seed.
    for run in [&one, &two] {
        let path = run.join("run.json");
        let whole = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [
            ("\"steps\": 6", "\"steps\": 7"),
            ("\"seed\": 0", "\"seed\": 1"),
            ("\"token_norm\": \"after\"", "\"token_norm\": \"before\""),
            (
                "\"model\": {\n    \"name\": \"",
                "\"model\": {\n    \"name\": \"x",
            ),
            ("\"sha256\": \"", "\"sha256\": \"0"),
        ] {
            assert!(whole.contains(from), "{from}");
            std::fs::write(&path, whole.replacen(from, to, 1)).unwrap();
            let error = refused();
            let is_told = error.contains(&path.display().to_string());
            assert!(
                is_told && error.contains("is not what its shard wrote"),
                "{error}"
            );
        }
        let (before, behind) = whole.rsplit_once("\"files\"").unwrap();
        std::fs::write(&path, format!("{before}\"filed\"{behind}")).unwrap();
        let error = refused();
        assert!(
            error.contains("does not say what its shard wrote"),
            "{error}"
        );
        let of_other = std::fs::read(other.join("run.json")).unwrap();
        std::fs::write(&path, of_other).unwrap();
        let error = refused();
        assert!(error.contains("is the record of another run"), "{error}");
        std::fs::write(&path, &whole).unwrap();
    }
    // What lies beside its counts, and that of another seed.
    for name in [
        "transforms.safetensors",
        "artifacts.safetensors",
        "codebooks.safetensors",
    ] {
        let path = one.join(name);
        flip(&path, &refused);
        let whole = std::fs::read(&path).unwrap();
        std::fs::copy(other.join(name), &path).unwrap();
        let error = refused();
        assert!(
            error.contains(name) && error.contains("is not what its shard wrote"),
            "{error}"
        );
        std::fs::remove_file(&path).unwrap();
        let error = refused();
        assert!(
            error.contains(name) && error.contains("is missing"),
            "{error}"
        );
        // What the advice says is done.
        shard(&one, "1/2", 0, true);
        assert!(std::fs::read(&path).unwrap() == whole);
    }
    assert!(!dir.path().join("refused").exists());
    // What waits.
    let ([own, _], [of_slot, _], [of_other, _]) = (
        maps(&one, "key.1"),
        maps(&one, "key.2"),
        maps(&other, "key.1"),
    );
    let patches = [&one, &other].map(|run| files_in(&run.join("state/patches")).remove(0));
    for (index, (path, in_place)) in [
        (&own, &of_slot),
        (&own, &of_other),
        (&patches[0], &patches[1]),
    ]
    .into_iter()
    .enumerate()
    {
        exchange(path, in_place);
        let error = merged(&format!("refused-{index}")).unwrap_err();
        assert!(error.contains("it is of another image"), "{error}");
        exchange(path, in_place);
    }
    merged("whole").unwrap();
}

/// Stored training with the sign of one number of a centroid turned.
fn turned(stored: &[u8]) -> Vec<u8> {
    let (content, _) = stored.split_at(stored.len() - 32);
    let mut bytes = content.to_vec();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let start = header["trainer.0"]["data_offsets"][0].as_u64().unwrap() as usize;
    bytes[8 + length + start + 7] ^= 0x80;
    let seal = Sha256::digest(&bytes);
    bytes.extend(seal);
    bytes
}

#[test]
fn data_that_changed_in_between_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("set"), dir.path().join("run"));
    copy_folder(scenes::camvid(), &data);
    let spec = format!("camvid:{}", data.display());
    stop(&request(&spec, &run, false), Phase::TRAIN, 8);
    let resume = request(&spec, &run, true);
    let mut edited = 0;
    for folder in ["train", "trainannot"] {
        let path = files_in(&data.join(folder)).remove(0);
        let whole = std::fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = go_on(&resume).unwrap_err().to_string();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(error.contains(&name), "{error}");
        assert!(error.contains("changed since it began"), "{error}");
        std::fs::write(&path, &whole).unwrap();
        edited += 1;
    }
    assert_eq!(edited, 2);
    go_on(&resume).unwrap();
}

/// Puts other bytes in a file when the test images are begun: the training images were read.
struct Editor(PathBuf, Vec<u8>);

impl Observer for Editor {
    fn begin(&mut self, phase: Phase, _: u64, _: u64) {
        if phase == Phase::EVALUATE {
            std::fs::write(&self.0, &self.1).unwrap();
        }
    }
}

#[test]
fn data_that_change_while_they_are_read_are_named_and_what_was_computed_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (data, run) = (dir.path().join("set"), dir.path().join("run"));
    copy_folder(scenes::camvid(), &data);
    let spec = format!("camvid:{}", data.display());
    let [path, other] = [0, 1].map(|index| files_in(&data.join("train")).remove(index));
    let of_these = |run: &Path, resume| ProbeRequest {
        data: spec.clone(),
        ..edited(run, resume)
    };
    let mut editor = Editor(path.clone(), std::fs::read(other).unwrap());
    let ended = probe_together(&of_these(&run, false), &Vary::default(), &mut editor);
    let error = ended.map(|_| ()).unwrap_err().to_string();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        error.contains(&name) && error.contains("is dropped"),
        "{error}"
    );
    assert!(!run.join("state").exists());
    // Nor is there anything left to be drawn, or to be taken up again: the means are of the image that is there now.
    assert!(!run.join("metrics.csv").exists());
    go_on(&of_these(&run, true)).unwrap();
    let undisturbed = dir.path().join("undisturbed");
    go_on(&of_these(&undisturbed, false)).unwrap();
    for run in [&run, &undisturbed] {
        std::fs::remove_dir_all(run.join("state")).unwrap();
    }
    crate::common::assert_same(&undisturbed, &run);
}
