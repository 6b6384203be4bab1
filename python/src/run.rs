//! Run directories, read, drawn again and set side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, RecordBatchIterator, StringArray,
};
use arrow_schema::ArrowError;
use ndarray::{Array2, ArrayD, IxDyn};
use numpy::{PyArray2, PyArrayDyn, ToPyArray};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use vitscope_figure::{CompareOptions, DrawOptions, ImageChoice, Look, Select};
use vitscope_run::tensors::{Stored, TensorFile};
use vitscope_run::{COLUMNS, Row, Run, RunError, Subject, names};
use vitscope_study::artifacts::Finding;
use vitscope_study::compare::{CompareRequest, compare};

use crate::errors::{DataError, InputError, Told};
use crate::work::{compute, watched};

/// Rows of a run's `metrics.csv`, ready for Arrow.
#[pyclass(frozen, module = "vitscope")]
pub struct Metrics {
    rows: Vec<Row>,
}

fn broken(error: &ArrowError) -> PyErr {
    PyRuntimeError::new_err(format!("the table cannot be handed over: {error}"))
}

/// The columns of `metrics.csv`: text as it stands there, layers as whole numbers, empty fields as null.
fn columns(rows: &[Row]) -> Result<RecordBatch, ArrowError> {
    let text = |at: usize| -> ArrayRef {
        let fields = rows.iter().map(|row| row.fields[at].as_str());
        Arc::new(StringArray::from_iter(
            fields.map(|field| (!field.is_empty()).then_some(field)),
        ))
    };
    let layers = rows.iter().map(|row| match row.subject {
        Subject::Slot(slot) => Some(slot.layer as i64),
        Subject::Layer(layer) => Some(layer as i64),
        Subject::GroundTruth => None,
    });
    let layers: ArrayRef = Arc::new(Int64Array::from_iter(layers));
    let numbers = |pick: &dyn Fn(&Row) -> Option<f64>| -> ArrayRef {
        Arc::new(Float64Array::from_iter(rows.iter().map(pick)))
    };
    let columns: [ArrayRef; COLUMNS.len()] = [
        text(0),
        text(1),
        text(2),
        layers,
        text(4),
        text(5),
        text(6),
        numbers(&|row| row.measured.value),
        numbers(&|row| row.measured.interval.map(|interval| interval.0)),
        numbers(&|row| row.measured.interval.map(|interval| interval.1)),
    ];
    RecordBatch::try_from_iter_with_nullable(
        COLUMNS
            .into_iter()
            .zip(columns)
            .map(|(name, column)| (name, column, true)),
    )
}

#[pymethods]
impl Metrics {
    /// The table as an Arrow C stream.
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A consumer casts what it wants in another type; the protocol allows a producer to leave that to it.
        drop(requested_schema);
        let batch = columns(&self.rows).map_err(|error| broken(&error))?;
        let schema = batch.schema();
        let batches = RecordBatchIterator::new([Ok(batch)], schema);
        let stream = FFI_ArrowArrayStream::new(Box::new(batches));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }

    fn __len__(&self) -> usize {
        self.rows.len()
    }

    /// The rows of one number, one facet, one layer; `part` none for every row, "" for those of the whole.
    #[pyo3(signature = (metric=None, facet=None, layer=None, part=None))]
    fn select(
        &self,
        metric: Option<&str>,
        facet: Option<&str>,
        layer: Option<usize>,
        part: Option<&str>,
    ) -> Self {
        let is = |field: &String, wanted: Option<&str>| wanted.is_none_or(|wanted| field == wanted);
        let layer = layer.map(|layer| layer.to_string());
        let rows = self.rows.iter().filter(|row| {
            is(&row.fields[3], layer.as_deref())
                && is(&row.fields[4], facet)
                && is(&row.metric, metric)
                && is(&row.fields[6], part)
        });
        Self {
            rows: rows.cloned().collect(),
        }
    }

    /// The columns of text: those that are no numbers, by name.
    fn texts(&self) -> BTreeMap<&'static str, Vec<String>> {
        let texts = [0, 1, 2, 3, 4, 5, 6].map(|at| {
            let fields = self.rows.iter().map(|row| row.fields[at].clone());
            (COLUMNS[at], fields.collect())
        });
        texts.into()
    }

    /// Value, low and high end of every row.
    fn numbers(&self) -> Vec<(Option<f64>, Option<f64>, Option<f64>)> {
        let numbers = self.rows.iter().map(|row| {
            let (low, high) = row.measured.interval.unzip();
            (row.measured.value, low, high)
        });
        numbers.collect()
    }
}

/// A tensor of a run as an array of its own.
fn array<'py>(
    py: Python<'py>,
    path: &Path,
    name: &str,
    stored: &Stored,
) -> PyResult<Bound<'py, PyAny>> {
    fn shaped<T>(values: Vec<T>, shape: &[usize]) -> Option<ArrayD<T>> {
        ArrayD::from_shape_vec(IxDyn(shape), values).ok()
    }
    let shape = &stored.shape;
    let array = match format!("{:?}", stored.dtype).as_str() {
        "F32" => shaped(stored.f32s(), shape)
            .map(|array| PyArrayDyn::from_owned_array(py, array).into_any()),
        "I64" => shaped(stored.i64s(), shape)
            .map(|array| PyArrayDyn::from_owned_array(py, array).into_any()),
        "U32" => shaped(stored.u32s(), shape)
            .map(|array| PyArrayDyn::from_owned_array(py, array).into_any()),
        "F64" => shaped(stored.f64s(), shape)
            .map(|array| PyArrayDyn::from_owned_array(py, array).into_any()),
        _ => None,
    };
    array.ok_or_else(|| {
        DataError::new_err(format!(
            "{}: tensor {name} is {:?} of shape {shape:?}, which no run holds",
            path.display(),
            stored.dtype
        ))
    })
}

/// A run directory, opened: its metrics, the text of its `run.json`.
#[pyfunction]
pub fn read(py: Python<'_>, path: PathBuf) -> PyResult<(Metrics, String)> {
    let (run, record) = compute(py, || {
        let run = Run::open(&path)?;
        let record = path.join(names::RECORD);
        let text = std::fs::read_to_string(&record).map_err(|source| RunError::Io {
            path: record.clone(),
            action: "read",
            source,
        });
        text.map(|text| (run, text))
    })?
    .map_err(Told::told)?;
    let rows = run.metrics.rows().to_vec();
    Ok((Metrics { rows }, record))
}

/// A tensor of one of a run's safetensors files; `None` where there is no such file or tensor.
#[pyfunction]
pub fn tensor<'py>(
    py: Python<'py>,
    path: PathBuf,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let damaged = |problem: &dyn std::fmt::Display| RunError::File {
        path: path.clone(),
        problem: format!("is no safetensors file: {problem}"),
    };
    let Some(mut file) = TensorFile::open(&path, damaged).map_err(Told::told)? else {
        return Ok(None);
    };
    match file.read(name).map_err(Told::told)? {
        Some(stored) => array(py, &path, name, &stored).map(Some),
        None => Ok(None),
    }
}

/// A label map of a run, one byte a pixel, 255 for none; `None` where the run kept none of this image.
#[pyfunction]
pub fn label_map<'py>(
    py: Python<'py>,
    run: PathBuf,
    subject: &str,
    image: &str,
) -> PyResult<Option<Bound<'py, PyArray2<u8>>>> {
    let path = run
        .join("labels")
        .join(subject)
        .join(format!("{image}.png"));
    let Ok(file) = std::fs::File::open(&path) else {
        return Ok(None);
    };
    let damaged = |problem: &dyn std::fmt::Display| {
        DataError::new_err(format!(
            "{}: is no label map ({problem}): it may be damaged, so run the probe again",
            path.display()
        ))
    };
    let decoder = png::Decoder::new(std::io::BufReader::new(file));
    let mut reader = decoder.read_info().map_err(|error| damaged(&error))?;
    let info = reader.info();
    let (height, width) = (info.height as usize, info.width as usize);
    let bytes = reader.output_buffer_size().unwrap_or(0);
    let single = matches!(
        info.color_type,
        png::ColorType::Indexed | png::ColorType::Grayscale
    );
    if !single || info.bit_depth != png::BitDepth::Eight || bytes != height * width {
        return Err(damaged(&"it has not one byte a pixel"));
    }
    let mut pixels = vec![0; bytes];
    reader
        .next_frame(&mut pixels)
        .map_err(|error| damaged(&error))?;
    let map = Array2::from_shape_vec((height, width), pixels).map_err(|error| damaged(&error))?;
    Ok(Some(map.to_pyarray(py)))
}

fn chosen(words: &[String]) -> PyResult<ImageChoice> {
    ImageChoice::parse(words).map_err(|problem| InputError::new_err(format!("images: {problem}")))
}

/// Draws figures and page of a run again; the page's path.
#[pyfunction]
pub fn report(
    py: Python<'_>,
    run: PathBuf,
    images: Vec<String>,
    label: Option<String>,
    caption: bool,
    letters: bool,
) -> PyResult<PathBuf> {
    let options = DrawOptions {
        images: chosen(&images)?,
        look: Look {
            labels: label.into_iter().collect(),
            no_caption: !caption,
            letters,
        },
    };
    let drawn = watched(py, None, |_| vitscope_figure::draw_with(&run, &options))?;
    Ok(drawn.page)
}

/// Sets runs side by side; the page's path and what could not be compared.
#[pyfunction]
#[pyo3(name = "compare")]
pub fn compare_runs(
    py: Python<'_>,
    runs: Vec<PathBuf>,
    out: PathBuf,
    select: &str,
    images: Vec<String>,
    paper: bool,
    labels: Vec<String>,
) -> PyResult<(PathBuf, Vec<String>)> {
    let select: Select = select
        .parse()
        .map_err(|problem| InputError::new_err(format!("select: {problem}")))?;
    let images = chosen(&images)?;
    if labels.len() > runs.len() {
        return Err(InputError::new_err(format!(
            "labels has {} names for {} runs: give one for each",
            labels.len(),
            runs.len()
        )));
    }
    let request = CompareRequest {
        runs,
        out,
        select,
        paper,
        ..CompareRequest::default()
    };
    let comparison = watched(py, None, |_| compare(&request))?;
    let options = CompareOptions {
        select,
        images,
        look: Look {
            labels,
            ..Look::default()
        },
    };
    let drawn = watched(py, None, |_| {
        vitscope_figure::compare(&request.runs, &request.out, &options)
    })?;
    Ok((drawn.page, comparison.notes))
}

/// A measure of a slot: the slot, the number's name, the number, what it would be where nothing is wrong, how bad it is
/// and what to do next.
type FindingRow = (String, &'static str, f64, f64, &'static str, Option<String>);

/// What is odd about the embeddings of a finished run.
#[pyfunction]
pub fn artifacts(py: Python<'_>, run: PathBuf) -> PyResult<Vec<FindingRow>> {
    let findings = compute(py, || {
        let run = Run::finished(&run).map_err(Told::told)?;
        vitscope_study::artifacts::artifacts(&run).map_err(Told::told)
    })?;
    let told = |found: Finding| {
        let health = found.health.word();
        (
            found.slot,
            found.measure,
            found.value,
            found.null,
            health,
            found.next,
        )
    };
    Ok(findings?.into_iter().map(told).collect())
}

/// What a run says, in sentences.
#[pyfunction]
pub fn verdict(py: Python<'_>, run: PathBuf) -> PyResult<String> {
    let verdict = compute(py, || vitscope_figure::verdict(&run))?;
    Ok(verdict.map_err(Told::told)?.to_string())
}
