//! Every fixture of the ten families opens as a user would open it, and says what its
//! `meta.json` says.
use std::path::{Path, PathBuf};

use serde_json::Value;
use vitscope_testkit::{fixture, fixtures};
use vitscope_vit::{
    checkpoint::Checkpoint,
    config::{Mlp, PositionEncoding, Resize},
    error::VitError,
    identify::{Family, Format, Numerics, Settle},
};

fn meta(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("meta.json")).unwrap()).unwrap()
}

/// Which of the two options the file leaves open, found by opening it with less and less.
fn open_as_user(path: &Path, meta: &Value) -> (Checkpoint, String) {
    let family: Family = meta["family"].as_str().unwrap().parse().unwrap();
    let heads = meta["num_heads"].as_u64().unwrap() as usize;
    let mut settle = Settle::default();
    let mut asked = Vec::new();
    loop {
        match Checkpoint::open(path, &settle) {
            Ok(checkpoint) => return (checkpoint, asked.join(" ")),
            Err(VitError::Unsettled { questions, .. }) => {
                // All of it is asked at once, so that whoever answers is not asked again.
                assert!(asked.is_empty(), "{}: {asked:?}", path.display());
                for question in &questions {
                    match question.setting.as_str() {
                        "heads" => settle.heads = Some(heads),
                        "family" => settle.family = Some(family),
                        setting => panic!("{} asks for {setting}", path.display()),
                    }
                    asked.push(question.setting.clone());
                }
            }
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }
}

fn check(path: &Path, meta: &Value) -> String {
    let (checkpoint, asked) = open_as_user(path, meta);
    let config = checkpoint.config();
    let size = |key: &str| meta[key].as_u64().unwrap() as usize;
    let name = path.display();
    assert_eq!(config.width, size("embed_dim"), "{name}");
    assert_eq!(config.depth, size("depth"), "{name}");
    assert_eq!(config.heads, size("num_heads"), "{name}");
    assert_eq!(config.patch, size("patch"), "{name}");
    assert_eq!(config.registers, size("num_registers"), "{name}");
    assert_eq!(
        config.norm_eps,
        meta["layer_norm_eps"].as_f64().unwrap(),
        "{name}"
    );
    let activation = meta["activation"].as_str().unwrap();
    let mlp = if activation.starts_with("silu") {
        Mlp::SwiGlu
    } else if activation.starts_with("quick") {
        Mlp::QuickGelu
    } else {
        Mlp::Gelu
    };
    assert_eq!(config.mlp, mlp, "{name}");
    if let Some(hidden) = meta["mlp_hidden"].as_u64() {
        assert_eq!(config.hidden, hidden as usize, "{name}");
    }
    assert_eq!(
        config.stem_norm,
        meta["pre_norm"].as_bool().unwrap_or(false),
        "{name}"
    );
    assert_eq!(
        config.layer_scale,
        meta["family"].as_str().unwrap().starts_with("dinov"),
        "{name}"
    );
    let resize = match meta["pos_embed_resize"].as_str() {
        _ if meta["rope_base"].is_number() => None,
        Some(rule) if rule.contains("0.1") => Some(Resize::PlainOffset),
        Some(rule) if rule.contains("antialias=True") => Some(Resize::Antialias),
        _ => Some(Resize::Plain),
    };
    let grid = [0, 1].map(|at| meta["native_grid"][at].as_u64().unwrap() as usize);
    let positions = resize.map_or(PositionEncoding::Rotary, |resize| PositionEncoding::Table {
        grid,
        resize,
    });
    assert_eq!(config.positions, positions, "{name}");

    let identity = checkpoint.identity();
    let family: Family = meta["family"].as_str().unwrap().parse().unwrap();
    assert_eq!(identity.family, family, "{name}");
    for axis in 0..3 {
        assert_eq!(
            identity.mean[axis],
            meta["mean"][axis].as_f64().unwrap(),
            "{name}"
        );
        assert_eq!(
            identity.std[axis],
            meta["std"][axis].as_f64().unwrap(),
            "{name}"
        );
    }
    assert!(
        identity
            .decisions
            .iter()
            .all(|decision| !decision.because.is_empty())
    );
    serde_json::to_string(identity).unwrap();
    serde_json::to_string(checkpoint.tensors()).unwrap();

    let params = checkpoint.params().unwrap();
    let (d, h) = (config.width, config.hidden);
    assert_eq!(
        params.patch.weight.len(),
        3 * config.patch * config.patch * d
    );
    assert_eq!(params.patch.bias.is_empty(), config.stem_norm);
    assert_eq!(params.prefix.len(), config.prefix() * d);
    match positions {
        PositionEncoding::Table { grid, .. } => {
            assert_eq!(params.table.len(), grid[0] * grid[1] * d);
            assert!(params.periods.is_empty());
        }
        PositionEncoding::Both { .. }
        | PositionEncoding::Edged
        | PositionEncoding::Relative { .. } => {
            panic!("{name} has others")
        }
        PositionEncoding::Rotary => {
            assert!(params.table.is_empty());
            assert_eq!(params.periods.len(), config.head_width() / 4);
            for (at, period) in params.periods.iter().enumerate() {
                let wanted = meta["rope_periods"][at].as_f64();
                if let Some(wanted) = wanted {
                    assert!(
                        (f64::from(*period) - wanted).abs() < 1e-5 * wanted,
                        "{name}"
                    );
                }
            }
        }
    }
    assert_eq!(
        params.stem_norm.weight.len(),
        if config.stem_norm { d } else { 0 }
    );
    assert_eq!(params.norm.bias.len(), d);
    assert_eq!(params.blocks.len(), config.depth);
    let up = if mlp == Mlp::SwiGlu { 2 * h } else { h };
    for block in &params.blocks {
        let scale = if config.layer_scale { d } else { 0 };
        assert_eq!(block.norm1.weight.len(), d);
        assert_eq!((block.qkv.inputs, block.qkv.outputs), (d, 3 * d));
        assert_eq!(block.qkv.weight.len(), 3 * d * d);
        assert!(block.qkv.bias.len() == 3 * d || block.qkv.bias.is_empty());
        assert_eq!((block.proj.weight.len(), block.proj.bias.len()), (d * d, d));
        assert_eq!((block.up.weight.len(), block.up.bias.len()), (d * up, up));
        assert_eq!((block.down.weight.len(), block.down.bias.len()), (d * h, d));
        assert_eq!((block.scale1.len(), block.scale2.len()), (scale, scale));
    }
    format!(
        "{:<28} {:<12} {:<13} {:<10} {:<38} needs [{asked}]",
        path.strip_prefix(fixtures()).unwrap().display(),
        identity.family,
        identity.format,
        serde_json::to_value(identity.container)
            .unwrap()
            .as_str()
            .unwrap(),
        identity.nesting,
    )
}

#[test]
fn every_fixture_opens_and_agrees_with_its_description() {
    let mut folders: Vec<PathBuf> = std::fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("meta.json").is_file())
        .collect();
    folders.sort();
    assert_eq!(folders.len(), 35);
    for folder in folders {
        let meta = meta(&folder);
        // Weights in hub layout are opened as the folder, others by their name.
        let weights = meta["files"][0].as_str().unwrap();
        let path = if meta["files"].as_array().unwrap().len() > 1 {
            folder.clone()
        } else {
            folder.join(weights)
        };
        let path = if path == folder
            && std::fs::read_dir(&folder).unwrap().all(|entry| {
                !entry
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .contains("model")
            }) {
            folder.join(weights)
        } else {
            path
        };
        println!("{}", check(&path, &meta));
    }
}

#[test]
fn the_jax_archive_opens_like_its_conversion() {
    let folder = fixture("supervised-timm");
    let meta = meta(&folder);
    println!("{}", check(&folder.join("augreg.npz"), &meta));
    let read = |name: &str| {
        Checkpoint::open(&folder.join(name), &Settle::default())
            .unwrap()
            .params()
            .unwrap()
    };
    let (jax, timm) = (read("augreg.npz"), read("model.safetensors"));
    assert_eq!(jax.patch.weight, timm.patch.weight);
    assert_eq!(jax.prefix, timm.prefix);
    assert_eq!(jax.table, timm.table);
    for (a, b) in jax.blocks.iter().zip(&timm.blocks) {
        assert_eq!(a.qkv.weight, b.qkv.weight);
        assert_eq!(a.qkv.bias, b.qkv.bias);
        assert_eq!(a.proj.weight, b.proj.weight);
        assert_eq!(a.up.weight, b.up.weight);
        assert_eq!(a.down.weight, b.down.weight);
        assert_eq!(a.norm2.weight, b.norm2.weight);
    }
}

#[test]
fn formats_of_one_model_give_the_same_weights() {
    for (left, right) in [
        ("dino-official/dino_vittiny16_pretrain.pth", "dino-timm"),
        ("dino-timm", "dino-transformers"),
        ("openclip-openclip", "openclip-timm"),
        ("openclip-openclip", "openclip-transformers"),
        (
            "dinov2g-official/dinov2g_vitt14_pretrain.pth",
            "dinov2g-timm",
        ),
        ("dinov2g-timm", "dinov2g-transformers"),
        (
            "dinov2reg-official/dinov2reg_vitt14_pretrain.pth",
            "dinov2reg-timm",
        ),
        ("dinov2reg-timm", "dinov2reg-transformers"),
        (
            "dinov3-official/dinov3_vitt16_pretrain.pth",
            "dinov3-timm-qkvb",
        ),
        ("dinov3-timm-qkvb", "dinov3-transformers"),
        (
            "mugs-official/vit_tiny_backbone.pth",
            "mugs-official-full/checkpoint.pth",
        ),
    ] {
        let read = |name: &str| {
            let path = fixture(name);
            let folder = if path.is_dir() {
                path.clone()
            } else {
                path.parent().unwrap().to_owned()
            };
            open_as_user(&path, &meta(&folder)).0.params().unwrap()
        };
        let (a, b) = (read(left), read(right));
        assert_eq!(a.patch.weight, b.patch.weight, "{left} {right}");
        assert_eq!(a.patch.bias, b.patch.bias, "{left} {right}");
        assert_eq!(a.table, b.table, "{left} {right}");
        let close = |a: &[f32], b: &[f32]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6)
        };
        assert!(close(&a.prefix, &b.prefix), "{left} {right}");
        for (a, b) in a.blocks.iter().zip(&b.blocks) {
            assert_eq!(a.qkv.weight, b.qkv.weight, "{left} {right}");
            assert_eq!(a.qkv.bias, b.qkv.bias, "{left} {right}");
            assert_eq!(a.up.weight, b.up.weight, "{left} {right}");
            assert_eq!(a.up.bias, b.up.bias, "{left} {right}");
            assert_eq!(a.down.weight, b.down.weight, "{left} {right}");
            assert_eq!(a.scale2, b.scale2, "{left} {right}");
        }
    }
}

#[test]
fn official_numerics_replace_those_of_the_ecosystem() {
    let settle = Settle {
        family: Some(Family::Dino),
        numerics: Numerics::Official,
        ..Settle::default()
    };
    let checkpoint = Checkpoint::open(&fixture("dino-transformers"), &settle).unwrap();
    assert_eq!(checkpoint.config().norm_eps, 1e-6);
    assert!(matches!(
        checkpoint.config().positions,
        PositionEncoding::Table {
            resize: Resize::PlainOffset,
            ..
        }
    ));
    let periods = |name: &str, numerics| {
        let settle = Settle {
            numerics,
            ..Settle::default()
        };
        Checkpoint::open(&fixture(name), &settle)
            .unwrap()
            .params()
            .unwrap()
            .periods
    };
    assert_ne!(
        periods("dinov3-timm", Numerics::Source),
        periods("dinov3-timm", Numerics::Official)
    );
}

#[test]
fn what_the_user_says_may_not_contradict_the_tensors() {
    let open = |name: &str, settle: Settle| {
        Checkpoint::open(&fixture(name), &settle)
            .unwrap_err()
            .to_string()
    };
    let family = |family| Settle {
        family: Some(family),
        ..Settle::default()
    };
    let message = open("dinov2reg-timm", family(Family::Dino));
    assert!(
        message.contains("`family` says dino") && message.contains("dinov2reg"),
        "{message}"
    );
    let message = open(
        "dino-timm",
        Settle {
            heads: Some(4),
            ..Settle::default()
        },
    );
    assert!(
        message.contains("`heads` says 4") && message.contains("it has 2"),
        "{message}"
    );
    let message = open(
        "dino-timm",
        Settle {
            format: Some(Format::Transformers),
            ..Settle::default()
        },
    );
    assert!(message.contains("`layout` says transformers"), "{message}");
}

#[test]
fn an_open_question_is_one_sentence_with_its_option() {
    let message = Checkpoint::open(&fixture("dino-transformers"), &Settle::default())
        .unwrap_err()
        .to_string();
    let name = fixtures().join("dino-transformers/model.safetensors");
    assert!(
        message.ends_with(&format!(
            "answer with `family` supervised|deit|dino|msn|mae, as in `vitscope inspect {} --family mae`",
            name.display()
        )),
        "{message}"
    );
    let message = Checkpoint::open(
        &fixture("dino-official/dino_vittiny16_pretrain.pth"),
        &Settle::default(),
    )
    .unwrap_err()
    .to_string();
    assert!(message.ends_with("--heads 1`"), "{message}");
}
