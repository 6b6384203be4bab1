//! The one error type of this crate.
//!
//! Every message is one sentence that names the file or value, says what was expected and what
//! was found, and where possible what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why a device cannot be used, or gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The program was built without CUDA.
    #[error(
        "this vitscope was built without CUDA: build it with `--features cuda`, or use `device` cpu"
    )]
    NotBuilt,
    /// CUDA.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] vitscope_cuda::CudaError),
}

impl DeviceError {
    /// Whether the device's memory is full, so that fewer images at a time may fit.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        #[cfg(feature = "cuda")]
        if let Self::Cuda(vitscope_cuda::CudaError::Memory { .. }) = self {
            return true;
        }
        false
    }
}

/// Anything that can go wrong between a path and a backbone's features.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VitError {
    /// The operating system refused to open or read a file.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A folder holds nothing that can be opened, or more than one candidate.
    #[error("no checkpoint was opened in {}: {found}; name the file itself", path.display())]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// What the folder holds instead.
        found: String,
    },

    /// The first bytes belong to no known container.
    #[error(
        "{} is not a checkpoint in a known container (safetensors, PyTorch .pth/.pt/.bin or .npz): {found}",
        path.display()
    )]
    UnknownContainer {
        /// The file.
        path: PathBuf,
        /// What its first bytes look like.
        found: String,
    },

    /// A file or folder of another program, which has to be converted.
    #[error("{} is {what}: {remedy}", path.display())]
    Foreign {
        /// The file or folder.
        path: PathBuf,
        /// What it is.
        what: String,
        /// How it becomes one that can be read.
        remedy: String,
    },

    /// A sound container whose content is none that is read.
    #[error("{} cannot be used: {what}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What it holds, and what to do.
        what: String,
    },

    /// A container contradicts itself, is cut short, or exceeds a safety limit.
    #[error("{} is damaged or not what it claims to be: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first contradiction met.
        what: String,
    },

    /// A pickle names something that a weights file has no need of.
    #[error(
        "{} was refused because its pickle names `{name}`, which a weights file does not need; nothing in it was run, and only where you trust it, {} saves its tensors alone",
        path.display(),
        resave(path)
    )]
    ForbiddenName {
        /// The file.
        path: PathBuf,
        /// Module and name as written in the pickle.
        name: String,
    },

    /// The tensors fit no known naming scheme.
    #[error(
        "{} fits no known Vision Transformer; {}; the closest naming is {closest}, {difference}",
        path.display(),
        way_on(path, *likely)
    )]
    NoFit {
        /// The file.
        path: PathBuf,
        /// Whether it looks like a Vision Transformer that a description can make known.
        likely: bool,
        /// Title of the closest dialect.
        closest: String,
        /// How many tensors differ, what the file looks like instead, and a bounded list.
        difference: String,
    },

    /// A user's description of an own model is not understood, or not complete.
    #[error("{} does not describe its model: {what}", path.display())]
    Description {
        /// The TOML file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },

    /// A tensor's shape contradicts the others.
    #[error("{}: tensor {tensor} should be {expected} but is {found}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// The shape that the other tensors require.
        expected: String,
        /// The stored shape.
        found: String,
    },

    /// A needed tensor is stored in a type that weights do not have.
    #[error(
        "{}: tensor {tensor} is stored as {dtype}, but weights must be f32, f16, bf16 or f64: dequantize it with the program that quantized it, and save that",
        path.display()
    )]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// The stored type.
        dtype: String,
    },

    /// A needed tensor holds an infinity or a NaN.
    #[error("{}: tensor {tensor} holds values that are not finite", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
    },

    /// The file leaves something open that only the user knows: all of it at once.
    #[error("{}", asked(path, questions))]
    Unsettled {
        /// The file.
        path: PathBuf,
        /// What cannot be told; never empty.
        questions: Vec<Question>,
    },

    /// Two sources of information about a checkpoint disagree.
    #[error("{}: {claim}, but {fact}", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// What the user or a config file says.
        claim: String,
        /// What the tensors say.
        fact: String,
    },
}

/// One thing that a file leaves open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// What cannot be told, and why: "whose training it is, since ...".
    pub open: String,
    /// The setting that settles it: `family`.
    pub setting: String,
    /// Its possible values, where they can be listed.
    pub choices: Vec<String>,
    /// One value that it can have.
    pub example: String,
}

fn asked(path: &Path, questions: &[Question]) -> String {
    let mut open = Vec::new();
    let mut line = format!("vitscope inspect {}", quoted(path));
    let mut choices = Vec::new();
    for question in questions {
        open.push(question.open.as_str());
        let setting = &question.setting;
        line.push_str(&format!(" --{setting} {}", question.example));
        choices.push(match question.choices.as_slice() {
            [] => format!("`{setting}`"),
            values => format!("`{setting}` {}", values.join("|")),
        });
    }
    let open = match open.as_slice() {
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{}, and {last}", first.join("; ")),
        [] => String::new(),
    };
    format!(
        "{} does not tell {open}: answer with {}, as in `{line}`",
        path.display(),
        choices.join(" and ")
    )
}

/// A path as a shell reads it.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@%,:".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// How whoever trusts a pickle makes one of it that holds tensors alone.
fn resave(path: &Path) -> String {
    let name = path.display().to_string();
    format!(
        "`python -c 'import torch; m = torch.load({name:?}, map_location=\"cpu\", weights_only=False); torch.save(m.state_dict() if hasattr(m, \"state_dict\") else m.get(\"state_dict\", m), \"weights.pth\")'`"
    )
}

/// What to do with a file that no dialect knows.
fn way_on(path: &Path, likely: bool) -> String {
    if likely {
        format!(
            "`vitscope inspect {} --draft model.toml` drafts a description that stands for it once it is completed",
            quoted(path)
        )
    } else {
        "embeddings that its own program makes can be given with `features`".to_owned()
    }
}

/// At most eight names separated by commas, then how many were left out.
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    const SHOWN: usize = 8;
    let mut text = names
        .iter()
        .take(SHOWN)
        .map(|name| shortened(name.as_ref()))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

/// A name from an untrusted file, printable and at most about a hundred characters long.
pub(crate) fn shortened(name: &str) -> String {
    const LONGEST: usize = 100;
    let mut text: String = name
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}
