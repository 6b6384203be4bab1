//! What images and masks show beyond their pixels and labels: the facts by which
//! [`doubts`](crate::doubts) tells masks that lie. Summed in the order of the files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::GrayImage;
use image::metadata::Orientation;

use crate::alignment::{Alignment, Thumb, contrast};
use crate::class_map::{ClassMap, IGNORE};
use crate::coding::Coding;
use crate::dataset::DataSet;
use crate::decode::Decoded;
use crate::frames::FrameCount;
use crate::labels::packed;
use crate::likeness::Miniature;
use crate::listing::Item;
use crate::looks::{ClassLooks, Looks};
use crate::mask::{Mask, StoredValues};
use crate::rgb_image::RgbImage;
use crate::split::Split;
use crate::twins::{Miniatures, Twins};

/// Distinct values of masks that are kept one by one. Ids have no more; photographs taken for
/// color masks have.
const KEPT_VALUES: usize = 1 << 16;

/// The largest id of 16 bits, as which -1 is stored.
pub(crate) const LARGEST: u32 = u16::MAX as u32;

/// What one image and its mask show.
#[derive(Debug, Default)]
pub struct Facts {
    pub(crate) image: Option<ImageFacts>,
    pub(crate) mask: Option<MaskFacts>,
    pub(crate) fit: Option<BorderFit>,
    pub(crate) thumb: Option<Thumb>,
    pub(crate) looks: Option<Looks>,
}

/// What a decoded image shows.
#[derive(Debug)]
pub(crate) struct ImageFacts {
    pub orientation: Orientation,
    pub deepest: Option<u16>,
    pub brightest: u8,
    pub transparent: bool,
    /// Whether it has few colors, as label maps have and photographs do not.
    pub flat: bool,
    pub frames: u32,
    pub miniature: Miniature,
}

/// Colors of an image that has few.
pub(crate) const FEW_COLORS: usize = 32;

/// Ids, and colors, of a mask that looks like a photograph.
const MANY_IDS: usize = 64;
const MANY_COLORS: usize = 1024;

/// What the values of a mask show.
#[derive(Debug, Default)]
pub(crate) struct MaskFacts {
    /// Per id, or color as a number: its pixels.
    pub values: BTreeMap<u32, MaskValue>,
    /// Whether the values are colors.
    pub colored: bool,
    /// Pairs of neighbors of different values, in rows and columns.
    pub borders: u64,
    /// Pixels whose value lies between those of its two neighbors in its row or column.
    pub softened: u64,
    /// The palette's colors of the ids that occur.
    pub palette: BTreeMap<u32, [u8; 3]>,
    pub turned: bool,
    pub transparent: bool,
    pub frames: u32,
}

/// The pixels of one value.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MaskValue {
    pub pixels: u64,
    /// Of those, with no neighbor (above, below, left, right) of another value.
    pub inside: u64,
    /// Masks that have it.
    pub masks: u64,
}

impl MaskValue {
    /// Whether it lies on borders: hardly a pixel of it has its own kind on all sides.
    pub(crate) fn is_thin(&self) -> bool {
        // 2 %, chosen on label maps of photographs.
        50 * self.inside < self.pixels
    }
}

/// How much of an image's change of brightness lies on the borders of its mask: over the pairs of
/// neighbors that a border parts, the mean difference, in that of all pairs. About 1 for a mask of
/// another image.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct BorderFit {
    /// The mask as it is, on the upright image.
    pub upright: f64,
    /// The mask turned as the image was, which fits if it was drawn on the stored pixels.
    pub turned: f64,
}

impl ImageFacts {
    pub(crate) fn of(decoded: &Decoded) -> Self {
        Self {
            orientation: decoded.orientation,
            deepest: decoded.deepest,
            brightest: decoded.image.pixels().iter().copied().max().unwrap_or(0),
            transparent: decoded.transparent,
            flat: is_flat(&decoded.image),
            frames: decoded.frames,
            miniature: Miniature::of(&decoded.image),
        }
    }
}

fn is_flat(image: &RgbImage) -> bool {
    let (pixels, _) = image.pixels().as_chunks::<3>();
    let mut colors: Vec<[u8; 3]> = Vec::new();
    pixels.iter().all(|color| {
        // Neighbors mostly share a color, so the last ones are looked at first.
        if !colors.iter().rev().any(|known| known == color) {
            colors.push(*color);
        }
        colors.len() <= FEW_COLORS
    })
}

impl MaskFacts {
    pub(crate) fn of(mask: &Mask) -> Self {
        let mut facts = match &mask.values {
            StoredValues::Ids8(ids) => Self::of_values(ids, mask.width, between),
            StoredValues::Ids16(ids) => Self::of_values(ids, mask.width, between),
            StoredValues::Colors(colors) => {
                let packed: Vec<u32> = colors.iter().map(|&color| packed(color)).collect();
                Self::of_values(&packed, mask.width, color_between)
            }
        };
        facts.colored = matches!(mask.values, StoredValues::Colors(_));
        facts.turned = mask.turned;
        facts.transparent = mask.transparent;
        facts.frames = mask.frames;
        if let Some(palette) = &mask.palette {
            let color = |&id: &u32| Some((id, *palette.get(id as usize)?));
            facts.palette = facts.values.keys().filter_map(color).collect();
        }
        facts
    }

    fn of_values<T: Copy + Ord + Into<u32>>(
        values: &[T],
        width: usize,
        between: impl Fn(u32, u32, u32) -> bool,
    ) -> Self {
        let mut facts = Self::default();
        let height = values.len() / width.max(1);
        let at = |x: usize, y: usize| values[y * width + x];
        for y in 0..height {
            // Neighbors mostly share a value, so a run of them is added at once.
            let mut run: Option<(T, MaskValue)> = None;
            for x in 0..width {
                let value = at(x, y);
                let left = (x > 0).then(|| at(x - 1, y));
                let right = (x + 1 < width).then(|| at(x + 1, y));
                let above = (y > 0).then(|| at(x, y - 1));
                let below = (y + 1 < height).then(|| at(x, y + 1));
                let other = |neighbor: Option<T>| neighbor.is_some_and(|other| other != value);
                facts.borders += u64::from(other(left)) + u64::from(other(above));
                let lies = |a: Option<T>, b: Option<T>| {
                    a.zip(b)
                        .is_some_and(|(a, b)| between(a.into(), value.into(), b.into()))
                };
                facts.softened += u64::from(lies(left, right) || lies(above, below));
                let edge = other(left) || other(right) || other(above) || other(below);
                match &mut run {
                    Some((same, counts)) if *same == value => {
                        counts.pixels += 1;
                        counts.inside += u64::from(!edge);
                    }
                    _ => {
                        facts.add(run.take());
                        let inside = u64::from(!edge);
                        run = Some((
                            value,
                            MaskValue {
                                pixels: 1,
                                inside,
                                masks: 0,
                            },
                        ));
                    }
                }
            }
            facts.add(run);
        }
        facts
    }

    /// Whether it looks like a photograph: it has many values, and few pixels with none but their own
    /// kind around them.
    fn is_varied(&self) -> bool {
        let most = if self.colored { MANY_COLORS } else { MANY_IDS };
        let sum = |count: &dyn Fn(&MaskValue) -> u64| self.values.values().map(count).sum::<u64>();
        self.values.len() >= most && 2 * sum(&|value| value.inside) < sum(&|value| value.pixels)
    }

    fn add<T: Into<u32>>(&mut self, run: Option<(T, MaskValue)>) {
        if let Some((value, counts)) = run {
            add_value(&mut self.values, value.into(), counts);
        }
    }
}

fn add_value(values: &mut BTreeMap<u32, MaskValue>, value: u32, counts: MaskValue) {
    if values.len() >= KEPT_VALUES && !values.contains_key(&value) {
        return;
    }
    let entry = values.entry(value).or_default();
    entry.pixels += counts.pixels;
    entry.inside += counts.inside;
    entry.masks += counts.masks;
}

/// Whether the second lies strictly between the others.
fn between(a: u32, value: u32, b: u32) -> bool {
    a.min(b) < value && value < a.max(b)
}

/// Whether a color lies between two others: in every channel not outside, and equal to neither.
fn color_between(a: u32, value: u32, b: u32) -> bool {
    let (first, color, second) = (a.to_be_bytes(), value.to_be_bytes(), b.to_be_bytes());
    let inside = |channel: usize| {
        let (a, b) = (first[channel], second[channel]);
        (a.min(b)..=a.max(b)).contains(&color[channel])
    };
    value != a && value != b && (1..4).all(inside)
}

impl BorderFit {
    /// How well a mask fits an upright image as it is and turned, where that differs and the sizes
    /// allow both.
    pub(crate) fn of(image: &RgbImage, map: &ClassMap, orientation: Orientation) -> Option<Self> {
        if orientation == Orientation::NoTransforms {
            return None;
        }
        let (width, height) = (map.width as u32, map.height as u32);
        let buffer = GrayImage::from_raw(width, height, map.classes.clone())?;
        let mut turned = image::DynamicImage::ImageLuma8(buffer);
        turned.apply_orientation(orientation);
        let size = (image.width(), image.height());
        if size != (map.width, map.height)
            || size != (turned.width() as usize, turned.height() as usize)
        {
            return None;
        }
        let light = brightness(image);
        Some(Self {
            upright: contrast(&light, &map.classes, map.width)?,
            turned: contrast(&light, turned.as_luma8()?.as_raw(), map.width)?,
        })
    }
}

fn brightness(image: &RgbImage) -> Vec<i32> {
    let (pixels, _) = image.pixels().as_chunks::<3>();
    let sum = |pixel: &[u8; 3]| pixel.iter().map(|&value| i32::from(value)).sum();
    pixels.iter().map(sum).collect()
}

/// The facts of many images and masks.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Images and masks whose facts are in here.
    pub(crate) images: usize,
    pub(crate) masks: usize,
    /// Images with masks that EXIF turns, and the first of them.
    pub(crate) turned: usize,
    pub(crate) first_turned: Option<(PathBuf, Orientation)>,
    /// Images with masks whose orientation was read.
    pub(crate) headers: usize,
    /// Sums of [`BorderFit`], and of how many.
    pub(crate) fit: BorderFit,
    pub(crate) fits: usize,
    /// Images of 16 bits a sample, and their largest sample.
    pub(crate) deep: usize,
    pub(crate) deepest: u16,
    /// The brightest value of all images, of 255.
    pub(crate) brightest: u8,
    pub(crate) transparent: usize,
    /// Images of few colors, and masks of as many values as photographs have.
    pub(crate) flat: usize,
    pub(crate) varied: usize,
    /// Masks whose ids above 0 are 1 to some number without a gap, by that number, and how many others
    /// have ids above 0.
    pub(crate) counted: BTreeMap<u32, usize>,
    pub(crate) uncounted: usize,
    /// How masks lie on their training and on their test images.
    pub(crate) alignment: [Alignment; 2],
    pub(crate) first_transparent: Option<PathBuf>,
    /// Masks with an EXIF orientation.
    pub(crate) turned_masks: usize,
    /// Masks with transparent pixels, and the first of them.
    pub(crate) transparent_masks: usize,
    pub(crate) first_transparent_mask: Option<PathBuf>,
    /// Images and masks of several frames.
    pub(crate) moving: FrameCount,
    pub(crate) moving_masks: FrameCount,
    /// The values of all masks of ids, and of all masks of colors.
    pub(crate) ids: BTreeMap<u32, MaskValue>,
    pub(crate) colors: BTreeMap<u32, MaskValue>,
    pub(crate) colored: usize,
    pub(crate) borders: u64,
    pub(crate) softened: u64,
    /// Per id, the color of the first palette that has it; and the first id with two colors.
    pub(crate) palette: BTreeMap<u32, ([u8; 3], PathBuf)>,
    pub(crate) clash: Option<Clash>,
    /// Pixels of the colors that palettes give to ids.
    pub(crate) palette_colors: BTreeMap<[u8; 3], u64>,
    /// Masks that disagree with the palette of an earlier one.
    pub(crate) clashing: usize,
    /// Pixels per class.
    pub(crate) classes: Vec<u64>,
    /// Those of test images, and how many of the masks those are.
    pub(crate) test_classes: Vec<u64>,
    pub(crate) test_masks: usize,
    /// What the masks of training and of test images hold.
    pub(crate) coding: [Coding; 2],
    /// What the classes of training and of test images look like.
    pub(crate) looks: [ClassLooks; 2],
    /// Test images that are training images, where that was looked at.
    pub(crate) twins: Option<Twins>,
    /// The decoded images of training and of test.
    pub(crate) miniatures: [Miniatures; 2],
}

/// One id that two masks show in different colors.
#[derive(Debug)]
pub(crate) struct Clash {
    pub id: u32,
    pub first: ([u8; 3], PathBuf),
    pub second: ([u8; 3], PathBuf),
}

fn add_pixels(sums: &mut Vec<u64>, pixels: &[u64]) {
    if sums.len() < pixels.len() {
        sums.resize(pixels.len(), 0);
    }
    for (sum, pixels) in sums.iter_mut().zip(pixels) {
        *sum += pixels;
    }
}

impl Evidence {
    /// Adds the orientation of an image of which nothing else was read.
    pub(crate) fn add_orientation(&mut self, image: &Path, orientation: Orientation) {
        self.headers += 1;
        if orientation != Orientation::NoTransforms {
            self.turned += 1;
            self.first_turned
                .get_or_insert_with(|| (image.to_path_buf(), orientation));
        }
    }

    /// Adds the facts of one image of a split and its mask, and the mask's pixels of each class.
    pub fn add(&mut self, split: Split, item: &Item, facts: Facts, pixels: &[u64]) {
        let (image, mask) = (&item.image, item.mask.as_deref());
        if let Some(facts) = facts.image {
            self.images += 1;
            self.brightest = self.brightest.max(facts.brightest);
            if let Some(deepest) = facts.deepest {
                self.deep += 1;
                self.deepest = self.deepest.max(deepest);
            }
            self.flat += usize::from(facts.flat);
            self.moving.add(image, facts.frames);
            self.miniatures[usize::from(split == Split::Test)]
                .push((image.clone(), facts.miniature));
            if facts.transparent {
                self.transparent += 1;
                self.first_transparent.get_or_insert_with(|| image.clone());
            }
            if mask.is_some() {
                self.add_orientation(image, facts.orientation);
            }
        }
        if let Some(fit) = facts.fit {
            self.fit.upright += fit.upright;
            self.fit.turned += fit.turned;
            self.fits += 1;
        }
        if let Some(thumb) = facts.thumb {
            self.alignment[usize::from(split == Split::Test)].add(thumb);
        }
        if let Some(looks) = &facts.looks {
            self.looks[usize::from(split == Split::Test)].add(looks);
        }
        add_pixels(&mut self.classes, pixels);
        if split == Split::Test {
            add_pixels(&mut self.test_classes, pixels);
            self.test_masks += usize::from(facts.mask.is_some() && mask.is_some());
        }
        if let (Some(facts), Some(mask)) = (facts.mask, mask) {
            let values = facts.values.iter().map(|(&id, value)| (id, value.pixels));
            let values = values.filter(|_| !facts.colored);
            self.coding[usize::from(split == Split::Test)].add(values, pixels);
            self.add_mask(mask, facts);
        }
    }

    /// Looks for test images that are training images too: files among at most `most`, evenly spaced, and pictures
    /// among those that were added. Where one list serves both splits there is nothing to look for.
    pub fn compare_images(&mut self, set: &DataSet, most: usize) {
        if set.train != set.test {
            let mut twins = Twins::find(&set.train, &set.test, most);
            twins.compare(&self.miniatures);
            self.twins = Some(twins);
        }
    }

    fn add_mask(&mut self, mask: &Path, facts: MaskFacts) {
        self.masks += 1;
        self.turned_masks += usize::from(facts.turned);
        self.moving_masks.add(mask, facts.frames);
        if facts.transparent {
            self.transparent_masks += 1;
            self.first_transparent_mask
                .get_or_insert_with(|| mask.to_path_buf());
        }
        self.colored += usize::from(facts.colored);
        self.borders += facts.borders;
        self.softened += facts.softened;
        for (id, color) in &facts.palette {
            let pixels = facts.values.get(id).map_or(0, |value| value.pixels);
            *self.palette_colors.entry(*color).or_insert(0) += pixels;
        }
        self.varied += usize::from(facts.is_varied());
        if !facts.colored {
            self.count_up(&facts.values);
        }
        let sums = if facts.colored {
            &mut self.colors
        } else {
            &mut self.ids
        };
        for (value, counts) in facts.values {
            add_value(sums, value, MaskValue { masks: 1, ..counts });
        }
        let mut clashes = false;
        for (id, color) in facts.palette {
            let first = self
                .palette
                .entry(id)
                .or_insert_with(|| (color, mask.to_path_buf()));
            if first.0 != color {
                clashes = true;
                self.clash.get_or_insert_with(|| Clash {
                    id,
                    first: first.clone(),
                    second: (color, mask.to_path_buf()),
                });
            }
        }
        self.clashing += usize::from(clashes);
    }

    /// Notes whether a mask numbers what it shows.
    fn count_up(&mut self, values: &BTreeMap<u32, MaskValue>) {
        let ids = || {
            let ids = values.keys().copied();
            ids.filter(|id| ![0, u32::from(IGNORE), LARGEST].contains(id))
        };
        match ids().next_back() {
            None => {}
            Some(last) if ids().eq(1..=last) => *self.counted.entry(last).or_default() += 1,
            Some(_) => self.uncounted += 1,
        }
    }
}
