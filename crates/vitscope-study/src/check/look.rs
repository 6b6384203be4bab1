//! One pass over the images and masks of a set.

use std::collections::BTreeMap;

use rayon::prelude::*;
use vitscope_data::{DataSet, Evidence, Examined, Geometry, Item, Problems, Split};
use vitscope_measure::CellCounts;

use super::position::{SetCounts, mix_up};
use super::report::{ClassCheck, OffTable, SplitCheck};
use crate::error::StudyError;
use crate::observer::Observer;

/// Images of a batch per thread: what is in memory at a time.
const PER_THREAD: usize = 4;

/// Goes over images in parallel, a bounded number at a time, and adds up in file order.
pub(super) struct SetLooker<'a> {
    pub(super) set: &'a DataSet,
    pub(super) geometry: Geometry,
    pub(super) problems: &'a mut Problems,
    pub(super) off_the_table: BTreeMap<String, OffTable>,
    /// What there may be to doubt.
    pub(super) evidence: Evidence,
    pub(super) observer: &'a mut dyn Observer,
}

impl SetLooker<'_> {
    pub(super) fn look(
        &mut self,
        which: Split,
        items: &[Item],
        mut counts: Option<&mut SetCounts>,
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
                        .zip(shape.filter(|_| which == Split::Test))
                        .map(|(label, (grid, patch))| CellCounts::new(&label.ids, grid, patch));
                    (examined, cells)
                })
                .collect();
            for ((examined, cells), index) in examined.into_iter().zip(first..) {
                if let (Some(counts), Some(label)) = (counts.as_deref_mut(), &examined.label) {
                    match cells {
                        Some(cells) => counts.add(index, &label.ids, cells),
                        None => counts.add_training(&label.ids),
                    }
                    .map_err(mix_up)?;
                }
                self.add(which, &mut split, &items[index - first], examined);
            }
            self.observer.advance(items.len() as u64, None);
            if self.observer.stop() {
                return Err(StudyError::StoppedEarly);
            }
        }
        split.classes_present = split.classes.iter().filter(|c| c.pixels > 0).count();
        for class in &mut split.classes {
            class.share = class.pixels as f64 / split.labeled_pixels.max(1) as f64;
        }
        Ok(split)
    }

    fn add(&mut self, which: Split, split: &mut SplitCheck, item: &Item, examined: Examined) {
        self.evidence
            .add(which, item, examined.facts, &examined.pixels);
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
