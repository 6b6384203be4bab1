//! Zero-shot semantic correspondence of every slot on SPair-71k (docs/protocol.md section 10).
//!
//! Each photograph of a category goes through the backbone once. First the embeddings at all
//! keypoints are sampled, then every target photograph is searched for all the keypoints that pairs
//! look for in it. Photographs that do not fit into the memory budget go through the backbone a
//! second time; that changes no number.

mod photos;
mod search;
mod settings;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use vitscope_data::pairs::{CATEGORIES, Pair, PairSet};
use vitscope_measure::Pck;
use vitscope_run::session::default_place;
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Fixed, Part, Record, RunKind, RunState, Session, Slot, Subject, apart, names};
use vitscope_vit::facet::Taps;
use vitscope_vit::identify::Settle;

use self::photos::PhotoJob;
use self::settings::at_alpha;
pub use self::settings::{CorrespondSettings, Fit};
use crate::error::StudyError;
use crate::model::{Model, Opened};
use crate::observer::Observer;
use crate::source::{Source, tapped_kind};
use crate::{record, unedited};

/// What to run.
#[derive(Clone, Debug)]
pub struct CorrespondRequest {
    /// The checkpoint.
    pub model: PathBuf,
    /// What it leaves open.
    pub settle: Settle,
    /// The directory of SPair-71k, with or without `spair71k:` before it.
    pub data: String,
    /// The run directory; `runs/MODEL-spair71k` unless set.
    pub out: Option<PathBuf>,
    /// The settings.
    pub settings: CorrespondSettings,
    /// Whether to continue what is there.
    pub resume: bool,
}

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

/// Compares the keypoints of every pair and writes the run directory.
///
/// # Errors
/// One sentence; what was stored before stays, and `resume` continues from it.
pub fn correspond(
    request: &CorrespondRequest,
    observer: &mut dyn Observer,
) -> Result<CorrespondOutcome, StudyError> {
    let settings = &request.settings;
    settings.check()?;
    let set = PairSet::open(&request.data, settings.split, settings.layout)?;
    let limit = settings.limit_pairs.unwrap_or(usize::MAX);
    let pairs = &set.pairs[..set.pairs.len().min(limit)];
    let points: usize = pairs.iter().map(|pair| pair.target.points.len()).sum();
    if points == 0 {
        return Err(StudyError::setting(
            "no pair with keypoints is left to compare",
        ));
    }
    let model = Model::Checkpoint(request.model.clone(), request.settle.clone());
    let (source, opened) = model.open(settings.size, &settings.layers, &settings.facets)?;
    let Source::Backbone(mut backbone) = source else {
        return Err(StudyError::Internal("a checkpoint gave no backbone".into()));
    };
    let place = || default_place(&[&opened.stem, "spair71k"]);
    let run = request.out.clone().unwrap_or_else(place);
    apart(&run, &[&set.root, &request.model])?;
    let mut record = describe(request, &set, pairs, &opened);
    let session = Session::begin(&run, &record, request.resume)?;
    if session.complete().is_some() {
        return stored(session, settings);
    }
    let stamps = set.stamps(pairs.len())?;
    unedited::check(&run, &stamps)?;
    record.data.contents = stamps.contents();
    record.times = session.earlier_times();
    for note in &record.notes {
        observer.note(note);
    }
    let job = PhotoJob {
        settings,
        opened: &opened,
        taps: taps(&opened, settings),
        run: &run,
        fingerprint: record.fingerprint(),
    };
    let begun = match request.resume {
        true => search::restore(&job, points)?,
        false => None,
    };
    let result = search::search(
        &job,
        &mut backbone,
        (pairs, points),
        begun,
        &mut record,
        observer,
    );
    if matches!(result, Err(StudyError::Interrupted { .. })) {
        session.interrupt(&mut record)?;
    }
    let matches = result?;
    let measured = write::measure(&job, pairs, &matches)?;
    let slots = opened.slots.iter().zip(&measured);
    let slots: Vec<SlotPck> = slots
        .map(|(&slot, by_alpha)| SlotPck {
            slot,
            pck: by_alpha[0].clone(),
        })
        .collect();
    record.selection = write::best_layers(&slots);
    write::write_metrics(&job, &record, &measured)?;
    write::write_pairs(&job, pairs, &matches)?;
    record.examples = write::write_examples(&job, &mut backbone, pairs, &matches)?;
    unedited::check_again(&run, &stamps, &set.stamps(pairs.len())?)?;
    session.set(&mut record, RunState::Complete)?;
    Ok(CorrespondOutcome {
        counts: [pairs.len(), points],
        slots,
        selection: record.selection,
        session,
        run,
    })
}

/// What the forward pass hands out.
fn taps(opened: &Opened, settings: &CorrespondSettings) -> Taps {
    let mut taps = Taps::new();
    for &slot in &opened.slots {
        let depth = opened.record.depth;
        let kind = tapped_kind(slot, depth, settings.token_norm, settings.rope);
        taps.add(slot.layer, kind);
    }
    taps
}

/// What a run came to that is complete, from its directory.
fn stored(
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

/// The record of the run that is asked for.
fn describe(request: &CorrespondRequest, set: &PairSet, pairs: &[Pair], opened: &Opened) -> Record {
    let settings = &request.settings;
    let notes = opened.notes.iter().chain(set.notes()).cloned().collect();
    let fixed = Fixed {
        settings: serde_json::to_value(settings).unwrap_or_default(),
        model: opened.record.clone(),
        data: record::of_pairs(&set.root, pairs),
        clusters: 0,
        grid: opened.grid,
        size: opened.geometry.size,
        seed: 0,
        threads: rayon::current_num_threads(),
    };
    Record::new(RunKind::Correspond, &request.data, fixed, notes)
}
