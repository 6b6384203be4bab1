//! What a data set is worth before any model is run on it: what is wrong with its files, how its
//! labels are distributed, and how much position alone tells of them (paper 3.1.1).

pub mod pairs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rayon::prelude::*;
use serde::Serialize;
use vitscope_data::{DataError, DataSet, Examined, Geometry, Item, Problems};
use vitscope_measure::{
    CellCounts, MeasureError, Positions, Resampling, Tally, aggregate, positional,
};

use crate::error::StudyError;
use crate::observer::{Observer, Phase};
use crate::picture;

/// The version of the report's form.
pub const FORMAT: u32 = 1;

/// Images of a batch per thread: what is in memory at a time.
const PER_THREAD: usize = 4;

/// What to look at.
#[derive(Clone, Debug)]
pub struct Request {
    /// The data set, as the user names it.
    pub data: String,
    /// Asked side of the square crop in pixels.
    pub size: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Random shifts for the null of the positional effect, and bootstrap samples for its
    /// interval; none for 0.
    pub resamples: usize,
    /// Their seed.
    pub seed: u64,
    /// Where the aggregate map and the lists of image paths go.
    pub out: Option<PathBuf>,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Version of this form.
    pub format: u32,
    /// Whether a run can use the set: there are no problems.
    pub usable: bool,
    /// The kind of data set.
    pub kind: &'static str,
    /// Its directory.
    pub root: String,
    /// SHA-256 of the lists of images, as in `run.json`.
    pub list_hash: String,
    /// Side of the crop in pixels.
    pub size: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Whether one list of images serves both splits.
    pub one_list: bool,
    /// The training images.
    pub train: SplitCheck,
    /// The test images.
    pub test: SplitCheck,
    /// What would stop a run.
    pub problems: ProblemList,
    /// Label values that the set's table does not have, by value.
    pub off_the_table: Vec<OffTable>,
    /// Masks that no image claims; they stop nothing.
    pub unclaimed_masks: PathList,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// How much position tells of the test labels; absent without ground truth.
    pub position: Option<PositionCheck>,
    /// Where the aggregate map was written.
    pub aggregate: Option<String>,
}

/// One split.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SplitCheck {
    /// Images listed.
    pub images: usize,
    /// Of those, with a mask.
    pub masks: usize,
    /// Of those, without anything wrong.
    pub sound: usize,
    /// Width and height in pixels of the smallest and of the largest image, by area.
    pub smallest: Option<[usize; 2]>,
    /// See [`smallest`](Self::smallest).
    pub largest: Option<[usize; 2]>,
    /// Images whose shorter side is below the crop's, which are enlarged.
    pub enlarged: usize,
    /// Pixels of all masks with a class, at the masks' own sizes.
    pub labeled_pixels: u64,
    /// Pixels of all masks that count nowhere.
    pub ignored_pixels: u64,
    /// The classes in order.
    pub classes: Vec<ClassCheck>,
}

/// One class in one split.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ClassCheck {
    /// Its index.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Pixels at the masks' own sizes.
    pub pixels: u64,
    /// Share of the labeled pixels, 0 to 1.
    pub share: f64,
    /// Images that show it.
    pub images: usize,
}

/// Problems: counted in full, listed up to a bound.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ProblemList {
    /// How many.
    pub count: usize,
    /// How many of each sort.
    pub sorts: BTreeMap<&'static str, usize>,
    /// The first 1000.
    pub listed: Vec<Problem>,
}

impl ProblemList {
    pub(crate) fn new(problems: &Problems) -> Self {
        let listed = |error: &DataError| Problem {
            sort: error.sort(),
            path: error.path().map(|path| path.display().to_string()),
            message: error.to_string(),
        };
        Self {
            count: problems.count(),
            sorts: problems.counts().clone(),
            listed: problems.kept().iter().map(listed).collect(),
        }
    }
}

/// One problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Its sort.
    pub sort: &'static str,
    /// The file at fault.
    pub path: Option<String>,
    /// One sentence.
    pub message: String,
}

/// A label value that the table does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OffTable {
    /// The id, or the color as `#rrggbb`.
    pub value: String,
    /// Masks that have it.
    pub images: usize,
    /// Its pixels.
    pub pixels: u64,
}

/// Paths: counted in full, listed up to 1000.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PathList {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub listed: Vec<String>,
}

/// How much position tells of the labels (PROTOCOL section 8), over the crops of the test images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PositionCheck {
    /// Images counted.
    pub images: u64,
    /// Mutual information of position and class over pixels, in nats.
    pub mi: f64,
    /// Entropy of the classes, in nats.
    pub entropy: f64,
    /// `mi / entropy`; undefined with one class.
    pub nmi: Option<f64>,
    /// NMI on the patch grid, which null and interval belong to.
    pub nmi_grid: Option<f64>,
    /// Its mean over maps shifted at random: what the number of images alone gives.
    pub nmi_null: Option<f64>,
    /// What is beyond that.
    pub nmi_excess: Option<f64>,
    /// Lower end of the 95 % interval of the excess.
    pub nmi_excess_low: Option<f64>,
    /// Upper end of it.
    pub nmi_excess_high: Option<f64>,
    /// The excess in standard deviations of the null.
    pub nmi_z: Option<f64>,
    /// Part of the mutual information that each class holds, in nats.
    pub class_mi: Vec<f64>,
    /// Pixel accuracy of always naming the commonest class, 0 to 1.
    pub accuracy_of_commonest: f64,
    /// Pixel accuracy of naming the commonest class of each patch position, 0 to 1: what a model
    /// could reach on these images that sees nothing but where it is.
    pub accuracy_of_position: f64,
}

/// Looks at every image and mask of a data set.
///
/// # Errors
/// An argument that names no data set, or a directory or description of which nothing can be made;
/// what is wrong with single files is in the result.
pub fn check(request: &Request, observer: &mut dyn Observer) -> Result<Check, StudyError> {
    for (name, value) in [("--size", request.size), ("--patch", request.patch)] {
        if value == 0 || value > 4096 {
            return Err(StudyError::setting(format!(
                "{name} must be 1 to 4096 pixels"
            )));
        }
    }
    if request.resamples == 1 {
        return Err(StudyError::setting("--resamples must be 0, or at least 2"));
    }
    let survey = DataSet::survey(&request.data)?;
    let (set, mut problems) = (survey.set, survey.problems);
    let geometry = Geometry::for_patch(request.size, request.patch);
    let one_list = set.train == set.test;
    let mut looker = Looker {
        set: &set,
        geometry,
        problems: &mut problems,
        off_the_table: BTreeMap::new(),
        observer,
    };
    let total = set.test.len() + if one_list { 0 } else { set.train.len() };
    looker.observer.begin(Phase::Check, 0, total as u64);
    let mut counts = Counts::new(&set, geometry, request)?;
    let test = looker.look(&set.test, counts.as_mut())?;
    let train = if one_list {
        test.clone()
    } else {
        looker.look(&set.train, None)?
    };
    looker.observer.end();
    let off_the_table = looker.off_the_table.into_values().collect();
    let (position, picture) = match counts {
        Some(counts) if counts.tally.images() > 0 => {
            let (position, picture) = counts.finish(&set)?;
            (Some(position), Some(picture))
        }
        _ => (None, None),
    };
    let mut aggregate_path = None;
    if let Some(out) = &request.out {
        let mut folder = vitscope_run::Folder::claim(out, "data check", &[&set.root])?;
        if let Some(picture) = picture {
            let path = folder.place("ground_truth.png")?;
            picture::write_rgb(&path, [geometry.size; 2], &picture)?;
            aggregate_path = Some(path.display().to_string());
        }
        for (name, items) in [("train.txt", &set.train), ("test.txt", &set.test)] {
            let mut lines = Vec::new();
            for item in items {
                // A path's own bytes, which need not be UTF-8.
                lines.extend_from_slice(item.image.as_os_str().as_encoded_bytes());
                lines.push(b'\n');
            }
            crate::files::write(&folder.place(name)?, &lines)?;
        }
        folder.finish()?;
    }
    let mut notes = set.notes().to_vec();
    notes.extend(warnings(&set, &train, &test, one_list));
    let usable = problems.count() == 0 && !set.train.is_empty() && !set.test.is_empty();
    Ok(Check {
        format: FORMAT,
        usable,
        kind: set.kind.name(),
        root: set.root.display().to_string(),
        list_hash: set.list_hash(),
        size: geometry.size,
        patch: request.patch,
        one_list,
        train,
        test,
        problems: ProblemList::new(&problems),
        off_the_table,
        unclaimed_masks: PathList {
            count: survey.unclaimed.count,
            listed: survey
                .unclaimed
                .first
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        },
        notes,
        position,
        aggregate: aggregate_path,
    })
}

/// Goes over images in parallel, a bounded number at a time, and adds up in file order.
struct Looker<'a> {
    set: &'a DataSet,
    geometry: Geometry,
    problems: &'a mut Problems,
    off_the_table: BTreeMap<String, OffTable>,
    observer: &'a mut dyn Observer,
}

impl Looker<'_> {
    fn look(
        &mut self,
        items: &[Item],
        mut counts: Option<&mut Counts>,
    ) -> Result<SplitCheck, StudyError> {
        let class = |(index, class): (usize, &vitscope_data::Class)| ClassCheck {
            index,
            name: class.name.clone(),
            ..ClassCheck::default()
        };
        let mut split = SplitCheck {
            images: items.len(),
            masks: items.iter().filter(|item| item.mask.is_some()).count(),
            classes: self.set.classes.iter().enumerate().map(class).collect(),
            ..SplitCheck::default()
        };
        let batch = PER_THREAD * rayon::current_num_threads();
        let (set, geometry) = (self.set, self.geometry);
        for (items, first) in items.chunks(batch).zip((0..).step_by(batch)) {
            let shape = counts.as_ref().map(|counts| counts.shape);
            let examined: Vec<_> = items
                .par_iter()
                .map(|item| {
                    let examined = set.examine(item, &geometry);
                    let label = examined.label.as_ref();
                    let cells = label
                        .zip(shape)
                        .map(|(label, (grid, patch))| CellCounts::new(&label.ids, grid, patch));
                    (examined, cells)
                })
                .collect();
            for ((examined, cells), index) in examined.into_iter().zip(first..) {
                if let (Some(counts), Some(label), Some(cells)) =
                    (counts.as_deref_mut(), &examined.label, cells)
                {
                    counts.add(index, &label.ids, cells).map_err(mix_up)?;
                }
                self.add(&mut split, examined);
            }
            self.observer.advance(items.len() as u64, None);
            if self.observer.stop() {
                return Err(StudyError::StoppedEarly);
            }
        }
        for class in &mut split.classes {
            class.share = class.pixels as f64 / split.labeled_pixels.max(1) as f64;
        }
        Ok(split)
    }

    fn add(&mut self, split: &mut SplitCheck, examined: Examined) {
        split.sound += usize::from(examined.problems.is_empty());
        if let Some((width, height)) = examined.image_size {
            let area = |size: [usize; 2]| size[0] * size[1];
            let size = [width, height];
            if split.smallest.is_none_or(|other| area(size) < area(other)) {
                split.smallest = Some(size);
            }
            if split.largest.is_none_or(|other| area(size) > area(other)) {
                split.largest = Some(size);
            }
            split.enlarged += usize::from(width.min(height) < self.geometry.size);
        }
        for (class, pixels) in split.classes.iter_mut().zip(&examined.pixels) {
            class.pixels += pixels;
            class.images += usize::from(*pixels > 0);
            split.labeled_pixels += pixels;
        }
        split.ignored_pixels += examined.ignored;
        for (value, pixels) in examined.unknown {
            let entry = self.off_the_table.entry(value.clone()).or_insert(OffTable {
                value,
                images: 0,
                pixels: 0,
            });
            entry.images += 1;
            entry.pixels += pixels;
        }
        for problem in examined.problems {
            self.problems.push(problem);
        }
    }
}

/// What is counted of the crops' labels.
struct Counts {
    tally: Tally,
    resampling: Option<Resampling>,
    /// Rows and columns of patches, and their side.
    shape: ((usize, usize), usize),
}

impl Counts {
    /// Nothing counted yet; nothing to count without ground truth.
    fn new(
        set: &DataSet,
        geometry: Geometry,
        request: &Request,
    ) -> Result<Option<Self>, StudyError> {
        let classes = set.classes.len();
        if !set.has_truth() || classes == 0 {
            return Ok(None);
        }
        let (patch, side) = (request.patch, geometry.size / request.patch);
        let resampling = if request.resamples > 0 {
            let (images, count) = (set.test.len(), request.resamples);
            let made = Resampling::new(classes, (side, side), patch, images, count, request.seed);
            Some(made.map_err(mix_up)?)
        } else {
            None
        };
        Ok(Some(Self {
            tally: Tally::new(classes, 0, (side, side), patch),
            resampling,
            shape: ((side, side), patch),
        }))
    }

    fn add(
        &mut self,
        index: usize,
        labels: &[u8],
        cells: Result<CellCounts, MeasureError>,
    ) -> Result<(), MeasureError> {
        self.tally.add(labels, None, Positions::All)?;
        match &mut self.resampling {
            Some(resampling) => resampling.add_counts(index, cells?),
            None => Ok(()),
        }
    }

    /// The figures, and the aggregate map `[size, size, 3]`.
    fn finish(self, set: &DataSet) -> Result<(PositionCheck, Vec<u8>), StudyError> {
        let pixel = self.tally.position_pixel();
        let grid = self.tally.position_grid();
        let colors: Vec<[u8; 3]> = set.classes.iter().map(|class| class.color).collect();
        let picture = aggregate(pixel.view(), &colors).map_err(mix_up)?;
        let flat = |counts: &ndarray::Array3<u32>| {
            let (classes, rows, columns) = counts.dim();
            counts
                .to_shape((classes, rows * columns))
                .map(|flat| positional(flat.view()))
                .map_err(|error| StudyError::Internal(error.to_string()))
        };
        let (effect, on_grid) = (flat(&pixel)?, flat(&grid)?);
        let test = self
            .resampling
            .map(|resampling| resampling.finish(grid.view()).map_err(mix_up))
            .transpose()?;
        let nmi = test.and_then(|test| test.nmi);
        let total: u64 = grid.iter().map(|&count| u64::from(count)).sum();
        let share = |count: u64| count as f64 / total.max(1) as f64;
        let of_class = |plane: ndarray::ArrayView2<'_, u32>| -> u64 {
            plane.iter().map(|&count| u64::from(count)).sum()
        };
        let commonest = grid.outer_iter().map(of_class).max().unwrap_or(0);
        let best = |lane: ndarray::ArrayView1<'_, u32>| lane.iter().copied().max().unwrap_or(0);
        let by_position = grid
            .lanes(ndarray::Axis(0))
            .into_iter()
            .map(|lane| u64::from(best(lane)))
            .sum();
        let position = PositionCheck {
            images: self.tally.images(),
            mi: effect.mi,
            entropy: effect.entropy,
            nmi: effect.nmi,
            nmi_grid: on_grid.nmi,
            nmi_null: nmi.map(|nmi| nmi.null_mean),
            nmi_excess: nmi.map(|nmi| nmi.excess),
            nmi_excess_low: nmi.map(|nmi| nmi.low),
            nmi_excess_high: nmi.map(|nmi| nmi.high),
            nmi_z: nmi.and_then(|nmi| nmi.z),
            class_mi: effect.class_mi,
            accuracy_of_commonest: share(commonest),
            accuracy_of_position: share(by_position),
        };
        Ok((position, picture))
    }
}

/// What a user should think of before a run.
fn warnings(set: &DataSet, train: &SplitCheck, test: &SplitCheck, one_list: bool) -> Vec<String> {
    let mut notes = Vec::new();
    if one_list {
        notes.push("one list of images serves both splits: figures are on the images that the probes are fitted to.".to_owned());
    } else {
        let fitted: BTreeSet<_> = set.train.iter().map(|item| &item.image).collect();
        let shared = set.test.iter().filter(|item| fitted.contains(&item.image));
        let shared = shared.count();
        if shared > 0 {
            notes.push(format!("{shared} test images are training images too."));
        }
    }
    let batch = crate::settings::Settings::default().batch;
    if train.images < batch {
        notes.push(format!(
            "the training split has {} images, fewer than a batch of {batch}: a run needs --batch {} or less.",
            train.images,
            train.images.max(1)
        ));
    }
    if !set.has_truth() {
        notes.push(
            "there is no ground truth: clusters are shown, and nothing is matched or scored."
                .to_owned(),
        );
    }
    for (name, split) in [("training", train), ("test", test)] {
        if split.enlarged > 0 {
            notes.push(format!(
                "{} {name} images are smaller than the crop and are enlarged.",
                split.enlarged
            ));
        }
        if one_list {
            break;
        }
    }
    notes
}

/// Sizes are fixed by the request; a mismatch here would be this program's mistake.
fn mix_up(error: MeasureError) -> StudyError {
    StudyError::Internal(error.to_string())
}
