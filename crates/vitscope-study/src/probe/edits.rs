//! The transforms of a job at work: they stand between a source and a visitor, who is shown every reading as probes see
//! it (docs/protocol.md section 15).

use vitscope_probe::FittedTransform;
use vitscope_protocol::Site;
use vitscope_vit::vit::{AttentionWeights, Rows};

use crate::device;
use crate::error::StudyError;
use crate::job::Job;
use crate::source::{Seen, Source, Visitor};

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

    /// Where the stages run that are given what an [`Editor`] shows: transforms are the host's.
    pub(crate) fn site(&self, source: &Source) -> Result<Site, StudyError> {
        match self.any() {
            true => Ok(Site::host()),
            false => device::site(source),
        }
    }

    /// Stands before a visitor, who is to be shown every probed reading of a pass, by its number.
    pub(crate) fn before<'v>(&'v self, visitor: &'v mut dyn Visitor) -> Editor<'v> {
        Editor {
            edits: self,
            visitor,
        }
    }
}

/// Stands between a source and a visitor.
pub(crate) struct Editor<'a> {
    edits: &'a Edits<'a>,
    visitor: &'a mut dyn Visitor,
}

impl Editor<'_> {
    /// Whom a source shows its readings: the visitor itself where every reading is probed as it is, under its own
    /// number.
    pub(crate) fn shown(&mut self) -> &mut dyn Visitor {
        match self.edits.any() {
            true => self,
            false => self.visitor,
        }
    }
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
        weights: &AttentionWeights<'_>,
        seen: &Seen,
    ) -> Result<(), StudyError> {
        self.visitor.attention(layer, weights, seen)
    }

    fn batch(&mut self, seen: &Seen, last: bool) -> Result<(), StudyError> {
        self.visitor.batch(seen, last)
    }
}
