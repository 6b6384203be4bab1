//! Reading weights needs little memory beside them. Alone in its file, because it watches the
//! whole process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;

use serde_json::json;
use vitscope_vit::{
    checkpoint::Checkpoint,
    identify::{Family, Format, Settle},
};

/// A field of `/proc/self/status` in bytes.
fn status(field: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

#[test]
fn peak_memory_is_close_to_the_weights() {
    let d = 768;
    let mut tensors: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize]| {
        tensors.insert(name.to_owned(), shape.to_vec());
    };
    add("cls_token", &[1, 1, d]);
    add("pos_embed", &[1, 197, d]);
    add("patch_embed.proj.weight", &[d, 3, 16, 16]);
    add("patch_embed.proj.bias", &[d]);
    add("norm.weight", &[d]);
    add("norm.bias", &[d]);
    for i in 0..12 {
        for (name, rows, columns) in [
            ("attn.qkv", 3 * d, d),
            ("attn.proj", d, d),
            ("mlp.fc1", 4 * d, d),
            ("mlp.fc2", d, 4 * d),
        ] {
            add(&format!("blocks.{i}.{name}.weight"), &[rows, columns]);
            add(&format!("blocks.{i}.{name}.bias"), &[rows]);
        }
        for name in ["norm1", "norm2"] {
            add(&format!("blocks.{i}.{name}.weight"), &[d]);
            add(&format!("blocks.{i}.{name}.bias"), &[d]);
        }
    }
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in &tensors {
        let end = at + 4 * shape.iter().product::<usize>();
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [at, end] });
        header.insert(name.clone(), entry);
        at = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(&header);
    std::fs::write(&path, &bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len((bytes.len() + at) as u64).unwrap();

    let settle = Settle {
        family: Some(Family::Dino),
        format: Some(Format::Official),
        ..Settle::default()
    };
    let checkpoint = Checkpoint::open(&path, &settle).unwrap();
    let before = status("VmRSS:");
    let params = checkpoint.params().unwrap();
    let peak = status("VmHWM:") - before;
    assert_eq!(params.blocks.len(), 12);
    assert!(
        peak < at + at * 3 / 10,
        "{peak} bytes at the peak for {at} of weights"
    );
}
