//! Patch vectors of the example images in a few numbers each, so that the page can show which patches are alike (docs/protocol.md
//! section 19). They are written while the images are counted, and wait for the end of the run as label maps do.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2, Array3, ArrayView3, Axis, s};
use rayon::prelude::*;
use safetensors::tensor::Dtype;
use vitscope_data::{DataSet, Split};
use vitscope_probe::{CosineFit, Sketch, SketchBasis, covariance};
use vitscope_protocol::Training;
use vitscope_run::tensors::{Lazy, TensorFile};
use vitscope_run::{Facet, Record, Slot, names};
use vitscope_vit::vit::Rows;

use crate::error::StudyError;
use crate::files;
use crate::job::{Job, JobRun, example_indices};
use crate::settings::{SaveLabels, Settings};
use crate::source::Seen;
use crate::state;
use crate::tensors;

use super::picture_files::Examples;

/// Coordinates whose sign is settled: those that become red, green and blue.
const CHANNELS: usize = 3;

/// Images whose patch vectors are kept, at most: until the layers that are shown are known, those of all slots wait.
const IMAGES: usize = 24;

/// Test images whose patch vectors are kept: the first examples, where anything of them is kept.
fn kept(settings: &Settings, test: usize) -> Vec<usize> {
    let mut kept = match settings.save_labels {
        SaveLabels::None => Vec::new(),
        SaveLabels::Examples | SaveLabels::All => example_indices(settings, test),
    };
    kept.truncate(IMAGES);
    kept
}

/// The entry of what waits that says what it is of.
const OF: &str = "of";

/// What the sketches of an image say that they are of.
fn identity(fingerprint: &str, image: &str) -> String {
    state::identity(fingerprint, &[image])
}

/// Where the sketches of an image wait.
fn waiting(run: &Path, image: &str) -> PathBuf {
    let folder = state::folder(run).join("patches");
    folder.join(format!("{image}.safetensors"))
}

/// The sketches of a run while its test images go by.
#[derive(Debug)]
pub(crate) struct PatchKeeper {
    /// The run's folder.
    root: PathBuf,
    fingerprint: String,
    /// Per slot.
    bases: Vec<SketchBasis>,
    slots: Vec<Slot>,
    /// The names of the images whose sketches are kept.
    kept: HashMap<usize, String>,
    /// Of this batch: the image, its slot, and the sketch.
    drawn: Vec<(usize, Slot, Sketch)>,
}

impl PatchKeeper {
    /// For a run that has learned.
    ///
    /// # Errors
    /// When no directions are found.
    pub(crate) fn new(
        job: &Job<'_>,
        run: &JobRun,
        training: &Training,
    ) -> Result<Self, StudyError> {
        let images = job.data.split(Split::Test);
        let kept: HashMap<usize, String> = kept(&run.settings, job.test)
            .into_iter()
            .map(|image| (image, images[image].name.clone()))
            .collect();
        let wanted = if kept.is_empty() { 0 } else { usize::MAX };
        let readings = run.setup.readings().par_iter().take(wanted).enumerate();
        let bases = readings.map(|(slot, &reading)| {
            SketchBasis::of(training.sample(slot)).map_err(job.slot_error(reading))
        });
        Ok(Self {
            root: run.root.clone(),
            fingerprint: run.fingerprint.clone(),
            bases: bases.collect::<Result<_, _>>()?,
            slots: job.opened.slots.clone(),
            kept,
            drawn: Vec::new(),
        })
    }

    /// Sketches the kept images of a batch; of those on a card, no others are copied.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn keep(
        &mut self,
        slot: usize,
        rows: &Rows<'_>,
        seen: &Seen,
    ) -> Result<(), StudyError> {
        for (at, &image) in seen.images.iter().enumerate() {
            if self.kept.contains_key(&image) {
                let rows = rows.image(at);
                let rows = rows.host()?;
                let sketch = self.bases[slot].sketch(rows.index_axis(Axis(0), 0));
                self.drawn.push((image, self.slots[slot], sketch));
            }
        }
        Ok(())
    }

    /// Ends a batch: stores what was kept of it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn end_batch(&mut self) -> Result<(), StudyError> {
        let mut of_image: BTreeMap<usize, Vec<(Slot, Sketch)>> = BTreeMap::new();
        for (image, slot, sketch) in self.drawn.drain(..) {
            of_image.entry(image).or_default().push((slot, sketch));
        }
        for (image, sketches) in of_image {
            let stored = sketches.iter().flat_map(|(slot, sketch)| {
                let CosineFit {
                    squares,
                    along,
                    rests,
                    pairs,
                } = sketch.fit;
                [
                    (
                        names::patches(*slot),
                        codes(sketch.codes.view().insert_axis(Axis(0))),
                    ),
                    (
                        names::patch_error(*slot),
                        numbers(&[squares, along, rests, pairs]),
                    ),
                ]
            });
            let name = &self.kept[&image];
            let of = Some((OF, identity(&self.fingerprint, name)));
            tensors::write_sealed(&waiting(&self.root, name), stored.collect(), of)?;
        }
        Ok(())
    }
}

/// Rounded coordinates as a tensor.
fn codes(values: ArrayView3<'_, i8>) -> Lazy<'static> {
    let bytes: Vec<u8> = values.iter().map(|&value| value.cast_unsigned()).collect();
    Lazy::of(Dtype::I8, values.shape().to_vec(), bytes)
}

fn numbers(values: &[f64]) -> Lazy<'static> {
    let bytes: Cow<'static, [u8]> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    Lazy::of(Dtype::F64, vec![values.len()], bytes)
}

/// Takes over what a shard has kept of some images.
///
/// # Errors
/// When it is missing or damaged, and when the disk refuses.
pub(crate) fn take(
    from: &Path,
    out: &Path,
    settings: &Settings,
    data: &DataSet,
    images: &std::ops::Range<usize>,
    record: &Record,
) -> Result<(), StudyError> {
    let fingerprint = record.fingerprint();
    let kept = kept(settings, record.data.test).into_iter();
    for image in kept.filter(|image| images.contains(image)) {
        let name = &data.split(Split::Test)[image].name;
        let path = waiting(from, name);
        let lost = |problem: &dyn std::fmt::Display| lost_by_shard(&path, problem);
        open(&path, &identity(&fingerprint, name), &lost)?;
        let bytes = std::fs::read(&path).map_err(StudyError::io(&path, "read"))?;
        files::write(&waiting(out, name), &bytes)?;
    }
    Ok(())
}

/// What a shard kept of an image, and no longer has as it was.
pub(super) fn lost_by_shard(path: &Path, problem: &dyn std::fmt::Display) -> StudyError {
    StudyError::file(
        path,
        format!("is damaged ({problem}): make this shard again in a new folder"),
    )
}

/// Opens what waits of an image, as it was written.
fn open(
    path: &Path,
    of: &str,
    damaged: &dyn Fn(&dyn std::fmt::Display) -> StudyError,
) -> Result<TensorFile, StudyError> {
    let file = TensorFile::open_sealed(path, damaged)?.ok_or_else(|| damaged(&"it is missing"))?;
    if file.text(OF) != Some(of) {
        return Err(damaged(&"it is of another image or run"));
    }
    Ok(file)
}

/// The sketches of a slot in all kept images.
struct SlotPatches {
    slot: Slot,
    /// `[E, N, r]`.
    codes: Array3<i8>,
    fit: CosineFit,
}

/// Writes the sketches of the slots that are shown as a file of the run; without any there is none.
///
/// # Errors
/// When one is missing or damaged, an image cannot be read, and the disk refuses.
pub(super) fn write(
    run: &Path,
    settings: &Settings,
    examples: &Examples,
    (slots, shown): (&[Slot], &BTreeMap<String, usize>),
    record: &Record,
) -> Result<(), StudyError> {
    let fingerprint = record.fingerprint();
    let count = kept(settings, record.data.test).len();
    if count == 0 {
        return Ok(());
    }
    let is_shown = |slot: Slot| shown.get(slot.facet.name()) == Some(&slot.layer);
    let mut found = Vec::new();
    for name in &examples.names[..count] {
        let mut of_image = read((run, &fingerprint), name, slots)?;
        // Of the others, signs are all that is asked for.
        for of in of_image.iter_mut().filter(|of| !is_shown(of.slot)) {
            let channels = of.codes.dim().2.min(CHANNELS);
            of.codes = of.codes.slice(s![.., .., ..channels]).to_owned();
        }
        found.push(of_image);
    }
    let brightness = examples.brightness[..count].concat();
    let mut of_slots: Vec<SlotPatches> = Vec::new();
    for (index, &slot) in slots.iter().enumerate() {
        let images = found.iter().map(|of_image| of_image[index].codes.view());
        let images: Vec<_> = images.collect();
        let path = run.join(names::PATCHES);
        let differ = |error| StudyError::Internal(format!("{}: {error}", path.display()));
        of_slots.push(SlotPatches {
            slot,
            codes: ndarray::concatenate(Axis(0), &images).map_err(differ)?,
            fit: found
                .iter()
                .fold(CosineFit::default(), |mut fit, of_image| {
                    fit.add(of_image[index].fit);
                    fit
                }),
        });
    }
    settle_signs(&mut of_slots, &brightness);
    of_slots.retain(|of| is_shown(of.slot));
    let stored = of_slots.iter().flat_map(|of| {
        let error = of.fit.error().unwrap_or(f64::NAN);
        [
            (names::patches(of.slot), codes(of.codes.view())),
            (names::patch_error(of.slot), numbers(&[error])),
            (names::patch_rest(of.slot), numbers(&[of.fit.share()])),
        ]
    });
    Ok(tensors::write_lazily(
        &run.join(names::PATCHES),
        stored.collect(),
        None,
    )?)
}

/// Reads what waits of an image.
fn read(
    (run, fingerprint): (&Path, &str),
    image: &str,
    slots: &[Slot],
) -> Result<Vec<SlotPatches>, StudyError> {
    let path = waiting(run, image);
    let damaged = |problem: &dyn std::fmt::Display| state::damaged(&path, problem);
    let mut file = open(&path, &identity(fingerprint, image), &damaged)?;
    let mut of_slots = Vec::new();
    for &slot in slots {
        let stored = file.read(&names::patches(slot))?;
        let error = file.read(&names::patch_error(slot))?;
        let (Some(stored), Some(error)) = (stored, error) else {
            return Err(damaged(&format!("{slot} is missing")));
        };
        let values = stored.bytes.iter().map(|byte| byte.cast_signed()).collect();
        let (&[one, patches, width], &[squares, along, rests, pairs]) =
            (&stored.shape[..], &error.f64s()[..])
        else {
            return Err(damaged(&format!("{slot} has another shape")));
        };
        of_slots.push(SlotPatches {
            slot,
            codes: Array3::from_shape_vec((one, patches, width), values)
                .map_err(|problem| damaged(&problem))?,
            fit: CosineFit {
                squares,
                along,
                rests,
                pairs,
            },
        });
    }
    Ok(of_slots)
}

/// Turns the first coordinates so that each rises with brightness in the first layer of its facet, and in every other one with
/// the same coordinate one layer before.
fn settle_signs(of_slots: &mut [SlotPatches], brightness: &[f64]) {
    let bright = Array2::from_shape_vec((brightness.len(), 1), brightness.to_vec());
    let bright = bright.expect("one number a patch");
    for facet in Facet::ALL {
        let mut of_facet: Vec<&mut SlotPatches> = of_slots
            .iter_mut()
            .filter(|of| of.slot.facet == facet)
            .collect();
        of_facet.sort_by_key(|of| of.slot.layer);
        let mut guide = bright.clone();
        for of in of_facet {
            let (images, patches, width) = of.codes.dim();
            let channels = width.min(CHANNELS);
            let mut first = Array2::zeros((images * patches, channels));
            for channel in 0..channels {
                let own = of.codes.slice(s![.., .., channel]);
                let own = own.iter().map(|&code| f64::from(code)).collect();
                let mut own = Array1::from_vec(own);
                let of_guide = guide.column(channel % guide.ncols());
                if covariance(own.view(), of_guide) < 0.0 {
                    of.codes
                        .slice_mut(s![.., .., channel])
                        .mapv_inplace(|code| -code);
                    own.mapv_inplace(|value| -value);
                }
                first.column_mut(channel).assign(&own);
            }
            // A layer whose vectors span fewer directions leaves components without one to follow.
            guide = if channels == CHANNELS {
                first
            } else {
                bright.clone()
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(layer: usize) -> Slot {
        Slot {
            facet: Facet::Key,
            layer,
        }
    }

    fn patches(layer: usize, sign: i8) -> SlotPatches {
        SlotPatches {
            slot: slot(layer),
            codes: Array3::from_shape_fn((2, 6, 4), |(image, patch, channel)| {
                let rising = (6 * image + patch) as i8;
                let value = [rising, (5 * rising) % 11, (7 * rising) % 13, rising];
                sign * value[channel]
            }),
            fit: CosineFit::default(),
        }
    }

    #[test]
    fn coordinates_rise_with_brightness_and_then_with_those_before() {
        let bright: Vec<f64> = (0..12).map(f64::from).collect();
        // In any order; the fourth coordinate is left as it is.
        let mut found = [patches(3, -1), patches(1, -1), patches(2, 1)];
        settle_signs(&mut found, &bright);
        let expected = patches(1, 1);
        for of in &found {
            for channel in 0..3 {
                let own = of.codes.slice(s![.., .., channel]);
                let guide = found[1].codes.slice(s![.., .., channel]);
                assert_eq!(own, guide, "{} {channel}", of.slot);
            }
        }
        let first = found[1].codes.slice(s![.., .., 0]);
        assert_eq!(first, expected.codes.slice(s![.., .., 0]));
        assert_eq!(found[0].codes[[1, 5, 3]], -11);
    }

    #[test]
    fn what_waits_is_read_back_and_damage_is_told() {
        let run = tempfile::tempdir().unwrap();
        let read = |image: &str, slots: &[Slot]| read((run.path(), "one"), image, slots);
        let error = |image: &str, slot| read(image, &[slot]).map(|_| ()).unwrap_err().to_string();
        assert!(error("a/b", slot(1)).contains("it is missing"));
        let sketch = Sketch {
            codes: ndarray::array![[1, -2], [-64, 64]],
            fit: CosineFit {
                squares: 0.5,
                along: 0.25,
                rests: 1.0,
                pairs: 2.0,
            },
        };
        let mut keeper = PatchKeeper {
            root: run.path().to_owned(),
            fingerprint: "one".to_owned(),
            bases: Vec::new(),
            slots: vec![slot(1)],
            kept: HashMap::from([(4, "a/b".to_owned())]),
            drawn: vec![(4, slot(1), sketch.clone())],
        };
        keeper.end_batch().unwrap();
        let found = read("a/b", &[slot(1)]).unwrap();
        assert_eq!(found[0].codes, ndarray::array![[[1, -2], [-64, 64]]]);
        assert_eq!(found[0].fit, sketch.fit);
        assert!(error("a/b", slot(2)).contains("key.2 is missing"));
        // What is whole, but of another image.
        std::fs::copy(waiting(run.path(), "a/b"), waiting(run.path(), "c")).unwrap();
        assert!(error("c", slot(1)).contains("it is of another image"));
        // And of another run.
        let other = super::read((run.path(), "two"), "a/b", &[slot(1)]).map(|_| ());
        let other = other.unwrap_err().to_string();
        assert!(other.contains("it is of another image or run"), "{other}");
    }
}
