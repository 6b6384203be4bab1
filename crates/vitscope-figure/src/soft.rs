//! Soft aggregate maps: the mean probability of each cluster at each patch, as the run stored it.

use safetensors::Dtype;
use vitscope_measure::aggregate;
use vitscope_run::{Slot, names};

use crate::error::FigureError;
use crate::pixels::Rgb;
use crate::run_view::{RunView, open_tensors};

/// The mean color at each patch, weighted by how probable each cluster is there; `None` where the run
/// stored no such means.
pub(crate) fn soft_aggregate(run: &RunView, slot: Slot) -> Result<Option<Rgb>, FigureError> {
    let path = run.root.join(names::SOFT);
    let Some(mut file) = open_tensors(&path)? else {
        return Ok(None);
    };
    let name = names::soft(slot);
    let places = run.record.grid[0] * run.record.grid[1];
    let most = size_of::<f32>() * places * run.record.clusters;
    let Some(tensor) = file.read_up_to(&name, most)? else {
        return Ok(None);
    };
    let bad = || FigureError::malformed(&path, format!("has {name} of another type or shape"));
    let (Dtype::F32, &[clusters, height, width]) = (tensor.dtype, tensor.shape.as_slice()) else {
        return Err(bad());
    };
    if [height, width] != run.record.grid || clusters != run.record.clusters {
        return Err(bad());
    }
    let means = ndarray::Array3::from_shape_vec((clusters, height, width), tensor.f32s());
    let means = means.map_err(|_| bad())?;
    let colors = (0..clusters).map(|cluster| run.cluster_color(slot, cluster));
    let bytes = aggregate(means.view(), &colors.collect::<Vec<_>>()).map_err(|_| bad())?;
    Ok(Some(Rgb {
        width,
        height,
        pixels: bytes.as_chunks::<3>().0.to_vec(),
    }))
}

/// What a soft aggregate map is, with the sharpness that the run used.
pub(crate) fn note(run: &RunView) -> String {
    let alpha = run.record.settings.get("soft");
    let alpha = alpha.and_then(serde_json::Value::as_u64);
    let alpha = alpha.map_or_else(|| "alpha".to_owned(), |alpha| alpha.to_string());
    format!(
        "Soft: on the patch grid, each cluster weighted by its mean probability, the softmax over clusters of {alpha} times the cosine."
    )
}
