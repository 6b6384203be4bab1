//! Files that are either whole or absent: written beside their place, then renamed.

use std::fs::{DirEntry, File, TryLockError};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::error::RunError;

/// How the names of files begin and end that are still being written; in between are random letters.
const UNFINISHED: &str = ".vitscope-";
const SUFFIX: &str = ".writing";
const RANDOM: usize = 12;

/// Nothing of ours takes so long to write.
const STALE: Duration = Duration::from_secs(3600);

/// Called before whatever changes the disk, by every crate that does. In a build for tests, the environment
/// may name the change before which the process dies, as by a kill: so every state that a kill can leave is
/// tried in turn. Or it names a folder, in which a file is put before every n-th change (`n:folder`): nothing
/// changes until a test that has looked at the disk takes it away.
pub fn step() {
    #[cfg(debug_assertions)]
    {
        use std::sync::Mutex;
        static STEPS: Mutex<u64> = Mutex::new(0);
        // Held while a test looks, so that no other thread changes the disk either.
        let mut steps = STEPS
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        *steps += 1;
        let at = std::env::var("VITSCOPE_TEST_DIE_AT").ok();
        if at.and_then(|at| at.parse().ok()) == Some(*steps) {
            std::process::abort();
        }
        let pause = std::env::var("VITSCOPE_TEST_PAUSE_AT").ok();
        if let Some((every, folder)) = pause.as_deref().and_then(|pause| pause.split_once(':'))
            && every.parse().is_ok_and(|every| steps.is_multiple_of(every))
        {
            let here = Path::new(folder).join(steps.to_string());
            if std::fs::write(&here, "").is_ok() {
                while here.exists() {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }
}

/// Creates a folder and its parents.
///
/// # Errors
/// When the disk refuses.
pub fn make_dir(path: &Path) -> Result<(), RunError> {
    if path.is_dir() {
        return Ok(());
    }
    let is_astray = |place: &&Path| place.is_symlink() && !place.exists();
    if let Some(link) = path.ancestors().find(is_astray) {
        return Err(RunError::Refused(format!(
            "{}: is a link that leads nowhere: remove it, or make what it leads to",
            link.display()
        )));
    }
    step();
    std::fs::create_dir_all(path).map_err(RunError::io(path, "create the folder"))
}

/// Writes a file through `fill` beside its place, flushes it to the disk and renames it.
///
/// # Errors
/// When the disk refuses; the file is then as it was.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>,
) -> Result<(), RunError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_dir(folder)?;
    let beside = temporary(folder, path)?;
    let io = RunError::io(path, "write");
    let mut writer = BufWriter::new(beside.as_file());
    let written = fill(&mut writer).and_then(|()| writer.flush());
    drop(writer);
    written.map_err(io)?;
    put(beside, path)
}

/// Writes bytes to a file, whole or not at all.
///
/// # Errors
/// When the disk refuses; the file is then as it was.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    write_with(path, |out| out.write_all(bytes))
}

/// Whether a name is one that [`temporary`] gives: it is ours, and nobody else's.
pub(crate) fn is_ours(name: &str) -> bool {
    name.strip_prefix(UNFINISHED)
        .and_then(|rest| rest.strip_suffix(SUFFIX))
        .is_some_and(|random| {
            random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

/// Removes what a killed process was writing beside its place, in a folder of ours and below, where no other process
/// is at work.
///
/// # Errors
/// When a folder cannot be listed, or a file not removed.
pub fn sweep(folder: &Path) -> Result<(), RunError> {
    sweep_where(folder, usize::MAX, &|_| true)
}

/// [`sweep`] for a folder in which another process may be writing now, and so many levels of folders in it: what is
/// being written is locked, and stays.
///
/// # Errors
/// As [`sweep`].
pub fn sweep_left(folder: &Path, levels: usize) -> Result<(), RunError> {
    sweep_where(folder, levels, &is_left)
}

/// Whether no process is writing what a name of ours has.
fn is_left(entry: &DirEntry) -> bool {
    let locked = match entry.file_type() {
        Ok(kind) if kind.is_file() => {
            let file = File::options().write(true).open(entry.path());
            file.ok().map(|file| file.try_lock())
        }
        _ => None,
    };
    match locked {
        Some(Ok(())) => true,
        Some(Err(TryLockError::WouldBlock)) => false,
        // A folder, or a file system without locks.
        _ => {
            let touched = entry.metadata().and_then(|found| found.modified()).ok();
            touched.is_some_and(|then| then.elapsed().unwrap_or_default() > STALE)
        }
    }
}

fn sweep_where(
    folder: &Path,
    levels: usize,
    is_left: &dyn Fn(&DirEntry) -> bool,
) -> Result<(), RunError> {
    let io = |action| RunError::io(folder, action);
    for entry in std::fs::read_dir(folder).map_err(io("list"))? {
        let entry = entry.map_err(io("list"))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(io("list"))?;
        let ours = is_ours(&entry.file_name().to_string_lossy());
        match (kind.is_dir(), ours) {
            (_, true) if !is_left(&entry) => {}
            (true, true) => {
                step();
                std::fs::remove_dir_all(&path).map_err(RunError::io(&path, "remove"))?;
            }
            (true, false) if levels > 0 => sweep_where(&path, levels - 1, is_left)?,
            (false, true) if kind.is_file() => remove_if_there(&path)?,
            _ => {}
        }
    }
    Ok(())
}

/// Whether a folder holds a folder that a killed process was removing.
///
/// # Errors
/// When it cannot be listed.
pub(crate) fn holds_removed(folder: &Path) -> Result<bool, RunError> {
    let list = match std::fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if is_absent(&error) => return Ok(false),
        Err(error) => return Err(RunError::io(folder, "list")(error)),
    };
    for entry in list {
        let entry = entry.map_err(RunError::io(folder, "list"))?;
        let kind = entry.file_type().map_err(RunError::io(folder, "list"))?;
        if kind.is_dir() && is_ours(&entry.file_name().to_string_lossy()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a folder holds nothing, or is not there: nothing but what a process of ours leaves that is
/// killed before it has written its first file.
///
/// # Errors
/// When it cannot be listed, or is a file.
pub fn is_blank(folder: &Path) -> Result<bool, RunError> {
    let list = match std::fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if is_absent(&error) => return Ok(true),
        Err(error) => return Err(RunError::io(folder, "list")(error)),
    };
    for entry in list {
        let entry = entry.map_err(RunError::io(folder, "list"))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let blank = is_ours(&name)
            || match &*name {
                // Made for the lock that lies in them.
                "state" | ".vitscope" if entry.path().is_dir() => is_blank(&entry.path())?,
                "lock" => folder.ends_with("state") || folder.ends_with(".vitscope"),
                _ => false,
            };
        if !blank {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes a file, if it is there.
///
/// # Errors
/// When the disk refuses.
pub fn remove_if_there(path: &Path) -> Result<(), RunError> {
    step();
    match std::fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(RunError::io(path, "remove")(error)),
        _ => Ok(()),
    }
}

/// Removes a folder of ours as a whole, if it is there: it loses its name first, so that no half of it is
/// ever taken for the folder.
///
/// # Errors
/// When the disk refuses.
pub fn remove_folder(folder: &Path) -> Result<(), RunError> {
    if !folder.exists() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    let io = |action| RunError::io(folder, action);
    let aside = named(&mut tempfile::Builder::new())
        .tempdir_in(parent)
        .map_err(io("remove the folder"))?;
    step();
    std::fs::rename(folder, aside.path().join("removed")).map_err(io("remove the folder"))?;
    step();
    aside.close().map_err(io("remove the folder"))
}

/// Fills a new folder through `fill` and gives it its name then, so that it is whole or absent. In it,
/// files are written by [`write_inside`].
///
/// # Errors
/// When the disk refuses, and those of `fill`.
pub fn write_folder<E: From<RunError>>(
    path: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    make_dir(parent)?;
    step();
    let beside = named(&mut tempfile::Builder::new())
        .tempdir_in(parent)
        .map_err(RunError::io(path, "make the folder"))?;
    let inside = beside.path().join("folder");
    make_dir(&inside)?;
    fill(&inside)?;
    step();
    std::fs::rename(&inside, path).map_err(RunError::io(path, "rename the finished folder"))?;
    Ok(())
}

/// Writes a file of a folder that has no name yet.
///
/// # Errors
/// When the disk refuses.
pub fn write_inside(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    step();
    std::fs::write(path, bytes).map_err(RunError::io(path, "write"))
}

/// Gives what is built a name of our own.
fn named<'a, 'b>(
    builder: &'b mut tempfile::Builder<'a, 'static>,
) -> &'b mut tempfile::Builder<'a, 'static> {
    builder.prefix(UNFINISHED).suffix(SUFFIX).rand_bytes(RANDOM)
}

/// Whether a path is not there, be it for a file in the place of one of its folders.
pub(crate) fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// Opens a file for reading. What is no regular file is refused before it is opened: a named pipe would wait for
/// its writer, and a device need not end.
///
/// # Errors
/// When it is none, is not there or cannot be opened.
pub fn open(path: &Path) -> std::io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    File::open(path)
}

/// Reads a file; `None` where there is none.
///
/// # Errors
/// When it is there and cannot be read.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, RunError> {
    let mut bytes = Vec::new();
    match open(path).and_then(|mut file| file.read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(RunError::io(path, "read")(error)),
    }
}

/// [`read_if_there`], for a file that may be a stranger's: none longer than `most` bytes is read.
///
/// # Errors
/// When it is there and cannot be read, and when it is longer.
pub fn read_up_to(path: &Path, most: u64) -> Result<Option<Vec<u8>>, RunError> {
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(RunError::io(path, "read")(error)),
    };
    let fits = |length: u64| match length <= most {
        true => Ok(()),
        false => Err(RunError::damaged(
            path,
            format!("is longer than the {most} bytes that such a file of a run has at most"),
        )),
    };
    // None of what is refused is read; a file that is being written may grow meanwhile.
    fits(file.metadata().map_err(RunError::io(path, "read"))?.len())?;
    let mut bytes = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut bytes);
    read.map_err(RunError::io(path, "read"))?;
    fits(bytes.len() as u64)?;
    Ok(Some(bytes))
}

/// SHA-256 of some files one after the other, hex.
///
/// # Errors
/// When one cannot be read.
pub fn sha256_of(paths: &[PathBuf]) -> Result<String, RunError> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    for path in paths {
        let mut file = open(path).map_err(RunError::io(path, "open"))?;
        loop {
            let count = file.read(&mut buffer).map_err(RunError::io(path, "read"))?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
        }
    }
    Ok(hex(&hash.finalize()))
}

/// Bytes in hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file beside `path`, with the permissions that an ordinary new file would have, for [`put`].
///
/// # Errors
/// When the disk refuses.
pub fn temporary(folder: &Path, path: &Path) -> Result<NamedTempFile, RunError> {
    step();
    let mut builder = tempfile::Builder::new();
    named(&mut builder);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    loop {
        let beside = builder
            .tempfile_in(folder)
            .map_err(RunError::io(path, "write"))?;
        // Locked while it is open: that is how others see that it is being written. One that swept here between
        // the two has it, or has removed it.
        let locked = beside.as_file().try_lock();
        if !matches!(locked, Err(TryLockError::WouldBlock))
            && is_at(beside.as_file(), beside.path())
        {
            return Ok(beside);
        }
    }
}

/// Whether an open file is the one that lies at a path.
#[cfg(unix)]
pub(crate) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), path.metadata()) {
        (Ok(own), Ok(there)) => (own.dev(), own.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// An open file cannot be removed.
#[cfg(not(unix))]
pub(crate) fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// Flushes a finished file to the disk and gives it its name.
///
/// # Errors
/// When the disk refuses.
pub fn put(beside: NamedTempFile, path: &Path) -> Result<(), RunError> {
    step();
    let io = |action| RunError::io(path, action);
    beside.as_file().sync_data().map_err(io("write"))?;
    beside
        .persist(path)
        .map_err(|error| io("replace the file")(error.error))?;
    Ok(())
}

/// [`put`], where the name is free: of several that try, one succeeds, and nobody ever reads a part. Comes back
/// with the file where the name is taken.
///
/// # Errors
/// When the disk refuses.
pub fn put_if_free(beside: NamedTempFile, path: &Path) -> Result<Option<NamedTempFile>, RunError> {
    step();
    match beside.persist_noclobber(path) {
        Ok(_) => Ok(None),
        Err(taken) if taken.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Ok(Some(taken.file))
        }
        Err(refused) => Err(RunError::io(path, "write")(refused.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner");
        make_dir(&inner).unwrap();
        let beside = temporary(&inner, &inner.join("x")).unwrap();
        let (file, left) = beside.keep().unwrap();
        let foreign = [
            "notes.partial",
            ".writing-mine",
            ".vitscope-short.writing",
            ".vitscope-has+a+sign.writing",
        ];
        for name in foreign {
            std::fs::write(dir.path().join(name), "mine").unwrap();
        }
        // Another process, here this one, may be writing it.
        sweep_left(dir.path(), 1).unwrap();
        assert!(left.exists());
        drop(file);
        sweep_left(dir.path(), 0).unwrap();
        assert!(left.exists(), "it lies a level deeper");
        sweep_left(dir.path(), 1).unwrap();
        assert!(!left.exists());
        for name in foreign {
            assert!(dir.path().join(name).exists(), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_does_not_end_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let [pipe, device] = ["pipe", "device"].map(|name| dir.path().join(name));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        std::os::unix::fs::symlink("/dev/zero", &device).unwrap();
        for path in [pipe, device, dir.path().to_owned()] {
            for error in [
                read_if_there(&path).unwrap_err(),
                read_up_to(&path, 9).unwrap_err(),
                sha256_of(std::slice::from_ref(&path)).unwrap_err(),
            ] {
                let error = error.to_string();
                assert!(error.contains("not a regular file"), "{error}");
            }
        }
    }

    #[test]
    fn a_file_is_whole_or_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"old").unwrap();
        let failed = write_with(&path, |out| {
            out.write_all(b"ne")?;
            Err(std::io::Error::other("no"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
