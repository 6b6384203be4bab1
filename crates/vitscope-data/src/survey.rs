//! Looking at a whole data set without stopping at the first thing that is wrong.

use std::path::Path;

use crate::alignment::Thumb;
use crate::class_map::LabelCrop;
use crate::dataset::{DataSet, load, size_error};
use crate::decode::{self, Decoded};
use crate::error::DataError;
use crate::evidence::{BorderFit, Facts, ImageFacts, MaskFacts};
use crate::findings::{Findings, Listed, Problems};
use crate::geometry::Geometry;
use crate::labels::LabelTable;
use crate::listing::Item;
use crate::looks::Looks;

/// A data set opened by [`DataSet::survey`], and what is wrong with its files.
#[derive(Debug)]
pub struct Survey {
    /// The set, as far as it could be made out.
    pub set: DataSet,
    /// What would stop [`DataSet::open`].
    pub problems: Problems,
    /// Masks that no image claims. They stop nothing.
    pub unclaimed: Listed,
}

/// One image and its mask, looked at in full.
#[derive(Debug, Default)]
pub struct Examined {
    /// What is wrong: the image, the mask, their sizes, and each value that the set's table does
    /// not have. Any of it would stop a run.
    pub problems: Vec<DataError>,
    /// Width and height of the image in pixels, upright, where it can be decoded.
    pub image_size: Option<(usize, usize)>,
    /// Pixels of the mask per class, at the mask's own size.
    pub pixels: Vec<u64>,
    /// Pixels of the mask that count nowhere.
    pub ignored: u64,
    /// Values that the table does not have, as text (an id, or a color as `#rrggbb`), with their
    /// pixels. They are among the ignored in `label`.
    pub unknown: Vec<(String, u64)>,
    /// What image and mask show beyond that, for [`Evidence`](crate::Evidence).
    pub facts: Facts,
    /// The labels of the crop, where image and mask can be read and their sizes agree.
    pub label: Option<LabelCrop>,
}

impl DataSet {
    /// Opens a data set and goes on after each problem wherever that is possible; see
    /// [`survey`](self) for what else it looks at. Such a set may hold images without
    /// their masks: it is for telling what is wrong, not for a run.
    ///
    /// # Errors
    /// An argument that names no data set, or a directory or description of which nothing can be
    /// made.
    pub fn survey(spec: &str) -> Result<Survey, DataError> {
        let mut findings = Findings::collecting();
        let mut set = Self::find(spec, &mut findings)?;
        set.notes = findings.notes;
        set.searched = findings.searched;
        Ok(Survey {
            set,
            problems: findings.problems,
            unclaimed: findings.unclaimed,
        })
    }

    /// Decodes an image and its mask in full and tells everything that is wrong with them.
    #[must_use]
    pub fn examine(&self, item: &Item, geometry: &Geometry) -> Examined {
        let mut examined = Examined {
            pixels: vec![0; self.classes.len()],
            ..Examined::default()
        };
        let image = decode::guarded(&item.image, || {
            decode::decode(&item.image, &decode::read_file(&item.image, "an image")?)
        });
        let decoded = match image {
            Ok(decoded) => Some(decoded),
            Err(error) => {
                examined.problems.push(error);
                None
            }
        };
        examined.facts.image = decoded.as_ref().map(ImageFacts::of);
        examined.image_size = decoded.as_ref().map(|decoded| decoded.extent().size);
        if let Some(path) = &item.mask {
            let decoded = decoded.as_ref();
            let mask = examine_mask(&self.table, item, path, decoded, geometry, &mut examined);
            if let Err(error) = mask {
                examined.problems.push(error);
            }
        }
        examined
    }

    /// Decodes an image and, if wanted, its mask, and says what stands in the way of using them.
    ///
    /// # Errors
    /// As [`image`](Self::image) and [`label`](Self::label).
    pub fn try_item(&self, item: &Item, geometry: &Geometry, label: bool) -> Result<(), DataError> {
        load(&self.table, item, *geometry, label).map(|_| ())
    }
}

fn examine_mask(
    table: &LabelTable,
    item: &Item,
    path: &Path,
    image: Option<&Decoded>,
    geometry: &Geometry,
    examined: &mut Examined,
) -> Result<(), DataError> {
    let map = decode::guarded(path, || {
        let facts = &mut examined.facts.mask;
        table.read_with_mask(path, &mut |mask| *facts = Some(MaskFacts::of(mask)))
    })?;
    let mut counts = [0u64; 256];
    for &class in &map.classes {
        counts[usize::from(class)] += 1;
    }
    let classes = examined.pixels.len().min(255);
    examined.pixels[..classes].copy_from_slice(&counts[..classes]);
    let unknown: u64 = map.unknown.values().sum();
    examined.ignored = counts[255].saturating_sub(unknown);
    for (&value, &pixels) in &map.unknown {
        examined.problems.push(table.unknown(path, value));
        examined.unknown.push((table.show(value), pixels));
    }
    let Some(image) = image else {
        return Ok(());
    };
    if let Some(error) = size_error(item, path, &map, &image.extent()) {
        return Err(error);
    }
    examined.facts.fit = BorderFit::of(&image.image, &map, image.orientation);
    examined.facts.thumb = Some(Thumb::of(&image.image, &map));
    examined.facts.looks = Some(Looks::of(&image.image, &map));
    examined.label = Some(map.crop(*geometry));
    Ok(())
}
