//! What the files of a set were when a run began, so that a run that goes on can tell that one was
//! edited in between.
//!
//! A file is the same if its length is, and its content as far as it was read: a file of up to 64 KiB
//! whole, of a longer one the first and the last 16 KiB. Its time of change counts only for what was
//! not read: a set of small files may be copied or touched between two sittings. In sets of more
//! than 20,000 files no content is read, and the time alone counts beside the length.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::DataSet;
use crate::decode;
use crate::error::DataError;
use crate::listing::Item;

/// Files up to this length are read whole.
const WHOLE: u64 = 64 << 10;

/// Of a longer file, so much of its beginning and of its end is read.
const ENDS: usize = 16 << 10;

/// Sets of more files than this are told by length and time alone.
const MANY: usize = 20_000;

/// The files of a set as they were: store it (it is plain data), and ask it later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamps {
    /// By path, relative to the set's root where the file lies in it.
    files: BTreeMap<String, StampedFile>,
}

/// One file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StampedFile {
    /// Its length in bytes.
    length: u64,
    /// When it was last changed, in nanoseconds since 1970 as text (JSON's numbers end before); none
    /// where the system does not tell.
    changed: Option<String>,
    /// SHA-256 of what was read of it, its first 16 hexadecimal digits; none where nothing was.
    content: Option<String>,
}

impl DataSet {
    /// What the first `train` training and `test` test images and their masks are now.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn stamps(&self, train: usize, test: usize) -> Result<Stamps, DataError> {
        let items = self.train.iter().take(train);
        let items = items.chain(self.test.iter().take(test));
        let files = |item: &'_ Item| [Some(item.image.clone()), item.mask.clone()];
        Stamps::of(&self.root, items.flat_map(files).flatten().collect())
    }
}

impl Stamps {
    /// What some files are now; they are called by their paths below `root`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(root: &Path, mut paths: Vec<PathBuf>) -> Result<Self, DataError> {
        paths.sort_unstable();
        paths.dedup();
        let contents = paths.len() <= MANY;
        let stamps: Vec<Result<StampedFile, DataError>> = paths
            .par_iter()
            .map(|path| StampedFile::of(path, contents))
            .collect();
        let mut files = BTreeMap::new();
        // In the order of the paths, so that of several bad files the same one is always named.
        for (path, stamp) in paths.iter().zip(stamps) {
            let name = path.strip_prefix(root).unwrap_or(path);
            files.insert(name.display().to_string(), stamp?);
        }
        Ok(Self { files })
    }

    /// The first file that is not what it was, and how it differs: `masks/3.png has 812 bytes, and
    /// had 790`. None if all are the same; files of `now` that were not there count as well.
    #[must_use]
    pub fn changed(&self, now: &Self) -> Option<String> {
        let gone = |name: &str| format!("{name} is not part of the set any more");
        for (name, before) in &self.files {
            match now.files.get(name) {
                None => return Some(gone(name)),
                Some(now) => {
                    if let Some(how) = before.differs(now) {
                        return Some(format!("{name} {how}"));
                    }
                }
            }
        }
        let mut added = now
            .files
            .keys()
            .filter(|name| !self.files.contains_key(*name));
        added
            .next()
            .map(|name| format!("{name} was not part of the set"))
    }

    /// SHA-256 over names, lengths and what was read, in hexadecimal: that of a copy is the same, whatever its
    /// times. Of a set whose content is not read, names and lengths alone.
    #[must_use]
    pub fn contents(&self) -> String {
        let mut hash = Sha256::new();
        for (name, stamp) in &self.files {
            hash.update(format!("{name}\n{} {:?}\n", stamp.length, stamp.content));
        }
        hex(&hash.finalize())
    }

    /// SHA-256 over all of it, in hexadecimal. Equal stamps have equal hashes; a file that was only
    /// touched changes it, which [`changed`](Self::changed) forgives.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (name, stamp) in &self.files {
            let text = format!(
                "{name}\n{} {:?} {:?}\n",
                stamp.length, stamp.changed, stamp.content
            );
            hash.update(text);
        }
        hex(&hash.finalize())
    }
}

impl StampedFile {
    fn of(path: &Path, content: bool) -> Result<Self, DataError> {
        let failed = |source| DataError::read(path, source);
        let mut file = decode::open_file(path)?;
        let metadata = file.metadata().map_err(failed)?;
        let length = metadata.len();
        let changed = metadata.modified().ok();
        let since = changed.map(|time| match time.duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_nanos().to_string(),
            Err(before) => format!("-{}", before.duration().as_nanos()),
        });
        let mut hash = Sha256::new();
        if content {
            let mut bytes = Vec::new();
            if length <= WHOLE {
                file.take(WHOLE).read_to_end(&mut bytes).map_err(failed)?;
            } else {
                bytes.resize(2 * ENDS, 0);
                file.read_exact(&mut bytes[..ENDS]).map_err(failed)?;
                file.seek(SeekFrom::End(-(ENDS as i64))).map_err(failed)?;
                file.read_exact(&mut bytes[ENDS..]).map_err(failed)?;
            }
            hash.update(&bytes);
        }
        Ok(Self {
            length,
            changed: since,
            content: content.then(|| hex(&hash.finalize()[..8])),
        })
    }

    /// How it differs from the same file now, in words that follow the file's name.
    fn differs(&self, now: &Self) -> Option<String> {
        if self.length != now.length {
            return Some(format!("has {} bytes, and had {}", now.length, self.length));
        }
        if let (Some(before), Some(content)) = (&self.content, &now.content)
            && before != content
        {
            return Some("has another content than it had".to_owned());
        }
        let read_whole = self.content.is_some() && now.content.is_some() && self.length <= WHOLE;
        (!read_whole && self.changed != now.changed)
            .then(|| "was changed or replaced (its time of change differs)".to_owned())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn stamps(root: &Path) -> Stamps {
        let set = DataSet::open(&format!("folder:{}", root.display())).unwrap();
        set.stamps(usize::MAX, usize::MAX).unwrap()
    }

    #[test]
    fn an_edited_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.png"), [1; 100]).unwrap();
        fs::write(path("b.png"), vec![2; 200_000]).unwrap();
        let before = stamps(folder.path());
        assert_eq!(before.changed(&stamps(folder.path())), None);
        assert_eq!(before.hash(), stamps(folder.path()).hash());
        // Through JSON, as a run keeps it.
        let text = serde_json::to_string(&before).unwrap();
        let kept: Stamps = serde_json::from_str(&text).unwrap();
        assert_eq!(kept, before);
        let changed = |expected: &str| {
            let how = kept.changed(&stamps(folder.path())).unwrap();
            assert_eq!(how, expected);
            assert_ne!(kept.hash(), stamps(folder.path()).hash());
        };
        let time = fs::metadata(path("a.png")).unwrap().modified().unwrap();
        let set_time = |name: &str, time| {
            let file = fs::File::options().write(true).open(path(name)).unwrap();
            file.set_modified(time).unwrap();
        };
        // One byte, at the same length and time.
        let mut bytes = [1; 100];
        bytes[50] = 7;
        fs::write(path("a.png"), bytes).unwrap();
        set_time("a.png", time);
        changed("a.png has another content than it had");
        fs::write(path("a.png"), [1; 90]).unwrap();
        changed("a.png has 90 bytes, and had 100");
        // A small file that was only touched is the same; a large one is doubted.
        fs::write(path("a.png"), [1; 100]).unwrap();
        let later = time + std::time::Duration::from_secs(60);
        set_time("a.png", later);
        assert_eq!(kept.changed(&stamps(folder.path())), None);
        let of_b = fs::metadata(path("b.png")).unwrap().modified().unwrap();
        set_time("b.png", of_b + std::time::Duration::from_secs(60));
        changed("b.png was changed or replaced (its time of change differs)");
        let mut bytes = vec![2; 200_000];
        bytes[199_999] = 0;
        fs::write(path("b.png"), bytes).unwrap();
        set_time("b.png", of_b);
        changed("b.png has another content than it had");
        fs::write(path("b.png"), vec![2; 200_000]).unwrap();
        set_time("b.png", of_b);
        assert_eq!(kept.changed(&stamps(folder.path())), None);
        // Nor are two times before 1970 the same.
        let early = |seconds| UNIX_EPOCH - std::time::Duration::from_secs(seconds);
        set_time("b.png", early(60));
        let before = stamps(folder.path());
        assert_eq!(before.changed(&stamps(folder.path())), None);
        set_time("b.png", early(50));
        assert!(before.changed(&stamps(folder.path())).is_some());
        set_time("b.png", of_b);
        fs::write(path("c.png"), [3; 10]).unwrap();
        changed("c.png was not part of the set");
        fs::remove_file(path("c.png")).unwrap();
        fs::remove_file(path("b.png")).unwrap();
        changed("b.png is not part of the set any more");
    }
}
