//! Realistic files that fit no family: the message is a sentence that says what the file is, and
//! a short list of the difference.
use serde_json::json;
use vitscope_vit::{checkpoint::Checkpoint, error::VitError, identify::Settle};

type Names = Vec<(String, Vec<usize>)>;

/// What the program says about a file with these tensors.
fn message(names: &Names) -> String {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in names {
        let end = at + 4 * shape.iter().product::<usize>();
        let entry = json!({ "dtype": "F32", "shape": shape, "data_offsets": [at, end] });
        assert!(header.insert(name.clone(), entry).is_none(), "{name}");
        at = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wrong.safetensors");
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(&header);
    std::fs::write(&path, &bytes).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len((bytes.len() + at) as u64).unwrap();
    let error = Checkpoint::open(&path, &Settle::default()).unwrap_err();
    assert!(matches!(error, VitError::NoFit { .. }), "{error}");
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() <= 20, "{} lines:\n{text}", lines.len());
    assert!(lines.iter().all(|line| line.len() < 500), "{text}");
    assert!(lines[0].contains("wrong.safetensors fits no known Vision Transformer"));
    text
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

fn both(out: &mut Names, name: &str, shape: &[usize]) {
    out.push((format!("{name}.weight"), shape.to_vec()));
    out.push((format!("{name}.bias"), vec![shape[0]]));
}

/// A plain ViT in timm's names, without its patch embedding.
fn vit(d: usize, depth: usize) -> Names {
    let mut out = vec![
        ("cls_token".to_owned(), vec![1, 1, d]),
        ("pos_embed".to_owned(), vec![1, 197, d]),
    ];
    both(&mut out, "norm", &[d]);
    for i in 0..depth {
        let block = format!("blocks.{i}");
        for norm in ["norm1", "norm2"] {
            both(&mut out, &format!("{block}.{norm}"), &[d]);
        }
        both(&mut out, &format!("{block}.attn.qkv"), &[3 * d, d]);
        both(&mut out, &format!("{block}.attn.proj"), &[d, d]);
        both(&mut out, &format!("{block}.mlp.fc1"), &[4 * d, d]);
        both(&mut out, &format!("{block}.mlp.fc2"), &[d, 4 * d]);
    }
    out
}

#[test]
fn a_resnet() {
    let mut names = Names::new();
    names.push(("conv1.weight".into(), vec![64, 3, 7, 7]));
    let norm = |out: &mut Names, name: &str, d: usize| {
        for leaf in ["weight", "bias", "running_mean", "running_var"] {
            out.push((format!("{name}.{leaf}"), vec![d]));
        }
    };
    norm(&mut names, "bn1", 64);
    for (layer, blocks) in [(1, 3), (2, 4), (3, 6), (4, 3)] {
        for block in 0..blocks {
            for conv in 1..4 {
                let name = format!("layer{layer}.{block}.conv{conv}.weight");
                names.push((name, vec![64, 64, 3, 3]));
                norm(&mut names, &format!("layer{layer}.{block}.bn{conv}"), 64);
            }
        }
    }
    both(&mut names, "fc", &[1000, 64]);
    let text = message(&names);
    says(
        &text,
        &[
            "a convolutional network such as ResNet",
            "layer1.{i}.conv1.weight [64, 64, 3, 3], 3 times",
        ],
    );
    assert!(!text.contains("lacks"), "{text}");
}

#[test]
fn a_convnext() {
    let mut names = Names::new();
    both(&mut names, "downsample_layers.0.0", &[96, 3, 4, 4]);
    both(&mut names, "downsample_layers.0.1", &[96]);
    for (stage, blocks) in [(0, 3), (1, 3), (2, 9), (3, 3)] {
        for block in 0..blocks {
            let name = format!("stages.{stage}.{block}");
            names.push((format!("{name}.gamma"), vec![96]));
            both(&mut names, &format!("{name}.dwconv"), &[96, 1, 7, 7]);
            both(&mut names, &format!("{name}.norm"), &[96]);
            both(&mut names, &format!("{name}.pwconv1"), &[384, 96]);
            both(&mut names, &format!("{name}.pwconv2"), &[96, 384]);
        }
    }
    both(&mut names, "norm", &[96]);
    both(&mut names, "head", &[10, 96]);
    says(
        &message(&names),
        &[
            "ConvNeXt",
            "stages.{i}.0.dwconv.weight [96, 1, 7, 7], 4 times",
        ],
    );
}

#[test]
fn a_swin() {
    let mut names = Names::new();
    both(&mut names, "patch_embed.proj", &[96, 3, 4, 4]);
    both(&mut names, "patch_embed.norm", &[96]);
    for (layer, blocks) in [(0, 2), (1, 2), (2, 6), (3, 2)] {
        for block in 0..blocks {
            let name = format!("layers.{layer}.blocks.{block}");
            let table = format!("{name}.attn.relative_position_bias_table");
            names.push((table, vec![169, 3]));
            for norm in ["norm1", "norm2"] {
                both(&mut names, &format!("{name}.{norm}"), &[96]);
            }
            both(&mut names, &format!("{name}.attn.qkv"), &[288, 96]);
            both(&mut names, &format!("{name}.attn.proj"), &[96, 96]);
            both(&mut names, &format!("{name}.mlp.fc1"), &[384, 96]);
            both(&mut names, &format!("{name}.mlp.fc2"), &[96, 384]);
        }
    }
    both(&mut names, "norm", &[96]);
    both(&mut names, "head", &[10, 96]);
    says(
        &message(&names),
        &[
            "a Swin Transformer",
            "relative_position_bias_table [169, 3]",
        ],
    );
}

#[test]
fn a_text_model() {
    let mut names = Names::new();
    names.push((
        "bert.embeddings.word_embeddings.weight".into(),
        vec![300, 64],
    ));
    for i in 0..12 {
        let name = format!("bert.encoder.layer.{i}");
        for part in ["self.query", "self.key", "self.value", "output.dense"] {
            both(&mut names, &format!("{name}.attention.{part}"), &[64, 64]);
        }
        both(
            &mut names,
            &format!("{name}.intermediate.dense"),
            &[256, 64],
        );
        both(&mut names, &format!("{name}.output.dense"), &[64, 256]);
    }
    says(
        &message(&names),
        &[
            "a text model",
            "bert.embeddings.word_embeddings.weight [300, 64]",
        ],
    );
}

#[test]
fn a_vit_with_adapters() {
    let mut names = vit(64, 12);
    both(&mut names, "patch_embed.proj", &[64, 3, 16, 16]);
    for i in 0..12 {
        both(&mut names, &format!("blocks.{i}.adapter.down"), &[8, 64]);
        both(&mut names, &format!("blocks.{i}.adapter.up"), &[64, 8]);
    }
    let text = message(&names);
    says(
        &text,
        &[
            "the closest naming is DINO naming",
            "differs in 0 missing and 48 unexpected tensors",
            "has blocks.{i}.adapter.down.weight [8, 64], 12 times",
        ],
    );
    assert!(!text.contains("lacks"), "{text}");
}

#[test]
fn a_vit_with_a_convolutional_stem() {
    let mut names = vit(64, 12);
    for (i, shape) in [[8, 3, 3, 3], [16, 8, 3, 3], [64, 16, 3, 3]]
        .iter()
        .enumerate()
    {
        names.push((format!("patch_embed.proj.{}.weight", 3 * i), shape.to_vec()));
        both(
            &mut names,
            &format!("patch_embed.proj.{}", 3 * i + 1),
            &[shape[0]],
        );
    }
    says(
        &message(&names),
        &[
            "the closest naming is DINO naming",
            "whose patches come from several convolutions",
            "lacks patch_embed.proj.weight",
            "has patch_embed.proj.0.weight [8, 3, 3, 3]",
        ],
    );
}

#[test]
fn one_tensor_too_few_or_too_many() {
    let mut names = vit(64, 12);
    both(&mut names, "patch_embed.proj", &[64, 3, 16, 16]);
    names.retain(|(name, _)| name != "blocks.7.attn.qkv.bias");
    names.push(("blocks.7.surprise".to_owned(), vec![3]));
    let text = message(&names);
    says(
        &text,
        &["it lacks blocks.7.attn.qkv.bias, and it has the unexpected blocks.7.surprise [3]"],
    );
    assert!(!text.contains('\n'), "{text}");
}
