//! What the main job is asked for.

use std::path::PathBuf;

use crate::model::Model;
use crate::settings::Settings;

/// What to run.
#[derive(Clone, Debug)]
pub struct ProbeRequest {
    /// The model.
    pub model: Model,
    /// The data set, as the user names it.
    pub data: String,
    /// The run directory, or the folder of several; `runs/MODEL-DATA` unless set.
    pub out: Option<PathBuf>,
    /// The settings.
    pub settings: Settings,
    /// Whether to continue what is there.
    pub resume: bool,
    /// A run of the same settings, or the folder of several, whose training is taken over.
    pub trained: Option<PathBuf>,
}
