//! Exit codes, and errors as they are told.
//!
//! | code | when |
//! |---|---|
//! | 0 | the command did what was asked; a reader that closed the pipe is no failure |
//! | 1 | a result misses a threshold that the user set |
//! | 2 | usage or configuration: another command line would do, a missing GPU among it |
//! | 3 | data, weights, files or the disk |
//! | 4 | the program contradicted itself |
//! | 75 | a scheduler's time was up: a sweep's task goes on when it is started again |
//! | 130 | the user stopped it |

use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;

use clap::error::{ContextKind, ContextValue};
use vitscope_data::DataError;
use vitscope_demo::DemoError;
use vitscope_figure::FigureError;
use vitscope_hub::HubError;
use vitscope_run::{RunError, plain};
use vitscope_study::StudyError;
use vitscope_sweep::SweepError;
use vitscope_view::ViewError;
use vitscope_vit::error::{DeviceError, VitError};
use vitscope_vit::shapes::ShapeError;

use crate::stderr::say;

/// Marks an error as the user's wording.
#[derive(Debug)]
struct UsageError(anyhow::Error);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for UsageError {}

/// A result that misses a threshold.
#[derive(Debug)]
struct Missed(String);

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missed {}

/// Standard output that takes nothing.
#[derive(Debug)]
struct Unsaid(std::io::Error);

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "standard output: cannot be written: {}", self.0)
    }
}

impl std::error::Error for Unsaid {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The error for standard output that cannot be written; a reader that closed the pipe is no failure.
pub fn unsaid(error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => error.into(),
        _ => Unsaid(error).into(),
    }
}

/// An error for a result that misses a threshold.
pub fn missed(sentence: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Missed(sentence.into()))
}

/// An error of usage or configuration.
pub fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow::Error::new(UsageError(error.into()))
}

fn code_of_sweep(error: &SweepError) -> u8 {
    match error {
        SweepError::Failed { .. } => 1,
        SweepError::Plan(_) | SweepError::Usage(_) | SweepError::Scheduler(_) => 2,
        SweepError::Stopped => 130,
        SweepError::Preempted(_) => vitscope_sweep::slurm::STOPPED,
        SweepError::Study(error) => code_of_study(error),
        SweepError::Figure(error) => code_of_figure(error),
        SweepError::Hub(error) => code_of_hub(error),
        _ => 3,
    }
}

fn code_of_study(error: &StudyError) -> u8 {
    match error {
        StudyError::Setting(_) | StudyError::Shape(_) | StudyError::Device(_) => 2,
        StudyError::Interrupted { .. } | StudyError::StoppedEarly => 130,
        StudyError::Internal(_) | StudyError::Measure(_) | StudyError::Protocol(_) => 4,
        StudyError::Data(DataError::Panicked { .. }) => 4,
        _ => 3,
    }
}

fn code_of_view(error: &ViewError) -> u8 {
    match error {
        ViewError::Study(error) => code_of_study(error),
        ViewError::Listen { .. } => 2,
        ViewError::Internal(_) => 4,
        _ => 3,
    }
}

fn code_of_figure(error: &FigureError) -> u8 {
    match error {
        FigureError::Render { .. } => 4,
        _ => 3,
    }
}

fn code_of_hub(error: &HubError) -> u8 {
    if error.is_usage() { 2 } else { 3 }
}

fn code(error: &anyhow::Error) -> u8 {
    if let Some(error) = error.downcast_ref::<SweepError>() {
        return code_of_sweep(error);
    }
    if let Some(error) = error.downcast_ref::<ViewError>() {
        return code_of_view(error);
    }
    if error.is::<UsageError>() || error.is::<DeviceError>() || error.is::<ShapeError>() {
        return 2;
    }
    if error.is::<Missed>() {
        return 1;
    }
    if let Some(error) = error.downcast_ref::<HubError>() {
        return code_of_hub(error);
    }
    if let Some(error) = error.downcast_ref::<StudyError>() {
        return code_of_study(error);
    }
    if let Some(error) = error.downcast_ref::<FigureError>() {
        return code_of_figure(error);
    }
    if let Some(error) = error.downcast_ref::<DemoError>() {
        return if matches!(error, DemoError::Internal(_)) {
            4
        } else {
            3
        };
    }
    if error.is::<DataError>() || error.is::<VitError>() || error.is::<RunError>() {
        return 3;
    }
    if error.is::<Unsaid>() { 3 } else { 4 }
}

/// What was typed, as far as errors speak of it.
pub struct TypedCommand {
    /// The flags of every command, without dashes; of a sweep its own: what its jobs are asked for stands in a plan.
    flags: Vec<String>,
    /// Whether the command can continue what it has begun.
    resumes: bool,
    /// Whether it is a sweep, which goes on by itself when it is repeated.
    sweeps: bool,
}

impl TypedCommand {
    /// From the command line's own definition, and the name of the command that was typed.
    pub fn new(cli: &clap::Command, command: &str) -> Self {
        let longs = |command: &clap::Command| -> Vec<String> {
            let longs = command.get_arguments().filter_map(clap::Arg::get_long);
            longs.map(str::to_owned).collect()
        };
        let own = cli.find_subcommand(command);
        let sweeps = command == "sweep";
        let flags = match own.filter(|_| sweeps) {
            Some(own) => longs(own)
                .into_iter()
                .chain(own.get_subcommands().flat_map(longs))
                .collect(),
            None => cli.get_subcommands().flat_map(longs).collect(),
        };
        Self {
            flags,
            resumes: own.is_some_and(|own| longs(own).iter().any(|flag| flag == "resume")),
            sweeps,
        }
    }

    /// A sentence of a library, in which `` `batch` `` is a setting, as this program says it: `--batch`.
    fn told(&self, sentence: &str) -> String {
        let sentence = &match self.sweeps {
            true => sentence
                .replace("continue with `resume`", "repeat the sweep")
                .replace("run this shard again with `resume`", "repeat the sweep"),
            false => sentence.to_owned(),
        };
        let mut told = String::new();
        // Names as they stand in a file, of which its reader says: unknown field `a`, expected one of `b`, `c`.
        let mut in_a_file = false;
        for (index, part) in sentence.split('`').enumerate() {
            let between = index % 2 == 1;
            if !between {
                let lists = part == ", " || part == " or ";
                in_a_file = in_a_file && lists
                    || ["field ", "variant ", "expected ", "one of "]
                        .iter()
                        .any(|before| part.ends_with(before));
            }
            let is_flag = between && !in_a_file && self.flags.iter().any(|flag| flag == part);
            match (between, is_flag) {
                (true, true) => told += &format!("--{part}"),
                (true, false) => told += &format!("`{part}`"),
                (false, _) => told += part,
            }
        }
        // A lone backtick at the end opens nothing.
        if sentence.matches('`').count() % 2 == 1 {
            told.pop();
        }
        told
    }

    /// What to do about a refusal of the system.
    fn hint(&self, error: &anyhow::Error) -> &'static str {
        // Whichever library met it: the figures are written as late as a disk can fill up.
        let refusal = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<std::io::Error>());
        let Some(source) = refusal else {
            return "";
        };
        match (source.kind(), self.resumes) {
            (ErrorKind::StorageFull, true) => {
                "; free some space, then continue with --resume: nothing that was stored is lost"
            }
            (ErrorKind::StorageFull, false) => "; free some space, then repeat the command",
            (ErrorKind::FileTooLarge, true) => {
                "; raise the limit on the size of a file (ulimit -f), then continue with --resume"
            }
            (ErrorKind::FileTooLarge, false) => {
                "; raise the limit on the size of a file (ulimit -f), then repeat the command"
            }
            (ErrorKind::PermissionDenied, _) => "; check its permissions",
            _ => "",
        }
    }
}

/// A value that cannot be, in one sentence; everything else as clap tells it.
pub fn mistyped(error: &clap::Error) -> u8 {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => Some(texts.join(", ")),
        _ => None,
    };
    let flag = text(ContextKind::InvalidArg);
    let flag = flag.as_deref().and_then(|flag| flag.split(' ').next());
    let expected = std::error::Error::source(error)
        .map(ToString::to_string)
        .or_else(|| {
            Some(format!(
                "expected one of {}",
                text(ContextKind::ValidValue)?
            ))
        });
    match (flag, text(ContextKind::InvalidValue), expected) {
        (Some(flag), Some(value), Some(expected)) if !value.is_empty() => {
            say(&format!(
                "vitscope: {}",
                bounded(&format!("{flag} {value}: {expected}"))
            ));
            2
        }
        // Its colors are controls, too: where what was typed holds any, it is told without.
        _ if error.context().any(|(_, value)| is_odd(value)) => {
            say(&error.render().to_string().trim_end().replace('\n', "\n "));
            2
        }
        _ => error.exit(),
    }
}

/// Whether what was typed is shown otherwise than it is.
fn is_odd(value: &ContextValue) -> bool {
    let odd = |text: &String| matches!(plain::line(text), Cow::Owned(_));
    match value {
        ContextValue::String(text) => odd(text),
        ContextValue::Strings(texts) => texts.iter().any(odd),
        _ => false,
    }
}

/// Letters of a sentence that are shown: those of its beginning, which names the file, and of its end, which says
/// what to do.
const SHOWN: [usize; 2] = [3000, 1000];

/// A sentence without its middle, where that is longer than anyone reads: a name may be a stranger's, of any length.
pub fn bounded(sentence: &str) -> Cow<'_, str> {
    let [start, end] = SHOWN;
    if sentence.chars().count() <= start + end {
        return Cow::Borrowed(sentence);
    }
    let head: String = sentence.chars().take(start).collect();
    let mut tail: Vec<char> = sentence.chars().rev().take(end).collect();
    tail.reverse();
    Cow::Owned(format!("{head} … {}", String::from_iter(tail)))
}

/// Says what went wrong, in one line, and gives the exit code.
pub fn report(result: anyhow::Result<()>, typed: &TypedCommand) -> u8 {
    let Err(error) = result else {
        return 0;
    };
    let closed_pipe = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
    if closed_pipe {
        return 0;
    }
    // The crates' errors tell their causes themselves; only contexts added here form a chain.
    let sentence = match code(&error) {
        4 => format!("{error:#}"),
        _ => error.to_string(),
    };
    let sentence = typed.told(&sentence);
    // Some know better themselves what to do.
    let has_advice = ["permissions", "free some space"].map(|advice| sentence.contains(advice));
    let hint = match has_advice {
        [false, false] => typed.hint(&error),
        _ => "",
    };
    let sentence = format!("{sentence}{hint}");
    say(&format!("vitscope: {}", bounded(&sentence)));
    code(&error)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn every_kind_of_error_has_its_code() {
        let path = PathBuf::from("x");
        let io = |kind: ErrorKind| StudyError::Io {
            path: PathBuf::from("x"),
            action: "write",
            source: kind.into(),
        };
        let internal = || "a contradiction".to_owned();
        let table: Vec<(anyhow::Error, u8)> = vec![
            (missed("0.3 is below 0.4"), 1),
            (usage(anyhow::anyhow!("two models")), 2),
            (usage(StudyError::Internal(internal())), 2),
            (StudyError::setting("batch").into(), 2),
            (StudyError::Device(DeviceError::NotBuilt).into(), 2),
            (DeviceError::NotBuilt.into(), 2),
            (ShapeError::NoF16.into(), 2),
            (StudyError::Shape(ShapeError::NoF16).into(), 2),
            (StudyError::file(&path, "is damaged").into(), 3),
            (io(ErrorKind::StorageFull).into(), 3),
            (
                StudyError::Run(RunError::NotARun { path: path.clone() }).into(),
                3,
            ),
            (
                FigureError::Run(RunError::NotARun { path: path.clone() }).into(),
                3,
            ),
            (RunError::NotARun { path: path.clone() }.into(), 3),
            (DemoError::Occupied(path.clone()).into(), 3),
            (StudyError::Internal(internal()).into(), 4),
            (
                StudyError::Data(DataError::Panicked {
                    path: path.clone(),
                    reason: internal(),
                })
                .into(),
                4,
            ),
            (DemoError::Internal(internal()).into(), 4),
            (
                FigureError::Render {
                    figure: "curves".to_owned(),
                    reason: internal(),
                }
                .into(),
                4,
            ),
            (unsaid(ErrorKind::StorageFull.into()), 3),
            (anyhow::anyhow!("unforeseen"), 4),
            (StudyError::StoppedEarly.into(), 130),
            (
                StudyError::Interrupted {
                    run: PathBuf::from("x"),
                }
                .into(),
                130,
            ),
        ];
        for (error, expected) in table {
            assert_eq!(code(&error), expected, "{error}");
        }
    }

    #[test]
    fn a_sentence_with_an_endless_name_keeps_its_beginning_and_its_end() {
        let sentence = format!("a.toml: {}: choose another", "é".repeat(1_000_000));
        let shown = bounded(&sentence);
        assert_eq!(shown.chars().count(), 4003);
        assert!(shown.starts_with("a.toml: é") && shown.ends_with("é: choose another"));
        assert_eq!(bounded("a.toml: is damaged"), "a.toml: is damaged");
    }

    #[test]
    fn settings_are_told_as_flags() {
        let typed = TypedCommand {
            flags: vec!["batch".to_owned(), "resume".to_owned()],
            resumes: false,
            sweeps: false,
        };
        assert_eq!(
            typed.told("choose `batch` 12 or less"),
            "choose --batch 12 or less"
        );
        assert_eq!(typed.told("`x` is no layer"), "`x` is no layer");
        let of_a_file = "unknown field `batch`, expected one of `resume`, `batch`; correct it";
        assert_eq!(typed.told(of_a_file), of_a_file);
        assert_eq!(
            typed.told("expected `batch` or `x` with `resume`"),
            "expected `batch` or `x` with --resume"
        );
        assert_eq!(typed.told("a lone ` stays"), "a lone ` stays");
        let sweep = TypedCommand {
            sweeps: true,
            ..typed
        };
        assert_eq!(
            sweep.told("remove `state`, then continue with `resume`"),
            "remove `state`, then repeat the sweep"
        );
        let full = StudyError::Io {
            path: PathBuf::from("x"),
            action: "write",
            source: ErrorKind::StorageFull.into(),
        };
        assert!(sweep.hint(&full.into()).contains("repeat the command"));
    }
}
