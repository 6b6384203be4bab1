//! The tensors of a run directory: counts, bootstrap samples and codebooks.

use std::path::Path;

use ndarray::{Array2, Array3};
use safetensors::tensor::{Dtype, TensorView};
use vitscope_protocol::Scores;
use vitscope_run::{Slot, Subject, names, tensors};

use crate::error::StudyError;
use crate::settings::{SaveCounts, Settings};

/// A tensor of one of these files.
///
/// # Errors
/// When bytes and shape contradict one another.
pub(super) fn tensor<'a>(
    path: &Path,
    dtype: Dtype,
    shape: &[usize],
    bytes: &'a [u8],
) -> Result<TensorView<'a>, StudyError> {
    TensorView::new(dtype, shape.to_vec(), bytes)
        .map_err(|error| StudyError::file(path, format!("cannot be written: {error}")))
}

/// Writes how often each cluster stands where, and how often it meets each class.
///
/// # Errors
/// When the disk refuses.
pub(super) fn write_counts(
    run: &Path,
    settings: &Settings,
    slots: &[Slot],
    done: &[Scores],
    truth: Option<&Scores>,
) -> Result<(), StudyError> {
    let path = run.join(names::COUNTS);
    let mut positions: Vec<(String, &Array3<u32>)> = Vec::new();
    let mut confusions: Vec<(String, &Array2<i64>)> = Vec::new();
    for (slot, done) in slots.iter().zip(done) {
        positions.push((
            names::positions(Subject::Slot(*slot)),
            saved(settings, done),
        ));
        if done.confusion.ncols() > 0 {
            confusions.push((names::confusion(*slot), &done.confusion));
        }
    }
    if let Some(truth) = truth {
        let name = names::positions(Subject::GroundTruth);
        positions.push((name, saved(settings, truth)));
    }
    let mut tensors = Vec::new();
    for (name, counts) in &positions {
        let bytes = bytemuck::cast_slice(contiguous(counts.as_slice()));
        tensors.push((
            name.clone(),
            tensor(&path, Dtype::U32, counts.shape(), bytes)?,
        ));
    }
    for (name, counts) in &confusions {
        let bytes = bytemuck::cast_slice(contiguous(counts.as_slice()));
        tensors.push((
            name.clone(),
            tensor(&path, Dtype::I64, counts.shape(), bytes)?,
        ));
    }
    Ok(tensors::write(&path, tensors, None)?)
}

/// Writes the bootstrap samples of mIoU; without any there is no file.
///
/// # Errors
/// When the disk refuses.
pub(super) fn write_samples(run: &Path, slots: &[Slot], done: &[Scores]) -> Result<(), StudyError> {
    let path = run.join(names::SAMPLES);
    let values: Vec<(String, Vec<f64>)> = slots
        .iter()
        .zip(done)
        .filter_map(|(&slot, done)| {
            let samples = done.quality_samples.as_ref()?.miou.iter();
            let samples = samples.map(|miou| miou.unwrap_or(f64::NAN));
            Some((names::miou_samples(slot), samples.collect()))
        })
        .collect();
    if values.is_empty() {
        return Ok(());
    }
    let mut tensors = Vec::new();
    for (name, values) in &values {
        let bytes = bytemuck::cast_slice(values);
        let shape = [values.len()];
        tensors.push((name.clone(), tensor(&path, Dtype::F64, &shape, bytes)?));
    }
    Ok(tensors::write(&path, tensors, None)?)
}

/// The position counts that are stored.
fn saved<'a>(settings: &Settings, scores: &'a Scores) -> &'a Array3<u32> {
    match settings.save_counts {
        SaveCounts::Pixel => &scores.position_pixel,
        SaveCounts::Grid => &scores.position_grid,
    }
}

/// Counts are made in standard layout, so their elements lie side by side.
pub(super) fn contiguous<T>(elements: Option<&[T]>) -> &[T] {
    elements.expect("counts are in standard layout")
}

/// Writes the unit centroids of every slot and, once it is known, the class of each cluster.
///
/// # Errors
/// When the disk refuses.
pub(super) fn write_codebooks(
    run: &Path,
    slots: &[Slot],
    codebooks: &[Array2<f32>],
    matches: Option<&Vec<&[Option<usize>]>>,
) -> Result<(), StudyError> {
    let path = run.join(names::CODEBOOKS);
    let books: Vec<Vec<f32>> = codebooks
        .iter()
        .map(|book| book.iter().copied().collect())
        .collect();
    let classes: Vec<Vec<i64>> = matches
        .into_iter()
        .flatten()
        .map(|of| {
            of.iter()
                .map(|class| class.map_or(-1, |class| class as i64))
                .collect()
        })
        .collect();
    let mut tensors = Vec::new();
    for ((slot, book), values) in slots.iter().zip(codebooks).zip(&books) {
        let bytes = bytemuck::cast_slice(values);
        tensors.push((
            slot.to_string(),
            tensor(&path, Dtype::F32, book.shape(), bytes)?,
        ));
    }
    for (slot, values) in slots.iter().zip(&classes) {
        let bytes = bytemuck::cast_slice(values);
        let shape = [values.len()];
        tensors.push((
            names::matches(*slot),
            tensor(&path, Dtype::I64, &shape, bytes)?,
        ));
    }
    Ok(tensors::write(&path, tensors, None)?)
}
