//! The forward passes: images in, sampled patch vectors or labels out.

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use vitscope_data::{DataSet, Geometry, IGNORE, Item, LabelCrop, Split};
use vitscope_measure::patch_labels;
use vitscope_probe::{LabelScratch, Labeler, ProbeError};
use vitscope_run::Slot;
use vitscope_vit::Vit;
use vitscope_vit::edit::Edit;
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::vit::Tapped;

use super::image_labels::ImageLabels;
use super::kept::Storing;
use super::view::{ImageView, ShiftedGrid};
use crate::error::StudyError;
use crate::observer::{CAUSES, FIT, Observer, Phase};
use crate::source::Backbone;
use crate::turn::Turn;

/// Images between two looks at whether to stop. Changes no number.
const CHUNK: usize = 8;

/// A model, and how it looks at images.
pub(super) struct ViewLooker<'a> {
    pub(super) vit: &'a Vit,
    pub(super) levels: &'a [[f32; 256]; 3],
    pub(super) data: &'a DataSet,
    pub(super) slots: &'a [Slot],
    /// The tensor of the pass that each slot is.
    pub(super) kinds: Vec<(usize, TapKind)>,
    pub(super) grid: ShiftedGrid,
    pub(super) seed: u64,
}

impl<'a> ViewLooker<'a> {
    pub(super) fn new(
        backbone: &'a Backbone,
        data: &'a DataSet,
        slots: &'a [Slot],
        kinds: Vec<(usize, TapKind)>,
        grid: ShiftedGrid,
        seed: u64,
    ) -> Self {
        Self {
            vit: backbone.vit(),
            levels: backbone.levels(),
            data,
            slots,
            kinds,
            grid,
            seed,
        }
    }

    fn patch(&self) -> usize {
        self.vit.config().patch
    }

    /// The crop that holds the plain view and the one beside it.
    fn geometry(&self) -> Geometry {
        Geometry {
            size: (self.grid.side + self.grid.shift) * self.patch(),
        }
    }

    /// What a view shows of a larger crop, RGB.
    fn pixels(&self, crop: &[u8], view: ImageView) -> Vec<u8> {
        let (side, whole) = (self.grid.side * self.patch(), self.geometry().size);
        let from = match view {
            ImageView::Shift => self.grid.shift * self.patch(),
            _ => 0,
        };
        let rows = crop.chunks_exact(3 * whole).skip(from).take(side);
        let mut pixels: Vec<u8> = rows
            .flat_map(|row| &row[3 * from..3 * (from + side)])
            .copied()
            .collect();
        if view == ImageView::Flip {
            Turn::Mirrored.apply(&mut pixels, side);
        }
        pixels
    }

    /// Runs one image and shows the patch vectors of every slot.
    fn pass(
        &self,
        pixels: &[u8],
        edit: &Edit,
        mut show: impl FnMut(usize, ArrayView2<'_, f32>) -> Result<(), StudyError>,
    ) -> Result<(), StudyError> {
        let mut taps = Taps::new();
        for &(layer, kind) in &self.kinds {
            taps.add(layer, kind);
        }
        let side = self.grid.side * self.patch();
        let mut work = self.vit.workspace_edited([side; 2], edit)?;
        work.send(|sent| sent.extend_from_slice(pixels))?;
        self.vit
            .forward_sent(self.levels, &taps, &mut work, |together| {
                for (tensor, patches) in together.iter().filter_map(Tapped::patches) {
                    let rows = patches.host()?;
                    let slots = self.kinds.iter().enumerate();
                    let mut slots = slots.filter(|(_, own)| **own == tensor);
                    slots.try_for_each(|(slot, _)| show(slot, rows.index_axis(Axis(0), 0)))?;
                }
                Ok(())
            })
    }

    /// Does something with each of the first `images` of a split, in their order, after those in `results`. `after` sees what
    /// there is of them all, and whether the user wants to stop, whenever some more are done.
    fn each<T: Send>(
        &self,
        (split, images): (Split, usize),
        mut results: Vec<T>,
        (phase, observer): (Phase, &mut dyn Observer),
        of_image: impl Fn(usize, &Item) -> Result<T, StudyError> + Sync,
        mut after: impl FnMut(&[T], bool) -> Result<(), StudyError>,
    ) -> Result<Vec<T>, StudyError> {
        let items = &self.data.split(split)[..images];
        observer.begin(phase, results.len() as u64, images as u64);
        while results.len() < images {
            let first = results.len();
            let chunk = &items[first..images.min(first + CHUNK)];
            let indexed = chunk.par_iter().enumerate();
            let of_chunk: Result<Vec<T>, _> = indexed
                .map(|(index, item)| of_image(first + index, item))
                .collect();
            results.extend(of_chunk?);
            observer.advance(chunk.len() as u64, None);
            after(&results, observer.stop())?;
        }
        observer.end();
        Ok(results)
    }

    /// Patch vectors of training images as they are: of each image and slot the rows that `chosen` names.
    pub(super) fn sample(
        &self,
        images: usize,
        observer: &mut dyn Observer,
        stopped: impl Fn() -> StudyError,
        chosen: impl Fn(usize) -> Vec<usize> + Sync,
    ) -> Result<Vec<Vec<Array2<f32>>>, StudyError> {
        let of_image = |image: usize, item: &Item| {
            let crop = self.data.image(item, &self.geometry())?;
            let chosen = chosen(image);
            let mut samples = vec![Array2::zeros((0, 0)); self.kinds.len()];
            let pixels = self.pixels(&crop.pixels, ImageView::Plain);
            self.pass(&pixels, &Edit::default(), |slot, rows| {
                if !rows.iter().all(|value| value.is_finite()) {
                    return Err(self.not_finite(slot, item));
                }
                samples[slot] = rows.select(Axis(0), &chosen);
                Ok(())
            })?;
            Ok(samples)
        };
        let after = |_: &[_], stops: bool| match stops {
            true => Err(stopped()),
            false => Ok(()),
        };
        let told = (FIT, observer);
        self.each((Split::Train, images), Vec::new(), told, of_image, after)
    }

    /// The label of every patch of every slot, of test images in every view; stored as they are made.
    pub(super) fn labels(
        &self,
        images: usize,
        views: &[ImageView],
        codebooks: &[Array2<f32>],
        mut storing: Storing<'_>,
        observer: &mut dyn Observer,
    ) -> Result<Vec<ImageLabels>, StudyError> {
        let side = self.grid.side;
        // With one pixel to a patch, the label of a pixel (protocol 5) is that of its patch.
        let labelers = codebooks.iter().enumerate().map(|(slot, codebook)| {
            Labeler::new(codebook.view(), (side, side), 1).map_err(|error| self.failed(slot, error))
        });
        let labelers: Vec<Labeler> = labelers.collect::<Result<_, _>>()?;
        let of_image = |image: usize, item: &Item| {
            let crop = self.data.image(item, &self.geometry())?;
            let mut scratch = LabelScratch::default();
            let mut labels = Vec::with_capacity(views.len());
            for &view in views {
                let mut maps = vec![vec![0; side * side]; labelers.len()];
                let codes = view.codes(self.grid, image, self.seed);
                let edit = view.edit(self.grid, codes.as_ref());
                self.pass(&self.pixels(&crop.pixels, view), &edit, |slot, rows| {
                    let labeled = labelers[slot].label(rows, &mut scratch, &mut maps[slot]);
                    labeled.map_err(|error| match error {
                        ProbeError::NonFinite { .. } => self.not_finite(slot, item),
                        error => self.failed(slot, error),
                    })
                })?;
                labels.push(maps);
            }
            let truth = match self.data.has_truth() {
                true => Some(match self.data.label(item, &self.geometry())? {
                    Some(truth) => self.classes(&truth)?,
                    None => vec![IGNORE; side * side],
                }),
                false => None,
            };
            Ok(ImageLabels { labels, truth })
        };
        let mut before = storing.before()?;
        before.truncate(images);
        let after = |labeled: &[ImageLabels], stops: bool| storing.store(labeled, stops);
        let told = (CAUSES, observer);
        self.each((Split::Test, images), before, told, of_image, after)
    }

    /// The class of most pixels of each patch of the plain view, 255 where most have none.
    fn classes(&self, truth: &LabelCrop) -> Result<Vec<u8>, StudyError> {
        let (grid, patch) = (self.grid.side, self.patch());
        let side = grid * patch;
        let rows = truth.ids.chunks_exact(truth.size).take(side);
        let plain: Vec<u8> = rows.flat_map(|row| &row[..side]).copied().collect();
        Ok(patch_labels(&plain, (grid, grid), patch)?)
    }

    /// An error of a slot's probe.
    pub(super) fn failed(&self, slot: usize, source: ProbeError) -> StudyError {
        StudyError::Probe {
            slot: self.slots[slot].to_string(),
            source,
        }
    }

    fn not_finite(&self, slot: usize, item: &Item) -> StudyError {
        let slot = self.slots[slot];
        StudyError::file(
            &item.image,
            format!(
                "the model's {slot} of this image holds a value that is not finite: leave the image out, or run with \
                 `dtype` f32"
            ),
        )
    }
}
