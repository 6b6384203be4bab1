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

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};
    use vitscope_measure::{Matching, Positions};
    use vitscope_protocol::{Counts, MapShape};
    use vitscope_run::Facet;
    use vitscope_run::tensors::TensorFile;

    use super::*;

    #[test]
    fn probabilities_are_stored_where_there_are_any() {
        let run = tempfile::tempdir().unwrap();
        let shape = MapShape {
            grid: (1, 2),
            patch: 1,
        };
        let slot = Slot {
            facet: Facet::Key,
            layer: 1,
        };
        let counts = Counts::new(2, 0, shape, Positions::All, None);
        let mut scores = counts.finish(Matching::Hungarian).unwrap();
        write(run.path(), &[slot], std::slice::from_ref(&scores)).unwrap();
        let path = run.path().join(names::SOFT);
        assert!(!path.exists());
        let soft: Array3<f32> = array![[[0.25, 0.5]], [[0.75, 0.5]]];
        scores.soft = Some(soft);
        write(run.path(), &[slot], &[scores]).unwrap();
        let wrong = |problem: &dyn std::fmt::Display| StudyError::file(&path, problem.to_string());
        let mut file = TensorFile::open(&path, wrong).unwrap().unwrap();
        let found = file.read(&names::soft(slot)).unwrap().unwrap();
        assert_eq!(found.shape, [2, 1, 2]);
        assert_eq!(found.f32s(), [0.25, 0.5, 0.75, 0.5]);
    }
}
