//! Locality bias and attention pictures of every layer, over a whole data set (docs/protocol.md section 9).
//!
//! One forward pass per batch. The attention weights of a layer are looked at as soon as they exist
//! and then overwritten by the next layer's: what stays is one number per image, layer and head, one
//! `[N, N]` sum per layer, and the rows that were asked for.

mod localities;
mod meter;
mod settings;
mod watch;
mod write;

use std::path::PathBuf;
use std::time::Instant;

use vitscope_data::{DataSet, Split};
use vitscope_run::session::default_place;
use vitscope_run::{
    Fixed, Measured, Part, Record, RunKind, RunState, Session, Subject, apart, limits, whole,
};
use vitscope_vit::identify::Settle;

pub use self::localities::{LayerSummary, Localities};
pub(crate) use self::meter::LocalityMeter;
pub use self::settings::{AttentionSettings, PatchQuery};
pub(crate) use self::watch::{BESIDE, batch, localities};
use self::write::KeptRows;
pub(crate) use self::write::write_beside;
use crate::error::StudyError;
use crate::model::{Model, Opened};
use crate::observer::Observer;
use crate::{record, unedited};

/// What to measure, and how.
#[derive(Clone, Debug)]
pub struct AttentionRequest {
    /// The checkpoint.
    pub model: PathBuf,
    /// What it leaves open.
    pub settle: Settle,
    /// The data set, as the user names it.
    pub data: String,
    /// The run directory; `runs/MODEL-DATA-attention` unless set.
    pub out: Option<PathBuf>,
    /// The settings.
    pub settings: AttentionSettings,
    /// Whether to continue what is there.
    pub resume: bool,
}

/// A finished run.
#[derive(Debug)]
pub struct AttentionOutcome {
    /// Its directory.
    pub run: PathBuf,
    /// The same at work, to be tidied once the figures exist.
    pub session: Session,
    /// Per layer.
    pub layers: Vec<LayerSummary>,
}

/// Measures the locality bias of every layer and draws its attention.
///
/// # Errors
/// One sentence; what was stored before stays, and `resume` continues from it.
pub fn attention(
    request: &AttentionRequest,
    observer: &mut dyn Observer,
) -> Result<AttentionOutcome, StudyError> {
    let settings = &request.settings;
    let data = DataSet::open(&request.data)?;
    let model = Model::Checkpoint(request.model.clone(), request.settle.clone());
    let (mut source, opened) = model.open(settings.size, &settings.layers, &[])?;
    let layers = settings
        .layers
        .resolve(opened.record.depth)
        .map_err(StudyError::Setting)?;
    check_grid(opened.grid)?;
    crate::settings::check_resamples(settings.resamples)?;
    let images = data.split(settings.split);
    let count = images.len().min(settings.limit.unwrap_or(usize::MAX));
    let queries =
        watch::find_queries(&settings.queries, &data, settings.split, count, opened.grid)?;
    let place = || default_place(&[&opened.stem, data.kind.name(), "attention"]);
    let run = request.out.clone().unwrap_or_else(place);
    apart(
        &run,
        &[data.folders(&whole(&run)), vec![request.model.clone()]].concat(),
    )?;
    let mut record = describe(request, &data, &opened, count);
    let session = Session::begin(&run, &record, request.resume)?;
    if session.complete().is_some() {
        return stored(session);
    }
    let stamps = data.stamps(record.data.train, record.data.test)?;
    unedited::check(&run, &stamps)?;
    record.data.contents = stamps.contents();
    record.times = session.earlier_times();
    for note in &record.notes {
        observer.note(note);
    }
    let mut watcher = watch::Watcher {
        observer,
        run: &run,
        fingerprint: record.fingerprint(),
        done: 0,
        saved: Instant::now(),
        localities: LocalityMeter::new(localities(&opened, &layers)),
        queries,
        columns: opened.grid[1],
        rows: KeptRows::new(),
    };
    if request.resume {
        watcher.restore()?;
    }
    let result = watch::pass(
        &mut source,
        &opened,
        &data,
        settings,
        count,
        &mut watcher,
        &mut record,
    );
    let watch::Watcher {
        localities, rows, ..
    } = watcher;
    if let Err(error) = result {
        if matches!(error, StudyError::Interrupted { .. }) {
            session.interrupt(&mut record)?;
        }
        return Err(error);
    }
    let writing = Instant::now();
    let localities = localities.into_counted()?;
    let layers = localities.finish(settings.resamples, settings.seed);
    write::write_metrics(&run, &record, &layers)?;
    write::write_tensors(&run, &localities, &rows, opened.grid)?;
    write::draw(&run, &localities, &rows, &opened, &data, settings)?;
    let secs = writing.elapsed().as_secs_f64();
    record.times.insert("write_secs".to_owned(), secs);
    let now = data.stamps(record.data.train, record.data.test)?;
    unedited::check_again(&run, &stamps, &now)?;
    session.set(&mut record, RunState::Complete)?;
    Ok(AttentionOutcome {
        run,
        session,
        layers,
    })
}

/// Refuses a grid whose matrices no run may hold.
///
/// # Errors
/// A sentence.
pub(crate) fn check_grid([rows, columns]: [usize; 2]) -> Result<(), StudyError> {
    let patches = rows.saturating_mul(columns);
    let bytes = patches
        .saturating_mul(patches)
        .saturating_mul(size_of::<f32>());
    if bytes > limits::LARGE_TENSOR_BYTES {
        return Err(StudyError::setting(format!(
            "attention between {rows} x {columns} patches takes {:.1} GiB a layer, and a run may hold 4: choose a smaller `size`",
            bytes as f64 / (1u64 << 30) as f64
        )));
    }
    Ok(())
}

/// What a run came to that is complete, from its directory.
fn stored(session: Session) -> Result<AttentionOutcome, StudyError> {
    let nothing = || StudyError::Internal("a run that is not complete".to_owned());
    let metrics = &session.complete().ok_or_else(nothing)?.metrics;
    let summary = |layer: usize| {
        let subject = Subject::Layer(layer);
        let head = |head| metrics.part(subject, "locality_head", Part::Index(head));
        LayerSummary {
            layer,
            whole: metrics.whole(subject, "locality").unwrap_or_default(),
            heads: (0..).map_while(head).collect::<Vec<Measured>>(),
        }
    };
    Ok(AttentionOutcome {
        run: session.run().to_owned(),
        layers: metrics.layers(None).into_iter().map(summary).collect(),
        session,
    })
}

/// The record of the run that is asked for.
fn describe(request: &AttentionRequest, data: &DataSet, opened: &Opened, count: usize) -> Record {
    let settings = &request.settings;
    let [train, test] = match settings.split {
        Split::Train => [count, 0],
        Split::Test => [0, count],
    };
    let notes = opened.notes.iter().chain(data.notes()).cloned().collect();
    let fixed = Fixed {
        settings: serde_json::to_value(settings).unwrap_or_default(),
        model: opened.record.clone(),
        data: record::of_data(data, train, test),
        clusters: 0,
        grid: opened.grid,
        size: opened.geometry.size,
        seed: settings.seed,
        threads: rayon::current_num_threads(),
    };
    Record::new(RunKind::Attention, &request.data, fixed, notes)
}
