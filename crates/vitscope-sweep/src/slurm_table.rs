//! The table `[slurm]` of a plan.

use toml::{Table, Value};

use crate::problems::PlanProblems;

/// What `[slurm]` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slurm {
    /// Whether the plan has the table: it is made for a cluster.
    pub is_said: bool,
    /// `--partition`, `--account`, `--qos`, `--constraint`, `--time`, `--mem`, where they are said.
    pub(crate) options: Vec<(&'static str, String)>,
    /// Cores of a task.
    pub cpus: Option<usize>,
    /// Cards of a task.
    pub gpus: usize,
    /// Elements of an array at work at once.
    pub max_parallel: Option<usize>,
    /// How often a task may queue itself again when its time is up.
    pub max_requeues: usize,
    /// Lines before the program.
    pub setup: Vec<String>,
    /// Further options, as they are.
    pub extra: Vec<String>,
}

const OPTIONS: [&str; 6] = ["partition", "account", "qos", "constraint", "time", "mem"];
const COUNTS: [&str; 4] = ["cpus", "gpus", "max_parallel", "max_requeues"];
const LISTS: [&str; 2] = ["setup", "extra"];

impl Slurm {
    pub(crate) fn read(table: &Table, problems: &mut PlanProblems) -> Self {
        let mut slurm = Self {
            is_said: !table.is_empty(),
            max_requeues: 3,
            ..Self::default()
        };
        for (key, value) in table {
            if let Err(problem) = slurm.set(key, value) {
                problems.add(&format!("[slurm] {key}"), problem);
            }
        }
        slurm
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        if let Some(option) = OPTIONS.into_iter().find(|option| *option == key) {
            if let Some(text) = option_of(option, value)? {
                self.options.push((option, text));
            }
            return Ok(());
        }
        match key {
            "cpus" => self.cpus = Some(count(value, 1)?),
            "gpus" => self.gpus = count(value, 0)?,
            "max_parallel" => self.max_parallel = Some(count(value, 1)?),
            "max_requeues" => self.max_requeues = count(value, 0)?,
            "setup" => self.setup = lines(value)?,
            "extra" => {
                let extra = lines(value)?;
                if extra.iter().any(|line| line.contains(['\n', '\r'])) {
                    return Err("expected a list of texts of one line each".to_owned());
                }
                self.extra = extra;
            }
            _ => {
                let all = OPTIONS.iter().chain(&COUNTS).chain(&LISTS);
                let all: Vec<&str> = all.copied().collect();
                return Err(format!(
                    "is no setting of Slurm here: there are {}",
                    all.join(", ")
                ));
            }
        }
        Ok(())
    }

    /// Whether the plan says an option, in a line of its own or among the further ones, where Slurm has other forms for
    /// some.
    pub(crate) fn says(&self, name: &str) -> bool {
        let forms: &[&str] = match name {
            "mem" => &["--mem", "--mem-per-cpu", "--mem-per-gpu"],
            "time" => &["--time"],
            _ => &[],
        };
        let is_form = |line: &String| {
            let words = line.trim();
            let mut rests = forms.iter().filter_map(|form| words.strip_prefix(form));
            let is_long = rests.any(|rest| rest.is_empty() || rest.starts_with(['=', ' ']));
            is_long || (name == "time" && words.starts_with("-t"))
        };
        self.options.iter().any(|(own, _)| *own == name) || self.extra.iter().any(is_form)
    }
}

/// An option's value; none where it is left empty.
fn option_of(option: &str, value: &Value) -> Result<Option<String>, String> {
    let told = match option {
        "time" => "a text as Slurm reads times, such as \"90\" (minutes), \"08:00:00\" or \"1-12\"",
        "mem" => "a text as Slurm reads sizes: a number with K, M, G or T, such as \"64G\"",
        _ => "one line of text",
    };
    let text = value.as_str().ok_or(format!("expected {told}"))?;
    let is_read = match option {
        "time" => is_time(text),
        "mem" => is_size(text),
        _ => !text.contains(['\n', '\r']),
    };
    match (text.is_empty(), is_read) {
        (true, _) => Ok(None),
        (_, true) => Ok(Some(text.to_owned())),
        (_, false) if text.contains(['\n', '\r']) => Err("expected one line of text".to_owned()),
        (_, false) => Err(format!("\"{text}\": expected {told}")),
    }
}

fn count(value: &Value, least: usize) -> Result<usize, String> {
    let read = value.as_integer().and_then(|read| read.try_into().ok());
    read.filter(|&read: &usize| read >= least)
        .ok_or(format!("{value}: expected a whole number from {least}"))
}

fn lines(value: &Value) -> Result<Vec<String>, String> {
    let list = value.as_array();
    let lines = list.and_then(|list| {
        let lines = list.iter().map(|line| line.as_str().map(str::to_owned));
        lines.collect::<Option<Vec<String>>>()
    });
    lines.ok_or("expected a list of texts, a line each".to_owned())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether Slurm reads a text as a time: minutes, minutes:seconds, hours:minutes:seconds, days-hours,
/// days-hours:minutes, days-hours:minutes:seconds, or without an end.
fn is_time(text: &str) -> bool {
    if ["unlimited", "infinite"].contains(&text.to_ascii_lowercase().as_str()) {
        return true;
    }
    let (days, clock) = match text.split_once('-') {
        Some((days, clock)) => (is_number(days), clock),
        None => (true, text),
    };
    days && clock.split(':').count() <= 3 && clock.split(':').all(is_number)
}

/// Whether Slurm reads a text as a size of memory.
fn is_size(text: &str) -> bool {
    // `64GB` is read too.
    let bytes = text.strip_suffix(['B', 'b']);
    let piece = |text: &str| text.ends_with(|letter: char| "KMGTkmgt".contains(letter));
    match bytes.unwrap_or(text) {
        short if piece(short) => is_number(&short[..short.len() - 1]),
        short => bytes.is_none() && is_number(short),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_those_that_slurm_reads() {
        for text in [
            "90",
            "90:30",
            "8:00:00",
            "1-12",
            "1-12:30",
            "1-12:30:00",
            "UNLIMITED",
        ] {
            assert!(is_time(text), "{text}");
        }
        for text in [
            "soon", "8h", "1:2:3:4", "1-", "-5", ":30", "1-2-3", "1.5", " 90",
        ] {
            assert!(!is_time(text), "{text}");
        }
        for text in ["4096", "64G", "500m", "1T", "0", "64GB"] {
            assert!(is_size(text), "{text}");
        }
        for text in ["lots", "64GG", "G", "1.5G", "-1", "64 G", "6G4", "64B"] {
            assert!(!is_size(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_expected() {
        let said = |key: &str, value: Value| Slurm::default().set(key, &value).unwrap_err();
        for key in ["cpus", "max_parallel"] {
            assert!(said(key, Value::Integer(-3)).contains("whole number from 1"));
            assert!(said(key, Value::Integer(0)).contains("whole number from 1"));
        }
        assert!(said("gpus", Value::String("two".into())).contains("whole number from 0"));
        assert!(said("time", Value::Integer(90)).contains("(minutes)"));
        assert!(said("mem", Value::String("lots".into())).contains("\"lots\": expected"));
        assert!(said("setup", Value::String("true".into())).contains("a list of texts"));
        assert!(said("qos", Value::String("a\nb".into())).contains("one line"));
        let mut slurm = Slurm::default();
        slurm.set("time", &Value::String(String::new())).unwrap();
        assert!(!slurm.says("time"));
        let extra = vec![Value::String("--mem=4G".into())];
        slurm.set("extra", &Value::Array(extra)).unwrap();
        assert!(slurm.says("mem") && !slurm.says("me") && !slurm.says("time"));
        for (line, name) in [
            ("--mem-per-cpu=2G", "mem"),
            ("--mem-per-gpu 9G", "mem"),
            ("-t 90", "time"),
            ("--time=90", "time"),
        ] {
            let mut slurm = Slurm::default();
            let extra = Value::Array(vec![Value::String(line.into())]);
            slurm.set("extra", &extra).unwrap();
            let said = ["mem", "time"].map(|one| slurm.says(one));
            assert_eq!(said, ["mem", "time"].map(|one| one == name), "{line}");
        }
        let broken = Value::Array(vec![Value::String("--mem=4G\nrm -r x".into())]);
        assert!(said("extra", broken).contains("one line each"));
    }
}
