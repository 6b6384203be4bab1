//! Soft aggregate maps.

use std::fs;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use vitscope_figure::draw;

use super::common::Spec;
use super::{count, read, texts};

/// Stores means of this shape for one slot: everything is of the first cluster.
fn store(run: &Path, shape: [usize; 3]) {
    let places = shape[1] * shape[2];
    let means = (0..shape[0] * places).map(|index| if index < places { 1.0_f32 } else { 0.0 });
    let bytes: Vec<u8> = means.flat_map(f32::to_le_bytes).collect();
    let view = TensorView::new(Dtype::F32, shape.to_vec(), &bytes).unwrap();
    let file = safetensors::serialize([("soft.key.3", view)], None).unwrap();
    fs::write(run.join("soft.safetensors"), file).unwrap();
}

#[test]
fn soft_maps_stand_below_the_hard_ones_where_the_run_has_them() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    let aggregate = || {
        draw(run.path()).unwrap();
        read(run.path(), "figures/aggregate.svg")
    };
    let hard = aggregate();
    assert!(!texts(&hard).iter().any(|text| text == "soft"));
    assert!(!run.path().join("figures/soft-layers.svg").exists());
    store(run.path(), [11, 4, 4]);
    let both = aggregate();
    assert!(texts(&both).iter().any(|text| text == "soft"));
    assert!(both.contains("the softmax over clusters"));
    assert_eq!(count(&both, "image"), count(&hard, "image") + 1);
    // Layer by layer, with what the maps are; a slot without one is an empty place.
    let layers = read(run.path(), "figures/soft-layers.svg");
    assert_eq!(count(&layers, "image"), 1);
    assert!(
        layers.contains("soft aggregate map of key layer 3")
            && layers.contains("the softmax over clusters")
    );
    // What is not of the run's clusters and patches is refused in one sentence.
    fs::write(run.path().join("soft.safetensors"), "none").unwrap();
    let error = draw(run.path()).unwrap_err().to_string();
    assert!(
        error.contains("soft.safetensors is not a safetensors file"),
        "{error}"
    );
}
