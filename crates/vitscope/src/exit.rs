//! Exit codes: 0 ok, 1 a threshold was missed, 2 usage or configuration, 3 data or weights,
//! 4 internal; 130 when the user stopped the run. A closed pipe is success.

use std::fmt;
use std::process::ExitCode;

use vitscope_hub::HubError;
use vitscope_study::StudyError;

/// Marks an error as the user's wording.
#[derive(Debug)]
struct Usage(anyhow::Error);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}

/// A result that misses a threshold.
#[derive(Debug)]
struct Missed(String);

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missed {}

/// An error for a result that misses a threshold.
pub fn missed(sentence: impl Into<String>) -> anyhow::Error {
    anyhow::Error::new(Missed(sentence.into()))
}

/// An error of usage or configuration.
pub fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow::Error::new(Usage(error.into()))
}

fn code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return 2;
    }
    if error.is::<Missed>() {
        return 1;
    }
    if let Some(error) = error.downcast_ref::<HubError>() {
        return if error.is_usage() { 2 } else { 3 };
    }
    match error.downcast_ref::<StudyError>() {
        Some(StudyError::Setting(_) | StudyError::Shape(_)) => 2,
        Some(StudyError::Interrupted { .. } | StudyError::StoppedEarly) => 130,
        Some(_) => 3,
        None if error.is::<vitscope_vit::error::VitError>()
            || error.is::<vitscope_data::DataError>()
            || error.is::<vitscope_demo::DemoError>()
            || error.is::<vitscope_figure::FigureError>() =>
        {
            3
        }
        None => 4,
    }
}

/// Says what went wrong, in one line, and gives the exit code.
pub fn report(result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    let closed_pipe = error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    if closed_pipe {
        return ExitCode::SUCCESS;
    }
    #[expect(clippy::print_stderr, reason = "this is where errors are told")]
    {
        // The crates' errors tell their causes themselves; only contexts added here form a chain.
        match code(&error) {
            4 => eprintln!("vitscope: {error:#}"),
            _ => eprintln!("vitscope: {error}"),
        }
    }
    ExitCode::from(code(&error))
}
