//! Where a file is received: its bytes on the disk, and their hash.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha1::Sha1;
use sha2::{Digest, Sha256};
use vitscope_run::files::{hex, step};

use crate::error::HubError;
use crate::place;

/// A file that is being received, with the hash of what has come.
pub(crate) struct Sink {
    path: PathBuf,
    file: File,
    hash: Sha256,
    pub(crate) length: u64,
}

impl Sink {
    /// Opens what came earlier where that can be used, or an empty file.
    pub(crate) fn open(path: &Path, resumable: bool, size: Option<u64>) -> Result<Self, HubError> {
        let io = |action| HubError::io(path, action);
        let file = place::open(path)?;
        let mut sink = Self {
            path: path.to_owned(),
            file,
            hash: Sha256::new(),
            length: 0,
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
        let mut git = Sha1::new_with_prefix(format!("blob {}\0", self.length));
        let mut plain = Sha1::new();
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(HubError::io(&self.path, "read"))?;
        read_all(&mut self.file, |bytes| {
            git.update(bytes);
            plain.update(bytes);
        })
        .map_err(HubError::io(&self.path, "read"))?;
        let [git, plain] = [git, plain].map(|hash| hex(&hash.finalize()));
        Ok(if plain == expected { plain } else { git })
    }

    /// Everything is on the disk; its SHA-256.
    pub(crate) fn finish(self) -> Result<String, HubError> {
        self.file
            .sync_all()
            .map_err(HubError::io(&self.path, "write"))?;
        Ok(hex(&self.hash.finalize()))
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do() {
        let path = Path::new("/dev/full");
        let mut sink = Sink {
            path: path.to_owned(),
            file: File::options().append(true).open(path).unwrap(),
            hash: Sha256::new(),
            length: 0,
        };
        let full = sink.write(b"x").unwrap_err().to_string();
        assert!(
            full.contains("free some space") && full.contains("HF_HUB_CACHE"),
            "{full}"
        );
    }
}
