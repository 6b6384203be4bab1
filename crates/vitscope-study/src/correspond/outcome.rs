//! What a run of `correspond` came to.

use std::collections::BTreeMap;
use std::path::PathBuf;

use vitscope_data::pairs::CATEGORIES;
use vitscope_measure::Pck;
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Part, Session, Slot, Subject, names};

use super::settings::{CorrespondSettings, at_alpha};
use crate::error::StudyError;

/// What is said of one slot, at the first threshold.
#[derive(Clone, Debug)]
pub struct SlotPck {
    /// The slot.
    pub slot: Slot,
    /// Shares of correct keypoints.
    pub pck: Pck,
}

/// A finished run.
#[derive(Debug)]
pub struct CorrespondOutcome {
    /// Its directory.
    pub run: PathBuf,
    /// The same at work, to be tidied once the figures exist.
    pub session: Session,
    /// Pairs and keypoints compared.
    pub counts: [usize; 2],
    /// Per slot.
    pub slots: Vec<SlotPck>,
    /// The best layer of each facet.
    pub selection: BTreeMap<String, usize>,
}

/// What a run came to that is complete, from its directory.
pub(super) fn stored(
    session: Session,
    settings: &CorrespondSettings,
) -> Result<CorrespondOutcome, StudyError> {
    let nothing = || StudyError::Internal("a run that is not complete".to_owned());
    let run = session.complete().ok_or_else(nothing)?;
    let named = |metric| at_alpha(metric, settings.alphas[0]);
    let of_slot = |subject| match subject {
        Subject::Slot(slot) => {
            let category = |index| run.metrics.part(subject, &named("pck"), Part::Index(index));
            let categories = (0..CATEGORIES.len()).map(category);
            let pck = Pck {
                per_point: run.metrics.value(subject, &named("pck")),
                per_pair: run.metrics.value(subject, &named("pck_image")),
                per_category: categories.map(|measured| measured?.value).collect(),
            };
            Some(SlotPck { slot, pck })
        }
        _ => None,
    };
    let mut slots: Vec<SlotPck> = run.metrics.subjects().filter_map(of_slot).collect();
    slots.sort_by_key(|summary| (summary.slot.layer, summary.slot.facet));
    let path = run.root.join(names::PAIR_TENSORS);
    let lost = |problem: &dyn std::fmt::Display| {
        StudyError::file(
            &path,
            format!("cannot be read ({problem}): remove the folder of its run and make that again"),
        )
    };
    let pairs = TensorFile::open(&path, lost)?.ok_or_else(|| lost(&"it is missing"))?;
    let points = pairs.shape("pair").and_then(|shape| shape.first().copied());
    Ok(CorrespondOutcome {
        run: run.root.clone(),
        counts: [run.record.data.test, points.unwrap_or(0)],
        slots,
        selection: run.record.selection.clone(),
        session,
    })
}
