//! How probable each cluster is where, as a run stores it (docs/protocol.md section 7).

use std::path::Path;

use safetensors::tensor::Dtype;
use vitscope_protocol::Scores;
use vitscope_run::{Slot, names, tensors};

use super::tensor_files::{contiguous, tensor};
use crate::error::StudyError;

/// Writes the mean probabilities of every slot that has them; without any there is no file.
pub(super) fn write(run: &Path, slots: &[Slot], done: &[Scores]) -> Result<(), StudyError> {
    let path = run.join(names::SOFT);
    let mut views = Vec::new();
    for (slot, done) in slots.iter().zip(done) {
        if let Some(soft) = &done.soft {
            let bytes = bytemuck::cast_slice(contiguous(soft.as_slice()));
            let view = tensor(&path, Dtype::F32, soft.shape(), bytes)?;
            views.push((names::soft(*slot), view));
        }
    }
    if views.is_empty() {
        return Ok(());
    }
    Ok(tensors::write(&path, views, None)?)
}
