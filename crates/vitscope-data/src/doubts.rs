//! What a set's images and masks give reason to doubt: masks that lie, values that do not reach the
//! model as they were meant. Each doubt is a sentence with its evidence and the way out.
//!
//! A doubt stops nothing, and what is coded plainly raises none: the bounds below were chosen on
//! label maps of photographs, where ids have insides and borders are one step.

mod ids;
mod images;
mod pairs;
mod splits;

use image::metadata::Orientation;

use rayon::prelude::*;

use crate::class_map::IGNORE;
use crate::dataset::DataSet;
use crate::decode;
use crate::doubt::Doubt;
use crate::evidence::{Evidence, MaskValue};
use crate::geometry::Geometry;
use crate::kind::Kind;
use crate::labels::LabelTable;
use crate::listing::{Item, spread};
use crate::split::Split;

/// Images of each split that [`DataSet::doubts`] decodes with their masks.
const SAMPLE: usize = 64;

/// Images of each split whose EXIF orientation alone it reads.
const HEADERS: usize = 1024;

/// Fewer pixels of masks than this prove nothing about how they were made.
const ENOUGH_PIXELS: u64 = 1000;

/// Masks where more borders than this, as a share, have a value between their two sides were
/// interpolated. Of CamVid, VOC, ADE20K and COCO-Stuff masks it is less than 0.01, of masks that were
/// made half as large with interpolation about 0.4.
const SOFTENED: f64 = 0.1;

impl DataSet {
    /// What a sample of the set gives reason to doubt: at most 64 images of each split, twos of
    /// neighbors that are evenly spaced, are decoded with their masks, and of at most 1,024 the EXIF orientation is read. The
    /// same set gives the same sentences, and is looked at once. Files that cannot be read raise no doubt here: whatever
    /// uses them says so.
    ///
    /// A look at every file is [`survey`](Self::survey) with [`examine`](Self::examine), whose
    /// [`Facts`](crate::Facts) an [`Evidence`] sums.
    #[must_use]
    pub fn doubts(&self) -> &[Doubt] {
        self.doubted.get_or_init(|| self.look_for_doubts())
    }

    fn look_for_doubts(&self) -> Vec<Doubt> {
        let mut evidence = Evidence::default();
        // The crop is of no interest here, so it is small.
        let geometry = Geometry { size: 16 };
        let one_list = self.train == self.test;
        let mut splits = vec![(Split::Test, &self.test)];
        if !one_list {
            splits.push((Split::Train, &self.train));
        }
        for (split, items) in splits {
            let decoded = neighbors(items.len());
            let found: Vec<_> = decoded
                .par_iter()
                .map(|&index| self.examine(&items[index], &geometry))
                .collect();
            for (examined, &index) in found.into_iter().zip(&decoded) {
                evidence.add(split, &items[index], examined.facts, &examined.pixels);
            }
            let mut others = spread(items.len(), HEADERS);
            others.retain(|index| decoded.binary_search(index).is_err());
            others.retain(|&index| items[index].mask.is_some());
            let turned: Vec<_> = others
                .par_iter()
                .map(|&index| orientation(&items[index]))
                .collect();
            for (orientation, &index) in turned.into_iter().zip(&others) {
                if let Some(orientation) = orientation {
                    evidence.add_orientation(&items[index].image, orientation);
                }
            }
        }
        evidence.compare_images(self, HEADERS);
        evidence.doubts(self)
    }
}

/// At most [`SAMPLE`] indices below `count`, in neighboring twos, evenly spaced, in rising order.
fn neighbors(count: usize) -> Vec<usize> {
    if count <= SAMPLE {
        return spread(count, SAMPLE);
    }
    let twos = spread(count - 1, SAMPLE / 2);
    twos.into_iter().flat_map(|at| [at, at + 1]).collect()
}

/// The EXIF orientation of an image, from its header.
fn orientation(item: &Item) -> Option<Orientation> {
    let read = decode::guarded(&item.image, || {
        let bytes = decode::read_file(&item.image, "an image")?;
        decode::extent(&item.image, &bytes)
    });
    read.ok().map(|extent| extent.orientation)
}

impl Evidence {
    /// What there is to doubt, the gravest first.
    #[must_use]
    pub fn doubts(&self, set: &DataSet) -> Vec<Doubt> {
        let finder = DoubtFinder::new(self, set);
        let ignored = finder.ignored_class();
        let few = finder.one_class().filter(|_| ignored.is_none());
        let [tested, fitted] = finder.misplaced();
        [
            ignored,
            few,
            finder.recoded(),
            finder.shared(),
            finder.alike(),
            finder.swapped(),
            tested,
            fitted,
            finder.instances(),
            finder.largest(),
            finder.interpolated(),
            finder.palettes(),
            finder.colors().filter(|_| !finder.masks_are_photographs()),
            finder.multiples(),
            finder.shifted(),
            finder.orientation(),
            finder.turned_masks(),
            finder.frames(),
            finder.transparent_masks(),
            finder.depth(),
            finder.darkness(),
            finder.transparency(),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// What looks for each sort of doubt in what was summed of a set.
struct DoubtFinder<'a> {
    evidence: &'a Evidence,
    set: &'a DataSet,
    /// Masks store ids.
    by_ids: bool,
    /// The set is the user's own, not one whose coding is known.
    plain: bool,
}

impl<'a> DoubtFinder<'a> {
    fn new(evidence: &'a Evidence, set: &'a DataSet) -> Self {
        Self {
            evidence,
            set,
            by_ids: matches!(*set.table, LabelTable::Ids(_)),
            plain: matches!(set.kind, Kind::Folder | Kind::Described),
        }
    }

    /// The command that writes a description of this set.
    fn draft(&self) -> String {
        format!(
            "'vitscope data check {} --draft set.toml' writes it, and --data set.toml uses it",
            quoted(&self.set.spec)
        )
    }

    /// Pixels of all ids.
    fn pixels(&self) -> u64 {
        self.evidence.ids.values().map(|value| value.pixels).sum()
    }

    fn share(&self, pixels: u64) -> f64 {
        100.0 * pixels as f64 / self.pixels().max(1) as f64
    }

    /// Ids that occur, and whether 255 does and counts nowhere.
    fn ids(&self) -> (Vec<u32>, bool) {
        let white = u32::from(IGNORE);
        let ignored = self.evidence.ids.contains_key(&white) && self.set.table.ignores(255);
        let ids = self.evidence.ids.keys().copied();
        (ids.filter(|&id| id != white || !ignored).collect(), ignored)
    }

    /// 255 is taken for "ignored" where it looks like a class.
    fn ignored_class(&self) -> Option<Doubt> {
        let (ids, ignored) = self.ids();
        if !ignored || !self.plain || self.set.table.named_ignored() {
            return None;
        }
        let white = self.evidence.ids.get(&u32::from(IGNORE))?;
        let absent: Vec<&str> = self
            .set
            .classes
            .iter()
            .zip(&self.evidence.classes)
            .filter(|(_, pixels)| **pixels == 0)
            .map(|(class, _)| class.name.as_str())
            .collect();
        let why = if let [] | [_] = ids[..] {
            let other = match ids[..] {
                [id] => format!(
                    "{id} ({:.1} % of the pixels) is the only other value",
                    self.share(self.evidence.ids.get(&id).map_or(0, |value| value.pixels))
                ),
                _ => "there is no other value".to_owned(),
            };
            format!("{other}, so that at most one class is left and no score means anything")
        } else if evenly_spaced(&ids) {
            format!(
                "{} and 255 are evenly spaced, as classes scaled for viewing are",
                listed(&ids)
            )
        } else if let [name] = absent[..]
            && self.share(white.pixels) >= 1.0
        {
            format!("the class '{name}' occurs in none of them")
        } else {
            return None;
        };
        let names = match absent[..] {
            [name] => format!("the class '{name}'"),
            _ => "a class".to_owned(),
        };
        Some(Doubt {
            sort: "ignored class",
            text: format!(
                "255 counts nowhere (it means ignored) and fills {:.1} % of the pixels of {} masks, while {why}: if 255 is {names}, describe the set in a TOML file with 'ignore = []' and 'ids = [255]' for that class ({}).",
                self.share(white.pixels),
                white.masks,
                self.draft()
            ),
        })
    }

    /// One class, or none, in the masks by which a model is measured.
    fn one_class(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        // Where test images have no masks there is nothing to be measured by, which is said elsewhere.
        let (masks, classes, whose) = match evidence.test_masks {
            0 => (evidence.masks, &evidence.classes, ""),
            tested if tested < evidence.masks => {
                (tested, &evidence.test_classes, " of test images")
            }
            tested => (tested, &evidence.test_classes, ""),
        };
        if masks == 0 && classes.iter().all(|&pixels| pixels == 0) {
            return None;
        }
        if self.set.classes.is_empty() {
            return None;
        }
        let occurring = self.set.classes.iter().zip(classes);
        let mut occurring = occurring.filter(|(_, pixels)| **pixels > 0);
        let first = occurring.next();
        if occurring.next().is_some() {
            return None;
        }
        let which = match first {
            Some((class, _)) => format!("only one class occurs, '{}'", class.name),
            None => "no class occurs".to_owned(),
        };
        Some(Doubt {
            sort: "one class",
            text: format!(
                "{which}, in the {masks} masks{whose} looked at: mIoU, accuracy and NMI then say nothing of a model (a single cluster would score 1); check that the masks are the right ones, and how they are coded."
            ),
        })
    }

    /// Ids that interpolation or JPEG left along borders.
    fn interpolated(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        let values = if evidence.colored > 0 {
            &evidence.colors
        } else {
            &evidence.ids
        };
        let pixels: u64 = values.values().map(|value| value.pixels).sum();
        // A description that leaves others out has decided what counts.
        let decided = self.set.table.ignores_others();
        // What is no mask, or numbers objects, has a doubt that says more.
        let decided = decided || self.masks_are_photographs() || self.instances().is_some();
        if pixels < ENOUGH_PIXELS || evidence.borders == 0 || decided {
            return None;
        }
        let edges: Vec<&MaskValue> = values.values().filter(|value| value.is_thin()).collect();
        let on_edges: u64 = edges.iter().map(|value| value.pixels).sum();
        let what = if evidence.colored > 0 {
            "colors"
        } else {
            "ids"
        };
        let many = edges.len() >= 3 && 2 * edges.len() >= values.len();
        if many && self.plain && on_edges * 3 < pixels {
            let solid = values.iter().filter(|(_, value)| !value.is_thin());
            let solid: Vec<u32> = solid.map(|(&id, _)| id).collect();
            let named = if evidence.colored > 0 {
                let colors: Vec<String> = solid.iter().map(|c| format!("#{c:06x}")).collect();
                some(&colors)
            } else {
                listed(&solid)
            };
            return Some(Doubt {
                sort: "interpolated masks",
                text: format!(
                    "{} of the {} {what} of the masks lie only along borders (hardly a pixel of theirs has its own kind on all sides; {:.1} % of the pixels), as resizing with interpolation or JPEG leaves them, and the others are {named}: export the masks again with nearest neighbor, or describe the set in a TOML file with these {what} alone and 'others = \"ignored\"' ({}).",
                    edges.len(),
                    values.len(),
                    100.0 * on_edges as f64 / pixels as f64,
                    self.draft()
                ),
            });
        }
        let soft = evidence.softened as f64 / evidence.borders as f64;
        (soft > SOFTENED && !matches!(*self.set.table, LabelTable::Parts(_))).then(|| Doubt {
            sort: "interpolated masks",
            text: format!(
                "at {:.0} % of the borders in the masks stands one pixel whose value lies between those of its two sides, as resizing with interpolation leaves it, so that pixels count for classes that nobody gave them: export the masks again with nearest neighbor.",
                100.0 * soft
            ),
        })
    }

    /// One palette per file.
    fn palettes(&self) -> Option<Doubt> {
        let clash = self.evidence.clash.as_ref().filter(|_| self.by_ids)?;
        let hex = |[r, g, b]: [u8; 3]| format!("#{r:02x}{g:02x}{b:02x}");
        Some(Doubt {
            sort: "palettes that differ",
            text: format!(
                "masks are read as the indices they store, but their palettes differ in {} of {}: index {} is {} in {} and {} in {}, so that one index may mean several classes; if the colors are what counts, describe the set in a TOML file with 'rgb' (masks with a palette are then read by color; {}).",
                self.evidence.clashing,
                self.evidence.masks,
                clash.id,
                hex(clash.first.0),
                clash.first.1.display(),
                hex(clash.second.0),
                clash.second.1.display(),
                self.draft()
            ),
        })
    }

    /// Colors where ids are wanted.
    fn colors(&self) -> Option<Doubt> {
        let evidence = self.evidence;
        if evidence.colored == 0 || !self.by_ids && !self.set.classes.is_empty() {
            return None;
        }
        let all: u64 = evidence.colors.values().map(|value| value.pixels).sum();
        let mut colors: Vec<(u32, MaskValue)> =
            evidence.colors.iter().map(|(&c, &v)| (c, v)).collect();
        let total = colors.len();
        // Where no color has an inside, edges are not what is blended.
        let solid = colors.iter().any(|(_, value)| !value.is_thin());
        if solid && self.interpolated().is_some() {
            colors.retain(|(_, value)| !value.is_thin());
        }
        let blended = match total - colors.len() {
            0 => String::new(),
            thin => format!(" ({thin} of them along borders alone, since edges are blended)"),
        };
        colors.sort_by_key(|&(color, value)| (std::cmp::Reverse(value.pixels), color));
        let shown = colors.iter().map(|&(color, value)| {
            let share = 100.0 * value.pixels as f64 / all.max(1) as f64;
            format!("#{color:06x} {share:.1} %")
        });
        let shown: Vec<String> = shown.collect();
        let grey = colors.iter().all(|&(color, _)| {
            let [_, r, g, b] = color.to_be_bytes();
            r == g && g == b
        });
        let grey = if total == 1 {
            " (if the labels are in their transparency, save that as the mask: 'Image.open(FILE).getchannel(\"A\").save(PNG)' with Pillow)"
        } else if grey {
            " (all of them grey: ids saved as RGB)"
        } else {
            ""
        };
        Some(Doubt {
            sort: "color masks",
            text: format!(
                "{} masks are RGB pictures of {total} colors{blended}{grey}: {}; describe the set in a TOML file with a name and 'rgb' for each color ({}), or convert the masks to ids.",
                evidence.colored,
                some(&shown),
                self.draft()
            ),
        })
    }

    /// Ids scaled for viewing.
    fn multiples(&self) -> Option<Doubt> {
        let (ids, ignored) = self.ids();
        if !self.by_ids || !self.plain || self.set.table.named_ignored() {
            return None;
        }
        let above: Vec<u32> = ids.iter().copied().filter(|&id| id > 0).collect();
        let factor = above.iter().copied().fold(0, greatest_common_divisor);
        let steps = above.iter().map(|id| id / factor.max(1));
        let in_turn = steps
            .clone()
            .zip(1..)
            .all(|(step, expected)| step == expected);
        let scaled =
            above.len() >= 2 && factor >= 2 && (in_turn || above.len() >= 4 && factor >= 5);
        if !scaled {
            return None;
        }
        // A description that names these very ids knows them.
        if self.set.kind == Kind::Described && self.evidence.classes.iter().all(|&n| n > 0) {
            return None;
        }
        let white = if ignored && 255 % factor == 0 {
            ", and 255, which is a multiple too, counts nowhere"
        } else {
            ""
        };
        Some(Doubt {
            sort: "scaled ids",
            text: format!(
                "all ids of the masks are multiples of {factor} ({}), as masks scaled for viewing have them{white}: name the classes in a TOML file, one 'ids = [N]' each ({}).",
                listed(&ids),
                self.draft()
            ),
        })
    }

    /// Ids that begin at 1 where the names begin at 0.
    fn shifted(&self) -> Option<Doubt> {
        let (ids, _) = self.ids();
        let classes = self.set.classes.len() as u32;
        let (&first, &last) = (ids.first()?, ids.last()?);
        if !self.by_ids || !self.plain || first != 1 || last != classes {
            return None;
        }
        if self.set.table.knows(last as u16) {
            return None;
        }
        Some(Doubt {
            sort: "shifted ids",
            text: format!(
                "the ids of the masks run from 1 to {last} and the names of the {classes} classes from 0 to {}, so that each class has its neighbor's name: put a line for id 0 before the others, or describe the set in a TOML file ({}).",
                classes - 1,
                self.draft()
            ),
        })
    }
}

/// Whether ids, with 255 as the last, are steps of one width from 0, give or take rounding.
fn evenly_spaced(ids: &[u32]) -> bool {
    let steps = ids.len() as u32;
    let near = |(&id, step): (&u32, u32)| id.abs_diff(step * 255 / steps) <= 1;
    // At 0 and 127 or so, and finer.
    (2..52).contains(&steps) && ids.iter().zip(0..).all(near)
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// The first of many, in words.
fn some(words: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = words[..words.len().min(SHOWN)].join(", ");
    if words.len() > SHOWN {
        text.push_str(&format!(" and {} more", words.len() - SHOWN));
    }
    text
}

/// The first of many ids, in words.
fn listed(ids: &[u32]) -> String {
    let words: Vec<String> = ids.iter().map(u32::to_string).collect();
    some(&words)
}

/// A DATA argument as a shell takes it.
pub(crate) fn quoted(spec: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:@%+=,".contains(c);
    if !spec.is_empty() && spec.chars().all(plain) {
        spec.to_owned()
    } else {
        format!("\"{spec}\"")
    }
}
