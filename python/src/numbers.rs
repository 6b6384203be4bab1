//! Numbers as Python's: a dictionary under the names of `metrics.csv`, `None` where a number is undefined.

use numpy::{PyArray1, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use vitscope_measure::{PositionalTest, Quality, QualitySamples, sample_interval};
use vitscope_protocol::Scores;

/// Segmentation quality; `class_of` holds -1 for a cluster without a class.
pub fn quality<'py>(
    to: &Bound<'py, PyDict>,
    quality: &Quality,
    samples: Option<&QualitySamples>,
    class_of: &[Option<usize>],
) -> PyResult<()> {
    let py = to.py();
    to.set_item("miou", quality.miou)?;
    let interval = samples.and_then(|samples| sample_interval(&samples.miou));
    to.set_item("miou_low", interval.map(|interval| interval.0))?;
    to.set_item("miou_high", interval.map(|interval| interval.1))?;
    to.set_item("accuracy", quality.accuracy)?;
    let iou = quality.iou.iter().map(|iou| iou.unwrap_or(f64::NAN));
    to.set_item("iou", PyArray1::from_iter(py, iou))?;
    let classes = class_of
        .iter()
        .map(|class| class.map_or(-1, |class| class as i64));
    to.set_item("class_of", PyArray1::from_iter(py, classes))
}

/// The positional effect beyond chance; an interval takes more than one image.
fn test(to: &Bound<'_, PyDict>, test: Option<&PositionalTest>, images: u64) -> PyResult<()> {
    let nmi = test.and_then(|test| test.nmi);
    let interval = nmi.filter(|_| images > 1);
    to.set_item("nmi_null", nmi.map(|nmi| nmi.null_mean))?;
    to.set_item("nmi_excess", nmi.map(|nmi| nmi.excess))?;
    to.set_item("nmi_excess_low", interval.map(|nmi| nmi.low))?;
    to.set_item("nmi_excess_high", interval.map(|nmi| nmi.high))?;
    to.set_item("nmi_z", nmi.and_then(|nmi| nmi.z))
}

/// Everything measured.
pub fn scores<'py>(py: Python<'py>, scores: &Scores) -> PyResult<Bound<'py, PyDict>> {
    let told = PyDict::new(py);
    told.set_item("images", scores.images)?;
    if let Some(found) = &scores.quality {
        let samples = scores.quality_samples.as_ref();
        let samples = samples.filter(|_| scores.has_interval());
        quality(&told, found, samples, &scores.class_of)?;
        told.set_item("confusion", scores.confusion.to_pyarray(py))?;
    }
    told.set_item("nmi", scores.positional.nmi)?;
    told.set_item("mi", scores.positional.mi)?;
    told.set_item("entropy", scores.positional.entropy)?;
    told.set_item("class_mi", scores.positional.class_mi.to_pyarray(py))?;
    told.set_item("nmi_grid", scores.positional_grid.nmi)?;
    test(&told, scores.test.as_ref(), scores.images)?;
    if let Some(usage) = &scores.usage {
        told.set_item("clusters_used", usage.used)?;
        told.set_item("largest_cluster", usage.largest)?;
        told.set_item("clusters_dead", usage.dead)?;
        told.set_item("collapsed", usage.is_collapsed())?;
    }
    told.set_item("position", scores.position_grid.to_pyarray(py))?;
    Ok(told)
}
