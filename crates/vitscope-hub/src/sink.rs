//! Where a file is received: its bytes on the disk, and their hash.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use vitscope_run::files::step;

use crate::error::HubError;

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
        step();
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .read(true)
            .open(path)
            .map_err(io("write"))?;
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
        let mut buffer = vec![0; 1 << 20];
        while sink.length < stored {
            let count = sink.file.read(&mut buffer).map_err(io("read"))?;
            if count == 0 {
                break;
            }
            sink.hash.update(&buffer[..count]);
            sink.length += count as u64;
        }
        Ok(sink)
    }

    pub(crate) fn restart(&mut self) -> Result<(), HubError> {
        step();
        // What cannot be cut, such as a device, is at its beginning anyway.
        match self.file.set_len(0) {
            Err(error) if error.kind() != ErrorKind::InvalidInput => {
                return Err(HubError::io(&self.path, "write")(error));
            }
            _ => {}
        }
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

    /// Everything is on the disk; its SHA-256.
    pub(crate) fn finish(self) -> Result<String, HubError> {
        self.file
            .sync_all()
            .map_err(HubError::io(&self.path, "write"))?;
        let digest = self.hash.finalize();
        Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}
