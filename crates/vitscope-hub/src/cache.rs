//! The cache that Hugging Face's tools share.
//!
//! ```text
//! models--owner--name/
//!     blobs/ETAG                  contents, named by SHA-256 (large files) or git hash
//!     blobs/ETAG.incomplete       what has come of one
//!     refs/main                   the commit that a branch or tag stood for
//!     snapshots/COMMIT/FILE       links into blobs
//!     .no_exist/COMMIT/FILE       files that were looked for and are not there
//! .locks/models--owner--name/ETAG.lock
//! ```

#[cfg(feature = "network")]
use std::fs::File;
#[cfg(feature = "network")]
use std::io::Write;
use std::path::{Path, PathBuf};

use vitscope_run::files::read_up_to;
#[cfg(feature = "network")]
use vitscope_run::files::step;

#[cfg(feature = "network")]
use crate::error::HubError;
#[cfg(feature = "network")]
use crate::place::{mark, open_empty, open_own};

/// The part of the cache that holds one repository.
#[derive(Clone, Debug)]
pub(crate) struct RepoCache {
    root: PathBuf,
    folder: String,
}

/// Whether a text is a full commit hash.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl RepoCache {
    pub fn new(root: &Path, id: &str) -> Self {
        Self {
            root: root.to_owned(),
            folder: format!("models--{}", id.replace('/', "--")),
        }
    }

    fn repository(&self) -> PathBuf {
        self.root.join(&self.folder)
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.repository().join("snapshots").join(commit)
    }

    /// The commit that a revision stood for when it was cached.
    pub fn commit_of(&self, revision: &str) -> Option<String> {
        let stored = stored_ref(&self.repository().join("refs").join(revision));
        let commit = stored.unwrap_or_else(|| revision.to_owned());
        is_commit(&commit).then_some(commit)
    }

    /// The files of a snapshot whose contents are there, as paths with `/`, in order.
    pub fn files(&self, commit: &str) -> Vec<String> {
        let mut files = Vec::new();
        collect(&self.snapshot(commit), "", 0, &mut files);
        files.sort();
        files
    }

    /// Whether it is known that a commit lacks a file.
    pub fn is_absent(&self, commit: &str, file: &str) -> bool {
        self.absence(commit, file).is_file()
    }

    fn absence(&self, commit: &str, file: &str) -> PathBuf {
        self.repository().join(".no_exist").join(commit).join(file)
    }
}

/// What a reference names. It may be anything that others put there, so little of it is read.
fn stored_ref(path: &Path) -> Option<String> {
    const LONGEST: u64 = 1000;
    let text = read_up_to(path, LONGEST).ok()??;
    Some(String::from_utf8(text).ok()?.trim().to_owned())
}

/// Snapshots are shallow, and their folders are no links, which might lead in circles.
fn collect(folder: &Path, prefix: &str, depth: usize, files: &mut Vec<String>) {
    const DEEPEST: usize = 8;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if depth < DEEPEST {
                collect(&path, &format!("{name}/"), depth + 1, files);
            }
        } else if path.is_file() {
            files.push(name);
        }
    }
}

/// The ids of which a cache holds anything, in order.
pub(crate) fn cached_ids(root: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    let mut ids: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("snapshots").is_dir())
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            Some(name.strip_prefix("models--")?.replacen("--", "/", 1))
        })
        .collect();
    ids.sort();
    ids
}

#[cfg(feature = "network")]
impl RepoCache {
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.repository().join("blobs").join(etag)
    }

    pub fn incomplete(&self, etag: &str) -> PathBuf {
        self.repository()
            .join("blobs")
            .join(format!("{etag}.incomplete"))
    }

    pub fn lock(&self, etag: &str) -> PathBuf {
        self.root
            .join(".locks")
            .join(&self.folder)
            .join(format!("{etag}.lock"))
    }

    /// Records that a commit lacks a file, so that nobody asks again.
    pub fn note_absent(&self, commit: &str, file: &str) -> Result<(), HubError> {
        let path = self.absence(commit, file);
        make_parent(&path)?;
        mark(&path)
    }

    /// Records what a branch or tag stands for.
    pub fn write_ref(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit || !crate::name::is_relative(revision) {
            return Ok(());
        }
        let path = self.repository().join("refs").join(revision);
        if stored_ref(&path).is_some_and(|stored| stored == commit) {
            return Ok(());
        }
        // Written among the locks, where no program looks for references, under a name that the next one
        // takes again: a kill leaves no second file.
        let locks = self.root.join(".locks").join(&self.folder);
        let beside = locks.join("ref.writing");
        make_parent(&beside)?;
        let lock = open_own(&locks.join("ref.lock"))?;
        // A file system without locks: two that write at once write the same commit, or one of two.
        let _ = lock.lock();
        let mut written = open_empty(&beside)?;
        step();
        written
            .write_all(commit.as_bytes())
            .map_err(HubError::io(&path, "write"))?;
        make_parent(&path)?;
        step();
        std::fs::rename(&beside, &path).map_err(HubError::io(&path, "write"))
    }

    /// Makes `snapshots/COMMIT/FILE` lead to a blob, and returns its path.
    pub fn link(&self, commit: &str, file: &str, etag: &str) -> Result<PathBuf, HubError> {
        let pointer = self.snapshot(commit).join(file);
        if pointer.is_file() {
            return Ok(pointer);
        }
        make_parent(&pointer)?;
        // A link without contents, from a blob that was removed, is in the way.
        step();
        let _ = std::fs::remove_file(&pointer);
        step();
        let up = "../".repeat(2 + file.matches('/').count());
        let target = format!("{up}blobs/{etag}");
        if make_link(&target, &pointer).is_err() && !pointer.is_file() {
            // No links on this system, or not for this user: a second name, or a copy.
            let blob = self.blob(etag);
            if std::fs::hard_link(&blob, &pointer).is_err() {
                let copy = pointer.with_extension("incomplete");
                let mut written = open_empty(&copy)?;
                step();
                File::open(&blob)
                    .and_then(|mut blob| std::io::copy(&mut blob, &mut written))
                    .map_err(HubError::io(&copy, "copy the file"))?;
                step();
                std::fs::rename(&copy, &pointer)
                    .map_err(HubError::io(&pointer, "put the copy in place"))?;
            }
        }
        Ok(pointer)
    }
}

#[cfg(all(feature = "network", unix))]
fn make_link(target: &str, pointer: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(all(feature = "network", windows))]
fn make_link(target: &str, pointer: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_file(target.replace('/', "\\"), pointer)
}

#[cfg(all(feature = "network", not(any(unix, windows))))]
fn make_link(_: &str, _: &Path) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Makes the folder that a file goes into.
#[cfg(feature = "network")]
pub(crate) fn make_parent(path: &Path) -> Result<(), HubError> {
    match path.parent() {
        Some(folder) if folder.is_dir() => Ok(()),
        Some(folder) => {
            step();
            std::fs::create_dir_all(folder).map_err(HubError::io(folder, "make the folder"))
        }
        None => Ok(()),
    }
}
