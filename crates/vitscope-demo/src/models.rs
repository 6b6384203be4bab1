//! The built-in models: three tiny Vision Transformers of one architecture, trained on scenes of this
//! generator by `tools/demo_models`, which says how and for how long.

use std::path::{Path, PathBuf};

use vitscope_run::files::write_inside;

use crate::error::DemoError;
use crate::files;

/// A built-in model.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// What its files and runs are called.
    pub name: &'static str,
    /// What it was trained for, in a few words.
    pub objective: &'static str,
    /// Its weights in timm's names, f16 safetensors.
    pub weights: &'static [u8],
    /// Its description, as for any own model: what tensors cannot tell.
    pub description: &'static str,
}

// Statics, since a constant of 1.4 MB lies in the program once for each place that names it.

/// Learned to paint what is hidden.
pub static MASKED: BuiltIn = BuiltIn {
    name: "masked",
    objective: "masked autoencoder",
    weights: include_bytes!("../models/masked.safetensors"),
    description: include_str!("../models/masked.toml"),
};

/// Learned to tell scenes, and places in them, apart.
pub static CONTRASTIVE: BuiltIn = BuiltIn {
    name: "contrastive",
    objective: "contrast between scenes, and between places in them",
    weights: include_bytes!("../models/contrastive.safetensors"),
    description: include_str!("../models/contrastive.toml"),
};

/// Learned to say of a view with holes what its own running mean says of another, and to paint the holes.
/// In between it learned from the contrastive model.
pub static DISTILLED: BuiltIn = BuiltIn {
    name: "distilled",
    objective: "self-distilled with hidden patches, and for a while taught by the contrastive model",
    weights: include_bytes!("../models/distilled.safetensors"),
    description: include_str!("../models/distilled.toml"),
};

impl BuiltIn {
    /// All, in the order in which they are shown.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        [&MASKED, &CONTRASTIVE, &DISTILLED].into_iter()
    }
}

/// Writes the built-in models into a folder that is not there yet: `NAME.toml`, which stands wherever a
/// MODEL is asked for, and `NAME.safetensors`.
///
/// # Errors
/// When the folder is there, or the disk refuses.
pub fn write_models(root: &Path) -> Result<(), DemoError> {
    files::folder(root, |root| {
        for model in BuiltIn::all() {
            write_inside(
                &root.join(format!("{}.safetensors", model.name)),
                model.weights,
            )?;
            write_inside(
                &root.join(format!("{}.toml", model.name)),
                model.description.as_bytes(),
            )?;
        }
        Ok(())
    })
}

impl BuiltIn {
    /// Its description in a folder of [`write_models`].
    #[must_use]
    pub fn path(&self, root: &Path) -> PathBuf {
        root.join(format!("{}.toml", self.name))
    }
}
