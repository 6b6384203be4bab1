//! A checkpoint: what it is, told from its headers alone, and its weights on request.

use std::path::{Path, PathBuf};

use half::bf16;
use serde::Serialize;

use crate::{
    config::{Config, PositionEncoding},
    container::{Container, Dtype},
    dialect,
    dialect::{
        assemble,
        assignment::Assignment,
        fit::fit,
        own,
        sizes::{Sizes, sizes},
    },
    error::VitError,
    files,
    identify::{Decision, Identity, Numerics, Observed, Settle, decide},
    params::Params,
    provenance::{hub_id, official_name},
    says::{ImageSettings, Says, WrittenBy},
};

pub use crate::dialect::{assignment::Role, draft::Draft};

/// A recognized checkpoint: of one of the known families, or described by its user.
///
/// ```
/// use vitscope_vit::checkpoint::Checkpoint;
/// use vitscope_vit::identify::{Family, Settle};
///
/// # let file = vitscope_testkit::fixture("dino-timm/model.safetensors");
/// // Three blocks of width 16 under timm's names, which do not tell their heads.
/// let settle = Settle {
///     family: Some(Family::Dino),
///     heads: Some(2),
///     ..Settle::default()
/// };
/// let checkpoint = Checkpoint::open(&file, &settle)?;
/// assert_eq!((checkpoint.config().depth, checkpoint.config().width), (3, 16));
///
/// // Every tensor is accounted for, and every decision has its reason.
/// let report = checkpoint.tensors();
/// assert_eq!(report.used(), report.tensors.len());
/// let mut decisions = checkpoint.identity().decisions.iter();
/// assert!(decisions.any(|decision| decision.what == "heads" && decision.value == "2"));
///
/// // Only now are weights read.
/// assert_eq!(checkpoint.params()?.blocks.len(), 3);
/// # Ok::<(), vitscope_vit::error::VitError>(())
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    container: Container,
    assigned: Assignment,
    sizes: Sizes,
    config: Config,
    identity: Identity,
    tensors: TensorReport,
    numerics: Numerics,
    rope_base: f64,
}

/// One tensor of a checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct TensorEntry {
    /// Its name in the file; the name of a pickle's root entry comes first, before a slash.
    pub name: String,
    /// Its extent along each axis.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: Dtype,
    /// What it is for.
    pub role: Role,
}

/// Every tensor of a checkpoint, in file order, none left out.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct TensorReport {
    /// The tensors.
    pub tensors: Vec<TensorEntry>,
}

impl TensorReport {
    /// How many tensors the backbone uses.
    #[must_use]
    pub fn used(&self) -> usize {
        self.tensors
            .iter()
            .filter(|tensor| matches!(tensor.role, Role::Used(_)))
            .count()
    }
}

/// Drafts the description of a checkpoint, to be kept in `folder`: a TOML file that opens as an
/// own model once its user has completed it. `backbone` names the network, where there are several.
///
/// # Errors
///
/// The checkpoint cannot be read.
pub fn draft(path: &Path, folder: &Path, backbone: Option<&str>) -> Result<Draft, VitError> {
    let container = Container::open(&files::weights(path, None)?)?;
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (path, folder) = (whole(path), whole(folder));
    let weights = match path.strip_prefix(&folder) {
        Ok(inside) if inside.as_os_str().is_empty() => Path::new("."),
        Ok(inside) => inside,
        Err(_) => &path,
    };
    Ok(dialect::draft::draft(&container, weights, backbone))
}

impl Checkpoint {
    /// Opens a file, or a folder as hubs lay it out, and tells what it is. Reads headers only
    /// (and the position table, where nothing else tells MAE from MoCo v3). A `.toml` file is
    /// the description of an own model, which names its weights.
    ///
    /// # Errors
    ///
    /// One sentence for whatever stands in the way: an unreadable or damaged file, tensors that
    /// fit no known naming, or something that only the user can settle.
    pub fn open(path: &Path, settle: &Settle) -> Result<Self, VitError> {
        let own = path.extension().is_some_and(|ending| ending == "toml");
        let description = own.then(|| own::ModelDescription::read(path)).transpose()?;
        let (weights, format) = match &description {
            Some(description) => (description.weights.as_path(), None),
            None => (path, settle.format),
        };
        let mut container = Container::open(&files::weights(weights, format)?)?;
        let assigned = match &description {
            Some(description) => own::fit(&mut container, description)?,
            None => fit(&container, settle.backbone.as_deref())?,
        };
        let (says, images) = match description {
            Some(description) => (Some(description.says), None),
            None => beside(path, &assigned)?,
        };
        let sizes = sizes(&container, &assigned, says.as_ref())?;
        let found = decide(
            &Observed {
                path,
                container: &container,
                assigned: &assigned,
                sizes: &sizes,
                says: says.as_ref(),
                images: images.as_ref(),
                hub: hub_id(path).or_else(|| says.as_ref().and_then(|says| says.hub.clone())),
                file_name: file_name(&container.files[0].path),
            },
            settle,
        )?;
        let tensors = TensorReport {
            tensors: container
                .tensors
                .iter()
                .zip(&assigned.roles)
                .map(|(tensor, role)| TensorEntry {
                    name: tensor.full_name(),
                    shape: tensor.shape.clone(),
                    dtype: tensor.dtype,
                    role: role.clone(),
                })
                .collect(),
        };
        Ok(Self {
            container,
            assigned,
            sizes,
            config: found.config,
            identity: found.identity,
            tensors,
            numerics: settle.numerics,
            rope_base: found.rope_base,
        })
    }

    /// The architecture.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What the checkpoint is, and how each point was decided.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What was decided although others might decide otherwise: worth telling without being asked.
    pub fn notes(&self) -> impl Iterator<Item = &Decision> {
        self.identity
            .decisions
            .iter()
            .filter(|decision| decision.noted)
    }

    /// Every tensor and what it is for.
    #[must_use]
    pub fn tensors(&self) -> &TensorReport {
        &self.tensors
    }

    /// The files that hold the weights.
    #[must_use]
    pub fn files(&self) -> &[PathBuf] {
        &self.identity.files
    }

    /// Reads the weights as f32, every linear map as `[inputs, outputs]`. Needs little memory
    /// beside its result.
    ///
    /// # Errors
    ///
    /// A file cannot be read or has changed since [`Checkpoint::open`], or a weight is not a finite float.
    pub fn params(&self) -> Result<Params, VitError> {
        let periods = match self.config.positions {
            PositionEncoding::Rotary if !self.assigned.stem.contains_key("periods") => Some(
                periods(self.config.head_width(), self.rope_base, self.numerics),
            ),
            _ => None,
        };
        let params = assemble::params(&self.container, &self.assigned, &self.sizes, periods)?;
        for file in &self.container.files {
            file.unchanged()?;
        }
        Ok(params)
    }
}

/// What the config files beside some weights say of the network, and of its images.
///
/// An official file is what its name says, so that a config file beside it is another model's.
fn beside(
    path: &Path,
    assigned: &Assignment,
) -> Result<(Option<Says>, Option<ImageSettings>), VitError> {
    let folder = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new("."))
    };
    if official_name(&file_name(path)).is_some() {
        return Ok((None, None));
    }
    let writers: &[WrittenBy] = match assigned.naming.name {
        "open_clip" => &[WrittenBy::OpenClip],
        name if name.starts_with("transformers") => &[WrittenBy::Transformers],
        "augreg" => &[],
        _ if assigned.prefix.contains("visual.") => &[WrittenBy::OpenClip, WrittenBy::Timm],
        _ => &[WrittenBy::Timm],
    };
    let says = Says::beside(folder, writers)?;
    let images = ImageSettings::beside(folder)?;
    Ok((says, images.filter(|_| assigned.naming.name != "augreg")))
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Rotary periods `base^(4 j / d)`, `j < d / 4`, for heads of width `d`. The official code keeps
/// them in bfloat16 and so computes with the rounded values.
fn periods(head_width: usize, base: f64, numerics: Numerics) -> Vec<f32> {
    (0..head_width / 4)
        .map(|j| base.powf(4.0 * j as f64 / head_width as f64) as f32)
        .map(|period| match numerics {
            Numerics::Source => period,
            Numerics::Official => bf16::from_f32(period).to_f32(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_follow_their_formula() {
        let exact = periods(64, 100.0, Numerics::Source);
        assert_eq!(exact.len(), 16);
        assert_eq!(exact[0], 1.0);
        assert!((exact[8] - 10.0).abs() < 1e-6);
        let rounded = periods(64, 100.0, Numerics::Official);
        assert_ne!(exact[1], rounded[1]);
        assert!((exact[1] / rounded[1] - 1.0).abs() < 1.0 / 256.0);
    }
}
