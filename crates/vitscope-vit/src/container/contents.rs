//! What a file of weights holds, or a set of shards together.

use serde::Serialize;

use super::{file::DataFile, tensor::StoredTensor};
use crate::error::{VitError, shortened};

/// The kind of file that holds the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ContainerKind {
    /// One safetensors file, or several with an index.
    Safetensors,
    /// A PyTorch zip archive around a pickle (PyTorch 1.6 and later), or several with an index.
    TorchZip,
    /// A PyTorch pickle stream followed by its storages (before PyTorch 1.6).
    TorchLegacy,
    /// A TorchScript archive.
    TorchScript,
    /// A NumPy archive.
    Npz,
}

/// What a file, or a set of shards, holds.
#[derive(Debug)]
pub(crate) struct Container {
    /// The kind of every file.
    pub kind: ContainerKind,
    /// The files, in the order in which [`TensorPlace`](super::TensorPlace) counts them.
    pub files: Vec<DataFile>,
    /// Every tensor, in file order.
    pub tensors: Vec<StoredTensor>,
    /// Names at the root of a pickle, tensors or not; empty for flat containers.
    pub root: Vec<String>,
}

impl Container {
    /// Adds another shard's tensors, which lie in files of their own.
    pub fn append(&mut self, next: Self) -> Result<(), VitError> {
        let owner = &next.files[0];
        if next.kind != self.kind {
            return Err(owner.unusable("the shards are not all of one kind"));
        }
        let known: std::collections::HashSet<(&str, &str)> = self
            .tensors
            .iter()
            .map(|tensor| (tensor.group.as_str(), tensor.name.as_str()))
            .collect();
        if let Some(twice) = next
            .tensors
            .iter()
            .find(|tensor| known.contains(&(tensor.group.as_str(), tensor.name.as_str())))
        {
            return Err(owner.damaged(format!(
                "tensor {} is also in another shard",
                shortened(&twice.full_name())
            )));
        }
        let base = self.files.len();
        self.files.extend(next.files);
        self.tensors
            .extend(next.tensors.into_iter().map(|mut tensor| {
                tensor.place.shift_file(base);
                tensor
            }));
        self.root.extend(next.root);
        Ok(())
    }
}
