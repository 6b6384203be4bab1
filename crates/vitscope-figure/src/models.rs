//! Models as figures show them: runs that are alike but for their seed are one model, of which
//! figures show every seed's value, their median and their range.

use crate::members::Member;
use crate::theme::{Mark, Paint};

/// One run, or several that differ in the seed alone.
pub(crate) struct ShownModel<'a> {
    /// In the order in which they were given.
    pub(crate) runs: Vec<&'a Member>,
}

impl<'a> ShownModel<'a> {
    /// The run that stands for what has no median, such as a label map.
    pub(crate) fn first(&self) -> &'a Member {
        self.runs[0]
    }

    pub(crate) fn name(&self) -> &'a str {
        &self.first().model
    }
}

/// The models of these runs, in the order of their first runs.
pub(crate) fn models<'a>(members: &[&'a Member]) -> Vec<ShownModel<'a>> {
    let mut models: Vec<ShownModel<'a>> = Vec::new();
    for &member in members {
        let alike = |model: &&mut ShownModel<'_>| model.first().group == member.group;
        match models.iter_mut().find(alike) {
            Some(model) => model.runs.push(member),
            None => models.push(ShownModel { runs: vec![member] }),
        }
    }
    models
}

/// Whether any of them has several seeds.
pub(crate) fn has_seeds(models: &[ShownModel<'_>]) -> bool {
    models.iter().any(|model| model.runs.len() > 1)
}

/// The models' names with their marks.
pub(crate) fn key_of(members: &[&Member]) -> Vec<(String, Mark, Paint)> {
    let models = models(members).into_iter();
    models
        .map(|model| {
            let first = model.first();
            (model.name().to_owned(), first.mark(), first.paint())
        })
        .collect()
}
