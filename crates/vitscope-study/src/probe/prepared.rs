//! What a probing job is made of: a data set and a model, opened and looked over.

use vitscope_data::DataSet;
use vitscope_run::{Select, Skipped};

use crate::error::StudyError;
use crate::model::{Opened, check_counts};
use crate::observer::Observer;
use crate::probe::request::ProbeRequest;
use crate::screen::screen;
use crate::settings::Settings;
use crate::source::Source;
use crate::variants::Vary;

/// What a request names, opened and looked over.
pub(crate) struct Prepared {
    pub(crate) data: DataSet,
    pub(crate) opened: Opened,
    pub(crate) layers: Vec<usize>,
    pub(crate) skipped: Vec<Skipped>,
}

impl Prepared {
    /// Opens the data set and the model, and refuses what does not go together.
    pub(crate) fn open(
        request: &ProbeRequest,
        vary: &Vary,
        observer: &mut dyn Observer,
    ) -> Result<(Source, Self), StudyError> {
        let common = &request.settings;
        for variant in vary.variants(common)? {
            variant.settings.check()?;
        }
        let data = DataSet::open(&request.data)?;
        if common.readers && !data.has_truth() {
            return Err(StudyError::setting(format!(
                "`readers` are given labels, and {} has none: leave `readers` out, or give masks",
                request.data
            )));
        }
        let (source, opened) = request
            .model
            .open(common.size, &common.layers, &common.facets)?;
        check_counts(&source, &data, [common.limit_train, common.limit_test])?;
        let layers = common.layers.resolve(opened.record.depth);
        let layers = layers.map_err(StudyError::Setting)?;
        check_source(&source, common, vary)?;
        check_selection(common.select, &opened)?;
        let (data, skipped) = leave_out_bad(data, common, &opened, observer)?;
        let prepared = Self {
            data,
            opened,
            layers,
            skipped,
        };
        Ok((source, prepared))
    }
}

/// Refuses what a feature directory cannot give.
fn check_source(source: &Source, settings: &Settings, vary: &Vary) -> Result<(), StudyError> {
    if matches!(source, Source::Backbone(_)) {
        return Ok(());
    }
    for variant in vary.variants(settings)? {
        variant.settings.check_features()?;
    }
    if vary.of("token_norm").len() > 1 {
        return Err(StudyError::setting(
            "`token-norm` both needs a model: a feature directory holds one reading of the last token",
        ));
    }
    Ok(())
}

fn check_selection(select: Select, opened: &Opened) -> Result<(), StudyError> {
    match select {
        Select::Layer(layer) if opened.slots.iter().all(|slot| slot.layer != layer) => {
            Err(StudyError::setting(format!(
                "`select` layer:{layer}: this run looks at no layer {layer}; the model has {}",
                opened.record.depth
            )))
        }
        _ => Ok(()),
    }
}

/// Applies `--skip-bad`, where it was asked for.
fn leave_out_bad(
    data: DataSet,
    settings: &Settings,
    opened: &Opened,
    observer: &mut dyn Observer,
) -> Result<(DataSet, Vec<Skipped>), StudyError> {
    if settings.skip_bad == 0 {
        return Ok((data, Vec::new()));
    }
    let used = [settings.limit_train, settings.limit_test];
    let used = used.map(|limit| limit.unwrap_or(usize::MAX));
    screen(data, opened.geometry, used, settings.skip_bad, observer)
}
