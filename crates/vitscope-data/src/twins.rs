//! Test images that are training images too: one file in both lists, files of equal bytes, or the same picture
//! saved again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::likeness::{Miniature, same_pictures};
use crate::listing::{Item, spread};

/// Bytes at the end of a file that are compared before the whole, as compressed images differ there.
const TAIL: u64 = 4096;

/// How many test images are training images too.
#[derive(Debug, Default)]
pub(crate) struct Twins {
    /// Test images that were looked at.
    pub looked: usize,
    /// Of those, in the list of training images.
    pub listed: usize,
    /// Of the others, equal byte for byte to a training image.
    pub copied: usize,
    /// The first of `copied`, and the training image.
    pub first: Option<(PathBuf, PathBuf)>,
    /// All of both.
    known: BTreeSet<PathBuf>,
    /// Of the decoded images of both splits, those of test that are none of these and show what a training image
    /// shows.
    pub alike: SavedAgain,
}

/// Test images that show the same picture as a training image.
#[derive(Debug, Default)]
pub(crate) struct SavedAgain {
    /// How many.
    pub count: usize,
    /// Training and test images that were looked at.
    pub looked: [usize; 2],
    /// The first, and its training image.
    pub first: Option<(PathBuf, PathBuf)>,
}

/// The decoded images of a split.
pub(crate) type Miniatures = Vec<(PathBuf, Miniature)>;

impl Twins {
    /// Looks at `most` test images, evenly spaced. The sizes of all files are asked for; only files of one
    /// size are read, and of those the last bytes first. What cannot be read equals nothing.
    pub(crate) fn find(train: &[Item], test: &[Item], most: usize) -> Self {
        let test: Vec<&Item> = spread(test.len(), most)
            .into_iter()
            .filter_map(|at| test.get(at))
            .collect();
        let mut fitted: BTreeMap<u64, Vec<&Path>> = BTreeMap::new();
        let sizes: Vec<_> = train.par_iter().map(sized).collect();
        for (size, path) in sizes.into_iter().flatten() {
            fitted.entry(size).or_default().push(path);
        }
        let found: Vec<Option<&Path>> = test
            .par_iter()
            .map(|item| {
                let (size, path) = sized(item)?;
                let same_size = fitted.get(&size)?;
                if let Some(same) = same_size.iter().find(|other| **other == path) {
                    return Some(*same);
                }
                let end = tail(path, size)?;
                let equal = |other: &&&Path| {
                    tail(other, size).is_some_and(|other| other == end) && equal_files(path, other)
                };
                same_size.iter().find(equal).copied()
            })
            .collect();
        let mut twins = Self {
            looked: test.len(),
            ..Self::default()
        };
        for (item, other) in test.into_iter().zip(found) {
            if other.is_some() {
                twins.known.insert(item.image.clone());
            }
            match other {
                Some(other) if other == item.image => twins.listed += 1,
                Some(other) => {
                    twins.copied += 1;
                    twins
                        .first
                        .get_or_insert_with(|| (item.image.clone(), other.to_path_buf()));
                }
                None => {}
            }
        }
        twins
    }

    /// Looks for the same pictures among the decoded images of training and of test, without those that are known.
    pub(crate) fn compare(&mut self, [train, test]: &[Miniatures; 2]) {
        self.alike.looked = [train.len(), test.len()];
        let (train, test) = (borrowed(train), borrowed(test));
        let others: Vec<_> = test
            .iter()
            .filter(|(path, _)| !self.known.contains(*path))
            .collect();
        let found = same_pictures(&others, &train);
        for ((path, _), other) in others.into_iter().zip(found) {
            if let Some(other) = other {
                self.alike.count += 1;
                self.alike
                    .first
                    .get_or_insert_with(|| (path.to_path_buf(), other.to_path_buf()));
            }
        }
    }
}

/// The size of an image's file in bytes, and its path.
fn sized(item: &Item) -> Option<(u64, &Path)> {
    let size = std::fs::metadata(&item.image).ok()?.len();
    Some((size, &item.image))
}

/// The last bytes of a file.
fn tail(path: &Path, size: u64) -> Option<Vec<u8>> {
    let mut file = File::open(path).ok()?;
    file.seek(SeekFrom::Start(size.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn equal_files(a: &Path, b: &Path) -> bool {
    match (std::fs::read(a), std::fs::read(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn borrowed(list: &Miniatures) -> Vec<(&Path, Miniature)> {
    let each = list.iter();
    each.map(|(path, small)| (path.as_path(), *small)).collect()
}
