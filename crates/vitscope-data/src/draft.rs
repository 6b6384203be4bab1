//! A TOML description of a set as it was found: what a user corrects instead of beginning with an
//! empty page.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::class_map::IGNORE;
use crate::dataset::DataSet;
use crate::error::DataError;
use crate::evidence::{Evidence, LARGEST};
use crate::findings::Findings;
use crate::labels::LabelTable;
use crate::listing::{self, Item};

/// A color of less than this share of all pixels is no class of a draft: antialiasing leaves such.
const RARE: f64 = 0.001;

/// Colors that differ by no more than this in any channel may be shades of one.
const SHADE: u8 = 16;

/// Classes of a draft at most, as a label map holds no more.
const CLASSES: usize = crate::class_map::MAX_CLASSES;

impl DataSet {
    /// A description of this set for a TOML file at `path`: its images and masks, and a class for
    /// each id or color that the evidence holds; 255 is a class where it seems to be one.
    ///
    /// # Errors
    /// Files whose names are not UTF-8, which TOML cannot hold.
    pub fn draft(&self, evidence: &Evidence, path: &Path) -> Result<String, DataError> {
        let base = base_of(path);
        let root = self
            .root
            .canonicalize()
            .unwrap_or_else(|_| self.root.clone());
        let mut text = String::from(
            "# A description of a data set. Correct it, then give this file as --data.\n\n",
        );
        let (shown, remark) = match root.strip_prefix(&base) {
            Ok(shown) => (shown, "  # relative to this file"),
            Err(_) => (root.as_path(), ""),
        };
        let _ = writeln!(text, "root = {}{remark}", toml_path(path, shown)?);
        if self.train == self.test {
            let _ = writeln!(text, "test = {}", files(path, &self.root, &self.test)?);
        } else {
            let _ = writeln!(text, "train = {}", files(path, &self.root, &self.train)?);
            let _ = writeln!(text, "test = {}", files(path, &self.root, &self.test)?);
        }
        if self
            .test
            .iter()
            .chain(&self.train)
            .any(|item| item.mask.is_some())
        {
            text.push_str(&self.endings());
            text.push_str(&self.draft_classes(evidence));
        }
        Ok(text)
    }

    /// The endings by which masks belong to images, where stems differ.
    fn endings(&self) -> String {
        let pairs = self.test.iter().chain(&self.train);
        let pairs = pairs.filter_map(|item| Some((&item.image, item.mask.as_ref()?)));
        let mut endings: Option<(String, String)> = None;
        for (image, mask) in pairs {
            let (image, mask) = (listing::stem(image), listing::stem(mask));
            let same = image.chars().zip(mask.chars()).take_while(|(a, b)| a == b);
            let same: usize = same.map(|(a, _)| a.len_utf8()).sum();
            let (of_image, of_mask) = (&image[same..], &mask[same..]);
            match &endings {
                None => endings = Some((of_image.to_owned(), of_mask.to_owned())),
                Some((a, b)) if (a.as_str(), b.as_str()) == (of_image, of_mask) => {}
                Some(_) => return String::new(),
            }
        }
        match endings {
            Some((image, mask)) if !(image.is_empty() && mask.is_empty()) => {
                format!("image_suffix = {image:?}\nmask_suffix = {mask:?}\n")
            }
            _ => String::new(),
        }
    }

    fn draft_classes(&self, evidence: &Evidence) -> String {
        let clash = evidence.clash.is_some();
        if let LabelTable::Parts(_) | LabelTable::Panoptic(_) = *self.table {
            return "# The masks of this kind are annotations that a description cannot name.\n"
                .to_owned();
        }
        let by_color = matches!(*self.table, LabelTable::Colors(_))
            || clash
            || evidence.colored > 0 && 2 * evidence.colored >= evidence.masks;
        if by_color {
            self.draft_colors(evidence)
        } else {
            self.draft_ids(evidence)
        }
    }

    fn draft_ids(&self, evidence: &Evidence) -> String {
        let doubts = evidence.doubts(self);
        let doubted = |sort: &str| doubts.iter().any(|doubt| doubt.sort == sort);
        let white = u32::from(IGNORE);
        let soft = doubted("interpolated masks");
        // Where edges are soft, what is no edge tells whether 255 is the only foreground.
        let solid = evidence.ids.iter().filter(|(_, value)| !value.is_thin());
        let solid: Vec<u32> = solid.map(|(&id, _)| id).collect();
        let foreground = soft && solid.len() <= 2 && solid.last() == Some(&white);
        let is_class = doubted("ignored class") || doubted("one class") || foreground;
        let all: u64 = evidence.ids.values().map(|value| value.pixels).sum();
        let mut ids: Vec<u32> = evidence.ids.keys().copied().collect();
        if soft && !solid.is_empty() {
            ids = solid;
        }
        // Ids that stand for one class, in training and in test.
        let same = evidence.same_classes(self);
        ids.retain(|id| same.iter().all(|(_, test)| test != id));
        let minus_one = doubted("largest id") && ids.len() > 2;
        let ignores = |id: u32| {
            let named = u16::try_from(id).is_ok_and(|id| self.table.ignores(id));
            named || (id == LARGEST && minus_one)
        };
        let ignored: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|&id| ignores(id) && !(id == white && is_class))
            .filter(|id| same.iter().all(|(train, _)| train != id))
            .collect();
        ids.retain(|id| !ignored.contains(id));
        let mut text = format!("ignore = {ignored:?}  # ids that count nowhere\n");
        if soft {
            text.push_str(
                "others = \"ignored\"  # ids along borders, as interpolation leaves them\n",
            );
        }
        let absent = self.classes.len().saturating_sub(
            evidence
                .classes
                .iter()
                .filter(|&&pixels| pixels > 0)
                .count(),
        );
        let mut drafted: Vec<(String, Vec<u32>)> = Vec::new();
        for (index, id) in ids.iter().take(CLASSES).enumerate() {
            let known = self.name_of_id(*id);
            // A list of names that the ids do not follow names them in their order.
            let by_order = self.classes.get(index).map(|class| class.name.clone());
            let named = self.classes.len() == ids.len() && absent > 0;
            let name = if named { by_order } else { known };
            let name = name.unwrap_or_else(|| id.to_string());
            let other = same.iter().find(|(train, _)| train == id);
            let all_ids = std::iter::once(*id).chain(other.map(|other| other.1));
            // A class may have several ids.
            match drafted.iter_mut().find(|(own, _)| *own == name) {
                Some((_, ids)) => ids.extend(all_ids),
                None => drafted.push((name, all_ids.collect())),
            }
        }
        for (name, all_ids) in drafted {
            let pixels = all_ids.iter().filter_map(|id| evidence.ids.get(id));
            let pixels: u64 = pixels.map(|value| value.pixels).sum();
            let _ = write!(
                text,
                "\n[[classes]]  # {:.2} % of the pixels\nname = {}\nids = {all_ids:?}\n",
                100.0 * pixels as f64 / all.max(1) as f64,
                toml_text(&name)
            );
        }
        text
    }

    /// The name of the class that an id is, if it is one.
    fn name_of_id(&self, id: u32) -> Option<String> {
        let class = self.table.class_of(u16::try_from(id).ok()?)?;
        Some(self.classes.get(usize::from(class))?.name.clone())
    }

    fn draft_colors(&self, evidence: &Evidence) -> String {
        let mut colors: Vec<([u8; 3], u64)> = Vec::new();
        if evidence.colored > 0 {
            colors.extend(evidence.colors.iter().map(|(&color, value)| {
                let [_, r, g, b] = color.to_be_bytes();
                ([r, g, b], value.pixels)
            }));
        } else {
            colors.extend(evidence.palette_colors.iter().map(|(&c, &n)| (c, n)));
        }
        let all: u64 = colors.iter().map(|&(_, pixels)| pixels).sum();
        let count = colors.len();
        colors.sort_by_key(|&(color, pixels)| (std::cmp::Reverse(pixels), color));
        let blended = self.blended(evidence);
        let mut kept = colors;
        if !blended.is_empty() {
            kept.retain(|(color, _)| !blended.contains(color));
            kept = without_shades(&kept);
        } else if count > 8 {
            kept.retain(|&(_, pixels)| pixels as f64 >= RARE * all as f64);
        }
        kept.truncate(CLASSES);
        let mut text = String::from("ignore_rgb = []  # colors that count nowhere\n");
        if kept.len() < count {
            let why = match blended.is_empty() {
                true => "too rare to be classes",
                false => {
                    "which lie only along borders or are nearly one of these: edges are blended, as smoothing and JPEG leave them"
                }
            };
            let _ = writeln!(
                text,
                "others = \"ignored\"  # {} more colors, {why}",
                count - kept.len()
            );
        }
        for ([r, g, b], pixels) in kept {
            let _ = write!(
                text,
                "\n[[classes]]  # {:.2} % of the pixels\nname = \"#{r:02x}{g:02x}{b:02x}\"\nrgb = [[{r}, {g}, {b}]]\n",
                100.0 * pixels as f64 / all.max(1) as f64
            );
        }
        text
    }

    /// Colors of masks that blend those of two classes along their border; none where edges are sharp.
    fn blended(&self, evidence: &Evidence) -> BTreeSet<[u8; 3]> {
        let doubts = evidence.doubts(self);
        let soft = doubts
            .iter()
            .any(|doubt| doubt.sort == "interpolated masks");
        if !soft || evidence.colored == 0 {
            return BTreeSet::new();
        }
        let thin = evidence.colors.iter().filter(|(_, value)| value.is_thin());
        let colors = thin.map(|(color, _)| {
            let [_, r, g, b] = color.to_be_bytes();
            [r, g, b]
        });
        let colors: BTreeSet<[u8; 3]> = colors.collect();
        match colors.len() < evidence.colors.len() {
            true => colors,
            false => BTreeSet::new(),
        }
    }
}

/// Colors, the commonest first, without those that are nearly a much commoner one: shades that lossy compression makes.
fn without_shades(colors: &[([u8; 3], u64)]) -> Vec<([u8; 3], u64)> {
    let mut kept: Vec<([u8; 3], u64)> = Vec::new();
    for &(color, pixels) in colors {
        let shade = |&(other, most): &([u8; 3], u64)| {
            let apart = color.iter().zip(other).map(|(a, b)| a.abs_diff(b)).max();
            apart <= Some(SHADE) && most >= 8 * pixels
        };
        if !kept.iter().any(shade) {
            kept.push((color, pixels));
        }
    }
    kept
}

/// The absolute directory of a file that need not exist.
pub(crate) fn base_of(path: &Path) -> PathBuf {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    parent
        .canonicalize()
        .unwrap_or_else(|_| parent.to_path_buf())
}

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(crate) fn toml_path(draft: &Path, path: &Path) -> Result<String, DataError> {
    let text = if path.as_os_str().is_empty() {
        Some(".")
    } else {
        path.to_str()
    };
    // One separator on every system, so that a description can be moved.
    let text = text.map(|text| toml_text(&text.replace('\\', "/")));
    text.ok_or_else(|| DataError::Description {
        path: draft.to_path_buf(),
        problem: format!("{} is not UTF-8, which TOML cannot hold", path.display()),
    })
}

/// The images and masks of a split: their folders where these hold nothing else, else one by one.
fn files(draft: &Path, root: &Path, items: &[Item]) -> Result<String, DataError> {
    let images: Vec<&Path> = items.iter().map(|item| item.image.as_path()).collect();
    let masks: Vec<&Path> = items
        .iter()
        .filter_map(|item| item.mask.as_deref())
        .collect();
    let images = patterns(draft, root, &images)?;
    if masks.is_empty() {
        return Ok(format!("{{ images = {images} }}"));
    }
    let masks = patterns(draft, root, &masks)?;
    Ok(format!("{{ images = {images}, masks = {masks} }}"))
}

fn patterns(draft: &Path, root: &Path, files: &[&Path]) -> Result<String, DataError> {
    let mut folders: Vec<&Path> = Vec::new();
    for file in files {
        let folder = file.parent().unwrap_or(root);
        if folders.last() != Some(&folder) && !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    let set: BTreeSet<&Path> = files.iter().copied().collect();
    let whole = |folder: &&Path| {
        let held = listing::images_in(folder, &mut Findings::collecting());
        held.is_ok_and(|held| held.iter().all(|file| set.contains(file.as_path())))
    };
    let named = if folders.iter().all(whole) {
        folders
    } else {
        files.to_vec()
    };
    let mut shown = Vec::with_capacity(named.len());
    for path in named {
        let relative = path.strip_prefix(root).unwrap_or(path);
        shown.push(toml_path(draft, relative)?);
    }
    Ok(match &shown[..] {
        [one] => one.clone(),
        many => format!("[\n    {},\n]", many.join(",\n    ")),
    })
}
