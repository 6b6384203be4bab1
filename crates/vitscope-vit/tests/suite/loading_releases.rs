//! Every released model of the ten families, S to 7B, recognized from headers alone: files of the
//! true size whose weights are holes.
use std::path::Path;

use serde_json::{Value, json};
use vitscope_vit::{
    checkpoint::Checkpoint,
    config::{Mlp, PositionEncoding},
    identify::{Family, Format, Settle},
};

type Tensors = Vec<(String, Vec<usize>)>;

/// The sizes of one model.
struct Sizes {
    d: usize,
    depth: usize,
    h: usize,
    p: usize,
    n: usize,
    gated: bool,
    family: Family,
}

impl Sizes {
    fn of(model: &Value) -> Self {
        let size = |key: &str| model[key].as_u64().unwrap() as usize;
        let grid = model["native_grid"][0].as_u64().unwrap() as usize;
        Self {
            d: size("embed_dim"),
            depth: size("depth"),
            h: size("mlp_hidden"),
            p: size("patch"),
            n: grid * grid,
            gated: model["mlp"].as_str().unwrap().starts_with("swiglu"),
            family: model["family"].as_str().unwrap().parse().unwrap(),
        }
    }
}

fn affine(out: &mut Tensors, name: &str, rows: usize, columns: usize) {
    out.push((format!("{name}.weight"), vec![rows, columns]));
    out.push((format!("{name}.bias"), vec![rows]));
}

fn norm(out: &mut Tensors, name: &str, d: usize) {
    out.push((format!("{name}.weight"), vec![d]));
    out.push((format!("{name}.bias"), vec![d]));
}

/// The authors' names: of DINO and those who follow it, of DINOv2, and of DINOv3.
fn official(s: &Sizes) -> Tensors {
    let &Sizes { d, h, p, n, .. } = s;
    let mut out = vec![
        ("cls_token".to_owned(), vec![1, 1, d]),
        ("patch_embed.proj.weight".to_owned(), vec![d, 3, p, p]),
        ("patch_embed.proj.bias".to_owned(), vec![d]),
    ];
    norm(&mut out, "norm", d);
    let v2 = matches!(s.family, Family::DinoV2 | Family::DinoV2Reg);
    let v3 = s.family == Family::DinoV3;
    if v3 {
        let periods = if d == 4096 { 32 } else { 16 };
        out.push(("storage_tokens".to_owned(), vec![1, 4, d]));
        out.push(("rope_embed.periods".to_owned(), vec![periods]));
    } else {
        out.push(("pos_embed".to_owned(), vec![1, n + 1, d]));
    }
    if v2 || v3 {
        out.push(("mask_token".to_owned(), vec![1, d]));
    }
    if s.family == Family::DinoV2Reg {
        out.push(("register_tokens".to_owned(), vec![1, 4, d]));
    }
    for i in 0..s.depth {
        let b = format!("blocks.{i}");
        norm(&mut out, &format!("{b}.norm1"), d);
        norm(&mut out, &format!("{b}.norm2"), d);
        affine(&mut out, &format!("{b}.attn.proj"), d, d);
        out.push((format!("{b}.attn.qkv.weight"), vec![3 * d, d]));
        if !(v3 && d == 4096) {
            out.push((format!("{b}.attn.qkv.bias"), vec![3 * d]));
            if v3 {
                out.push((format!("{b}.attn.qkv.bias_mask"), vec![3 * d]));
            }
        }
        if v2 || v3 {
            out.push((format!("{b}.ls1.gamma"), vec![d]));
            out.push((format!("{b}.ls2.gamma"), vec![d]));
        }
        match (s.gated, v3) {
            (false, _) => {
                affine(&mut out, &format!("{b}.mlp.fc1"), h, d);
                affine(&mut out, &format!("{b}.mlp.fc2"), d, h);
            }
            (true, false) => {
                affine(&mut out, &format!("{b}.mlp.w12"), 2 * h, d);
                affine(&mut out, &format!("{b}.mlp.w3"), d, h);
            }
            (true, true) => {
                affine(&mut out, &format!("{b}.mlp.w1"), h, d);
                affine(&mut out, &format!("{b}.mlp.w2"), h, d);
                affine(&mut out, &format!("{b}.mlp.w3"), d, h);
            }
        }
    }
    out
}

fn timm(s: &Sizes) -> Tensors {
    let &Sizes { d, h, p, n, .. } = s;
    let clip = s.family == Family::OpenClip;
    let v3 = s.family == Family::DinoV3;
    let registers = v3 || s.family == Family::DinoV2Reg;
    let mut out = vec![
        ("cls_token".to_owned(), vec![1, 1, d]),
        ("patch_embed.proj.weight".to_owned(), vec![d, 3, p, p]),
    ];
    norm(&mut out, "norm", d);
    if clip {
        norm(&mut out, "norm_pre", d);
        affine(&mut out, "head", 512, d);
    } else {
        out.push(("patch_embed.proj.bias".to_owned(), vec![d]));
    }
    if registers {
        out.push(("reg_token".to_owned(), vec![1, 4, d]));
    }
    if !v3 {
        out.push((
            "pos_embed".to_owned(),
            vec![1, n + usize::from(!registers), d],
        ));
    }
    if s.family == Family::Supervised {
        affine(&mut out, "head", 21843, d);
    }
    for i in 0..s.depth {
        let b = format!("blocks.{i}");
        norm(&mut out, &format!("{b}.norm1"), d);
        norm(&mut out, &format!("{b}.norm2"), d);
        affine(&mut out, &format!("{b}.attn.proj"), d, d);
        out.push((format!("{b}.attn.qkv.weight"), vec![3 * d, d]));
        if !v3 {
            out.push((format!("{b}.attn.qkv.bias"), vec![3 * d]));
        }
        let scales = match s.family {
            Family::DinoV2 | Family::DinoV2Reg => ["ls1.gamma", "ls2.gamma"].as_slice(),
            Family::DinoV3 => &["gamma_1", "gamma_2"],
            _ => &[],
        };
        for scale in scales {
            out.push((format!("{b}.{scale}"), vec![d]));
        }
        if s.gated && v3 {
            affine(&mut out, &format!("{b}.mlp.fc1_g"), h, d);
            affine(&mut out, &format!("{b}.mlp.fc1_x"), h, d);
        } else {
            affine(
                &mut out,
                &format!("{b}.mlp.fc1"),
                if s.gated { 2 * h } else { h },
                d,
            );
        }
        affine(&mut out, &format!("{b}.mlp.fc2"), d, h);
    }
    out
}

fn transformers(s: &Sizes) -> (Tensors, &'static str) {
    let &Sizes { d, h, p, n, .. } = s;
    let mut out = Vec::new();
    let v3 = s.family == Family::DinoV3;
    let v2 = matches!(s.family, Family::DinoV2 | Family::DinoV2Reg);
    if s.family == Family::OpenClip {
        let v = "vision_model";
        out.push((format!("{v}.embeddings.class_embedding"), vec![d]));
        out.push((
            format!("{v}.embeddings.patch_embedding.weight"),
            vec![d, 3, p, p],
        ));
        out.push((
            format!("{v}.embeddings.position_embedding.weight"),
            vec![n + 1, d],
        ));
        norm(&mut out, &format!("{v}.pre_layrnorm"), d);
        norm(&mut out, &format!("{v}.post_layernorm"), d);
        for i in 0..s.depth {
            let b = format!("{v}.encoder.layers.{i}");
            norm(&mut out, &format!("{b}.layer_norm1"), d);
            norm(&mut out, &format!("{b}.layer_norm2"), d);
            for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                affine(&mut out, &format!("{b}.self_attn.{name}"), d, d);
            }
            affine(&mut out, &format!("{b}.mlp.fc1"), h, d);
            affine(&mut out, &format!("{b}.mlp.fc2"), d, h);
        }
        return (out, "clip");
    }
    let v = if s.family == Family::Mae { "vit." } else { "" };
    out.push((format!("{v}embeddings.cls_token"), vec![1, 1, d]));
    let patch = if v3 { "" } else { ".projection" };
    out.push((
        format!("{v}embeddings.patch_embeddings{patch}.weight"),
        vec![d, 3, p, p],
    ));
    out.push((
        format!("{v}embeddings.patch_embeddings{patch}.bias"),
        vec![d],
    ));
    if v3 || s.family == Family::DinoV2Reg {
        out.push(("embeddings.register_tokens".to_owned(), vec![1, 4, d]));
    }
    if v3 {
        out.push(("embeddings.mask_token".to_owned(), vec![1, 1, d]));
        norm(&mut out, "norm", d);
        for i in 0..s.depth {
            let b = format!("layer.{i}");
            norm(&mut out, &format!("{b}.norm1"), d);
            norm(&mut out, &format!("{b}.norm2"), d);
            for name in ["q_proj", "k_proj", "v_proj", "o_proj"] {
                out.push((format!("{b}.attention.{name}.weight"), vec![d, d]));
                if name == "o_proj" || (name != "k_proj" && d != 4096) {
                    out.push((format!("{b}.attention.{name}.bias"), vec![d]));
                }
            }
            if s.gated {
                affine(&mut out, &format!("{b}.mlp.gate_proj"), h, d);
            }
            affine(&mut out, &format!("{b}.mlp.up_proj"), h, d);
            affine(&mut out, &format!("{b}.mlp.down_proj"), d, h);
            out.push((format!("{b}.layer_scale1.lambda1"), vec![d]));
            out.push((format!("{b}.layer_scale2.lambda1"), vec![d]));
        }
        return (out, "dinov3_vit");
    }
    out.push((
        format!("{v}embeddings.position_embeddings"),
        vec![1, n + 1, d],
    ));
    norm(&mut out, &format!("{v}layernorm"), d);
    for i in 0..s.depth {
        let b = format!("{v}encoder.layer.{i}");
        for name in ["query", "key", "value"] {
            affine(&mut out, &format!("{b}.attention.attention.{name}"), d, d);
        }
        affine(&mut out, &format!("{b}.attention.output.dense"), d, d);
        if v2 {
            norm(&mut out, &format!("{b}.norm1"), d);
            norm(&mut out, &format!("{b}.norm2"), d);
            out.push((format!("{b}.layer_scale1.lambda1"), vec![d]));
            out.push((format!("{b}.layer_scale2.lambda1"), vec![d]));
            let (up, down, rows) = if s.gated {
                ("weights_in", "weights_out", 2 * h)
            } else {
                ("fc1", "fc2", h)
            };
            affine(&mut out, &format!("{b}.mlp.{up}"), rows, d);
            affine(&mut out, &format!("{b}.mlp.{down}"), d, h);
        } else {
            norm(&mut out, &format!("{b}.layernorm_before"), d);
            norm(&mut out, &format!("{b}.layernorm_after"), d);
            affine(&mut out, &format!("{b}.intermediate.dense"), h, d);
            affine(&mut out, &format!("{b}.output.dense"), d, h);
        }
    }
    let kind = match s.family {
        Family::Mae => "vit_mae",
        Family::DinoV2 => "dinov2",
        Family::DinoV2Reg => "dinov2_with_registers",
        _ => "vit",
    };
    (out, kind)
}

fn open_clip(s: &Sizes) -> Tensors {
    let &Sizes { d, h, p, n, .. } = s;
    let mut out = vec![
        ("logit_scale".to_owned(), vec![]),
        ("positional_embedding".to_owned(), vec![77, 64]),
        ("visual.class_embedding".to_owned(), vec![d]),
        ("visual.conv1.weight".to_owned(), vec![d, 3, p, p]),
        ("visual.positional_embedding".to_owned(), vec![n + 1, d]),
        ("visual.proj".to_owned(), vec![d, 64]),
    ];
    norm(&mut out, "visual.ln_pre", d);
    norm(&mut out, "visual.ln_post", d);
    for i in 0..s.depth {
        let b = format!("visual.transformer.resblocks.{i}");
        norm(&mut out, &format!("{b}.ln_1"), d);
        norm(&mut out, &format!("{b}.ln_2"), d);
        out.push((format!("{b}.attn.in_proj_weight"), vec![3 * d, d]));
        out.push((format!("{b}.attn.in_proj_bias"), vec![3 * d]));
        affine(&mut out, &format!("{b}.attn.out_proj"), d, d);
        affine(&mut out, &format!("{b}.mlp.c_fc"), h, d);
        affine(&mut out, &format!("{b}.mlp.c_proj"), d, h);
    }
    out
}

/// A safetensors file of bf16 tensors whose data is a hole.
fn write(path: &Path, tensors: &Tensors) {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<usize>();
        header.insert(
            name.clone(),
            json!({ "dtype": "BF16", "shape": shape, "data_offsets": [at, end] }),
        );
        at = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(&header);
    std::fs::write(path, &bytes).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len((bytes.len() + at) as u64).unwrap();
}

fn check(path: &Path, settle: &Settle, model: &Value, format: Format) {
    let id = model["id"].as_str().unwrap();
    let checkpoint =
        Checkpoint::open(path, settle).unwrap_or_else(|e| panic!("{id} {format}: {e}"));
    let (config, identity) = (checkpoint.config(), checkpoint.identity());
    let size = |key: &str| model[key].as_u64().unwrap() as usize;
    assert_eq!(identity.format, format, "{id}");
    assert_eq!(identity.model.as_deref(), Some(id));
    assert_eq!(identity.size.as_deref(), model["size"].as_str());
    assert_eq!(
        identity.family.to_string(),
        model["family"].as_str().unwrap()
    );
    assert_eq!(config.width, size("embed_dim"), "{id}");
    assert_eq!(config.depth, size("depth"), "{id}");
    assert_eq!(config.heads, size("num_heads"), "{id}");
    assert_eq!(config.patch, size("patch"), "{id}");
    assert_eq!(config.hidden, size("mlp_hidden"), "{id}");
    assert_eq!(config.registers, size("num_registers"), "{id}");
    assert_eq!(
        config.layer_scale,
        model["layer_scale"].as_bool().unwrap(),
        "{id}"
    );
    assert_eq!(
        config.stem_norm,
        model["pre_norm"].as_bool().unwrap(),
        "{id}"
    );
    let gated = model["mlp"].as_str().unwrap().starts_with("swiglu");
    assert_eq!(
        config.mlp,
        if gated { Mlp::SwiGlu } else { Mlp::Gelu },
        "{id}"
    );
    let eps = model["sources"]["transformers"]["layer_norm_eps"]
        .as_f64()
        .filter(|_| format == Format::Transformers)
        .unwrap_or_else(|| model["layer_norm_eps"].as_f64().unwrap());
    assert_eq!(config.norm_eps, eps, "{id} {format}");
    match config.positions {
        PositionEncoding::Table { grid, .. } => {
            assert_eq!(
                grid[0],
                model["native_grid"][0].as_u64().unwrap() as usize,
                "{id}"
            );
        }
        PositionEncoding::Both { .. }
        | PositionEncoding::Edged
        | PositionEncoding::Relative { .. } => {
            panic!("{id} has others")
        }
        PositionEncoding::Rotary => assert_eq!(config.head_width(), size("head_dim"), "{id}"),
    }
    for axis in 0..3 {
        assert_eq!(
            identity.mean[axis],
            model["mean"][axis].as_f64().unwrap(),
            "{id}"
        );
        assert_eq!(
            identity.std[axis],
            model["std"][axis].as_f64().unwrap(),
            "{id}"
        );
    }
}

fn models() -> Vec<Value> {
    let json: Value = serde_json::from_slice(&vitscope_testkit::fact("models.json")).unwrap();
    json["models"].as_array().unwrap().clone()
}

#[test]
fn official_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    for model in models() {
        let sizes = Sizes::of(&model);
        if matches!(sizes.family, Family::OpenClip | Family::Supervised) {
            continue;
        }
        write(&path, &official(&sizes));
        // Names alone tell neither who trained it nor, for the oldest, whose resize rule holds.
        let settle = Settle {
            family: Some(sizes.family),
            format: Some(Format::Official),
            ..Settle::default()
        };
        check(&path, &settle, &model, Format::Official);
    }
}

#[test]
fn timm_repositories() {
    let folder = tempfile::tempdir().unwrap();
    for model in models() {
        for source in model["sources"]["timm"].as_array().into_iter().flatten() {
            if source["name"].as_str().unwrap().contains("qkvb") {
                continue;
            }
            write(
                &folder.path().join("model.safetensors"),
                &timm(&Sizes::of(&model)),
            );
            let (architecture, tag) = source["name"].as_str().unwrap().split_once('.').unwrap();
            let config = json!({
                "architecture": architecture,
                "pretrained_cfg": { "tag": tag, "mean": source["mean"], "std": source["std"] },
            });
            std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
            check(folder.path(), &Settle::default(), &model, Format::Timm);
        }
    }
}

#[test]
fn transformers_repositories() {
    let folder = tempfile::tempdir().unwrap();
    for model in models() {
        let source = &model["sources"]["transformers"];
        let Some(repository) = source["repo"].as_str() else {
            continue;
        };
        let snapshot = folder.path().join(format!(
            "models--{}/snapshots/0",
            repository.replace('/', "--")
        ));
        std::fs::create_dir_all(&snapshot).unwrap();
        let sizes = Sizes::of(&model);
        let (tensors, kind) = transformers(&sizes);
        write(&snapshot.join("model.safetensors"), &tensors);
        let vision = json!({
            "hidden_size": sizes.d, "num_hidden_layers": sizes.depth, "patch_size": sizes.p,
            "num_attention_heads": model["num_heads"], "layer_norm_eps": source["layer_norm_eps"],
            "hidden_act": if sizes.gated && kind == "dinov3_vit" { "silu" } else { "gelu" },
        });
        let mut config = if kind == "clip" {
            json!({ "vision_config": vision })
        } else {
            vision
        };
        config["model_type"] = json!(kind);
        std::fs::write(snapshot.join("config.json"), config.to_string()).unwrap();
        check(&snapshot, &Settle::default(), &model, Format::Transformers);
    }
}

/// A config file that was left by another model is told, where its own says nothing.
#[test]
fn a_config_of_another_architecture_is_noted() {
    let folder = tempfile::tempdir().unwrap();
    let models = models();
    let model = models
        .iter()
        .find(|model| model["family"] == "dinov2")
        .unwrap();
    let sizes = Sizes::of(model);
    let (tensors, own) = transformers(&sizes);
    write(&folder.path().join("model.safetensors"), &tensors);
    for (kind, is_noted) in [(own, false), ("vit", true), ("clip_vision_model", true)] {
        let config = json!({ "model_type": kind, "num_attention_heads": model["num_heads"], "layer_norm_eps": 1e-6, "hidden_act": "gelu" });
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let checkpoint = Checkpoint::open(folder.path(), &Settle::default()).unwrap();
        let mut notes = checkpoint.notes();
        let told = notes.find(|note| note.what == "model type");
        let told = told.map(|note| note.because.contains("another model's"));
        assert_eq!(told, is_noted.then_some(true), "{kind}");
    }
}

#[test]
fn open_clip_repositories() {
    let folder = tempfile::tempdir().unwrap();
    for model in models() {
        let sizes = Sizes::of(&model);
        if sizes.family != Family::OpenClip {
            continue;
        }
        write(
            &folder.path().join("open_clip_model.safetensors"),
            &open_clip(&sizes),
        );
        let config = json!({
            "model_cfg": { "vision_cfg": {
                "width": sizes.d, "layers": sizes.depth, "patch_size": sizes.p,
                "head_width": model["head_dim"],
            } },
            "preprocess_cfg": { "mean": model["mean"], "std": model["std"] },
        });
        std::fs::write(
            folder.path().join("open_clip_config.json"),
            config.to_string(),
        )
        .unwrap();
        check(folder.path(), &Settle::default(), &model, Format::OpenClip);
    }
}
