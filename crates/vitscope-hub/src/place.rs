//! Files of the cache that are written into, none of which is anybody else's.
//!
//! The cache is a folder like any other, and under a name of ours may lie a link to a file of the
//! user's, or what is no file. A link is taken away and not followed, and so is one of several
//! names of a file: neither loses anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{Error, ErrorKind};
use std::path::Path;

use vitscope_run::files::step;

use crate::error::HubError;

/// Opens a file for reading and for writing at its end, and makes it where there is none.
pub(crate) fn open_own(path: &Path) -> Result<File, HubError> {
    loop {
        let is_there = make_way(path).map_err(HubError::io(path, "write"))?;
        step();
        let opened = OpenOptions::new()
            .create_new(!is_there)
            .append(true)
            .read(true)
            .open(path);
        match opened {
            // Another process made or removed it in between.
            Err(error)
                if matches!(
                    (is_there, error.kind()),
                    (false, ErrorKind::AlreadyExists) | (true, ErrorKind::NotFound)
                ) => {}
            opened => return opened.map_err(HubError::io(path, "write")),
        }
    }
}

/// Opens a file of no contents.
pub(crate) fn open_empty(path: &Path) -> Result<File, HubError> {
    let file = open_own(path)?;
    step();
    file.set_len(0).map_err(HubError::io(path, "write"))?;
    Ok(file)
}

/// Makes a file of no contents, unless its name is taken.
pub(crate) fn mark(path: &Path) -> Result<(), HubError> {
    step();
    match File::create_new(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(HubError::io(path, "write")(error))
        }
        _ => Ok(()),
    }
}

/// Takes away what is only a name of another file. Returns whether there is a file to go on with.
fn make_way(path: &Path) -> std::io::Result<bool> {
    let found = match path.symlink_metadata() {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if found.is_symlink() || (found.is_file() && has_other_names(&found)) {
        step();
        std::fs::remove_file(path)?;
        return Ok(false);
    }
    if !found.is_file() {
        // A named pipe would wait for its reader.
        return Err(Error::other(
            "it is not a regular file; remove it and run again",
        ));
    }
    Ok(true)
}

#[cfg(unix)]
fn has_other_names(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    found.nlink() > 1
}

/// Elsewhere the library does not tell.
#[cfg(not(unix))]
fn has_other_names(_: &Metadata) -> bool {
    false
}
