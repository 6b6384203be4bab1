//! Measures that are fed batch by batch, merged and stored.

use std::sync::Arc;

use ndarray::{Array2, ArrayView3, Axis};
use numpy::{PyArray1, PyArray2, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArray3, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rayon::prelude::*;
use vitscope_measure::{
    CellCounts, ImageConfusion, Matching, MeasureError, Positions, QualityResampling,
    ResamplingPlan, Tally, TallyParts, cooccurrence, match_to_reference, quality,
};
use vitscope_protocol::{Counts, MapShape};

use crate::errors::{InputError, Told};
use crate::numbers;
use crate::probe::matching;
use crate::work::compute;

/// The pixels of every image of a batch.
fn maps(batch: &ArrayView3<'_, u8>) -> Vec<Vec<u8>> {
    let images = batch.axis_iter(Axis(0));
    images
        .map(|image| image.iter().copied().collect())
        .collect()
}

fn plan(
    grid: (usize, usize),
    images: usize,
    resamples: usize,
    seed: u64,
) -> Result<Option<Arc<ResamplingPlan>>, MeasureError> {
    match images > 0 && resamples > 0 {
        true => ResamplingPlan::new(grid, images, resamples, seed).map(|plan| Some(Arc::new(plan))),
        false => Ok(None),
    }
}

/// Rows of several images, one after the other, and how many each has.
fn to_rows<const N: usize>(images: &[Vec<[u32; N]>]) -> (Array2<u32>, Vec<u64>) {
    let values: Vec<u32> = images.iter().flatten().flatten().copied().collect();
    let rows = Array2::from_shape_vec((values.len() / N, N), values);
    let rows = rows.expect("every row has as many numbers");
    (
        rows,
        images.iter().map(|image| image.len() as u64).collect(),
    )
}

/// The inverse of [`to_rows`].
fn from_rows<const N: usize, T>(
    rows: &PyReadonlyArray2<'_, u32>,
    lengths: &PyReadonlyArray1<'_, u64>,
    read: impl Fn(Vec<[u32; N]>) -> Result<T, MeasureError>,
) -> PyResult<Vec<T>> {
    let (rows, lengths) = (rows.as_array(), lengths.as_array());
    let total = lengths
        .iter()
        .try_fold(0_u64, |total, &length| total.checked_add(length));
    if total != Some(rows.nrows() as u64) || rows.ncols() != N {
        return Err(InputError::new_err(
            "the stored state is damaged: its parts do not fit together",
        ));
    }
    let mut rest = rows.rows().into_iter();
    let mut images = Vec::new();
    for &length in lengths {
        let image = rest.by_ref().take(length as usize);
        let image = image.map(|row| std::array::from_fn(|at| row[at]));
        images.push(read(image.collect()).map_err(Told::told)?);
    }
    Ok(images)
}

/// Confusions of images, and the quality that follows.
#[pyclass(module = "vitscope._vitscope")]
pub struct Segmentation {
    clusters: usize,
    classes: usize,
    matching: Matching,
    resamples: usize,
    seed: u64,
    images: Vec<ImageConfusion>,
}

#[pymethods]
impl Segmentation {
    #[new]
    fn new(
        clusters: usize,
        classes: usize,
        matching_word: &str,
        resamples: usize,
        seed: u64,
    ) -> PyResult<Self> {
        Ok(Self {
            clusters,
            classes,
            matching: matching(matching_word)?,
            resamples,
            seed,
            images: Vec::new(),
        })
    }

    /// Counts label maps beside their ground truth, both `[B, H, W]`.
    fn update(
        &mut self,
        py: Python<'_>,
        labels: PyReadonlyArray3<'_, u8>,
        truth: PyReadonlyArray3<'_, u8>,
    ) -> PyResult<()> {
        let (labels, truth) = (labels.as_array(), truth.as_array());
        let (clusters, classes) = (self.clusters, self.classes);
        let counted = compute(py, || {
            let pairs = maps(&labels).into_par_iter().zip(maps(&truth));
            let counted = pairs.map(|(labels, truth)| {
                let image = ImageConfusion::new(&labels, &truth)?;
                for [label, class, _] in image.to_rows() {
                    check_label("cluster", label, clusters)?;
                    check_label("class", class, classes)?;
                }
                Ok(image)
            });
            counted.collect::<Result<Vec<_>, MeasureError>>()
        })?;
        self.images.extend(counted.map_err(Told::told)?);
        Ok(())
    }

    fn merge(&mut self, other: &Self) {
        self.images.extend(other.images.iter().cloned());
    }

    fn reset(&mut self) {
        self.images.clear();
    }

    fn images(&self) -> usize {
        self.images.len()
    }

    fn compute<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (clusters, classes) = (self.clusters, self.classes);
        let computed = compute(py, || {
            let mut confusion = Array2::<i64>::zeros((clusters, classes));
            for [label, class, pixels] in self.images.iter().flat_map(ImageConfusion::to_rows) {
                confusion[(label as usize, class as usize)] += i64::from(pixels);
            }
            let class_of = self.matching.resolve(confusion.view());
            let plan = plan((1, 1), self.images.len(), self.resamples, self.seed)?;
            let samples = match plan {
                Some(plan) => {
                    let mut resampling = QualityResampling::new(clusters, classes, plan);
                    for (image, confusion) in self.images.iter().enumerate() {
                        resampling.add_confusion(image, confusion)?;
                    }
                    Some(resampling.finish(&class_of))
                }
                None => None,
            };
            Ok((confusion, class_of, samples))
        })?;
        let (confusion, class_of, samples) = computed.map_err(MeasureError::told)?;
        let told = PyDict::new(py);
        told.set_item("images", self.images.len())?;
        let found = quality(confusion.view(), &class_of);
        // One image cannot be resampled into an interval.
        let samples = samples.filter(|_| self.images.len() > 1);
        numbers::quality(&told, &found, samples.as_ref(), &class_of)?;
        told.set_item("confusion", confusion.to_pyarray(py))?;
        Ok(told)
    }

    fn state<'py>(
        &self,
        py: Python<'py>,
    ) -> (Bound<'py, PyArray2<u32>>, Bound<'py, PyArray1<u64>>) {
        let images = self.images.iter().map(|image| image.to_rows().collect());
        let (rows, lengths) = to_rows(&images.collect::<Vec<_>>());
        (rows.to_pyarray(py), lengths.to_pyarray(py))
    }

    fn restore(
        &mut self,
        rows: PyReadonlyArray2<'_, u32>,
        lengths: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<()> {
        let (clusters, classes) = (self.clusters, self.classes);
        self.images = from_rows(&rows, &lengths, |image: Vec<[u32; 3]>| {
            for &[label, class, _] in &image {
                check_label("cluster", label, clusters)?;
                check_label("class", class, classes)?;
            }
            ImageConfusion::from_rows(image)
        })?;
        Ok(())
    }
}

fn check_label(what: &'static str, label: u32, count: usize) -> Result<(), MeasureError> {
    match (label as usize) < count {
        true => Ok(()),
        false => Err(MeasureError::Label {
            what,
            label: label as u8,
            count,
        }),
    }
}

/// Position counts of label maps, and the positional effect that follows.
#[pyclass(module = "vitscope._vitscope")]
pub struct Positional {
    resamples: usize,
    seed: u64,
    tally: Tally,
    cells: Vec<CellCounts>,
}

#[pymethods]
impl Positional {
    #[new]
    fn new(
        clusters: usize,
        grid: (usize, usize),
        patch: usize,
        resamples: usize,
        seed: u64,
    ) -> Self {
        Self {
            resamples,
            seed,
            tally: Tally::new(clusters, 0, grid, patch),
            cells: Vec::new(),
        }
    }

    /// Counts label maps, `[B, H, W]`.
    fn update(&mut self, py: Python<'_>, labels: PyReadonlyArray3<'_, u8>) -> PyResult<()> {
        let labels = labels.as_array();
        let Self { tally, cells, .. } = self;
        compute(py, || {
            let maps = maps(&labels);
            let (grid, patch) = (tally.grid(), tally.patch());
            let counted = maps.par_iter().map(|map| CellCounts::new(map, grid, patch));
            let counted = counted.collect::<Result<Vec<_>, _>>()?;
            tally.add(&maps.concat(), None, Positions::All)?;
            cells.extend(counted);
            Ok(())
        })?
        .map_err(MeasureError::told)
    }

    fn merge(&mut self, other: &Self) -> PyResult<()> {
        self.tally.merge(&other.tally).map_err(Told::told)?;
        self.cells.extend(other.cells.iter().cloned());
        Ok(())
    }

    fn images(&self) -> usize {
        self.cells.len()
    }

    fn compute<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let scores = compute(py, || {
            let (grid, patch) = (self.tally.grid(), self.tally.patch());
            let plan = plan(grid, self.cells.len(), self.resamples, self.seed)?;
            let shape = MapShape { grid, patch };
            let clusters = self.tally.clusters();
            let mut counts = Counts::new(clusters, 0, shape, Positions::All, plan.as_ref());
            counts.tally = self.tally.clone();
            if let Some(resampling) = &mut counts.resampling {
                for (image, cells) in self.cells.iter().enumerate() {
                    resampling.add_counts(image, cells.clone())?;
                }
            }
            counts.finish(Matching::Hungarian)
        })?;
        numbers::scores(py, &scores.map_err(MeasureError::told)?)
    }

    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let parts = self.tally.to_parts();
        let cells = self.cells.iter().map(|cells| cells.to_rows().collect());
        let (rows, lengths) = to_rows(&cells.collect::<Vec<_>>());
        let state = PyDict::new(py);
        state.set_item("images", parts.images)?;
        state.set_item("positions", parts.positions.to_pyarray(py))?;
        state.set_item("cells", rows.to_pyarray(py))?;
        state.set_item("lengths", lengths.to_pyarray(py))?;
        Ok(state)
    }

    fn restore(
        &mut self,
        images: u64,
        positions: PyReadonlyArray1<'_, u32>,
        cells: PyReadonlyArray2<'_, u32>,
        lengths: PyReadonlyArray1<'_, u64>,
    ) -> PyResult<()> {
        let parts = TallyParts {
            images,
            positions: positions.as_array().to_vec(),
            ..self.tally.to_parts()
        };
        self.tally = Tally::from_parts(&parts).map_err(Told::told)?;
        self.cells = from_rows(&cells, &lengths, |rows: Vec<[u32; 4]>| {
            CellCounts::from_rows(rows)
        })?;
        Ok(())
    }
}

/// The cluster of a reference that each cluster stands for, where both labelled the same pixels, `[B, H, W]`; -1 for none.
#[pyfunction]
pub fn match_clusters(
    py: Python<'_>,
    labels: PyReadonlyArray3<'_, u8>,
    reference: PyReadonlyArray3<'_, u8>,
) -> PyResult<Vec<i64>> {
    let (labels, reference) = (labels.as_array(), reference.as_array());
    if labels.dim() != reference.dim() {
        return Err(InputError::new_err(format!(
            "label maps of shape {:?} and {:?} are not of the same pixels",
            labels.dim(),
            reference.dim()
        )));
    }
    let partners = compute(py, || {
        let pairs = labels.iter().copied().zip(reference.iter().copied());
        match_to_reference(cooccurrence(pairs).view())
    })?;
    let partners = partners.into_iter();
    Ok(partners
        .map(|partner| partner.map_or(-1, |partner| partner as i64))
        .collect())
}
