//! Images of a data set as arrays, and features of them as a directory: what own models need.

use std::path::PathBuf;

use ndarray::{Array3, Array4, s};
use numpy::{PyArray3, PyArray4, PyReadonlyArray3, PyReadonlyArrayDyn};
use pyo3::prelude::*;
use vitscope_data::{DataSet, Geometry, IGNORE, Split, stream};
use vitscope_run::Slot;
use vitscope_study::features::SplitWriter;

use crate::errors::{DataError, InputError, Told};
use crate::work::compute;

fn split_of(word: &str) -> PyResult<Split> {
    match word {
        "train" => Ok(Split::Train),
        "test" => Ok(Split::Test),
        _ => Err(InputError::new_err(format!(
            "split {word}: expected train or test"
        ))),
    }
}

/// Pixels of crops, and the classes of their pixels where there are any.
type Crops<'py> = (Bound<'py, PyArray4<u8>>, Option<Bound<'py, PyArray3<u8>>>);

/// A data set, opened.
#[pyclass(frozen, module = "vitscope._vitscope")]
pub struct Images {
    set: DataSet,
    geometry: Geometry,
}

#[pymethods]
impl Images {
    /// Opens a data set for square crops of about `size` pixels, the nearest multiple of `patch`.
    #[new]
    fn new(py: Python<'_>, data: &str, size: usize, patch: usize) -> PyResult<Self> {
        if patch == 0 {
            return Err(InputError::new_err("patch must be at least 1 pixel"));
        }
        let set = compute(py, || DataSet::open(data))?.map_err(Told::told)?;
        Ok(Self {
            set,
            geometry: Geometry::for_patch(size, patch),
        })
    }

    /// Side of the crops in pixels.
    fn size(&self) -> usize {
        self.geometry.size
    }

    /// Images of a split.
    fn count(&self, split: &str) -> PyResult<usize> {
        Ok(self.set.split(split_of(split)?).len())
    }

    /// The names of the classes; none without ground truth.
    fn classes(&self) -> Vec<String> {
        let classes = self.set.classes.iter();
        classes.map(|class| class.name.clone()).collect()
    }

    /// Crops of some images, `[B, S, S, 3]` bytes, and the classes of their pixels, `[B, S, S]`, 255 for none.
    fn read<'py>(
        &self,
        py: Python<'py>,
        split: &str,
        images: Vec<usize>,
        labels: bool,
    ) -> PyResult<Crops<'py>> {
        let split = split_of(split)?;
        let (count, side) = (self.set.split(split).len(), self.geometry.size);
        if let Some(image) = images.iter().find(|&&image| image >= count) {
            return Err(InputError::new_err(format!(
                "image {image} is asked for, and the split has {count}"
            )));
        }
        let read = compute(py, || {
            let mut pixels = Array4::<u8>::zeros((images.len(), side, side, 3));
            let mut classes = Array3::from_elem((images.len(), side, side), IGNORE);
            let threads = rayon::current_num_threads();
            let ahead = images.len();
            let samples = stream(
                &self.set,
                split,
                images,
                self.geometry,
                labels,
                ahead,
                threads,
            );
            for (index, sample) in samples.enumerate() {
                let sample = sample?;
                let to = pixels.slice_mut(s![index, .., .., ..]);
                to.into_iter()
                    .zip(&sample.image.pixels)
                    .for_each(|(to, &from)| *to = from);
                if let Some(label) = &sample.label {
                    let to = classes.slice_mut(s![index, .., ..]);
                    to.into_iter()
                        .zip(&label.ids)
                        .for_each(|(to, &from)| *to = from);
                }
            }
            Ok::<_, vitscope_data::DataError>((pixels, classes))
        })?;
        let (pixels, classes) = read.map_err(Told::told)?;
        let classes =
            (labels && self.set.has_truth()).then(|| PyArray3::from_owned_array(py, classes));
        Ok((PyArray4::from_owned_array(py, pixels), classes))
    }
}

/// Writes one split of a feature directory, batch by batch.
#[pyclass(module = "vitscope._vitscope")]
pub struct FeatureWriter {
    writer: SplitWriter,
    slots: usize,
    count: usize,
    per_file: usize,
    done: usize,
}

#[pymethods]
impl FeatureWriter {
    /// For `count` images of slots such as `key.9`, each with its width.
    #[new]
    fn new(
        root: PathBuf,
        split: &str,
        slots: Vec<(String, usize)>,
        grid: [usize; 2],
        count: usize,
    ) -> PyResult<Self> {
        let name = match split_of(split)? {
            Split::Train => "train",
            Split::Test => "test",
        };
        let slots = slots.into_iter().map(|(slot, width)| {
            let slot: Slot = slot.parse().map_err(InputError::new_err)?;
            Ok((slot, width))
        });
        let slots = slots.collect::<PyResult<Vec<_>>>()?;
        let number = slots.len();
        let writer = SplitWriter::new(&root, name, slots, grid, false, count);
        let per_file = writer.groups().first().map_or(1, Vec::len);
        Ok(Self {
            writer,
            slots: number,
            count,
            per_file,
            done: 0,
        })
    }

    /// The next images: of every slot, in the order that was announced, `[B, N, D]`.
    fn add(&mut self, py: Python<'_>, batch: Vec<PyReadonlyArray3<'_, f32>>) -> PyResult<()> {
        let views: Vec<_> = batch.iter().map(PyReadonlyArray3::as_array).collect();
        let images = views.first().map_or(0, |view| view.dim().0);
        if views.len() != self.slots || self.done + images > self.count {
            return Err(InputError::new_err(format!(
                "{} slots of {} images were announced; {} slots and {} images came",
                self.slots,
                self.count,
                views.len(),
                self.done + images
            )));
        }
        compute(py, || {
            let mut at = 0;
            while at < images {
                // Not across the end of a file.
                let room = self.per_file - self.done % self.per_file;
                let take = room.min(images - at);
                for (slot, view) in views.iter().enumerate() {
                    let rows = view.slice(s![at..at + take, .., ..]);
                    self.writer.write(slot, self.done, rows)?;
                }
                self.done += take;
                at += take;
                self.writer.advance(self.done)?;
            }
            Ok(())
        })?
        .map_err(vitscope_study::StudyError::told)
    }

    /// Images written.
    fn done(&self) -> usize {
        self.done
    }
}

/// Writes a picture, `[H, W, 3]` bytes, or a map of one byte a pixel, `[H, W]`, as PNG: into a file, or where
/// no path is given as bytes.
#[pyfunction]
pub fn png_of(pixels: PyReadonlyArrayDyn<'_, u8>, path: Option<PathBuf>) -> PyResult<Vec<u8>> {
    let pixels = pixels.as_array();
    let shape = pixels.shape().to_vec();
    let color = match shape[..] {
        [_, _] => png::ColorType::Grayscale,
        [_, _, 3] => png::ColorType::Rgb,
        _ => {
            return Err(InputError::new_err(format!(
                "a picture is [H, W, 3] or [H, W], got {shape:?}"
            )));
        }
    };
    let flat: Vec<u8> = pixels.iter().copied().collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, shape[1] as u32, shape[0] as u32);
    encoder.set_color(color);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&flat));
    written.map_err(|error| InputError::new_err(format!("a picture of {shape:?}: {error}")))?;
    match path {
        Some(path) => {
            let refused =
                |error| DataError::new_err(format!("{}: cannot write: {error}", path.display()));
            std::fs::write(&path, &bytes).map_err(refused)?;
            Ok(Vec::new())
        }
        None => Ok(bytes),
    }
}
