//! Many runs as one plan: each is the run that it would be alone, nothing is done twice, and what fails
//! stops nothing else.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::{
    assert_same, camvid, checkpoint, command, copy_folder, probe, run_for, run_json, succeed,
};

/// A plan over the smallest real things, in a folder of its own.
struct Trial {
    dir: tempfile::TempDir,
}

impl Trial {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let trial = Self { dir };
        trial.write(more);
        trial
    }

    fn write(&self, more: &str) {
        let text = format!(
            r#"
[sweep]
name = "trial"
out = "{}"
[define]
data = "{}"
[base]
model = "{}"
family = "dino"
heads = 2
data = "${{data}}"
size = 64
steps = 6
batch = 4
pca-batches = 2
limit-train = 12
limit-test = 9
examples = 1
layers = "2,3"
facets = ["key"]
{more}"#,
            self.out().display(),
            camvid(),
            checkpoint().display(),
        );
        std::fs::write(self.plan(), text).unwrap();
    }

    fn plan(&self) -> PathBuf {
        self.dir.path().join("plan.toml")
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    fn args(&self, words: &[&str]) -> Vec<String> {
        let mut args: Vec<String> = ["--format", "json", "sweep"].map(str::to_owned).to_vec();
        let verbs = ["status", "retry", "report", "script", "task"];
        let (verb, rest) = match words {
            [verb, rest @ ..] if verbs.contains(verb) => (Some(verb), rest),
            all => (None, all),
        };
        args.extend(verb.map(|verb| (*verb).to_owned()));
        args.push(self.plan().display().to_string());
        args.extend(rest.iter().map(|word| (*word).to_owned()));
        args
    }

    fn sweep(&self, words: &[&str]) -> Output {
        command().args(self.args(words)).output().unwrap()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&succeed(self.sweep(words))).unwrap()
    }

    /// The run whose keys have this value.
    fn run(&self, key: &str, value: &str) -> PathBuf {
        let status = self.json(&["status"]);
        let jobs = status["jobs"].as_array().unwrap();
        let job = jobs.iter().find(|job| job["keys"][key] == value).unwrap();
        PathBuf::from(job["run"].as_str().unwrap())
    }
}

fn states(value: &Value) -> Vec<&str> {
    let jobs = value["jobs"].as_array().unwrap().iter();
    jobs.map(|job| job["standing"]["state"].as_str().unwrap())
        .collect()
}

fn changed(path: &Path) -> std::time::SystemTime {
    path.metadata().unwrap().modified().unwrap()
}

#[test]
fn a_plan_makes_the_runs_that_would_be_made_alone_and_none_twice() {
    let trial = Trial::new("[matrix]\nseed = [0, 3]\n[[include]]\nbatch = 3\nlayers = \"3\"\n");
    let dry = trial.json(&["--dry-run", "--no-estimate"]);
    assert_eq!(states(&dry), ["waiting"; 3]);
    // Seeds share a pass; other layers do not.
    assert_eq!(dry["pieces"].as_array().unwrap().len(), 2);
    assert!(!trial.out().join("runs").exists());
    let made = trial.json(&[]);
    assert_eq!(states(&made), ["done"; 3]);
    let page = made["report"]["page"].as_str().unwrap();
    assert!(Path::new(page).exists(), "{page}");
    for (key, value, more) in [
        ("seed", "3", ["--seed", "3", "--layers", "2,3"]),
        ("batch", "3", ["--batch", "3", "--layers", "3"]),
    ] {
        let alone = trial.dir.path().join(key);
        let more = [&more[..], &["--facets", "key", "--examples", "1"]].concat();
        succeed(probe(&alone, &more));
        let run = trial.run(key, value);
        assert_same(&alone, &run);
        assert!(run.join("report.html").exists() && !run.join("state").exists());
    }
    // Again: nothing is left to do, and a job that is added is the only one that is made.
    let record = trial.run("batch", "3").join("run.json");
    let before = changed(&record);
    trial.write("[matrix]\nseed = [0, 3, 4]\n[[include]]\nbatch = 3\nlayers = \"3\"\n");
    let status = trial.json(&["status"]);
    assert_eq!(states(&status), ["done", "done", "waiting", "done"]);
    assert_eq!(status["comparison"]["state"], "current");
    // Pages that are older than a run, or were not finished.
    let compared = trial.out().join("compared.json");
    let text = std::fs::read_to_string(&compared).unwrap();
    let name = record.parent().unwrap().file_name().unwrap();
    let older = text.replace(&format!("\"{}\"", name.to_str().unwrap()), "\"a\"");
    for (text, why) in [
        (Some(older), "is older than 1 of the 3"),
        (None, "not finished"),
    ] {
        match text {
            Some(text) => std::fs::write(&compared, text).unwrap(),
            None => std::fs::remove_file(&compared).unwrap(),
        }
        let pages = &trial.json(&["status"])["comparison"];
        assert!(pages["why"].as_str().unwrap().contains(why), "{pages}");
    }
    assert_eq!(states(&trial.json(&["--jobs", "2"])), ["done"; 4]);
    assert_eq!(changed(&record), before);
    assert_eq!(run_json(&trial.run("seed", "4"))["settings"]["seed"], 4);
    // Two that end at once write the same pages, one after the other.
    let mut twice = [(), ()].map(|()| {
        let mut report = command();
        report.args(trial.args(&["report"])).stdout(Stdio::null());
        report.spawn().unwrap()
    });
    for one in &mut twice {
        assert!(one.wait().unwrap().success());
    }
}

#[test]
fn what_fails_says_why_and_stops_nothing_else() {
    // Attention over so many patches is more than a run may hold.
    let trial = Trial::new(
        "[matrix]\nselect = \"last\"\n[[include]]\nattention = true\nsize = 3200\nsteps = 5\n",
    );
    let output = trial.sweep(&[]);
    assert_eq!(output.status.code(), Some(1));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(states(&made), ["done", "failed"]);
    let status = trial.json(&["status"]);
    let why = status["jobs"][1]["standing"]["why"].as_str().unwrap();
    assert!(why.contains("200 x 200"), "{why}");
    assert_eq!(trial.sweep(&["retry"]).status.code(), Some(1));
    // What is corrected is another job; the one that is done stays.
    trial.write("[matrix]\nselect = \"last\"\n[[include]]\nselect = \"layer:2\"\nsteps = 5\n");
    assert_eq!(states(&trial.json(&[])), ["done", "done"]);
}

/// What a model, its data and the settings alone forbid stops a plan before any of it is made.
#[test]
fn what_cannot_be_is_refused_before_anything_is_made() {
    for (keys, sentence) in [
        (
            "select = \"layer:9\"",
            "layer:9: this job looks at no layer 9",
        ),
        (
            "clusters = 255\nextra-clusters = 1",
            "256 clusters are more than the 255",
        ),
        ("transform = \"svd:500\"", "takes out 500 directions"),
    ] {
        let trial = Trial::new(&format!(
            "[matrix]\nselect = \"last\"\n[[include]]\nsteps = 5\n{keys}\n"
        ));
        let output = trial.sweep(&[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(sentence), "{stderr}");
        assert_eq!(states(&trial.json(&["status"])), ["waiting", "missing"]);
    }
}

/// What is read of weights and images is part of a run's name, and a run that cannot be read is none that is done.
#[test]
fn what_changed_is_made_again_and_what_is_damaged_is_told() {
    let plan = "std = \"0.3,0.3,0.3\"\n[matrix]\nmean = [[0.5, 0.5, 0.5], \"0.1,0.5,0.9\"]\n";
    let trial = Trial::new(plan);
    let data = trial.dir.path().join("set");
    copy_folder(Path::new(camvid().strip_prefix("camvid:").unwrap()), &data);
    let data = format!("data=camvid:{}", data.display());
    let set = ["--set", data.as_str()];
    let made = trial.json(&set);
    assert_eq!(states(&made), ["done", "done"]);
    let runs: Vec<PathBuf> = made["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| PathBuf::from(job["run"].as_str().unwrap()))
        .collect();
    let means = runs
        .iter()
        .map(|run| run_json(run)["model"]["identity"]["mean"][0].clone());
    assert_eq!(means.collect::<Vec<_>>(), [0.5, 0.1]);
    // A damaged run: the sentence says what to do, and that works.
    std::fs::write(runs[0].join("metrics.csv"), "").unwrap();
    let output = trial.sweep(&set);
    assert_eq!(output.status.code(), Some(1));
    let status = trial.json(&["status", set[0], set[1]]);
    let why = status["jobs"][0]["standing"]["why"].as_str().unwrap();
    let table = runs[0].join("metrics.csv").display().to_string();
    assert!(why.starts_with(&table), "{why}");
    let advice = "remove the folder of its run and make that again (the same sweep does)";
    assert!(why.ends_with(advice), "{why}");
    std::fs::remove_dir_all(&runs[0]).unwrap();
    assert_eq!(states(&trial.json(&set)), ["done", "done"]);
    // Another image under a name that was there.
    let images = trial.dir.path().join("set/test");
    let mut images: Vec<PathBuf> = std::fs::read_dir(images)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    images.sort();
    std::fs::copy(&images[1], &images[0]).unwrap();
    assert_eq!(
        states(&trial.json(&["status", set[0], set[1]])),
        ["waiting", "waiting"]
    );
}

/// A truncated checkpoint is one job that fails; a plan that has nothing else, or names what is not there, does not
/// begin, and says all that is in its way.
#[test]
fn a_damaged_checkpoint_fails_alone_and_what_is_missing_is_told_at_once() {
    let trial = Trial::new("");
    let damaged = trial.dir.path().join("cut.safetensors");
    let bytes = std::fs::read(checkpoint()).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let (good, cut) = (checkpoint().display().to_string(), damaged.display());
    trial.write(&format!("[matrix]\nmodel = [\"{good}\", \"{cut}\"]\n"));
    let output = trial.sweep(&[]);
    assert_eq!(output.status.code(), Some(1));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(states(&made), ["done", "failed"]);
    let status = trial.json(&["status"]);
    assert_eq!(status["comparison"]["state"], "current");
    let why = status["jobs"][1]["standing"]["why"].as_str().unwrap();
    assert!(why.contains("cut.safetensors"), "{why}");
    trial.write(&format!("[matrix]\nmodel = \"{cut}\"\n"));
    assert_eq!(trial.sweep(&[]).status.code(), Some(2));
    trial.write("[matrix]\nmodel = \"no/such.pth\"\ndata = \"camvid:no/such\"\n");
    let output = trial.sweep(&[]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    for path in ["no/such.pth", "camvid:no/such"] {
        assert!(told.contains(path.trim_start_matches("camvid:")), "{told}");
    }
    assert_eq!(told.trim().lines().count(), 2, "{told}");
}

#[test]
fn a_job_that_somebody_else_is_at_work_on_is_undone_and_not_failed() {
    let trial = Trial::new("[matrix]\nseed = [0]\n");
    let run = trial.run("seed", "0");
    let claim = run.with_file_name(format!(
        "{}.claim",
        run.file_name().unwrap().to_str().unwrap()
    ));
    std::fs::create_dir_all(run.parent().unwrap()).unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let other = serde_json::json!({"host": "elsewhere", "pid": 1, "time": now.unwrap().as_secs()});
    std::fs::write(&claim, other.to_string()).unwrap();
    let output = trial.sweep(&[]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("1 job is not done"), "{told}");
    assert_eq!(states(&trial.json(&["status"])), ["running"]);
    // A user's own file in its place.
    std::fs::write(&claim, "my notes").unwrap();
    assert_eq!(states(&trial.json(&["status"])), ["waiting"]);
    assert_eq!(trial.sweep(&[]).status.code(), Some(1));
    let status = trial.json(&["status"]);
    let why = status["jobs"][0]["standing"]["why"].as_str().unwrap();
    assert!(why.contains("is no claim"), "{why}");
    assert_eq!(std::fs::read(&claim).unwrap(), b"my notes");
    // A process of this machine's number, long ago.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let gone = serde_json::json!({"host": host.trim(), "pid": std::process::id(), "time": 1000});
    std::fs::write(&claim, gone.to_string()).unwrap();
    succeed(trial.sweep(&[]));
    assert!(!claim.exists());
    // What lies here is found whatever is wrong with the settings of downloads.
    let mut status = command();
    status.args(trial.args(&["status"])).env_remove("HOME");
    let output = status.env("HF_ENDPOINT", "foo").output().unwrap();
    let status: Value = serde_json::from_str(&succeed(output)).unwrap();
    assert_eq!(states(&status), ["done"]);
}

#[test]
fn a_folder_that_is_no_sweeps_is_left_alone() {
    let trial = Trial::new("[matrix]\nseed = [0]\n");
    std::fs::create_dir(trial.out()).unwrap();
    let own = trial.out().join("hashes.json");
    std::fs::write(&own, "mine").unwrap();
    let output = trial.sweep(&[]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("no mark that vitscope sweep made it: choose another out under [sweep]"),
        "{told}"
    );
    assert_eq!(std::fs::read(&own).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(trial.out()).unwrap().count(), 1);
}

#[test]
fn a_plan_that_cannot_be_is_told_whole_before_anything_starts() {
    let trial = Trial::new(
        "stepps = 3\n[matrix]\nseed = [0, \"one\"]\nbatch = [400]\n[[exclude]]\nseed = 9\n[slurm]\nmemory = 3\n",
    );
    let output = trial.sweep(&[]);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let plan = trial.plan().display().to_string();
    for sentence in [
        "[base] stepps: is no setting of a job: did you mean steps?",
        "[matrix] seed: \"one\": expected a whole number",
        "[[exclude]] 1: leaves no job out, since no job has seed = 9",
        "[slurm] memory: is no setting of Slurm",
    ] {
        assert!(told.contains(&format!("{plan}: {sentence}")), "{told}");
    }
    // One thing that is wrong is one sentence.
    for (plan, sentence) in [
        ("[matrix]\nmodel = []\n", "[matrix] model: has no value"),
        ("[matrix]\nmodel = [3]\n", "[matrix] model: expected a text"),
        (
            "[matrix]\ncommand = \"prob\"\n",
            "[matrix] command: `prob` is not one of",
        ),
        (
            "[matrix]\nshards = 0\n",
            "[matrix] shards: expected a whole number from 1",
        ),
        (
            "[matrix]\nseed = 0\n[[exclude]]\nseed = 0\n",
            "[matrix]: the plan has no job",
        ),
        (
            "[[report]]\nof = { seed = 7 }\n",
            "[[report]] 1 of: no job of the plan is meant",
        ),
        (
            "[[report]]\nfigures = { f = \"miou-by-lair\" }\n",
            "[[report]] 1 figures: f: `miou-by-lair` is no figure: did you mean miou-by-layer?",
        ),
        (
            "[[include]]\nstepps = 3\n",
            "[[include]] 1 stepps: is no setting of a job: did you mean steps?",
        ),
        (
            "[[include]]\nmodel = { model = \"a\", hads = 2 }\n",
            "[[include]] 1 model hads: is no setting of a job: did you mean heads?",
        ),
        (
            "[[exclude]]\nsed = 0\n",
            "[[exclude]] 1 sed: is no setting of a job: did you mean seed?",
        ),
        ("[matrix]\nseeds = [0, 1]\n", "as seed = [0, 1, 2]"),
        (
            "[slurm]\ncpus = -3\n",
            "[slurm] cpus: -3: expected a whole number from 1",
        ),
        (
            "[slurm]\ntime = \"soon\"\n",
            "[slurm] time: \"soon\": expected",
        ),
        (
            "[slurm]\nmem = \"lots\"\n",
            "[slurm] mem: \"lots\": expected",
        ),
        (
            "[slurm]\npartition = \"a\\nb\"\n",
            "[slurm] partition: expected one line",
        ),
    ] {
        trial.write(plan);
        let output = trial.sweep(&["--dry-run", "--no-estimate"]);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{plan}: {told}");
        assert!(told.contains(sentence), "{plan}: {told}");
        assert_eq!(told.trim().lines().count(), 1, "{plan}: {told}");
    }
    // What only model and data can tell.
    trial.write("[matrix]\nbatch = [400]\n");
    for words in [&[][..], &["--dry-run"], &["--dry-run", "--no-estimate"]] {
        let output = trial.sweep(words);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(told.contains("fewer than one batch of 400"), "{told}");
        let jobs = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(jobs.contains("\"pieces\""), !words.is_empty(), "{jobs}");
    }
    let unknown = trial.sweep(&["--set", "dat=x"]);
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(told.contains("has no dat"), "{told}");
    assert!(!trial.out().join("runs").exists());
}

#[test]
fn a_sweep_that_is_killed_goes_on() {
    let more = "save-every = 0\n[matrix]\nseed = [0, 1]\nsteps = 40\n[[include]]\ncommand = \"attention\"\n";
    let whole = Trial::new(more);
    let begun = std::time::Instant::now();
    whole.json(&[]);
    let third = begun.elapsed() / 3;
    let trial = Trial::new(more);
    for _ in 0..2 {
        run_for(trial.args(&[]), third.max(Duration::from_millis(300)));
        // The process that it started hears of its end, and the next one waits for it.
    }
    assert_eq!(states(&trial.json(&[])), ["done"; 3]);
    for entry in std::fs::read_dir(whole.out().join("runs")).unwrap() {
        let name = entry.unwrap().file_name();
        let path = |trial: &Trial| trial.out().join("runs").join(&name);
        assert_same(&path(&whole), &path(&trial));
    }
}

#[test]
fn a_sweep_in_its_data_is_refused_before_anything_is_written() {
    let trial = Trial::new("");
    let data = trial.dir.path().join("set");
    copy_folder(Path::new(camvid().strip_prefix("camvid:").unwrap()), &data);
    let text = std::fs::read_to_string(trial.plan()).unwrap();
    let inside = data.join("sweep");
    let text = text
        .replace(&camvid(), &format!("camvid:{}", data.display()))
        .replace(
            &trial.out().display().to_string(),
            &inside.display().to_string(),
        );
    std::fs::write(trial.plan(), text).unwrap();
    for words in [&["status"][..], &["--dry-run"], &[]] {
        let output = trial.sweep(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{words:?}");
        assert!(
            said.contains("what is read is never written into"),
            "{said}"
        );
        assert!(!inside.exists(), "{words:?}");
    }
    // Beside a description it may lie, and not where that finds something.
    let description = trial.dir.path().join("set.toml");
    std::fs::write(&description, "test.images = \"set/**/*.png\"\n").unwrap();
    trial.write("");
    let text = std::fs::read_to_string(trial.plan()).unwrap();
    let described = text.replace(&camvid(), &description.display().to_string());
    std::fs::write(trial.plan(), &described).unwrap();
    assert_eq!(states(&trial.json(&["status"])), ["waiting"]);
    let within = described.replace(
        &trial.out().display().to_string(),
        &inside.display().to_string(),
    );
    std::fs::write(trial.plan(), within).unwrap();
    for words in [&["status"][..], &["--dry-run"], &["script"], &[]] {
        let output = trial.sweep(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains("is never written into"), "{said}");
        assert!(!inside.exists(), "{words:?}");
    }
}
