//! Maps of similarity: the cosines of a keypoint with the target's patches, as they are stored and
//! as they are shown at pixels.

use std::path::PathBuf;

use safetensors::Dtype;
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Slot, limits, names};

use super::pairs::PointPair;
use crate::error::FigureError;
use crate::pixels::Rgb;
use crate::run_view::{RunView, open_tensors};

/// The cosines of one keypoint with the target's patches, and the rows and columns of those.
pub(super) struct PatchMap {
    pub(super) values: Vec<f32>,
    pub(super) grid: [usize; 2],
}

/// The stored maps of the example pairs.
pub(super) struct SimilarityMaps {
    path: PathBuf,
    file: TensorFile,
}

impl SimilarityMaps {
    /// Opens a run's maps; `None` where it stored none.
    pub(super) fn of_run(run: &RunView) -> Result<Option<Self>, FigureError> {
        let path = run.root.join(names::EXAMPLE_TENSORS);
        let file = open_tensors(&path)?;
        Ok(file.map(|file| Self { path, file }))
    }

    /// The map of a keypoint of the pair with this number; `None` where the slot is not stored.
    pub(super) fn of(
        &mut self,
        number: usize,
        slot: Slot,
        pair: &PointPair,
        point: usize,
    ) -> Result<Option<PatchMap>, FigureError> {
        let name = format!("{number}.{slot}");
        let Some(tensor) = self.file.read_up_to(&name, limits::TENSOR_BYTES)? else {
            return Ok(None);
        };
        let bad =
            |problem: &str| FigureError::malformed(&self.path, format!("has {name} {problem}"));
        let (Dtype::F32, &[count, rows, columns]) = (tensor.dtype, tensor.shape.as_slice()) else {
            return Err(bad("of another type or shape than expected"));
        };
        if count != pair.true_points.len() || rows * columns == 0 {
            return Err(bad(&format!("of {count} points")));
        }
        let patches = rows * columns;
        Ok(Some(PatchMap {
            values: tensor.f32s()[point * patches..(point + 1) * patches].to_vec(),
            grid: [rows, columns],
        }))
    }

    /// The map of a keypoint that the run's list of examples promises.
    pub(super) fn promised(
        &mut self,
        number: usize,
        slot: Slot,
        pair: &PointPair,
        point: usize,
    ) -> Result<PatchMap, FigureError> {
        let map = self.of(number, slot, pair, point)?;
        map.ok_or_else(|| FigureError::malformed(&self.path, format!("has no {number}.{slot}")))
    }
}

/// The cosines of one keypoint with the target's patches, read at pixels.
pub(super) struct Heat<'a> {
    values: &'a [f32],
    grid: [usize; 2],
    /// Left, top, width and height of the photograph within the network's square, as shares of it.
    inside: [f64; 4],
    size: [f64; 2],
    least: f64,
    range: f64,
}

impl<'a> Heat<'a> {
    pub(super) fn new(values: &'a [f32], grid: [usize; 2], picture: &Rgb, padded: bool) -> Self {
        let size = [picture.width as f64, picture.height as f64];
        let longer = size[0].max(size[1]);
        let inside = if padded {
            let (w, h) = (size[0] / longer, size[1] / longer);
            [(1.0 - w) / 2.0, (1.0 - h) / 2.0, w, h]
        } else {
            [0.0, 0.0, 1.0, 1.0]
        };
        let bounds = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |ends, &value| {
                (ends.0.min(value.into()), ends.1.max(value.into()))
            });
        Self {
            values,
            grid,
            inside,
            size,
            least: bounds.0,
            range: (bounds.1 - bounds.0).max(1e-12),
        }
    }

    /// 0 for the least similar patch, 1 for the most; between patches bilinearly.
    pub(super) fn at(&self, x: usize, y: usize) -> f64 {
        let [rows, columns] = self.grid;
        let place = |at: usize, axis: usize, count: usize| {
            let share = (at as f64 + 0.5) / self.size[axis];
            let share = self.inside[axis] + share * self.inside[axis + 2];
            (share * count as f64 - 0.5).clamp(0.0, count as f64 - 1.0)
        };
        let (across, down) = (place(x, 0, columns), place(y, 1, rows));
        let (x0, y0) = (across.floor() as usize, down.floor() as usize);
        let (x1, y1) = ((x0 + 1).min(columns - 1), (y0 + 1).min(rows - 1));
        let value = |row: usize, column: usize| f64::from(self.values[row * columns + column]);
        let mix = |a: f64, b: f64, part: f64| a * (1.0 - part) + b * part;
        let above = mix(value(y0, x0), value(y0, x1), across.fract());
        let below = mix(value(y1, x0), value(y1, x1), across.fract());
        (mix(above, below, down.fract()) - self.least) / self.range
    }
}
