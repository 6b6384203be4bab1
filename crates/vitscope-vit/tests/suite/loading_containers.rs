//! Containers beyond those of the fixtures: PyTorch before 1.6, TorchScript, shards, folders.
//!
//! The PyTorch files were written by `tools/checkpoints/make_torch_files.py` with torch 2.15; the
//! safetensors file beside each holds the same tensors.
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vitscope_testkit::fixture;
use vitscope_vit::{
    checkpoint::{Checkpoint, Role},
    config::Mlp,
    container::ContainerKind,
    error::VitError,
    identify::{Family, Format, Settle},
    params::Params,
};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn same(a: &Params, b: &Params) {
    assert_eq!(a.patch.weight, b.patch.weight);
    assert_eq!(a.prefix, b.prefix);
    assert_eq!(a.table, b.table);
    assert_eq!(a.norm.weight, b.norm.weight);
    assert_eq!(a.norm.bias, b.norm.bias);
    assert_eq!(a.blocks.len(), b.blocks.len());
    for (a, b) in a.blocks.iter().zip(&b.blocks) {
        for (a, b) in [
            (&a.qkv, &b.qkv),
            (&a.proj, &b.proj),
            (&a.up, &b.up),
            (&a.down, &b.down),
        ] {
            assert_eq!(a.weight, b.weight);
            assert_eq!(a.bias, b.bias);
        }
        assert_eq!(a.norm1.weight, b.norm1.weight);
        assert_eq!(a.norm2.bias, b.norm2.bias);
    }
}

#[test]
fn old_and_new_pytorch_files_hold_the_same_weights() {
    let settle = Settle {
        family: Some(Family::Dino),
        format: Some(Format::Official),
        heads: Some(2),
        ..Settle::default()
    };
    let open = |name: &str| Checkpoint::open(&data(name), &settle).unwrap();
    let (old, new, plain) = (
        open("legacy.pth"),
        open("modern.pth"),
        open("legacy.safetensors"),
    );
    assert_eq!(old.identity().container, ContainerKind::TorchLegacy);
    assert_eq!(new.identity().container, ContainerKind::TorchZip);
    assert_eq!(old.identity().nesting, "model");
    let wanted = plain.params().unwrap();
    same(&old.params().unwrap(), &wanted);
    same(&new.params().unwrap(), &wanted);
    let unneeded: Vec<&str> = old
        .tensors()
        .tensors
        .iter()
        .filter(|tensor| matches!(tensor.role, Role::Unneeded(_)))
        .map(|tensor| tensor.name.as_str())
        .collect();
    assert_eq!(
        unneeded,
        ["optimizer/state.0.step", "optimizer/state.0.exp_avg"]
    );
}

#[test]
fn a_torchscript_archive_is_openai_clip() {
    let settle = Settle {
        heads: Some(2),
        ..Settle::default()
    };
    let script = Checkpoint::open(&data("clip_script.pt"), &settle).unwrap();
    let identity = script.identity();
    assert_eq!(identity.container, ContainerKind::TorchScript);
    assert_eq!(
        (identity.family, identity.format),
        (Family::OpenAiClip, Format::Official)
    );
    assert_eq!(script.config().mlp, Mlp::QuickGelu);
    assert_eq!(script.config().norm_eps, 1e-5);
    let settle = Settle {
        family: Some(Family::OpenAiClip),
        ..settle
    };
    let plain = Checkpoint::open(&data("clip_script.safetensors"), &settle).unwrap();
    assert_eq!(plain.config().mlp, Mlp::QuickGelu);
    same(&script.params().unwrap(), &plain.params().unwrap());
    assert_eq!(
        script.params().unwrap().stem_norm.weight,
        plain.params().unwrap().stem_norm.weight
    );
}

/// The tensors of a safetensors file: name, header entry without offsets, bytes.
fn tensors(path: &Path) -> Vec<(String, Value, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    header
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| *name != "__metadata__")
        .map(|(name, entry)| {
            let at = |i: usize| 8 + length + entry["data_offsets"][i].as_u64().unwrap() as usize;
            (name.clone(), entry.clone(), bytes[at(0)..at(1)].to_vec())
        })
        .collect()
}

fn write(path: &Path, tensors: &[(String, Value, Vec<u8>)]) {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, entry, bytes) in tensors {
        let mut entry = entry.clone();
        entry["data_offsets"] = json!([data.len(), data.len() + bytes.len()]);
        header.insert(name.clone(), entry);
        data.extend_from_slice(bytes);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

/// Splits a fixture in two shards with an index, as hubs do for large models.
fn sharded(folder: &Path) -> PathBuf {
    let source = fixture("dinov2-transformers");
    std::fs::copy(source.join("config.json"), folder.join("config.json")).unwrap();
    let all = tensors(&source.join("model.safetensors"));
    let (first, second) = all.split_at(all.len() / 2);
    let mut map = serde_json::Map::new();
    for (part, name) in [
        (first, "model-00001-of-00002.safetensors"),
        (second, "model-00002-of-00002.safetensors"),
    ] {
        write(&folder.join(name), part);
        for (tensor, ..) in part {
            map.insert(tensor.clone(), name.into());
        }
    }
    let index = folder.join("model.safetensors.index.json");
    std::fs::write(&index, json!({ "weight_map": map }).to_string()).unwrap();
    index
}

#[test]
fn shards_are_one_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let index = sharded(folder.path());
    let whole = Checkpoint::open(&fixture("dinov2-transformers"), &Settle::default()).unwrap();
    for path in [folder.path(), &index] {
        let parts = Checkpoint::open(path, &Settle::default()).unwrap();
        assert_eq!(parts.identity().files.len(), 2);
        assert_eq!(parts.config(), whole.config());
        same(&parts.params().unwrap(), &whole.params().unwrap());
    }
}

#[test]
fn an_index_may_not_point_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let index = sharded(folder.path());
    for name in [
        "../model.safetensors",
        "/etc/passwd",
        "a/b.safetensors",
        "..",
        "C:\\x",
        "",
    ] {
        std::fs::write(&index, json!({ "weight_map": { "x": name } }).to_string()).unwrap();
        let message = Checkpoint::open(&index, &Settle::default())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("not the name of a file beside it"),
            "{name}: {message}"
        );
    }
    std::fs::write(
        &index,
        json!({ "weight_map": { "x": "absent.safetensors" } }).to_string(),
    )
    .unwrap();
    let error = Checkpoint::open(&index, &Settle::default()).unwrap_err();
    assert!(matches!(error, VitError::Io { .. }), "{error}");
}

#[test]
fn folders_say_what_they_lack() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Checkpoint::open(folder.path(), &Settle::default());
    let message = open().unwrap_err().to_string();
    assert!(
        message.contains("it has none of model.safetensors"),
        "{message}"
    );
    // One file of any name is opened; two are not chosen between.
    std::fs::copy(
        fixture("dinov2-timm").join("model.safetensors"),
        folder.path().join("a.safetensors"),
    )
    .unwrap();
    std::fs::copy(
        fixture("dinov2-timm").join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    assert_eq!(open().unwrap().identity().format, Format::Timm);
    std::fs::write(folder.path().join("b.pth"), b"").unwrap();
    let message = open().unwrap_err().to_string();
    assert!(
        message.contains("2 candidates (a.safetensors, b.pth)"),
        "{message}"
    );
}

#[test]
fn the_hub_cache_tells_the_family() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = folder
        .path()
        .join("models--facebook--dino-vitb16/snapshots/abc");
    std::fs::create_dir_all(&snapshot).unwrap();
    for name in ["model.safetensors", "config.json"] {
        std::fs::copy(fixture("dino-transformers").join(name), snapshot.join(name)).unwrap();
    }
    let identity = Checkpoint::open(&snapshot, &Settle::default())
        .unwrap()
        .identity()
        .clone();
    assert_eq!(identity.family, Family::Dino);
    let family = identity
        .decisions
        .iter()
        .find(|decision| decision.what == "family")
        .unwrap();
    assert!(
        family.because.contains("facebook/dino-vitb16"),
        "{family:?}"
    );
}

#[test]
fn a_config_that_disagrees_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let source = fixture("dinov2-transformers");
    std::fs::copy(
        source.join("model.safetensors"),
        folder.path().join("model.safetensors"),
    )
    .unwrap();
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(source.join("config.json")).unwrap()).unwrap();
    config["hidden_size"] = json!(768);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let message = Checkpoint::open(folder.path(), &Settle::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("gives the width 768, but its tensors show 16"),
        "{message}"
    );
}

#[test]
fn a_file_that_fits_nothing_names_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut all = tensors(&fixture("dinov2-timm").join("model.safetensors"));
    all.retain(|(name, ..)| name != "blocks.1.attn.qkv.bias");
    all.push((
        "blocks.1.surprise".to_owned(),
        json!({ "dtype": "F32", "shape": [1] }),
        vec![0; 4],
    ));
    write(&path, &all);
    let message = Checkpoint::open(&path, &Settle::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("DINOv2 naming"), "{message}");
    assert!(
        message.contains("it lacks blocks.1.attn.qkv.bias"),
        "{message}"
    );
    assert!(
        message.contains("unexpected blocks.1.surprise"),
        "{message}"
    );

    let other: Vec<_> = (0..20)
        .map(|i| {
            (
                format!("layer{i}.conv.weight"),
                json!({ "dtype": "F32", "shape": [1] }),
                vec![0; 4],
            )
        })
        .collect();
    write(&path, &other);
    let message = Checkpoint::open(&path, &Settle::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("none of its 20 tensors"), "{message}");
    assert!(message.contains("and 12 more"), "{message}");
}

#[test]
fn a_wrong_shape_names_the_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut all = tensors(&fixture("dinov2-timm").join("model.safetensors"));
    for (name, entry, bytes) in &mut all {
        if name == "blocks.2.norm2.bias" {
            entry["shape"] = json!([8]);
            bytes.truncate(32);
        }
    }
    write(&path, &all);
    let message = Checkpoint::open(&path, &Settle::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("blocks.2.norm2.bias should be [16] but is [8]"),
        "{message}"
    );
}

#[test]
fn weights_that_are_not_finite_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let source = fixture("dinov2-timm");
    std::fs::copy(
        source.join("config.json"),
        folder.path().join("config.json"),
    )
    .unwrap();
    let mut all = tensors(&source.join("model.safetensors"));
    for (name, _, bytes) in &mut all {
        if name == "blocks.0.mlp.fc1.weight" {
            bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        }
    }
    write(&path, &all);
    let checkpoint = Checkpoint::open(folder.path(), &Settle::default()).unwrap();
    let message = checkpoint.params().unwrap_err().to_string();
    assert!(
        message.contains("blocks.0.mlp.fc1.weight holds values that are not finite"),
        "{message}"
    );
}

#[test]
fn sine_tables_tell_mae_from_moco() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let settle = Settle {
        format: Some(Format::Official),
        heads: Some(2),
        ..Settle::default()
    };
    let (width, side) = (16, 4);
    for (family, column_first) in [(Family::Mae, true), (Family::MocoV3, false)] {
        let mut table = vec![0f32; width];
        for patch in 0..side * side {
            let (row, column) = ((patch / side) as f32, (patch % side) as f32);
            let halves = if column_first {
                [column, row]
            } else {
                [row, column]
            };
            for half in halves {
                let angles = (0..width / 4).map(|j| half * 10000f32.powf(-(j as f32) / 4.0));
                table.extend(angles.clone().map(f32::sin));
                table.extend(angles.map(f32::cos));
            }
        }
        let mut all = tensors(&fixture("dino-timm").join("model.safetensors"));
        for (name, _, bytes) in &mut all {
            if name == "pos_embed" {
                *bytes = table.iter().flat_map(|value| value.to_le_bytes()).collect();
            }
        }
        write(&path, &all);
        let checkpoint = Checkpoint::open(&path, &settle).unwrap();
        assert_eq!(checkpoint.identity().family, family);
    }
}

#[test]
fn weights_that_change_while_they_are_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let sound = std::fs::read(fixture("dinov2-timm/model.safetensors")).unwrap();
    let config = fixture("dinov2-timm/config.json");
    std::fs::copy(config, folder.path().join("config.json")).unwrap();
    let other = folder.path().join("other");
    let changes: [(&str, &dyn Fn()); 3] = [
        ("replaced", &|| {
            std::fs::write(&other, &sound).unwrap();
            std::fs::rename(&other, &path).unwrap();
        }),
        ("written to", &|| {
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_len(sound.len() as u64 + 1).unwrap();
        }),
        ("removed", &|| std::fs::remove_file(&path).unwrap()),
    ];
    for (what, change) in changes {
        std::fs::write(&path, &sound).unwrap();
        let checkpoint = Checkpoint::open(folder.path(), &Settle::default()).unwrap();
        checkpoint.params().unwrap();
        change();
        let error = checkpoint.params().unwrap_err().to_string();
        assert!(error.contains("while it was read"), "{what}: {error}");
        assert!(error.contains("model.safetensors"), "{what}: {error}");
    }
}
