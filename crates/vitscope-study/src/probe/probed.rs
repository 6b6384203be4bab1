//! What probes see of a reading: the reading, and what is done to it (docs/protocol.md section 15).

use vitscope_probe::{ProbeError, Transform};
use vitscope_protocol::CheckedProtocol;

use crate::error::StudyError;
use crate::model::Opened;
use crate::settings::Settings;
use crate::transforms::StoredTransforms;

/// What is done to a reading. Runs that have one in common share what is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadingEdit {
    /// The transform, never none.
    pub(crate) transform: Transform,
    /// The seed of one that draws.
    pub(crate) seed: Option<u64>,
    /// The list of images that it is fitted on, among those of the job.
    pub(crate) sample: usize,
}

/// A reading of a pass as a probe sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Probed {
    /// Its number in the pass.
    pub(crate) reading: usize,
    /// What is done to it.
    pub(crate) edit: Option<ReadingEdit>,
}

/// What a run does to its readings. The images that a transform is fitted on are those that the start sees,
/// each once; they are found among `samples`, or put there.
pub(crate) fn reading_edit(
    opened: &Opened,
    samples: &mut Vec<Vec<usize>>,
    settings: &Settings,
    protocol: &CheckedProtocol,
    train: usize,
) -> Result<Option<ReadingEdit>, StudyError> {
    if settings.transform == Transform::None {
        return Ok(None);
    }
    let order = protocol.order(train).map_err(StudyError::Protocol)?;
    let images = protocol.start_images(&order).into_iter();
    let images: Vec<usize> = images.map(|(image, _)| image).collect();
    let grid = (opened.grid[0], opened.grid[1]);
    let transform = settings.transform;
    for &width in &opened.widths {
        // Now, and not after a pass over the images.
        let refused = |problem: ProbeError| StudyError::setting(format!("`transform`: {problem}"));
        transform.allowed(grid, width).map_err(refused)?;
        let needed = transform.fewest_images(grid, width);
        if images.len() < needed && settings.transform_from.is_none() {
            return Err(refused(ProbeError::TooFewImages {
                transform,
                needed,
                images: images.len() as u64,
            }));
        }
    }
    if let Some(run) = &settings.transform_from {
        let mut stored = StoredTransforms::of(run.as_ref())?;
        let sizes = (opened.grid, opened.geometry.size);
        let sides = (settings.token_norm, settings.rope);
        stored.check(&opened.record, sizes, sides)?;
        for (&slot, &width) in opened.slots.iter().zip(&opened.widths) {
            stored.slot(slot, width)?;
        }
    }
    let known = samples.iter().position(|other| *other == images);
    if known.is_none() {
        samples.push(images);
    }
    Ok(Some(ReadingEdit {
        transform,
        seed: matches!(transform, Transform::Random(..)).then_some(settings.seed),
        sample: known.unwrap_or(samples.len() - 1),
    }))
}
