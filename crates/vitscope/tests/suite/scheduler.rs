//! A sweep through a stand-in for Slurm that stops every element of every array once, by signal or by a
//! kill, and starts it again: the bytes are those of this machine alone.

#![cfg(unix)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::common::{assert_same, camvid, checkpoint, command, succeed};

/// Programs called as Slurm's, which write down what they are asked for.
struct Scheduler {
    dir: tempfile::TempDir,
}

const SBATCH: &str = r#"#!/bin/sh
# The id of an array is its number; its script and its options are what was asked for.
n=$(ls "$QUEUE"/*.job 2>/dev/null | wc -l)
echo "$@" > "$QUEUE/$n.job"
for last in "$@"; do :; done
cp "$last" "$QUEUE/$n.sh"
if [ -e "$QUEUE/keeps" ]; then
  # As slow as one that is asked by many; everything stays in the queue.
  sleep 0.2
  most=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\).*/\1/p' "$last")
  for element in $(seq 0 "$most"); do echo "${n}_$element PENDING" >> "$QUEUE/waiting"; done
fi
echo "$n;cluster"
"#;

const SCONTROL: &str = r#"#!/bin/sh
case "$1" in
  show) echo "MaxArraySize            = 3" ;;
  requeue) echo "$2" >> "$QUEUE/requeued" ;;
esac
"#;

const SQUEUE: &str = "#!/bin/sh\ncat \"$QUEUE/waiting\" 2>/dev/null || true\n";

impl Scheduler {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("sbatch", SBATCH),
            ("scontrol", SCONTROL),
            ("squeue", SQUEUE),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { dir }
    }

    fn environment(&self, command: &mut Command) {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", self.dir.path().display()));
        command.env("QUEUE", self.dir.path());
    }

    /// What was submitted: the options of each array, its script, and how many elements it has.
    fn arrays(&self) -> Vec<(String, PathBuf, usize)> {
        let read = |number: usize| {
            let options = self.dir.path().join(format!("{number}.job"));
            let options = std::fs::read_to_string(options).ok()?;
            let script = self.dir.path().join(format!("{number}.sh"));
            let text = std::fs::read_to_string(&script).unwrap();
            let array = text.split("--array=0-").nth(1).unwrap();
            let last = array.split(['%', '\n']).next().unwrap();
            Some((options, script, last.parse::<usize>().unwrap() + 1))
        };
        (0..).map_while(read).collect()
    }

    fn start(&self, script: &Path, array: usize, element: usize, restarts: usize) -> Child {
        let mut command = Command::new("bash");
        self.environment(&mut command);
        command
            .arg(script)
            .env("SLURM_JOB_ID", format!("{array}{element}"))
            .env("SLURM_ARRAY_JOB_ID", array.to_string())
            .env("SLURM_ARRAY_TASK_ID", element.to_string())
            .env("SLURM_CPUS_PER_TASK", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if restarts > 0 {
            command.env("SLURM_RESTART_COUNT", restarts.to_string());
        }
        command.spawn().unwrap()
    }

    /// Runs everything in the order in which it was submitted, and stops each element once.
    fn run(&self) -> usize {
        let mut stopped = 0;
        for (array, (_, script, elements)) in self.arrays().into_iter().enumerate() {
            for element in 0..elements {
                // Every third is killed, as by a machine that goes down; the others are told.
                let signal = if element % 3 == 2 { "KILL" } else { "USR1" };
                let mut child = self.start(&script, array, element, 0);
                // At its start or somewhat later: nothing is done before.
                std::thread::sleep(Duration::from_millis(100 + 60 * element as u64));
                let told = Command::new("kill")
                    .args([&format!("-{signal}"), &child.id().to_string()])
                    .stderr(Stdio::null())
                    .status();
                told.unwrap();
                match child.wait().unwrap().code() {
                    Some(0) => continue,
                    Some(75) | None => stopped += 1,
                    code => panic!("{script:?} {element}: {code:?}"),
                }
                let again = self.start(&script, array, element, 1);
                let output = again.wait_with_output().unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{script:?} {element}: {stderr}");
            }
        }
        stopped
    }
}

/// The words behind `#SBATCH`: quotes hold blanks together, and a backslash outside of them takes the next letter as
/// it is.
fn as_sbatch_reads(script: &str) -> Vec<String> {
    let lines = script
        .lines()
        .filter_map(|line| line.strip_prefix("#SBATCH "));
    let words = lines.map(|line| {
        let (mut word, mut quote) = (String::new(), None);
        let mut letters = line.chars();
        while let Some(letter) = letters.next() {
            match quote {
                None if letter == '\\' => word.extend(letters.next()),
                None if letter == '\'' || letter == '"' => quote = Some(letter),
                None => {
                    assert!(!letter.is_whitespace(), "more than one word: {line}");
                    word.push(letter);
                }
                Some(mark) if mark == letter => quote = None,
                Some(_) => word.push(letter),
            }
        }
        assert_eq!(quote, None, "{line}");
        word
    });
    words.collect()
}

fn plan(dir: &Path, shards: usize) -> PathBuf {
    let path = dir.join("plan.toml");
    let text = format!(
        r#"
[sweep]
name = "trial"
out = {:?}
[base]
data = "{}"
model = "{}"
family = "dino"
heads = 2
size = 64
steps = 800
cache-budget = "0"
batch = 4
pca-batches = 2
limit-train = 12
limit-test = 9
examples = 1
facets = ["key"]
save-every = 1
[matrix]
seed = [0, 1]
[[include]]
layers = "2,3"
extra-clusters = [0, 5]
shards = {shards}
[[include]]
command = "attention"
[[include]]
layers = ["1", "2", "3"]
[slurm]
partition = "all"
time = "00:20:00"
max_parallel = 2
setup = ["true"]
"#,
        dir.join("out"),
        camvid(),
        checkpoint().display(),
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn sweep(scheduler: &Scheduler, words: &[&str]) -> Output {
    let mut command = command();
    scheduler.environment(&mut command);
    command.arg("sweep").args(words).output().unwrap()
}

#[test]
fn a_sweep_through_a_scheduler_has_the_bytes_of_this_machine() {
    let here = tempfile::tempdir().unwrap();
    // Blanks, quotes and a sign that Slurm replaces, in every path.
    let mut there = tempfile::Builder::new();
    let there = there.prefix("it's 100%x of \"there\" ").tempdir().unwrap();
    let scheduler = Scheduler::new();
    let plan_here = plan(here.path(), 3).display().to_string();
    let plan_there = plan(there.path(), 3).display().to_string();
    succeed(sweep(&scheduler, &[&plan_here]));
    let printed = succeed(sweep(&scheduler, &["script", &plan_there]));
    for line in [
        "#SBATCH --requeue",
        "#SBATCH --open-mode=append",
        "#SBATCH --signal=B:USR1@180",
        "#SBATCH --partition=all",
        "%2",
        "\ntrue\nexec ",
        "shard 1/3",
        "merge 3",
    ] {
        assert!(printed.contains(line), "{line}\n{printed}");
    }
    assert_eq!(scheduler.arrays().len(), 0);
    succeed(sweep(&scheduler, &[&plan_there, "--executor", "slurm"]));
    let options: Vec<String> = scheduler
        .arrays()
        .into_iter()
        .map(|array| array.0)
        .collect();
    // Six passes in arrays of three; two more parts, which wait for the first; their merging; the comparison.
    assert_eq!(options.len(), 5, "{options:?}");
    assert!(!options[0].contains("dependency"), "{options:?}");
    assert!(
        options[2].contains("--dependency=afterok:1_2"),
        "{options:?}"
    );
    assert!(
        options[3].contains("--dependency=afterok:2 "),
        "{options:?}"
    );
    assert!(
        options[4].contains("--dependency=afterany:0:1:2:3"),
        "{options:?}"
    );
    // The options as `sbatch` reads them.
    for (_, script, _) in scheduler.arrays() {
        let options = as_sbatch_reads(&std::fs::read_to_string(script).unwrap());
        let folder = there.path().display().to_string().replace('%', "%%");
        let log = format!("--output={folder}/out/logs/%x-%A_%a.log");
        assert!(options.contains(&log), "{options:?}");
        assert!(options.contains(&"--job-name=vitscope-trial".to_owned()));
        let here = format!("--chdir={}", std::env::current_dir().unwrap().display());
        assert!(options.contains(&here), "{options:?}");
    }
    // What is in the queue is not submitted twice.
    let waiting: String = scheduler
        .arrays()
        .iter()
        .enumerate()
        .flat_map(|(array, (_, _, elements))| {
            (0..*elements).map(move |element| format!("{array}_{element} PENDING\n"))
        })
        .collect();
    std::fs::write(scheduler.dir.path().join("waiting"), waiting).unwrap();
    let again = succeed(sweep(&scheduler, &[&plan_there, "--executor", "slurm"]));
    assert!(again.contains("nothing to submit"), "{again}");
    assert!(succeed(sweep(&scheduler, &["status", &plan_there])).contains("pending"));
    std::fs::remove_file(scheduler.dir.path().join("waiting")).unwrap();
    let stopped = scheduler.run();
    assert!(stopped >= 3, "only {stopped} were stopped");
    let requeued = std::fs::read_to_string(scheduler.dir.path().join("requeued")).unwrap();
    assert!(
        requeued.lines().all(|line| line.contains('_')),
        "{requeued}"
    );
    let status = || succeed(sweep(&scheduler, &["status", &plan_there]));
    assert!(status().contains("8 jobs: 8 done"), "{}", status());
    assert!(
        status().contains("comparison: holds every run"),
        "{}",
        status()
    );
    // A comparison that was killed on its way: it is told, and the same command, or `retry`, submits it alone.
    std::fs::remove_file(there.path().join("out/compared.json")).unwrap();
    assert!(status().contains("not finished"), "{}", status());
    for (verb, array) in [(None, 5), (Some("retry"), 6)] {
        let words: Vec<&str> = verb.into_iter().chain([&*plan_there]).collect();
        let words = [&words[..], &["--executor", "slurm"]].concat();
        let said = succeed(sweep(&scheduler, &words));
        assert_eq!(scheduler.arrays().len(), array + 1, "{said}");
    }
    let (options, script, _) = &scheduler.arrays()[6];
    assert!(!options.contains("dependency"), "{options}");
    assert!(scheduler.start(script, 6, 0, 0).wait().unwrap().success());
    assert!(
        status().contains("comparison: holds every run"),
        "{}",
        status()
    );
    let said = succeed(sweep(&scheduler, &[&plan_there, "--executor", "slurm"]));
    assert!(said.contains("nothing to submit"), "{said}");
    for entry in std::fs::read_dir(here.path().join("out/runs")).unwrap() {
        let name = entry.unwrap().file_name();
        let run = |dir: &Path| dir.join("out/runs").join(&name);
        assert_same(&run(here.path()), &run(there.path()));
    }
    assert!(there.path().join("out/comparison/report.html").exists());
}

/// The plan with less to do, and nothing said of memory and time.
fn short_plan(dir: &Path) -> PathBuf {
    let path = plan(dir, 2);
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("time = \"00:20:00\"\n", "");
    let text = text.replace("[[include]]\nlayers = [\"1\", \"2\", \"3\"]\n", "");
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn two_that_submit_at_once_submit_once_and_what_is_known_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let scheduler = Scheduler::new();
    let plan = short_plan(dir.path()).display().to_string();
    let printed = succeed(sweep(&scheduler, &["script", &plan]));
    assert!(
        printed.starts_with("# there is no estimate of memory and time for"),
        "{printed}"
    );
    assert!(!printed.contains("--mem="), "{printed}");
    // Probes are estimated; attention is not, and of the comparison nobody asks it.
    let dry = succeed(sweep(&scheduler, &[&plan, "--dry-run"]));
    let line = dry
        .lines()
        .find(|line| line.contains("there is no estimate"));
    let line = line.unwrap();
    assert!(
        line.contains("-attention-") && !line.contains("compare"),
        "{line}"
    );
    assert!(line.contains("mem = \"16G\" and time = "), "{line}");
    std::fs::write(scheduler.dir.path().join("keeps"), "").unwrap();
    let both = [(), ()].map(|()| {
        let mut command = command();
        scheduler.environment(&mut command);
        let command = command.args(["sweep", &plan, "--executor", "slurm"]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    });
    let said = both.map(|one| succeed(one.wait_with_output().unwrap()));
    let nothing = said
        .iter()
        .filter(|said| said.contains("nothing to submit"));
    assert_eq!(nothing.count(), 1, "{said:?}");
    // Whole runs and first parts; the other part; its merging; the comparison, which is not estimated.
    let scripts: Vec<String> = scheduler
        .arrays()
        .iter()
        .map(|(_, script, _)| std::fs::read_to_string(script).unwrap())
        .collect();
    assert_eq!(scripts.len(), 4, "{said:?}");
    for (index, script) in scripts.iter().enumerate() {
        for option in ["#SBATCH --mem=", "#SBATCH --time="] {
            assert_eq!(script.contains(option), index < 3, "{script}");
        }
    }
}

#[test]
fn an_element_that_used_up_its_requeues_says_so_and_retry_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let scheduler = Scheduler::new();
    let plan = short_plan(dir.path()).display().to_string();
    succeed(sweep(&scheduler, &[&plan, "--executor", "slurm"]));
    let (_, script, _) = &scheduler.arrays()[0];
    // A signal that comes before anybody listens ends the process: then somewhat later.
    let told = (1..20).find_map(|round| {
        let child = scheduler.start(script, 0, 0, 3);
        std::thread::sleep(Duration::from_millis(200 * round));
        let kill = ["-USR1", &child.id().to_string()].map(str::to_owned);
        Command::new("kill").args(kill).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let status = succeed(sweep(&scheduler, &["status", &plan]));
        let is_told = output.status.code() == Some(75) && status.contains("2 interrupted");
        is_told.then_some(stderr)
    });
    let told = told.unwrap();
    assert!(told.contains("`max_requeues` under [slurm] is 3"), "{told}");
    assert!(!scheduler.dir.path().join("requeued").exists());
    let said = succeed(sweep(&scheduler, &["retry", &plan, "--executor", "slurm"]));
    // The two runs in their one pass, and the comparison.
    assert_eq!(said.matches("submitted").count(), 2, "{said}");
}
