//! What a checkpoint is: its family, its format, its number of heads and its numeric conventions,
//! each with the reason for which it was decided.
//!
//! There is one path for all checkpoints. Tensors show most; what they cannot show is taken from
//! what the user settles, from the files beside the weights or the description of an own model
//! (`says`), or from what names tell (`provenance`). What remains open is asked
//! for, all of it at once. Nothing is guessed in silence.

mod build;
mod conventions;
mod family;
mod images;
mod model_type;
mod settle;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    container::{Container, ContainerKind},
    dialect::{assignment::Assignment, sizes::Sizes},
    error::{Question, VitError},
    says::{ImageSettings, Says, WrittenBy},
};

pub use self::settle::Settle;
pub use crate::names::{Family, Format, Label, Numerics, UnknownName};

/// One thing that was decided about a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What was decided.
    pub what: String,
    /// The outcome.
    pub value: String,
    /// The reason.
    pub because: String,
    /// Whether it is worth telling without being asked: a choice that others would make otherwise.
    #[serde(default, skip_serializing_if = "is_false")]
    pub noted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {}: {}", self.what, self.value, self.because)
    }
}

/// What a checkpoint is.
#[derive(Clone, Debug, Serialize)]
pub struct Identity {
    /// The training method.
    pub family: Family,
    /// The ecosystem that the file was written for.
    pub format: Format,
    /// The kind of file.
    pub container: ContainerKind,
    /// Where in the file the backbone is.
    pub nesting: String,
    /// The naming scheme.
    pub naming: String,
    /// The released model with these sizes, if there is one: `dino-b16`; for a model that its
    /// user describes, the name given there.
    pub model: Option<String>,
    /// The size as its authors call it, for released models.
    pub size: Option<String>,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Per-channel mean that images are normalized with, in units of full intensity.
    pub mean: [f64; 3],
    /// Per-channel standard deviation, likewise.
    pub std: [f64; 3],
    /// What it is, in words for captions: `DINOv2 ViT-S/14`; what its user calls it, where a
    /// description or an option says so.
    #[serde(skip)]
    pub title: String,
    /// Whether the title says all: its user gave it, or a published name tells the weights.
    #[serde(skip)]
    pub named: bool,
    /// Everything that was decided, with reasons.
    pub decisions: Vec<Decision>,
    /// The files that hold the weights.
    pub files: Vec<PathBuf>,
}

/// The order in which decisions are told; others follow.
const ORDER: &[&str] = &[
    "backbone",
    "format",
    "family",
    "activation",
    "heads",
    "head width",
    "norm epsilon",
    "position table",
    "position resize",
    "normalization",
];

/// What [`decide`] finds.
pub(crate) struct Decided {
    pub config: Config,
    pub identity: Identity,
    pub rope_base: f64,
}

/// Everything that was seen of a checkpoint before anything is decided.
pub(crate) struct Observed<'a> {
    /// What its user named: the weights or their description.
    pub path: &'a Path,
    /// What its files hold.
    pub container: &'a Container,
    /// Which tensor is which part.
    pub assigned: &'a Assignment,
    /// What the tensors show.
    pub sizes: &'a Sizes,
    /// What a config file beside it, or its description, says.
    pub says: Option<&'a Says>,
    /// What `preprocessor_config.json` beside it says.
    pub images: Option<&'a ImageSettings>,
    /// The Hugging Face id in its path or in the config file.
    pub hub: Option<String>,
    /// The name of the file of weights.
    pub file_name: String,
}

/// Decides everything that is to be known about a checkpoint before its weights are read.
///
/// # Errors
///
/// Something stays open that the user can settle, or two sources contradict each other.
pub(crate) fn decide(seen: &Observed<'_>, settle: &Settle) -> Result<Decided, VitError> {
    let mut case = Case {
        seen,
        settle,
        decisions: Vec::new(),
        open: Vec::new(),
        lacks: Vec::new(),
    };
    case.network();
    case.sizes_agree()?;
    case.model_type();
    case.norms();
    let family = case.family()?;
    let format = case.format(family)?;
    let mlp = case.mlp(family)?;
    let heads = case.heads(family)?;
    let norm_eps = case.norm_eps(family, format);
    let (positions, rope_base) = case.positions(family, format)?;
    let known = family.and_then(|family| case.known(family));
    let images = case.images(family, known)?;
    case.final_norm();
    let (
        Some(family),
        Some(format),
        Some(mlp),
        Some(heads),
        Some(norm_eps),
        Some(positions),
        Some((mean, std)),
    ) = (family, format, mlp, heads, norm_eps, positions, images)
    else {
        return Err(case.unsettled());
    };
    let Observed {
        assigned, sizes, ..
    } = seen;
    case.decisions.sort_by_key(|decision| {
        let place = ORDER.iter().position(|what| *what == decision.what);
        place.unwrap_or(ORDER.len())
    });
    let described = case.described().and_then(|says| says.name.clone());
    Ok(Decided {
        config: Config {
            width: sizes.width,
            depth: sizes.depth,
            heads,
            patch: sizes.patch,
            class: sizes.class,
            registers: sizes.registers,
            mlp,
            hidden: sizes.hidden,
            norm_eps,
            stem_norm: sizes.stem_norm,
            final_norm: sizes.final_norm,
            hidden_norm: sizes.hidden_norm,
            rms_norm: assigned.naming.rms_norm,
            layer_scale: sizes.layer_scale,
            positions,
        },
        identity: Identity {
            family,
            format,
            container: seen.container.kind,
            nesting: assigned.nesting(),
            naming: assigned.naming.title.clone(),
            model: described
                .clone()
                .or_else(|| known.map(|known| known.name.clone())),
            size: known.map(|known| known.size.clone()),
            patch: sizes.patch,
            mean,
            std,
            title: case.title(family, known),
            named: settle.name.is_some() || described.is_some() || case.is_published(known),
            decisions: case.decisions,
            files: seen
                .container
                .files
                .iter()
                .map(|file| file.path.clone())
                .collect(),
        },
        rope_base,
    })
}

/// A checkpoint about which decisions are being made.
struct Case<'a> {
    seen: &'a Observed<'a>,
    settle: &'a Settle,
    decisions: Vec<Decision>,
    /// What the user has to say of a file.
    open: Vec<Question>,
    /// What a description has to say.
    lacks: Vec<&'static str>,
}

impl<'a> Case<'a> {
    fn decide(&mut self, what: &str, value: impl fmt::Display, because: impl Into<String>) {
        self.decisions.push(Decision {
            what: what.to_owned(),
            value: value.to_string(),
            because: because.into(),
            noted: false,
        });
    }

    /// Decides what others might decide otherwise, so that it is told without being asked.
    fn note(&mut self, what: &str, value: impl fmt::Display, because: impl Into<String>) {
        self.decide(what, value, because);
        if let Some(last) = self.decisions.last_mut() {
            last.noted = true;
        }
    }

    /// The description, of an own model.
    fn described(&self) -> Option<&'a Says> {
        self.seen
            .says
            .filter(|says| matches!(says.writer, WrittenBy::User(_)))
    }

    fn says<T>(&self, claim: impl Fn(&Says) -> Option<T>) -> Option<(T, &'a str)> {
        let says = self.seen.says?;
        Some((claim(says)?, says.file.as_str()))
    }

    fn contradiction(&self, claim: String, fact: String) -> VitError {
        VitError::Contradiction {
            path: match self.described() {
                Some(_) => self.seen.path.to_owned(),
                None => self.seen.container.files[0].path.clone(),
            },
            claim,
            fact,
        }
    }

    /// Everything that stays open, at once.
    fn unsettled(&self) -> VitError {
        if self.described().is_some() {
            let keys = ["heads", "norm_eps", "mlp", "resize", "mean", "std"];
            let lacks: Vec<&str> = keys
                .into_iter()
                .filter(|key| self.lacks.contains(key))
                .collect();
            return VitError::Description {
                path: self.seen.path.to_owned(),
                what: format!(
                    "its table [model] lacks {}, which tensors cannot tell",
                    lacks.join(", ")
                ),
            };
        }
        VitError::Unsettled {
            path: self.seen.container.files[0].path.clone(),
            questions: self.open.clone(),
        }
    }

    fn ask(&mut self, open: String, setting: &str, choices: &[String], example: String) {
        self.open.push(Question {
            open,
            setting: setting.to_owned(),
            choices: choices.to_vec(),
            example,
        });
    }

    fn has_tensor(&self, test: impl Fn(&str) -> bool) -> bool {
        self.seen
            .container
            .tensors
            .iter()
            .any(|tensor| tensor.group == self.seen.assigned.group && test(&tensor.name))
    }

    fn network(&mut self) {
        if let Some(scale) = &self.seen.assigned.changes.scale {
            let count = self.seen.assigned.changes.of.len();
            self.note(
                "adapters",
                format!("merged into {count} weights"),
                scale.because.clone(),
            );
        }
        if let Some(choice) = &self.seen.assigned.choice {
            self.decisions.push(Decision {
                what: "backbone".to_owned(),
                value: choice.value.clone(),
                because: choice.because.clone(),
                noted: choice.noted,
            });
        }
    }
}
