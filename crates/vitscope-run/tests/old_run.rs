//! A run directory that commit ca02c40 wrote, before this crate existed, still opens: `probe --features` of
//! four planted images of two layers' keys, 20 steps.

use std::path::PathBuf;

use vitscope_run::tensors::TensorFile;
use vitscope_run::{Facet, Part, Run, RunError, RunKind, RunState, Select, Slot, Subject, names};

fn old() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/old/probe")
}

#[test]
fn record_and_numbers_are_read() {
    let run = Run::finished(&old()).unwrap();
    let record = &run.record;
    assert_eq!(
        (record.kind, record.state),
        (RunKind::Probe, RunState::Complete)
    );
    assert_eq!(record.model.name, "planted");
    assert_eq!((record.grid, record.size, record.clusters), ([2, 2], 16, 2));
    assert_eq!((record.data.train, record.data.test), (4, 4));
    assert_eq!(record.examples, ["i0"]);
    assert_eq!(record.settings["steps"], 20);
    assert!(
        record
            .settings_that_count()
            .all(|(name, _)| name != "threads")
    );
    let key = Subject::slot(Facet::Key, 2);
    assert_eq!(run.selected(Facet::Key, Select::BestMiou), Some(2));
    assert_eq!(run.selected(Facet::Key, Select::Layer(1)), Some(1));
    assert_eq!(run.metrics.layers(Some(Facet::Key)), [1, 2]);
    let miou = run.metrics.value(key, "miou").unwrap();
    let of_classes = [0, 1].map(|class| run.metrics.part(key, "iou", Part::Index(class)));
    let of_classes = of_classes.map(|iou| iou.unwrap().value.unwrap());
    assert!((miou - of_classes.iter().sum::<f64>() / 2.0).abs() < 1e-12);
    let excess = run.metrics.whole(key, "nmi_excess").unwrap();
    assert!(excess.interval.is_some());
}

#[test]
fn what_is_written_again_has_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let run = Run::open(&old()).unwrap();
    run.record.write(dir.path()).unwrap();
    let bytes = |root: &std::path::Path| std::fs::read(root.join(names::RECORD)).unwrap();
    assert_eq!(bytes(dir.path()), bytes(&old()));
    let model = &run.record.model;
    let mut table = vitscope_run::Table::new(&model.name, &model.family, &model.size);
    for row in run.metrics.rows() {
        let (value, interval) = (row.measured.value, row.measured.interval);
        table.add(row.subject, &row.metric, row.part, value, interval);
    }
    table.write(&dir.path().join(names::METRICS)).unwrap();
    let bytes = |root: &std::path::Path| std::fs::read(root.join(names::METRICS)).unwrap();
    assert_eq!(bytes(dir.path()), bytes(&old()));
}

#[test]
fn codebooks_and_counts_are_read() {
    let wrong = |problem: &dyn std::fmt::Display| RunError::Internal(problem.to_string());
    let slot = Slot {
        facet: Facet::Key,
        layer: 1,
    };
    let path = old().join(names::CODEBOOKS);
    let mut books = TensorFile::open(&path, wrong).unwrap().unwrap();
    let book = books.read(&slot.to_string()).unwrap().unwrap();
    assert_eq!(book.shape, [2, 4]);
    for row in book.f32s().chunks(4) {
        let norm: f32 = row.iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
    let matches = books.read(&names::matches(slot)).unwrap().unwrap().i64s();
    assert_eq!(matches.len(), 2);
    let path = old().join(names::COUNTS);
    let mut counts = TensorFile::open(&path, wrong).unwrap().unwrap();
    let confusion = counts.read(&names::confusion(slot)).unwrap().unwrap();
    assert_eq!(confusion.i64s().iter().sum::<i64>(), 4 * 16 * 16);
    let truth = counts
        .read(&names::positions(Subject::GroundTruth))
        .unwrap();
    assert_eq!(truth.unwrap().shape, [2, 2, 2]);
}
