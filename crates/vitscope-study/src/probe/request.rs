//! What the main job is asked for.

use std::path::PathBuf;

use crate::error::StudyError;
use crate::model::Model;
use crate::settings::Settings;
use crate::transforms::StoredTransforms;
use crate::variants::Vary;
use vitscope_probe::Transform;

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

impl ProbeRequest {
    /// The request with the transform of the run that `transform-from` names.
    ///
    /// # Errors
    /// A sentence, where that run has none, or another one is asked for as well.
    pub(crate) fn settled(&self, vary: &Vary) -> Result<Self, StudyError> {
        let mut request = self.clone();
        let Some(run) = &self.settings.transform_from else {
            return Ok(request);
        };
        let own = StoredTransforms::of(run.as_ref())?.transform;
        let asked = self.settings.transform;
        if vary.of("transform").len() > 1 || (asked != Transform::None && asked != own) {
            return Err(StudyError::setting(format!(
                "{run}: holds the transform {own}: leave out `transform`, or `transform-from`"
            )));
        }
        request.settings.transform = own;
        Ok(request)
    }
}
