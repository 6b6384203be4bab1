//! Readers for the files that weights come in.
//!
//! A reader only lists what a file holds, after checking that every tensor lies inside the file;
//! it executes nothing and reads no weights. Elements are read later, tensor by tensor.

mod archive;
mod contents;
mod elements;
mod file;
pub(crate) mod foreign;
mod npz;
mod pickle;
mod pickle_names;
mod safetensors;
mod tensor;
mod torch;

use std::path::{Path, PathBuf};

pub(crate) use self::{
    archive::is_trick,
    contents::Container,
    file::DataFile,
    tensor::{StoredTensor, TensorPlace, shape_text},
};
pub use self::{contents::ContainerKind, tensor::Dtype};
use crate::error::VitError;

impl Container {
    /// Lists what the files hold.
    pub fn open(paths: &[PathBuf]) -> Result<Self, VitError> {
        let mut all: Option<Self> = None;
        for path in paths {
            let next = Self::open_one(path)?;
            match &mut all {
                None => all = Some(next),
                Some(all) => all.append(next)?,
            }
        }
        all.ok_or_else(|| VitError::NoCheckpoint {
            path: PathBuf::new(),
            found: "no file was named".to_owned(),
        })
    }

    fn open_one(path: &Path) -> Result<Self, VitError> {
        let file = DataFile::open(path)?;
        let head = file.head(512)?;
        if let Some(error) = foreign::of_file(path, &head) {
            return Err(error);
        }
        if head.starts_with(b"PK\x03\x04") {
            let entries = archive::entries(&file)?;
            if entries.iter().any(|entry| entry.name.ends_with(".npy")) {
                npz::open(file, entries)
            } else {
                torch::open_zip(file, entries)
            }
        } else if torch::is_legacy(&head) {
            torch::open_legacy(file)
        } else if safetensors::is_safetensors(&head, file.len) {
            safetensors::open(file)
        } else {
            Err(VitError::UnknownContainer {
                path: path.to_owned(),
                found: describe_head(&head),
            })
        }
    }
}

/// What an unrecognized file looks like, as the end of a sentence.
fn describe_head(head: &[u8]) -> String {
    let start = String::from_utf8_lossy(&head[..head.len().min(64)]).to_lowercase();
    if head.is_empty() {
        "it is empty".to_owned()
    } else if start.starts_with("version https://git-lfs") {
        "it is a Git LFS pointer, so the weights were never downloaded".to_owned()
    } else if start.trim_start().starts_with("<!doctype") || start.trim_start().starts_with("<html")
    {
        "it is a web page, so the download went wrong".to_owned()
    } else if head.get(257..262) == Some(b"ustar") {
        "it is a tar archive: unpack it (`tar xf`), and name the file in it; one that PyTorch before 0.2 wrote has to be saved again by a newer one".to_owned()
    } else if head.starts_with(&[0x80]) {
        "it is a bare pickle, not one written by torch.save: load it where it was made and write it with torch.save".to_owned()
    } else {
        let bytes: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("it begins with the bytes {}", bytes.join(" "))
    }
}
