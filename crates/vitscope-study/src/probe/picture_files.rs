//! The pictures of a run directory: aggregate maps, label maps and examples.

use std::path::Path;

use ndarray::Array3;
use rayon::prelude::*;
use vitscope_data::{DataSet, Geometry, IGNORE, Split};
use vitscope_measure::aggregate;
use vitscope_run::{Record, Slot, Subject, names};

use crate::error::StudyError;
use crate::evaluate::{waiting_folder, waiting_map};
use crate::job::{example_indices, kept_indices};
use crate::settings::Settings;
use crate::{picture, state};

/// How clusters are shown: by the class that each is matched to, where every cluster has one of
/// its own, else by themselves.
pub(super) struct Show {
    by_class: bool,
    /// The color of each class, and of each cluster.
    pub(super) classes: Vec<[u8; 3]>,
    clusters: Vec<[u8; 3]>,
}

impl Show {
    /// For a run of so many clusters.
    pub(super) fn new(data: &DataSet, has_truth: bool, clusters: usize) -> Self {
        Self {
            by_class: has_truth && clusters == data.classes.len(),
            classes: data.classes.iter().map(|class| class.color).collect(),
            clusters: vitscope_data::palette(clusters),
        }
    }

    /// The color of each cluster, given the class that it is matched to.
    pub(super) fn colors(&self, class_of: &[Option<usize>]) -> Vec<[u8; 3]> {
        if self.by_class {
            class_of
                .iter()
                .map(|class| class.map_or([0; 3], |class| self.classes[class]))
                .collect()
        } else {
            self.clusters.clone()
        }
    }
}

/// Writes an aggregate map: at every place the color of what stands there most often.
///
/// # Errors
/// When the disk refuses.
pub(super) fn write_aggregate(
    run: &Path,
    size: [usize; 2],
    subject: Subject,
    pixel: &Array3<u32>,
    colors: &[[u8; 3]],
) -> Result<(), StudyError> {
    let map = aggregate(pixel.view(), colors)?;
    picture::write_rgb(&names::aggregate(run, subject), size, &map)
}

/// Turns the waiting cluster maps into label maps: matched classes where every cluster has one
/// of its own, else clusters.
///
/// # Errors
/// When the disk refuses.
pub(super) fn write_labels(
    run: &Path,
    settings: &Settings,
    data: &DataSet,
    slots: &[Slot],
    matches: &[&[Option<usize>]],
    show: &Show,
    record: &Record,
) -> Result<(), StudyError> {
    let items = data.split(Split::Test);
    let fingerprint = record.fingerprint();
    let colors = if show.by_class {
        &show.classes
    } else {
        &show.clusters
    };
    let kept = kept_indices(settings, record.data.test);
    slots
        .par_iter()
        .zip(matches)
        .try_for_each(|(&slot, class_of)| {
            let mut index_of = [IGNORE; 256];
            for (cluster, class) in class_of.iter().enumerate() {
                let index = if show.by_class { *class } else { Some(cluster) };
                index_of[cluster] = index.map_or(IGNORE, |index| index as u8);
            }
            for &image in &kept {
                let name = &items[image].name;
                let path = waiting_folder(run, slot).join(format!("{name}.png"));
                let of = waiting_map(&fingerprint, slot, name);
                let damaged = |problem: &dyn std::fmt::Display| state::damaged(&path, problem);
                let (size, mut labels) = picture::read_indices(&path, &of, &damaged)?;
                labels
                    .iter_mut()
                    .for_each(|label| *label = index_of[usize::from(*label)]);
                let path = names::labels(run, Subject::Slot(slot), &items[image].name);
                picture::write_indices(&path, size, &labels, colors)?;
            }
            Ok(())
        })
}

/// The example images of a run.
pub(super) struct Examples {
    pub(super) names: Vec<String>,
    /// The mean brightness of each patch, an image each.
    pub(super) brightness: Vec<Vec<f64>>,
}

/// Writes the crops of the example images and the ground truth of every kept image.
///
/// # Errors
/// When an image cannot be read, and the disk refuses.
pub(super) fn write_examples(
    run: &Path,
    settings: &Settings,
    data: &DataSet,
    geometry: &Geometry,
    grid: [usize; 2],
    test: usize,
) -> Result<Examples, StudyError> {
    let items = data.split(Split::Test);
    let size = [geometry.size; 2];
    let (mut names, mut brightness) = (Vec::new(), Vec::new());
    for image in example_indices(settings, test) {
        let item = &items[image];
        let crop = data.image(item, geometry)?;
        picture::write_rgb(&names::image(run, &item.name), size, &crop.pixels)?;
        brightness.push(crop.brightness(grid));
        names.push(item.name.clone());
    }
    if data.has_truth() {
        let mut shown = kept_indices(settings, test);
        shown.extend(example_indices(settings, test));
        shown.sort_unstable();
        shown.dedup();
        let colors: Vec<[u8; 3]> = data.classes.iter().map(|class| class.color).collect();
        for image in shown {
            let item = &items[image];
            if let Some(label) = data.label(item, geometry)? {
                let path = names::labels(run, Subject::GroundTruth, &item.name);
                picture::write_indices(&path, size, &label.ids, &colors)?;
            }
        }
    }
    Ok(Examples { names, brightness })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_have_the_colors_of_their_classes_where_each_has_one() {
        let mut show = Show {
            by_class: true,
            classes: vec![[1; 3], [2; 3]],
            clusters: vec![[8; 3], [9; 3]],
        };
        let class_of = [Some(1), None];
        assert_eq!(show.colors(&class_of), [[2; 3], [0; 3]]);
        show.by_class = false;
        assert_eq!(show.colors(&class_of), [[8; 3], [9; 3]]);
    }
}
