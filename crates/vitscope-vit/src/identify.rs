//! What a checkpoint is: its family, its format, its number of heads and its numeric conventions,
//! each with the reason for which it was decided.
//!
//! There is one path for all checkpoints. Tensors show most; what they cannot show is taken from
//! what the user settles, from the files beside the weights or the description of an own model
//! ([`crate::says`]), or from what names tell ([`crate::provenance`]). What remains open is asked
//! for, all of it at once. Nothing is guessed in silence.

mod family;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, Device, Mlp, Positions, Precision, Resize},
    container::{Container, ContainerKind},
    dialect::{fit::Fit, sizes::Sizes},
    error::{Question, VitError},
    known::{self, Build, KnownModel, Normalization},
    provenance::official_name,
    says::{Activation, Images, Says, Writer},
};

pub use crate::names::{Family, Format, Label, Numerics, UnknownName};

/// What the user settles where a file leaves it open.
#[derive(Clone, Debug, Default)]
pub struct Settle {
    /// The family, where nothing in or beside the file tells it.
    pub family: Option<Family>,
    /// The format, where two share their names.
    pub format: Option<Format>,
    /// The number of heads, where the sizes are not those of a released model.
    pub heads: Option<usize>,
    /// The network, where a file holds several: its entry or prefix.
    pub backbone: Option<String>,
    /// Per-channel mean of the images, in units of full intensity, in place of what is known.
    pub mean: Option<[f64; 3]>,
    /// Per-channel standard deviation, likewise.
    pub std: Option<[f64; 3]>,
    /// Whose numeric conventions are followed.
    pub numerics: Numerics,
    /// What its products multiply.
    pub precision: Precision,
    /// What runs it.
    pub device: Device,
}

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
pub(crate) struct Found {
    pub config: Config,
    pub identity: Identity,
    pub rope_base: f64,
}

/// Everything that was seen of a checkpoint before anything is decided.
pub(crate) struct Seen<'a> {
    /// What its user named: the weights or their description.
    pub path: &'a Path,
    /// What its files hold.
    pub container: &'a Container,
    /// Which tensor is which part.
    pub fit: &'a Fit,
    /// What the tensors show.
    pub sizes: &'a Sizes,
    /// What a config file beside it, or its description, says.
    pub says: Option<&'a Says>,
    /// What `preprocessor_config.json` beside it says.
    pub images: Option<&'a Images>,
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
pub(crate) fn decide(seen: &Seen<'_>, settle: &Settle) -> Result<Found, VitError> {
    let mut case = Case {
        seen,
        settle,
        decisions: Vec::new(),
        open: Vec::new(),
        lacks: Vec::new(),
    };
    case.network();
    case.sizes_agree()?;
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
    let Seen { fit, sizes, .. } = seen;
    case.decisions.sort_by_key(|decision| {
        let place = ORDER.iter().position(|what| *what == decision.what);
        place.unwrap_or(ORDER.len())
    });
    let described = case.described().and_then(|says| says.name.clone());
    Ok(Found {
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
            layer_scale: sizes.layer_scale,
            positions,
        },
        identity: Identity {
            family,
            format,
            container: seen.container.kind,
            nesting: fit.nesting(),
            naming: fit.naming.title.clone(),
            model: described.or_else(|| known.map(|known| known.name.clone())),
            size: known.map(|known| known.size.clone()),
            patch: sizes.patch,
            mean,
            std,
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
    seen: &'a Seen<'a>,
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
            .filter(|says| matches!(says.writer, Writer::User(_)))
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

    fn ask(&mut self, open: String, flag: &str, choices: &[String], example: String) {
        self.open.push(Question {
            open,
            flag: flag.to_owned(),
            choices: choices.to_vec(),
            example,
        });
    }

    fn has_tensor(&self, test: impl Fn(&str) -> bool) -> bool {
        self.seen
            .container
            .tensors
            .iter()
            .any(|tensor| tensor.group == self.seen.fit.group && test(&tensor.name))
    }

    fn network(&mut self) {
        if let Some(choice) = &self.seen.fit.choice {
            self.decisions.push(Decision {
                what: "backbone".to_owned(),
                value: choice.value.clone(),
                because: choice.because.clone(),
                noted: choice.noted,
            });
        }
    }

    /// Compares what is said of sizes with what the tensors show.
    fn sizes_agree(&mut self) -> Result<(), VitError> {
        let Some(says) = self.seen.says else {
            return Ok(());
        };
        let own = self.described().is_some();
        let sizes = self.seen.sizes;
        let counts = [
            ("width", "width", says.width, sizes.width),
            ("depth", "number of blocks", says.depth, sizes.depth),
            ("patch", "patch side", says.patch, sizes.patch),
            ("hidden", "hidden width", says.hidden, sizes.hidden),
            (
                "registers",
                "number of registers",
                says.registers,
                sizes.registers,
            ),
        ];
        for (key, words, said, shown) in counts {
            let Some(said) = said.filter(|&said| said != shown) else {
                continue;
            };
            return Err(if own {
                self.contradiction(
                    format!("it gives {key} = {said}"),
                    format!("the tensors show {shown}"),
                )
            } else {
                self.contradiction(
                    format!("{} beside it gives the {words} {said}", says.file),
                    format!(
                        "its tensors show {shown}; move the file away if it is another model's"
                    ),
                )
            });
        }
        let slot = sizes.table.is_some_and(|table| table.slots > 0);
        let flags = [
            ("layer_scale", says.layer_scale, sizes.layer_scale),
            ("stem_norm", says.stem_norm, sizes.stem_norm),
            ("class_token", says.class, sizes.class),
            ("final_norm", says.final_norm, sizes.final_norm),
            (
                "class_slot",
                says.class_slot.filter(|_| sizes.table.is_some()),
                slot,
            ),
        ];
        for (key, said, shown) in flags {
            if let Some(said) = said.filter(|&said| said != shown) {
                return Err(self.contradiction(
                    format!("it gives {key} = {said}"),
                    match (key, shown) {
                        ("class_slot", _) => {
                            "the number of rows in its position table shows otherwise".to_owned()
                        }
                        (_, true) => "its name map has such tensors".to_owned(),
                        (_, false) => "its name map has no such tensors".to_owned(),
                    },
                ));
            }
        }
        if let (Some(table), Some(image), None) = (sizes.table, says.image, says.grid)
            && table.grid != image.map(|side| side / sizes.patch)
        {
            self.note(
                "position table",
                format!("{} x {}", table.grid[0], table.grid[1]),
                format!(
                    "its rows show it, although {} gives images of {} x {} pixels",
                    says.file, image[0], image[1]
                ),
            );
        }
        Ok(())
    }

    fn format(&mut self, family: Option<Family>) -> Result<Option<Format>, VitError> {
        if self.described().is_some() {
            if let Some(told) = self.settle.format.filter(|&told| told != Format::Own) {
                return Err(self.contradiction(
                    format!("--format says {told}"),
                    "a described model is of the family and format that its description gives"
                        .to_owned(),
                ));
            }
            return Ok(Some(Format::Own));
        }
        let naming = &self.seen.fit.naming;
        let formats = &naming.formats;
        if let Some(told) = self.settle.format {
            // The JAX archives are the official release, and timm reads them as they are.
            let augreg = formats.contains(&Format::Augreg)
                && matches!(told, Format::Official | Format::Timm);
            if !formats.contains(&told) && !augreg {
                return Err(self.contradiction(
                    format!("--format says {told}"),
                    format!("its tensors are named as in {}", naming.title),
                ));
            }
            if formats.len() > 1 {
                self.decide("format", told, "--format says so");
                return Ok(Some(told));
            }
        }
        if let &[only] = formats.as_slice() {
            self.decide("format", only, "only it names tensors like this");
            return Ok(Some(only));
        }
        if let Some((format, because)) = self.format_evidence() {
            self.decide("format", format, because);
            return Ok(Some(format));
        }
        let official = family.map(official_resize);
        if official == Some(Resize::Antialias) {
            let because = "neither its nesting nor a file beside it tells, and here it makes no difference: official code and timm resize positions alike";
            self.decide("format", Format::Timm, because);
            return Ok(Some(Format::Timm));
        }
        self.ask(
            "whether its positions are resized as the authors' code or as timm does it, which give other numbers under the same names".to_owned(),
            "--format",
            &["official".to_owned(), "timm".to_owned()],
            "timm".to_owned(),
        );
        Ok(None)
    }

    /// What speaks for a format, the strongest first.
    fn format_evidence(&self) -> Option<(Format, String)> {
        let Seen { fit, container, .. } = self.seen;
        if fit.naming.usual {
            let script = container.kind == ContainerKind::TorchScript;
            return Some(if script {
                (
                    Format::Official,
                    "it is a TorchScript archive, as OpenAI releases".to_owned(),
                )
            } else {
                let first = fit.naming.formats[0];
                (first, format!("its tensors are named as in {first}"))
            });
        }
        if official_name(&self.seen.file_name).is_some() {
            let because = format!("{} is an official file name", self.seen.file_name);
            return Some((Format::Official, because));
        }
        if let Some(says) = self.seen.says
            && says.writer == Writer::Timm
        {
            return Some((Format::Timm, format!("{} beside it is timm's", says.file)));
        }
        if let Some(hub) = self
            .seen
            .hub
            .as_ref()
            .filter(|hub| hub.starts_with("timm/"))
        {
            return Some((Format::Timm, format!("its Hugging Face id is {hub}")));
        }
        if self.trained_officially() {
            let because = format!(
                "its weights are nested as {}, as the authors' training leaves them",
                fit.nesting()
            );
            return Some((Format::Official, because));
        }
        self.has_tensor(|name| {
            let last = name.rsplit('.').next().unwrap_or(name);
            matches!(last, "mask_token" | "register_tokens" | "masked_embed")
                || name.contains("mlp.w12.")
                || name.contains("relation_blocks.")
        })
        .then(|| {
            (
                Format::Official,
                "it has tensors that timm drops or renames".to_owned(),
            )
        })
    }

    /// Whether a file is nested as the training code of DINO, iBOT, Mugs, DINOv2 or MoCo v3 nests it.
    fn trained_officially(&self) -> bool {
        let Seen { fit, container, .. } = self.seen;
        let root = |name: &str| container.root.iter().any(|root| root == name);
        let losses = ["dino_loss", "ibot_loss"].into_iter().any(root);
        fit.prefix.contains("base_encoder.")
            || (losses && matches!(fit.group.as_str(), "teacher" | "student"))
            || (root("teacher") && root("student") && fit.prefix.ends_with("backbone."))
            || (fit.group == "state_dict"
                && self.seen.file_name == "checkpoint_teacher.pth"
                && fit.prefix.is_empty())
    }

    fn mlp(&mut self, family: Option<Family>) -> Result<Option<Mlp>, VitError> {
        let gated = self.seen.sizes.gated;
        let own = self.described().is_some();
        let told = self.says(|says| says.activation.clone());
        if own {
            if let Some((Activation::Known(mlp), _)) = &told
                && gated != (*mlp == Mlp::SwiGlu)
            {
                return Err(self.contradiction(
                    "it gives mlp otherwise".to_owned(),
                    if gated {
                        "the feed-forward tensors are gated, as swiglu's are".to_owned()
                    } else {
                        "the feed-forward tensors are not gated, so it is gelu or quick_gelu"
                            .to_owned()
                    },
                ));
            }
        }
        if gated {
            self.decide("activation", "SwiGLU", "its feed-forward tensors are gated");
            return Ok(Some(Mlp::SwiGlu));
        }
        let (mlp, because) = match (told, family) {
            (Some((Activation::Known(mlp), file)), _) if mlp != Mlp::SwiGlu => {
                (mlp, format!("{file} says so"))
            }
            (Some((other, file)), _) => {
                let name = match other {
                    Activation::Other(name) => name,
                    Activation::Known(_) => "swiglu".to_owned(),
                };
                return Err(self.contradiction(
                    format!("{file} beside it gives the activation {name}"),
                    "only gelu and quick_gelu are known for such tensors".to_owned(),
                ));
            }
            (None, _) if own => {
                self.lacks.push("mlp");
                return Ok(None);
            }
            (None, Some(family @ (Family::OpenAiClip | Family::MetaClip))) => {
                (Mlp::QuickGelu, format!("{family} was trained with it"))
            }
            (None, Some(family)) => (Mlp::Gelu, format!("{family} was trained with it")),
            // The family that answers the question answers this one.
            (None, None) => return Ok(None),
        };
        let name = match mlp {
            Mlp::Gelu => "GELU",
            Mlp::QuickGelu => "QuickGELU",
            Mlp::SwiGlu => "SwiGLU",
        };
        self.decide("activation", name, because);
        Ok(Some(mlp))
    }

    fn build(&self) -> Build {
        let sizes = self.seen.sizes;
        Build {
            width: sizes.width,
            depth: sizes.depth,
            patch: sizes.patch,
            hidden: sizes.hidden,
            gated: sizes.gated,
        }
    }

    /// The released model of a family with these sizes; among several, the one that a name tells.
    fn known(&self, family: Family) -> Option<&'static KnownModel> {
        let build = self.build();
        let alike = || known::alike(family, &build);
        let named = |known: &&KnownModel| {
            known.has_file(&self.seen.file_name)
                || self.seen.hub.as_ref().is_some_and(|hub| known.has_id(hub))
                || (known.normalization == Normalization::Satellite && self.is_satellite())
        };
        alike().find(named).or_else(|| alike().next())
    }

    /// Whether a name says that DINOv3 was trained on satellite images.
    fn is_satellite(&self) -> bool {
        let tag = self.seen.says.and_then(|says| says.tag.as_ref());
        [Some(&self.seen.file_name), self.seen.hub.as_ref(), tag]
            .into_iter()
            .flatten()
            .any(|name| name.to_lowercase().contains("sat493m"))
    }

    fn heads(&mut self, family: Option<Family>) -> Result<Option<usize>, VitError> {
        let width = self.seen.sizes.width;
        let own = self.described().is_some();
        let shown = self
            .seen
            .sizes
            .heads
            .map(|(heads, why)| (heads, format!("{why} shows it")));
        let said = self
            .says(|says| says.heads)
            .map(|(heads, file)| (heads, format!("{file} says so")));
        if own
            && let (Some((shown, why)), Some((said, _))) = (&self.seen.sizes.heads, &said)
            && shown != said
        {
            return Err(self.contradiction(
                format!("it gives heads = {said}"),
                format!("{why} shows {shown}"),
            ));
        }
        let (heads, because) = match (shown.or(said), self.settle.heads) {
            (Some((heads, why)), Some(told)) if heads != told => {
                return Err(self.contradiction(
                    format!("--heads says {told}"),
                    format!("it has {heads} ({why})"),
                ));
            }
            (Some(certain), _) => certain,
            (None, Some(told)) => (told, "--heads says so".to_owned()),
            (None, None) if own => {
                self.lacks.push("heads");
                return Ok(None);
            }
            (None, None) => match self.usual_heads(family) {
                Some(found) => found,
                None => return Ok(None),
            },
        };
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(self.contradiction(
                format!("the number of heads is {heads} ({because})"),
                format!("the width {width} is not a multiple of it"),
            ));
        }
        let per_head = width / heads;
        if self.seen.sizes.table.is_none() && !per_head.is_multiple_of(4) {
            return Err(self.contradiction(
                format!("the number of heads is {heads} ({because})"),
                format!("rotary positions need a head width divisible by 4, not {per_head}"),
            ));
        }
        self.decide("heads", heads, because);
        if own {
            self.decide("head width", per_head, "width over heads");
        }
        Ok(Some(heads))
    }

    /// The heads of released models with these sizes, or a question.
    fn usual_heads(&mut self, family: Option<Family>) -> Option<(usize, String)> {
        let build = self.build();
        let width = build.width;
        if let Some(known) = family.and_then(|family| self.known(family)) {
            return Some((
                known.heads,
                format!("its sizes are those of {}", known.name),
            ));
        }
        // Models of other families, and of other patches, are built alike.
        let mut alike = known::models()
            .iter()
            .filter(|known| known.width == width && known.depth == build.depth)
            .filter(|known| family.is_some() || self.possible().contains(&known.family));
        if let Some(first) = alike.next()
            && alike.all(|known| known.heads == first.heads || known.family == Family::MocoV3)
            && first.family != Family::MocoV3
            && (family.is_none() || family != Some(Family::MocoV3))
        {
            let because = format!("width and depth are those of {}", first.name);
            return family.map(|_| (first.heads, because));
        }
        if family == Some(Family::OpenAiClip) && width.is_multiple_of(64) {
            return Some((width / 64, "OpenAI's CLIP has heads of 64".to_owned()));
        }
        let example = if width.is_multiple_of(64) {
            width / 64
        } else {
            1
        };
        self.ask(
            format!(
                "how many attention heads it has, since width {width} and {} blocks are those of no model that is known here",
                build.depth
            ),
            "--heads",
            &[],
            example.to_string(),
        );
        None
    }

    fn norm_eps(&mut self, family: Option<Family>, format: Option<Format>) -> Option<f64> {
        let said = self
            .says(|says| says.norm_eps)
            .filter(|(eps, _)| eps.is_finite() && *eps > 0.0);
        if self.described().is_some() {
            let Some((eps, file)) = said else {
                self.lacks.push("norm_eps");
                return None;
            };
            self.decide(
                "norm epsilon",
                format!("{eps:e}"),
                format!("{file} says so"),
            );
            return Some(eps);
        }
        let official = family.map(|family| match family {
            Family::OpenClip
            | Family::OpenAiClip
            | Family::MetaClip
            | Family::Clip
            | Family::DinoV3 => 1e-5,
            _ => 1e-6,
        });
        let (eps, because) = if self.settle.numerics == Numerics::Official {
            (official?, "the official code uses it".to_owned())
        } else if let Some((eps, file)) = said {
            (eps, format!("{file} says so"))
        } else if format == Some(Format::Transformers)
            && self.seen.fit.naming.name == "transformers_vit"
        {
            (1e-12, "transformers uses it for this family".to_owned())
        } else {
            let (family, format) = (family?, format?);
            (official?, format!("the {format} code uses it for {family}"))
        };
        self.decide("norm epsilon", format!("{eps:e}"), because);
        Some(eps)
    }

    /// Where position comes from, and the base of rotary periods.
    fn positions(
        &mut self,
        family: Option<Family>,
        format: Option<Format>,
    ) -> Result<(Option<Positions>, f64), VitError> {
        let base = self.says(|says| says.rope_base);
        let rope_base = base.map_or(100.0, |(base, _)| base);
        let periods = self.seen.fit.stem.contains_key("periods");
        if self.described().is_some() {
            self.described_positions(periods)?;
        }
        let Some(table) = self.seen.sizes.table else {
            if !(rope_base.is_finite() && rope_base > 1.0) {
                return Err(self.contradiction(
                    format!("config.json gives the rotary base {rope_base}"),
                    "it must be larger than 1".to_owned(),
                ));
            }
            let from = match (periods, self.settle.numerics) {
                (true, _) => "they are stored in the file".to_owned(),
                (false, _) if self.described().is_some() => {
                    base.map_or(String::new(), |(_, file)| format!("{file} says so"))
                }
                (false, Numerics::Source) => {
                    "the file has none, so they follow their formula exactly".to_owned()
                }
                (false, Numerics::Official) => "the file has none, so they follow their formula, rounded to bfloat16 as officially".to_owned(),
            };
            let value = if periods && base.is_none() && self.described().is_some() {
                "stored".to_owned()
            } else {
                format!("base {rope_base}")
            };
            self.decide("rotary periods", value, from);
            return Ok((Some(Positions::Rotary), rope_base));
        };
        let Some((resize, because)) = self.resize(family, format) else {
            return Ok((None, rope_base));
        };
        self.decide(
            "position resize",
            match resize {
                Resize::Plain => "bicubic",
                Resize::PlainOffset => "bicubic, scale offset by 0.1",
                Resize::Antialias => "bicubic, antialiased",
            },
            because,
        );
        let grid = table.grid;
        Ok((Some(Positions::Table { grid, resize }), rope_base))
    }

    fn resize(
        &mut self,
        family: Option<Family>,
        format: Option<Format>,
    ) -> Option<(Resize, String)> {
        if self.described().is_some() {
            let said = self.says(|says| says.resize);
            if said.is_none() {
                self.lacks.push("resize");
            }
            return said.map(|(resize, file)| (resize, format!("{file} says so")));
        }
        let (family, format) = (family?, format?);
        let official = official_resize(family);
        Some(match (self.settle.numerics, format) {
            (Numerics::Official, _) | (_, Format::Official) => (
                official,
                match (family, format) {
                    (Family::MocoV3, Format::Official) => {
                        "its code has no rule, so MAE's is taken".to_owned()
                    }
                    (Family::OpenAiClip, Format::Official) => {
                        "its code has no rule, so OpenCLIP's is taken".to_owned()
                    }
                    _ => format!("the official code of {family} does so"),
                },
            ),
            (_, Format::Timm | Format::Augreg | Format::Own) => {
                (Resize::Antialias, "timm does so".to_owned())
            }
            (_, Format::OpenClip) => (Resize::Antialias, "OpenCLIP does so".to_owned()),
            (_, Format::Transformers) if family == Family::DinoV2Reg => (
                Resize::Antialias,
                "transformers does so for registers".to_owned(),
            ),
            (_, Format::Transformers) => (Resize::Plain, "transformers does so".to_owned()),
            (_, Format::MmPretrain) => (Resize::Plain, "mmpretrain does so".to_owned()),
        })
    }

    /// A description tells of positions in one way.
    fn described_positions(&self, periods: bool) -> Result<(), VitError> {
        let Some(says) = self.described() else {
            return Ok(());
        };
        if self.seen.sizes.table.is_some() {
            if periods || says.rope_base.is_some() {
                return Err(self.contradiction(
                    "it has a position table".to_owned(),
                    "it also gives rotary periods, and no model here uses both".to_owned(),
                ));
            }
            return Ok(());
        }
        for (key, given) in [
            ("resize", says.resize.is_some()),
            ("grid", says.grid.is_some()),
            ("class_slot", says.class_slot.is_some()),
        ] {
            if given {
                return Err(self.contradiction(
                    format!("it gives {key}"),
                    "its name map has no positions".to_owned(),
                ));
            }
        }
        match (says.rope_base, periods) {
            (Some(_), true) => Err(self.contradiction(
                "it gives rope_base".to_owned(),
                "its name map has the periods themselves".to_owned(),
            )),
            (None, false) => Err(VitError::Description {
                path: self.seen.path.to_owned(),
                what: "it says nothing of positions: name a tensor as positions or periods, or give model.rope_base".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Mean and standard deviation of the images.
    fn images(
        &mut self,
        family: Option<Family>,
        known: Option<&'static KnownModel>,
    ) -> Result<Option<([f64; 3], [f64; 3])>, VitError> {
        let told = match (self.settle.mean, self.settle.std) {
            (Some(mean), Some(std)) => Some((mean, std)),
            (None, None) => None,
            _ => {
                return Err(self.contradiction(
                    "--mean or --std is given".to_owned(),
                    "an image is normalized by both: give the other one, too".to_owned(),
                ));
            }
        };
        if let Some((_, std)) = told
            && std.iter().any(|&value| !(value.is_finite() && value > 0.0))
        {
            return Err(self.contradiction(
                format!("--std says {std:?}"),
                "a standard deviation is positive in every channel".to_owned(),
            ));
        }
        let said = self.seen.says.and_then(|says| says.images.as_ref());
        let said = said.or(self.seen.images);
        if self.described().is_some() && said.is_none() && told.is_none() {
            self.lacks.extend(["mean", "std"]);
            return Ok(None);
        }
        let usual = match (family, known) {
            (Some(Family::Own(_)) | None, _) => None,
            (Some(_), Some(known)) => Some(known.normalization),
            (Some(family), None) => Some(usual_normalization(family)),
        };
        let usual_name = family.map_or(String::new(), |family| family.to_string());
        let (values, because, noted) = match (told, said, usual) {
            (Some(told), ..) => (told, "--mean and --std say so".to_owned(), false),
            (None, Some(said), usual) => {
                let values = (said.mean, said.std);
                let differs = usual.filter(|usual| !alike(usual.mean_std(), values));
                let mut because = format!("{} says so", said.file);
                if let Some(usual) = differs {
                    let (mean, std) = usual.mean_std();
                    because.push_str(&format!(
                        ", although {usual_name} usually has mean {mean:?} and std {std:?}; --mean and --std overrule it"
                    ));
                }
                (values, because, differs.is_some())
            }
            (None, None, Some(usual)) => {
                let (because, noted) = self.usual_images(&usual_name, known, usual);
                (usual.mean_std(), because, noted)
            }
            (None, None, None) => return Ok(None),
        };
        let text = format!("mean {:?}, std {:?}", values.0, values.1);
        if noted {
            self.note("normalization", text, because);
        } else {
            self.decide("normalization", text, because);
        }
        let sizes = said.and_then(|said| Some((said.size.clone()?, said.file.clone())));
        if let Some((size, file)) = sizes {
            let because = format!("{file} says so; here --size and the protocol's resizing decide");
            self.decide("images in training", size, because);
        }
        Ok(Some(values))
    }

    /// Why a family's usual normalization is taken, and whether another is as likely.
    fn usual_images(
        &self,
        family: &str,
        known: Option<&'static KnownModel>,
        usual: Normalization,
    ) -> (String, bool) {
        if usual == Normalization::Satellite {
            let because = "its name says that it was trained on satellite images";
            return (because.to_owned(), false);
        }
        let settled = "--mean and --std set it";
        if family == "supervised" && self.settle.family.is_some() {
            let because = format!(
                "{family} (augreg) was trained with it, but DeiT and many fine-tuned models with ImageNet's mean [0.485, 0.456, 0.406] and std [0.229, 0.224, 0.225]: --family deit, or {settled}"
            );
            return (because, true);
        }
        let other = known.and_then(|known| {
            known::alike(known.family, &self.build())
                .find(|other| other.normalization != known.normalization)
        });
        match other {
            Some(other) if !self.is_named(known) => {
                let (mean, std) = other.normalization.mean_std();
                let because = format!(
                    "{family} was trained with it, but {} with mean {mean:?} and std {std:?}; {settled}",
                    other.name
                );
                (because, true)
            }
            _ => (format!("{family} was trained with it"), false),
        }
    }

    /// Whether a name tells which released model it is.
    fn is_named(&self, known: Option<&KnownModel>) -> bool {
        known.is_some_and(|known| {
            known.has_file(&self.seen.file_name)
                || self.seen.hub.as_ref().is_some_and(|hub| known.has_id(hub))
                || self.seen.says.and_then(|says| says.tag.as_ref()).is_some()
        })
    }

    fn final_norm(&mut self) {
        if self.seen.sizes.final_norm {
            return;
        }
        if let Some(says) = self.described() {
            self.decide("final norm", "none", format!("{} says so", says.file));
        } else {
            self.note(                "final norm",
                "none",
                "it was trained with a norm after the mean of its patches (fc_norm), so its last tokens are the last block's own",
            );
        }
    }
}

/// How the authors' code resizes a position table.
fn official_resize(family: Family) -> Resize {
    match family {
        Family::Dino | Family::Ibot | Family::Mugs | Family::DinoV2 | Family::Franca => {
            Resize::PlainOffset
        }
        Family::Mae | Family::MocoV3 => Resize::Plain,
        _ => Resize::Antialias,
    }
}

/// With which mean and deviation a family's images are usually normalized.
fn usual_normalization(family: Family) -> Normalization {
    match family {
        Family::Supervised => Normalization::Half,
        Family::OpenClip | Family::OpenAiClip | Family::MetaClip | Family::Clip => {
            Normalization::Clip
        }
        _ => Normalization::ImageNet,
    }
}

/// Whether two normalizations are the same, but for rounding in what was written down.
fn alike(a: ([f64; 3], [f64; 3]), b: ([f64; 3], [f64; 3])) -> bool {
    let close = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-3);
    close(a.0, b.0) && close(a.1, b.1)
}
