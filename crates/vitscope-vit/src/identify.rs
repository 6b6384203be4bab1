//! What a checkpoint is: its family, its format, its number of heads and its numeric conventions,
//! each with the reason for which it was decided.
//!
//! Tensors show most of it. What they cannot show is taken from the nesting of the file, the
//! config file beside it, its Hugging Face id, or its official name together with its sizes; what
//! remains open is asked for. Nothing is guessed in silence.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Config, Device, Mlp, Positions, Precision, Resize},
    container::{Container, ContainerKind},
    dialect::{fit::Fit, geometry::Geometry},
    error::{VitError, shortened},
    known::{self, Known},
    provenance::{family_of_hub, family_of_tag, hub_id, official_name},
    sidecar::{Sidecar, Writer},
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

/// What [`identify`] finds.
pub(crate) struct Found {
    pub config: Config,
    pub identity: Identity,
    pub rope_base: f64,
}

/// Decides everything that is to be known about a checkpoint before its weights are read.
///
/// # Errors
///
/// Something stays open that the user can settle, or two sources contradict each other.
pub(crate) fn identify(
    path: &Path,
    container: &Container,
    fit: &Fit,
    geometry: &Geometry,
    settle: &Settle,
) -> Result<Found, VitError> {
    let file = &container.files[0].path;
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new("."))
    };
    let file_name = file
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut case = Case {
        path: file,
        container,
        fit,
        geometry,
        settle,
        sidecar: None,
        hub: hub_id(path),
        file_name,
        decisions: Vec::new(),
    };
    case.sidecar = case.find_sidecar(folder)?;
    case.check_sizes()?;
    let format = case.format()?;
    let family = case.family(format)?;
    let mlp = case.mlp(family)?;
    let heads = case.heads(family)?;
    let norm_eps = case.norm_eps(family, format);
    let positions = case.positions(family, format);
    let known = case.known(family);
    let (mean, std) = case.mean_std(family, known);
    let rope_base = case
        .sidecar
        .as_ref()
        .and_then(|sidecar| sidecar.rope_base)
        .unwrap_or(100.0);
    if positions == Positions::Rotary {
        if !(rope_base.is_finite() && rope_base > 1.0) {
            return Err(case.contradiction(
                format!("config.json gives the rotary base {rope_base}"),
                "it must be larger than 1".to_owned(),
            ));
        }
        let from = match (fit.stem.contains_key("periods"), settle.numerics) {
            (true, _) => "they are stored in the file",
            (false, Numerics::Source) => "the file has none, so they follow their formula exactly",
            (false, Numerics::Official) => {
                "the file has none, so they follow their formula, rounded to bfloat16 as officially"
            }
        };
        case.decide("rotary periods", format!("base {rope_base}"), from);
    }
    let nesting = case.nesting();
    Ok(Found {
        config: Config {
            width: geometry.width,
            depth: geometry.depth,
            heads,
            patch: geometry.patch,
            registers: geometry.registers,
            mlp,
            hidden: geometry.hidden,
            norm_eps,
            stem_norm: geometry.stem_norm,
            layer_scale: geometry.layer_scale,
            positions,
        },
        identity: Identity {
            family,
            format,
            container: container.kind,
            nesting,
            naming: fit.dialect.title.clone(),
            model: known.map(|known| known.id.to_owned()),
            size: known.map(|known| known.size.to_owned()),
            patch: geometry.patch,
            mean,
            std,
            decisions: case.decisions,
            files: container
                .files
                .iter()
                .map(|file| file.path.clone())
                .collect(),
        },
        rope_base,
    })
}

struct Case<'a> {
    path: &'a Path,
    container: &'a Container,
    fit: &'a Fit,
    geometry: &'a Geometry,
    settle: &'a Settle,
    sidecar: Option<Sidecar>,
    hub: Option<String>,
    file_name: String,
    decisions: Vec<Decision>,
}

impl Case<'_> {
    fn decide(&mut self, what: &str, value: impl fmt::Display, because: impl Into<String>) {
        self.decisions.push(Decision {
            what: what.to_owned(),
            value: value.to_string(),
            because: because.into(),
        });
    }

    fn contradiction(&self, claim: String, fact: String) -> VitError {
        VitError::Contradiction {
            path: self.path.to_owned(),
            claim,
            fact,
        }
    }

    fn unsettled(&self, open: String, flag: &str) -> VitError {
        VitError::Unsettled {
            path: self.path.to_owned(),
            open,
            flag: flag.to_owned(),
        }
    }

    fn has_tensor(&self, test: impl Fn(&str) -> bool) -> bool {
        self.container
            .tensors
            .iter()
            .any(|tensor| tensor.group == self.fit.group && test(&tensor.name))
    }

    fn has_root(&self, name: &str) -> bool {
        self.container.root.iter().any(|root| root == name)
    }

    fn nesting(&self) -> String {
        match (self.fit.group.as_str(), self.fit.prefix.as_str()) {
            ("", "") => "flat".to_owned(),
            ("", prefix) => format!("{prefix}*"),
            (group, "") => group.to_owned(),
            (group, prefix) => format!("{group} / {prefix}*"),
        }
    }

    /// The config file beside the weights, unless the file is plainly not the one it describes.
    fn find_sidecar(&mut self, folder: &Path) -> Result<Option<Sidecar>, VitError> {
        if !self.fit.group.is_empty() || official_name(&self.file_name).is_some() {
            return Ok(None);
        }
        let writers: &[Writer] = match self.fit.dialect.name {
            "open_clip" => &[Writer::OpenClip],
            name if name.starts_with("transformers") => &[Writer::Transformers],
            "augreg" => &[],
            _ => &[Writer::Timm],
        };
        let found = Sidecar::find(folder, writers)?;
        if self.hub.is_none() {
            self.hub = found.as_ref().and_then(|found| found.hub.clone());
        }
        Ok(found)
    }

    fn check_sizes(&self) -> Result<(), VitError> {
        let Some(sidecar) = &self.sidecar else {
            return Ok(());
        };
        let claims = [
            ("width", sidecar.width, self.geometry.width),
            ("number of blocks", sidecar.depth, self.geometry.depth),
            ("patch side", sidecar.patch, self.geometry.patch),
        ];
        for (what, claim, fact) in claims {
            if let Some(claim) = claim
                && claim != fact
            {
                return Err(self.contradiction(
                    format!("{} beside it gives the {what} {claim}", sidecar.file),
                    format!("its tensors show {fact}"),
                ));
            }
        }
        Ok(())
    }

    fn format(&mut self) -> Result<Format, VitError> {
        let formats = &self.fit.dialect.formats;
        let script = self.container.kind == ContainerKind::TorchScript;
        if let Some(told) = self.settle.format {
            // The JAX archives are the official release, and timm reads them as they are.
            let augreg = formats.contains(&Format::Augreg)
                && matches!(told, Format::Official | Format::Timm);
            if !formats.contains(&told) && !augreg {
                return Err(self.contradiction(
                    format!("--format says {told}"),
                    format!("its tensors are named as in {}", self.fit.dialect.title),
                ));
            }
            if formats.len() > 1 {
                self.decide("format", told, "--format says so");
                return Ok(told);
            }
        }
        if let &[only] = formats.as_slice() {
            self.decide("format", only, "only it names tensors like this");
            return Ok(only);
        }
        let (format, because) = if formats.contains(&Format::OpenClip) {
            if script {
                (
                    Format::Official,
                    "it is a TorchScript archive, as OpenAI releases".to_owned(),
                )
            } else {
                (
                    Format::OpenClip,
                    "its tensors are named as in OpenCLIP".to_owned(),
                )
            }
        } else if !self.fit.group.is_empty() || !self.fit.prefix.is_empty() {
            let nesting = self.nesting();
            (
                Format::Official,
                format!("its weights are nested as {nesting}"),
            )
        } else if official_name(&self.file_name).is_some() {
            (
                Format::Official,
                format!("{} is an official file name", self.file_name),
            )
        } else if let Some(sidecar) = &self.sidecar {
            (
                Format::Timm,
                format!("{} beside it is timm's", sidecar.file),
            )
        } else if let Some(hub) = self.hub.as_ref().filter(|hub| hub.starts_with("timm/")) {
            (Format::Timm, format!("its Hugging Face id is {hub}"))
        } else if self.has_tensor(|name| {
            name == "mask_token" || name == "register_tokens" || name.contains("mlp.w12.")
        }) {
            (
                Format::Official,
                "it has tensors that timm drops or renames".to_owned(),
            )
        } else if self.container.kind != ContainerKind::Safetensors
            && self.file_name != "pytorch_model.bin"
        {
            (
                Format::Official,
                "it is a PyTorch file with no config.json beside it".to_owned(),
            )
        } else {
            return Err(self.unsettled(
                "official and timm files share its tensor names, but resize positions differently, and no config.json beside it tells which it is".to_owned(),
                "--format official or --format timm",
            ));
        };
        self.decide("format", format, because);
        Ok(format)
    }

    /// The families that its tensors leave possible.
    fn possible(&self) -> Vec<Family> {
        if self.geometry.table.is_none() {
            return vec![Family::DinoV3];
        }
        if self.geometry.stem_norm {
            return vec![Family::OpenClip, Family::OpenAiClip];
        }
        match self.fit.dialect.name {
            "augreg" => vec![Family::Supervised],
            "transformers_vit" => vec![Family::Supervised, Family::Dino, Family::Mae],
            "dino" => vec![
                Family::Supervised,
                Family::Mae,
                Family::MocoV3,
                Family::Mugs,
                Family::Ibot,
                Family::Dino,
            ],
            _ if self.geometry.registers > 0 => vec![Family::DinoV2Reg],
            _ => vec![Family::DinoV2],
        }
    }

    fn family(&mut self, format: Format) -> Result<Family, VitError> {
        let possible = self.possible();
        if let Some(told) = self.settle.family {
            if !possible.contains(&told) {
                let names: Vec<String> = possible.iter().map(ToString::to_string).collect();
                return Err(self.contradiction(
                    format!("--family says {told}"),
                    format!("its tensors are those of {}", names.join(" or ")),
                ));
            }
            let because = match self.family_evidence(format)? {
                Some((seen, why)) if seen != told => {
                    format!("--family says so, although it looks like {seen}: {why}")
                }
                _ => "--family says so".to_owned(),
            };
            self.decide("family", told, because);
            return Ok(told);
        }
        if let &[only] = possible.as_slice() {
            self.decide("family", only, "only it has tensors like these");
            return Ok(only);
        }
        if let Some((family, because)) = self.family_evidence(format)?
            && possible.contains(&family)
        {
            self.decide("family", family, because);
            return Ok(family);
        }
        let names: Vec<String> = possible.iter().map(ToString::to_string).collect();
        Err(self.unsettled(
            format!(
                "{} share its tensors, and neither its nesting, a config file beside it, its Hugging Face id nor an official file name tells which it is",
                names.join(", ")
            ),
            "--family with one of these",
        ))
    }

    /// What speaks for a family, the strongest first.
    fn family_evidence(&self, format: Format) -> Result<Option<(Family, String)>, VitError> {
        if self.geometry.stem_norm {
            return Ok(self.clip_evidence());
        }
        let found = |family, because: &str| Ok(Some((family, because.to_owned())));
        if self.has_tensor(|name| name.contains("relation_blocks.")) {
            return found(
                Family::Mugs,
                "it has the relation_blocks of Mugs's training",
            );
        }
        if self.fit.prefix.contains("base_encoder.") {
            return found(Family::MocoV3, "its weights are nested under base_encoder");
        }
        if self.has_root("dino_loss") {
            return found(Family::Dino, "it has the state of DINO's loss");
        }
        if self.has_root("ibot_loss")
            || self
                .container
                .tensors
                .iter()
                .any(|tensor| tensor.name.ends_with("masked_embed"))
        {
            return found(
                Family::Ibot,
                "it has the loss or the mask token of iBOT's training",
            );
        }
        if self.has_tensor(|name| name.starts_with("decoder")) {
            return found(Family::Mae, "it has the decoder of MAE's training");
        }
        if let Some(sidecar) = &self.sidecar {
            if sidecar.kind == "vit_mae" {
                return found(Family::Mae, "config.json gives the model type vit_mae");
            }
            if let Some((family, tag)) = sidecar
                .tag
                .as_ref()
                .and_then(|tag| Some((family_of_tag(tag)?, tag)))
            {
                return Ok(Some((
                    family,
                    format!(
                        "config.json names the pretrained weights {}",
                        shortened(tag)
                    ),
                )));
            }
        }
        if let Some((family, hub)) = self
            .hub
            .as_ref()
            .and_then(|hub| Some((family_of_hub(hub)?, hub)))
        {
            return Ok(Some((
                family,
                format!("its Hugging Face id is {}", shortened(hub)),
            )));
        }
        if let Some((family, known)) = official_name(&self.file_name) {
            let sizes = known.is_none_or(|known| {
                known.width == self.geometry.width
                    && known.depth == self.geometry.depth
                    && known.patch == self.geometry.patch
            });
            if sizes {
                return Ok(Some((
                    family,
                    format!(
                        "{} is {}, and its tensors agree",
                        self.file_name,
                        match known {
                            Some(known) => format!("the official file of {}", known.id),
                            None => "named as its official files are".to_owned(),
                        }
                    ),
                )));
            }
        }
        if self.fit.group == "state_dict"
            && matches!(
                self.file_name.as_str(),
                "checkpoint_teacher.pth" | "checkpoint_student.pth"
            )
        {
            return Ok(Some((
                Family::Ibot,
                format!(
                    "{} with a state_dict is what iBOT's extraction writes",
                    self.file_name
                ),
            )));
        }
        if let Some(family) = self.sine_table()? {
            return Ok(Some((
                family,
                "its positions are the sines and cosines that it stores, in its order".to_owned(),
            )));
        }
        if format == Format::Transformers && self.has_tensor(|name| name.contains("pooler.")) {
            return found(
                Family::Supervised,
                "it has a pooler, which the conversions of DINO and MAE leave out",
            );
        }
        Ok(None)
    }

    fn clip_evidence(&self) -> Option<(Family, String)> {
        if self.container.kind == ContainerKind::TorchScript {
            return Some((
                Family::OpenAiClip,
                "it is a TorchScript archive, as OpenAI releases".to_owned(),
            ));
        }
        let tagged = self
            .sidecar
            .as_ref()
            .and_then(|sidecar| sidecar.tag.as_ref())
            .and_then(|tag| {
                Some((
                    family_of_tag(tag)?,
                    format!(
                        "config.json names the pretrained weights {}",
                        shortened(tag)
                    ),
                ))
            });
        let hub = self.hub.as_ref().and_then(|hub| {
            Some((
                family_of_hub(hub)?,
                format!("its Hugging Face id is {}", shortened(hub)),
            ))
        });
        let activation = self.sidecar.as_ref().and_then(|sidecar| {
            let activation = sidecar.activation.as_ref()?;
            let family = if activation == "quick_gelu" {
                Family::OpenAiClip
            } else {
                Family::OpenClip
            };
            Some((
                family,
                format!("{} gives the activation {activation}", sidecar.file),
            ))
        });
        tagged.or(hub).or(activation)
    }

    /// MAE and MoCo v3 store a table of sines and cosines whose halves they order differently.
    fn sine_table(&self) -> Result<Option<Family>, VitError> {
        let (Some(([rows, columns], true)), Some(&index)) =
            (self.geometry.table, self.fit.stem.get("positions"))
        else {
            return Ok(None);
        };
        let width = self.geometry.width;
        if !width.is_multiple_of(4) || rows < 2 || columns < 2 {
            return Ok(None);
        }
        let table = self.container.read(&self.container.tensors[index])?;
        if table[..width].iter().any(|&value| value != 0.0) {
            return Ok(None);
        }
        let quarter = width / 4;
        let fits = |column_first: bool| {
            table[width..]
                .chunks_exact(width)
                .enumerate()
                .all(|(patch, stored)| {
                    let (row, column) = ((patch / columns) as f64, (patch % columns) as f64);
                    let halves = if column_first {
                        [column, row]
                    } else {
                        [row, column]
                    };
                    stored.iter().enumerate().all(|(at, &value)| {
                        let omega = 10000f64.powf(-((at % quarter) as f64) / quarter as f64);
                        let angle = halves[at / (2 * quarter)] * omega;
                        let wanted = if (at / quarter).is_multiple_of(2) {
                            angle.sin()
                        } else {
                            angle.cos()
                        };
                        (f64::from(value) - wanted).abs() < 1e-3
                    })
                })
        };
        Ok(if fits(true) {
            Some(Family::Mae)
        } else if fits(false) {
            Some(Family::MocoV3)
        } else {
            None
        })
    }

    fn mlp(&mut self, family: Family) -> Result<Mlp, VitError> {
        if self.geometry.gated {
            self.decide("activation", "SwiGLU", "its feed-forward tensors are gated");
            return Ok(Mlp::SwiGlu);
        }
        let told = self
            .sidecar
            .as_ref()
            .and_then(|sidecar| Some((sidecar.activation.clone()?, sidecar.file)));
        let (mlp, because) = match told {
            Some((name, file)) => (
                match name.as_str() {
                    "gelu" => Mlp::Gelu,
                    "quick_gelu" => Mlp::QuickGelu,
                    _ => {
                        return Err(self.contradiction(
                            format!("{file} beside it gives the activation {}", shortened(&name)),
                            "only gelu and quick_gelu are known for such tensors".to_owned(),
                        ));
                    }
                },
                format!("{file} says so"),
            ),
            None if family == Family::OpenAiClip => (
                Mlp::QuickGelu,
                "OpenAI's CLIP was trained with it".to_owned(),
            ),
            None => (Mlp::Gelu, format!("{family} was trained with it")),
        };
        self.decide(
            "activation",
            if mlp == Mlp::Gelu {
                "GELU"
            } else {
                "QuickGELU"
            },
            because,
        );
        Ok(mlp)
    }

    fn known(&self, family: Family) -> Option<&'static Known> {
        let g = self.geometry;
        known::find(family, g.width, g.depth, g.patch, g.hidden, g.gated)
    }

    fn heads(&mut self, family: Family) -> Result<usize, VitError> {
        let width = self.geometry.width;
        let certain = self
            .geometry
            .heads
            .map(|(heads, why)| (heads, format!("{why} shows it")))
            .or_else(|| {
                let sidecar = self.sidecar.as_ref()?;
                Some((sidecar.heads?, format!("{} says so", sidecar.file)))
            });
        let (heads, because) = match (certain, self.settle.heads) {
            (Some((heads, why)), Some(told)) if heads != told => {
                return Err(self.contradiction(
                    format!("--heads says {told}"),
                    format!("it has {heads} ({why})"),
                ));
            }
            (Some(certain), _) => certain,
            (None, Some(told)) => (told, "--heads says so".to_owned()),
            (None, None) => {
                if let Some(known) = self.known(family) {
                    (known.heads, format!("its sizes are those of {}", known.id))
                } else if family == Family::OpenAiClip && width.is_multiple_of(64) {
                    (width / 64, "OpenAI's CLIP has heads of 64".to_owned())
                } else {
                    return Err(self.unsettled(
                        format!(
                            "no tensor shows the number of attention heads, and no released {family} model has width {width}, {} blocks and patch {}",
                            self.geometry.depth, self.geometry.patch
                        ),
                        "--heads",
                    ));
                }
            }
        };
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(self.contradiction(
                format!("the number of heads is {heads} ({because})"),
                format!("the width {width} is not a multiple of it"),
            ));
        }
        if self.geometry.table.is_none() && !(width / heads).is_multiple_of(4) {
            return Err(self.contradiction(
                format!("the number of heads is {heads} ({because})"),
                format!(
                    "rotary positions need a head width divisible by 4, not {}",
                    width / heads
                ),
            ));
        }
        self.decide("heads", heads, because);
        Ok(heads)
    }

    fn norm_eps(&mut self, family: Family, format: Format) -> f64 {
        let official = match family {
            Family::OpenClip | Family::OpenAiClip | Family::DinoV3 => 1e-5,
            _ => 1e-6,
        };
        let (eps, because) = if self.settle.numerics == Numerics::Official {
            (official, "the official code uses it".to_owned())
        } else if let Some((eps, file)) = self
            .sidecar
            .as_ref()
            .and_then(|sidecar| Some((sidecar.norm_eps?, sidecar.file)))
            .filter(|(eps, _)| eps.is_finite() && *eps > 0.0)
        {
            (eps, format!("{file} says so"))
        } else if format == Format::Transformers
            && matches!(family, Family::Supervised | Family::Dino | Family::Mae)
        {
            (1e-12, "transformers uses it for this family".to_owned())
        } else {
            (official, format!("the {format} code uses it for {family}"))
        };
        self.decide("norm epsilon", format!("{eps:e}"), because);
        eps
    }

    fn positions(&mut self, family: Family, format: Format) -> Positions {
        let Some((grid, _)) = self.geometry.table else {
            return Positions::Rotary;
        };
        let official = match family {
            Family::Dino | Family::Ibot | Family::Mugs | Family::DinoV2 => Resize::PlainOffset,
            Family::Mae | Family::MocoV3 => Resize::Plain,
            Family::DinoV2Reg
            | Family::Supervised
            | Family::OpenClip
            | Family::OpenAiClip
            | Family::DinoV3
            | Family::Own(_) => Resize::Antialias,
        };
        let (resize, because) = match (self.settle.numerics, format) {
            (Numerics::Official, _) => (official, format!("the official code of {family} does so")),
            (_, Format::Official) => (official, format!("the official code of {family} does so")),
            (_, Format::Timm | Format::Augreg | Format::Own) => {
                (Resize::Antialias, "timm does so".to_owned())
            }
            (_, Format::OpenClip) => (Resize::Antialias, "OpenCLIP does so".to_owned()),
            (_, Format::Transformers) if family == Family::DinoV2Reg => (
                Resize::Antialias,
                "transformers does so for registers".to_owned(),
            ),
            (_, Format::Transformers) => (Resize::Plain, "transformers does so".to_owned()),
        };
        let because = match (family, format) {
            (Family::MocoV3, Format::Official) => {
                "its code has no rule, so MAE's is taken".to_owned()
            }
            (Family::OpenAiClip, Format::Official) => {
                "its code has no rule, so OpenCLIP's is taken".to_owned()
            }
            _ => because,
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
        Positions::Table { grid, resize }
    }

    fn mean_std(&mut self, family: Family, known: Option<&'static Known>) -> ([f64; 3], [f64; 3]) {
        const HALF: ([f64; 3], [f64; 3]) = ([0.5; 3], [0.5; 3]);
        const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
        const CLIP: ([f64; 3], [f64; 3]) = (
            [0.481_454_66, 0.457_827_5, 0.408_210_73],
            [0.268_629_54, 0.261_302_58, 0.275_777_11],
        );
        const SATELLITE: ([f64; 3], [f64; 3]) = ([0.430, 0.411, 0.296], [0.213, 0.156, 0.143]);
        let told = self
            .sidecar
            .as_ref()
            .and_then(|sidecar| Some((sidecar.mean_std?, sidecar.file)));
        let satellite = family == Family::DinoV3
            && [Some(&self.file_name), self.hub.as_ref()]
                .into_iter()
                .flatten()
                .any(|name| name.to_lowercase().contains("sat493m"));
        let (values, because) = if let Some((values, file)) = told {
            (values, format!("{file} says so"))
        } else if satellite {
            (
                SATELLITE,
                "its name says that it was trained on satellite images".to_owned(),
            )
        } else {
            let values = match family {
                Family::Supervised => HALF,
                Family::OpenClip if known.is_some_and(|known| known.id == "openclip-l14") => HALF,
                Family::OpenClip | Family::OpenAiClip => CLIP,
                _ => IMAGENET,
            };
            (values, format!("{family} was trained with it"))
        };
        self.decide(
            "normalization",
            format!("mean {:?}, std {:?}", values.0, values.1),
            because,
        );
        values
    }
}
