//! Zero-shot semantic correspondence of every slot on SPair-71k (docs/protocol.md section 10).
//!
//! Each photograph of a category goes through the backbone once. First the embeddings at all
//! keypoints are sampled, then every target photograph is searched for all the keypoints that pairs
//! look for in it. Photographs that do not fit into the memory budget go through the backbone a
//! second time; that changes no number.

#[cfg(feature = "cuda")]
mod card;
mod finder;
mod host;
mod outcome;
mod photos;
mod search;
mod settings;
mod write;

use std::path::PathBuf;

use vitscope_data::pairs::{Pair, PairSet};
use vitscope_run::session::default_place;
use vitscope_run::{Fixed, Record, RunKind, RunState, Session, apart};
use vitscope_vit::facet::Taps;
use vitscope_vit::identify::Settle;

use self::outcome::stored;
pub use self::outcome::{CorrespondOutcome, SlotPck};
use self::photos::PhotoJob;
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
    write::check_examples(settings.examples, pairs, opened.slots.len())?;
    let place = || default_place(&[&opened.stem, "spair71k"]);
    let run = request.out.clone().unwrap_or_else(place);
    apart(&run, &[set.root.clone(), request.model.clone()])?;
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
