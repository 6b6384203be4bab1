//! Readings as probes see them: as they are, or edited by a transform (docs/protocol.md section 15).

use ndarray::ArrayView4;
use vitscope_probe::{FittedTransform, ProbeError, Transform};
use vitscope_protocol::{CheckedProtocol, Site};
use vitscope_run::Slot;
use vitscope_vit::vit::Rows;

use crate::device;
use crate::error::StudyError;
use crate::job::Job;
use crate::settings::{Settings, TransformFit};
use crate::source::{Pass, PassTimes, Seen, Source, Turn, Visitor};
use crate::transforms::StoredTransforms;

/// What is done to a reading. Runs that have one in common share what is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
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
    pub(crate) edit: Option<Edit>,
}

impl Job<'_> {
    /// What a run does to its readings. The images that a transform is fitted on are those that the start sees,
    /// each once.
    pub(crate) fn edit(
        &mut self,
        settings: &Settings,
        protocol: &CheckedProtocol,
        train: usize,
    ) -> Result<Option<Edit>, StudyError> {
        if settings.transform == Transform::None {
            return Ok(None);
        }
        let order = protocol.order(train).map_err(StudyError::Protocol)?;
        let images = protocol.start_images(&order).into_iter();
        let images: Vec<usize> = images.map(|(image, _)| image).collect();
        let grid = (self.opened.grid[0], self.opened.grid[1]);
        let transform = settings.transform;
        for &width in &self.opened.widths {
            // Now, and not after a pass over the images.
            let refused =
                |problem: ProbeError| StudyError::setting(format!("`transform`: {problem}"));
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
            let sizes = (self.opened.grid, self.opened.geometry.size);
            let sides = (settings.token_norm, settings.rope);
            stored.check(&self.opened.record, sizes, sides)?;
            for (&slot, &width) in self.opened.slots.iter().zip(&self.opened.widths) {
                stored.slot(slot, width)?;
            }
        }
        let known = self.samples.iter().position(|other| *other == images);
        if known.is_none() {
            self.samples.push(images);
        }
        Ok(Some(Edit {
            transform,
            seed: matches!(transform, Transform::Random(..)).then_some(settings.seed),
            sample: known.unwrap_or(self.samples.len() - 1),
        }))
    }

    /// Images that transforms are fitted on, each as often as it is seen.
    pub(crate) fn fitting_images(&self) -> u64 {
        let turns = match self.common.transform_fit {
            TransformFit::Train => 1,
            TransformFit::Neutral => Turn::ALL.len(),
        };
        let mut images = self.samples.concat();
        images.sort_unstable();
        images.dedup();
        (images.len() * turns) as u64
    }

    /// The fewest images that every transform of the job can be fitted on.
    pub(crate) fn fewest_images(&self) -> usize {
        let grid = (self.opened.grid[0], self.opened.grid[1]);
        let needed = self.probed.iter().zip(&self.probed_widths);
        let needed = needed
            .filter_map(|(probed, &width)| Some(probed.edit?.transform.fewest_images(grid, width)));
        needed.max().unwrap_or(0)
    }

    /// The slot of a probed reading.
    pub(crate) fn slot_of(&self, probed: usize) -> Slot {
        self.readings[self.probed[probed].reading].slot
    }
}

/// The transforms of a job, each for a probed reading by its number.
pub(crate) struct Edits<'a> {
    job: &'a Job<'a>,
    fitted: Vec<Option<FittedTransform>>,
}

impl<'a> Edits<'a> {
    /// One for every probed reading that is edited.
    pub(crate) fn new(job: &'a Job<'a>, fitted: Vec<Option<FittedTransform>>) -> Self {
        Self { job, fitted }
    }

    /// The transform of a probed reading, where it has one.
    pub(crate) fn of(&self, probed: usize) -> Option<&FittedTransform> {
        self.fitted.get(probed)?.as_ref()
    }

    fn any(&self) -> bool {
        self.fitted.iter().any(Option::is_some)
    }

    /// Where the stages run that are given what [`run`](Self::run) shows: transforms are the host's.
    pub(crate) fn site(&self, source: &Source) -> Result<Site, StudyError> {
        match self.any() {
            true => Ok(Site::host()),
            false => device::site(source),
        }
    }

    /// Shows every probed reading of every image of a pass to a visitor, by its number.
    pub(crate) fn run(
        &self,
        source: &mut Source,
        pass: &Pass<'_>,
        visitor: &mut dyn Visitor,
        times: &mut PassTimes,
    ) -> Result<(), StudyError> {
        match self.any() {
            true => {
                let mut editor = Editor {
                    edits: self,
                    visitor,
                };
                source.run(pass, &mut editor, times)
            }
            // Every reading is probed as it is, under its own number.
            false => source.run(pass, visitor, times),
        }
    }
}

/// Stands between a source and a visitor.
struct Editor<'a> {
    edits: &'a Edits<'a>,
    visitor: &'a mut dyn Visitor,
}

impl Visitor for Editor<'_> {
    fn reading(&mut self, reading: usize, rows: &Rows<'_>, seen: &Seen) -> Result<(), StudyError> {
        let job = self.edits.job;
        let host = rows.host()?;
        for (number, probed) in job.probed.iter().enumerate() {
            if probed.reading != reading || !self.visitor.wants(number) {
                continue;
            }
            match &self.edits.fitted[number] {
                None => self
                    .visitor
                    .reading(number, &Rows::Host(host.view()), seen)?,
                Some(fitted) => {
                    let edited = fitted.apply(host.view()).map_err(job.slot_error(number))?;
                    let edited = Rows::Host(edited.view());
                    self.visitor.reading(number, &edited, seen)?;
                }
            }
        }
        Ok(())
    }

    fn attention_layers(&self) -> Vec<usize> {
        self.visitor.attention_layers()
    }

    fn attention(
        &mut self,
        layer: usize,
        weights: ArrayView4<'_, f32>,
        seen: &Seen,
    ) -> Result<(), StudyError> {
        self.visitor.attention(layer, weights, seen)
    }

    fn batch(&mut self, seen: &Seen, last: bool) -> Result<(), StudyError> {
        self.visitor.batch(seen, last)
    }
}
