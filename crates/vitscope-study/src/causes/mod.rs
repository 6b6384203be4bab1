//! Tests of what position causes, in which no feature is edited (docs/protocol.md section 18).
//!
//! Centroids of every slot are fitted to training images by the protocol and stay. Then each test image is shown to
//! the model again and again: at another place, with other position codes, cut off from class token and registers.
//! What labels do is counted patch by patch. One forward pass of a view serves all slots; what stays of it is one byte per
//! patch and slot.

mod fit;
mod image_labels;
mod kept;
mod look;
mod numbers;
mod settings;
mod view;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;
use vitscope_data::DataSet;
use vitscope_measure::ResamplingPlan;
use vitscope_run::session::default_place;
use vitscope_run::{
    Fixed, Part, Record, RunKind, RunState, Session, Slot, Subject, Table, apart, names, whole,
};
use vitscope_vit::config::Device;
use vitscope_vit::identify::Settle;
use vitscope_vit::shapes::ShapeError;

use self::kept::{CausesState, Storing};
use self::look::ViewLooker;
use self::numbers::Material;
pub use self::numbers::NamedNumber;
pub use self::settings::CausesSettings;
pub use self::view::ImageView;
use self::view::ShiftedGrid;
use crate::error::StudyError;
use crate::model::{Model, Opened};
use crate::observer::Observer;
use crate::source::{Backbone, Source, tapped_kind};
use crate::{record, unedited};

/// What to test, and how.
#[derive(Clone, Debug)]
pub struct CausesRequest {
    /// The checkpoint.
    pub model: PathBuf,
    /// What it leaves open.
    pub settle: Settle,
    /// The data set, as the user names it.
    pub data: String,
    /// The run directory; `runs/MODEL-DATA-causes` unless set.
    pub out: Option<PathBuf>,
    /// The settings.
    pub settings: CausesSettings,
    /// Whether to continue what is there.
    pub resume: bool,
}

/// A finished run.
#[derive(Debug)]
pub struct CausesOutcome {
    /// Its directory.
    pub run: PathBuf,
    /// The numbers of every slot, by their names in `metrics.csv`.
    pub slots: Vec<(Slot, Vec<NamedNumber>)>,
    /// Those of the ground truth; empty without one.
    pub truth: Vec<NamedNumber>,
    /// Holds the run until its figures exist.
    pub session: Session,
}

impl CausesOutcome {
    /// Slots whose labels follow the place, or in views that assign codes the code, more than the content: the interval
    /// of `place_lean` lies above 0.
    #[must_use]
    pub fn leaning(&self, view: ImageView) -> Vec<Slot> {
        let name = numbers::name_of("place_lean", view);
        let leans = |(own, measured): &NamedNumber| {
            *own == name && measured.interval.is_some_and(|(low, _)| low > 0.0)
        };
        let slots = self.slots.iter();
        let slots = slots.filter(|(_, numbers)| numbers.iter().any(leans));
        slots.map(|&(slot, _)| slot).collect()
    }
}

/// Runs every test that says something about a model, and writes its run directory.
///
/// # Errors
/// One sentence; what was stored before stays, and `resume` continues from it.
pub fn causes(
    request: &CausesRequest,
    observer: &mut dyn Observer,
) -> Result<CausesOutcome, StudyError> {
    let settings = &request.settings;
    check(request)?;
    let data = DataSet::open(&request.data)?;
    let clusters = settings.clusters(&data)?;
    let model = Model::Checkpoint(request.model.clone(), request.settle.clone());
    let (source, opened) = model.open(settings.size, &settings.layers, &settings.facets)?;
    let Source::Backbone(backbone) = source else {
        return Err(StudyError::Internal(
            "a checkpoint without a backbone".into(),
        ));
    };
    let grid = ShiftedGrid {
        side: opened.grid[0],
        shift: settings.shift(opened.grid[0])?,
    };
    let [train, test] = images(&data, request)?;
    let place = || default_place(&[&opened.stem, data.kind.name(), "causes"]);
    let run = request.out.clone().unwrap_or_else(place);
    apart(
        &run,
        &[data.folders(&whole(&run)), vec![request.model.clone()]].concat(),
    )?;
    let mut record = describe(request, &data, &opened, [train, test], clusters);
    let session = Session::begin(&run, &record, request.resume)?;
    if session.complete().is_some() {
        return stored(session);
    }
    let stamps = data.stamps(train, test)?;
    unedited::check(&run, &stamps)?;
    record.data.contents = stamps.contents();
    record.times = session.earlier_times();
    for note in &record.notes {
        observer.note(note);
    }
    let work = CausesJob {
        settings,
        data: &data,
        opened: &opened,
        backbone: &backbone,
        grid,
        images: [train, test],
        clusters,
    };
    let counted = work.count(&run, &mut record, observer);
    if matches!(counted, Err(StudyError::Interrupted { .. })) {
        session.interrupt(&mut record)?;
    }
    let (slots, truth) = counted?;
    unedited::check_again(&run, &stamps, &data.stamps(train, test)?)?;
    write_metrics(&session, &record, &slots, &truth)?;
    session.set(&mut record, RunState::Complete)?;
    Ok(CausesOutcome {
        run,
        slots,
        truth,
        session,
    })
}

/// The numbers of every slot, and of the ground truth.
type SlotsAndTruth = (Vec<(Slot, Vec<NamedNumber>)>, Vec<NamedNumber>);

/// What the passes work on.
struct CausesJob<'a> {
    settings: &'a CausesSettings,
    data: &'a DataSet,
    opened: &'a Opened,
    backbone: &'a Backbone,
    grid: ShiftedGrid,
    /// Training and test images.
    images: [usize; 2],
    clusters: usize,
}

impl CausesJob<'_> {
    /// Fits centroids, labels every view and counts.
    fn count(
        &self,
        run: &Path,
        record: &mut Record,
        observer: &mut dyn Observer,
    ) -> Result<SlotsAndTruth, StudyError> {
        let (settings, opened, grid) = (self.settings, self.opened, self.grid);
        let [train, test] = self.images;
        let config = self.backbone.vit().config();
        let views = ImageView::of(config.positions, config.prefix());
        let kind = |slot: &Slot| {
            let kind = tapped_kind(*slot, config.depth, settings.token_norm, settings.rope);
            (slot.layer, kind)
        };
        let kinds = opened.slots.iter().map(kind).collect();
        let looker = ViewLooker::new(
            self.backbone,
            self.data,
            &opened.slots,
            kinds,
            grid,
            settings.seed,
        );
        let kept = CausesState {
            run,
            fingerprint: &record.fingerprint(),
            shape: [views.len(), opened.slots.len(), grid.side * grid.side],
            has_truth: self.data.has_truth(),
        };
        let fitting = Instant::now();
        let codebooks = fit::codebooks(&looker, train, self.clusters, settings, &kept, observer);
        add_time(record, "fit_secs", fitting);
        let codebooks = codebooks?;
        let labeling = Instant::now();
        let storing = Storing::new(&kept, &codebooks);
        let images = looker.labels(test, &views, &codebooks, storing, observer);
        add_time(record, "label_secs", labeling);
        let images = images?;
        let counting = Instant::now();
        let (side, resamples) = ((grid.side, grid.side), settings.resamples);
        let plan = ResamplingPlan::new(side, test, resamples, settings.seed)?;
        let material = Material {
            images: &images,
            views: &views,
            grid,
            seed: settings.seed,
            clusters: self.clusters,
            classes: match self.data.has_truth() {
                true => self.data.classes.len(),
                false => 0,
            },
            plan: Arc::new(plan),
        };
        let slots = opened.slots.par_iter().enumerate();
        let slots: Result<Vec<_>, StudyError> = slots
            .map(|(index, &slot)| Ok((slot, material.of_slot(index)?)))
            .collect();
        let counted = (slots?, material.of_truth()?);
        add_time(record, "count_secs", counting);
        Ok(counted)
    }
}

/// Adds what a part of the work took to what it took before the run was stopped.
fn add_time(record: &mut Record, name: &str, since: Instant) {
    let secs = since.elapsed().as_secs_f64();
    *record.times.entry(name.to_owned()).or_insert(0.0) += secs;
}

/// What a run came to that is complete, from its directory.
fn stored(session: Session) -> Result<CausesOutcome, StudyError> {
    let nothing = || StudyError::Internal("a run that is not complete".to_owned());
    let run = session.complete().ok_or_else(nothing)?;
    let mut slots: Vec<(Slot, Vec<NamedNumber>)> = Vec::new();
    let mut truth = Vec::new();
    for row in run.metrics.rows() {
        let named = (row.metric.clone(), row.measured);
        match row.subject {
            Subject::GroundTruth => truth.push(named),
            Subject::Slot(slot) => match slots.iter_mut().find(|(own, _)| *own == slot) {
                Some((_, numbers)) => numbers.push(named),
                None => slots.push((slot, vec![named])),
            },
            Subject::Layer(_) => {}
        }
    }
    Ok(CausesOutcome {
        run: run.root.clone(),
        slots,
        truth,
        session,
    })
}

/// What is known to be impossible before anything is read.
fn check(request: &CausesRequest) -> Result<(), StudyError> {
    if request.settle.device != Device::Cpu {
        let what = "tests of what position causes";
        return Err(ShapeError::CpuOnly { what }.into());
    }
    if request.settings.resamples < 2 {
        return Err(StudyError::setting(
            "`resamples` must be at least 2, since the numbers are told with intervals",
        ));
    }
    Ok(())
}

/// Training and test images that are used.
fn images(data: &DataSet, request: &CausesRequest) -> Result<[usize; 2], StudyError> {
    let settings = &request.settings;
    let train = data.train.len().min(settings.limit_train);
    let test = data.test.len().min(settings.limit_test);
    for (count, what) in [(train, "training"), (test, "test")] {
        if count == 0 {
            return Err(StudyError::setting(format!(
                "{}: has no {what} images, expected at least one: centroids are fitted to training images, and test \
                 images are labeled",
                request.data
            )));
        }
    }
    Ok([train, test])
}

fn write_metrics(
    session: &Session,
    record: &Record,
    slots: &[(Slot, Vec<NamedNumber>)],
    truth: &[NamedNumber],
) -> Result<(), StudyError> {
    let model = &record.model;
    let mut table = Table::new(&model.name, &model.family, &model.size);
    let mut add = |subject: Subject, numbers: &[NamedNumber]| {
        for (name, measured) in numbers {
            table.add(
                subject,
                name,
                Part::Whole,
                measured.value,
                measured.interval,
            );
        }
    };
    add(Subject::GroundTruth, truth);
    for (slot, numbers) in slots {
        add(Subject::Slot(*slot), numbers);
    }
    Ok(table.write(&session.run().join(names::METRICS))?)
}

/// The record of the run that is asked for.
fn describe(
    request: &CausesRequest,
    data: &DataSet,
    opened: &Opened,
    [train, test]: [usize; 2],
    clusters: usize,
) -> Record {
    let notes = opened.notes.iter().chain(data.notes()).cloned().collect();
    let fixed = Fixed {
        settings: serde_json::to_value(&request.settings).unwrap_or_default(),
        model: opened.record.clone(),
        data: record::of_data(data, train, test),
        clusters,
        grid: opened.grid,
        size: opened.geometry.size,
        seed: request.settings.seed,
        threads: rayon::current_num_threads(),
    };
    Record::new(RunKind::Causes, &request.data, fixed, notes)
}
