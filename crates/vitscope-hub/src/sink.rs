//! Where a file is received: its bytes on the disk, and their hash.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest, Sha256};
use vitscope_run::files::{hex, step};

use crate::error::HubError;
use crate::place::open_own;

/// A file that is being received, with the hash of what has come.
pub(crate) struct Sink {
    path: PathBuf,
    file: File,
    hash: Sha256,
    pub(crate) length: u64,
    /// Whether it began anew because the server has nothing beyond what had come.
    pub(crate) anew: bool,
}

impl Sink {
    /// Opens what came earlier where that can be used, or an empty file.
    pub(crate) fn open(path: &Path, resumable: bool, size: Option<u64>) -> Result<Self, HubError> {
        let io = |action| HubError::io(path, action);
        let file = open_own(path)?;
        let mut sink = Self {
            path: path.to_owned(),
            file,
            hash: Sha256::new(),
            length: 0,
            anew: false,
        };
        let stored = sink.file.metadata().map_err(io("read"))?.len();
        if !resumable || size.is_none_or(|size| stored > size) {
            sink.restart()?;
            return Ok(sink);
        }
        sink.length =
            read_all(&mut sink.file, |bytes| sink.hash.update(bytes)).map_err(io("read"))?;
        Ok(sink)
    }

    pub(crate) fn restart(&mut self) -> Result<(), HubError> {
        step();
        self.file
            .set_len(0)
            .map_err(HubError::io(&self.path, "write"))?;
        self.hash = Sha256::new();
        self.length = 0;
        Ok(())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        step();
        self.file
            .write_all(bytes)
            .map_err(HubError::io(&self.path, "write"))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Git's hash of what has come; or its SHA-1, where that is the one expected. Git hashes the length first,
    /// which need not be known before the end, so that the file is read again: it is a small one.
    pub(crate) fn sha1(&mut self, expected: &str) -> Result<String, HubError> {
        let mut hash = FileSha1::new(self.length);
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(HubError::io(&self.path, "read"))?;
        read_all(&mut self.file, |bytes| hash.update(bytes))
            .map_err(HubError::io(&self.path, "read"))?;
        Ok(hash.finish(expected))
    }

    /// Everything is on the disk; its SHA-256.
    pub(crate) fn finish(self) -> Result<String, HubError> {
        self.file
            .sync_all()
            .map_err(HubError::io(&self.path, "write"))?;
        Ok(hex(&self.hash.finalize()))
    }
}

/// Both hashes of 40 digits that an ETag may be.
pub(crate) struct FileSha1 {
    git: Sha1,
    plain: Sha1,
}

impl FileSha1 {
    /// For a file of so many bytes.
    pub(crate) fn new(length: u64) -> Self {
        Self {
            git: Sha1::new_with_prefix(format!("blob {length}\0")),
            plain: Sha1::new(),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.git.update(bytes);
        self.plain.update(bytes);
    }

    /// Git's hash; or the plain one, where that is the one expected.
    pub(crate) fn finish(self, expected: &str) -> String {
        let [git, plain] = [self.git, self.plain].map(|hash| hex(&hash.finalize()));
        if plain == expected { plain } else { git }
    }
}

/// Hands out the rest of a file, and returns its length.
fn read_all(file: &mut File, mut each: impl FnMut(&[u8])) -> std::io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(length);
        }
        each(&buffer[..count]);
        length += count as u64;
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_says_what_to_do() {
        use super::*;

        let path = Path::new("/dev/full");
        let mut sink = Sink {
            path: path.to_owned(),
            file: File::options().append(true).open(path).unwrap(),
            hash: Sha256::new(),
            length: 0,
            anew: false,
        };
        let full = sink.write(b"x").unwrap_err().to_string();
        assert!(
            full.contains("free some space") && full.contains("HF_HUB_CACHE"),
            "{full}"
        );
    }
}
