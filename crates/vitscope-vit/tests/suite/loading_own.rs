//! Own models: renamed fixtures are drafted, completed as a user would, and give the fixture's
//! own weights; what a description gets wrong is said in one sentence.
use std::path::Path;

use serde_json::{Map, Value, json};
use vitscope_testkit::fixture;
use vitscope_vit::{
    checkpoint::{Checkpoint, draft},
    config::{Config, PositionEncoding, Resize},
    identify::{Family, Format, Settle},
    params::Params,
};

/// What a user has to say in a completed draft.
const TOLD: &str = "heads = 2\nnorm_eps = 1e-6\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n";

/// Copies a safetensors file with other names, and for `turn` with that map transposed.
fn renamed(from: &Path, to: &Path, names: &[(&str, &str)], turn: Option<&str>) {
    let bytes = std::fs::read(from).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Map<String, Value> = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let mut data = bytes[8 + length..].to_vec();
    let mut out = Map::new();
    for (name, mut entry) in header {
        if name == "__metadata__" {
            continue;
        }
        if turn.is_some_and(|turn| name.ends_with(turn)) {
            let side = |at: usize| entry["shape"][at].as_u64().unwrap() as usize;
            let (rows, columns) = (side(0), side(1));
            let start = entry["data_offsets"][0].as_u64().unwrap() as usize;
            let old = data[start..start + 4 * rows * columns].to_vec();
            for row in 0..rows {
                for column in 0..columns {
                    let (a, b) = (4 * (row * columns + column), 4 * (column * rows + row));
                    data[start + b..start + b + 4].copy_from_slice(&old[a..a + 4]);
                }
            }
            entry["shape"] = json!([columns, rows]);
        }
        let new = names
            .iter()
            .fold(name, |name, (old, new)| name.replace(old, new));
        assert!(out.insert(new, entry).is_none());
    }
    let header = serde_json::to_vec(&out).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    std::fs::write(to, file).unwrap();
}

/// The draft of a checkpoint, with its commented guesses replaced by what the user knows.
fn completed(weights: &Path, told: &str) -> String {
    let draft = draft(weights, weights.parent().unwrap(), None).unwrap();
    assert!(draft.likely, "{}", draft.text);
    draft
        .text
        .replacen("[model]\n", &format!("[model]\n{told}"), 1)
}

fn open(folder: &Path, text: &str) -> Result<Checkpoint, String> {
    let path = folder.join("own.toml");
    std::fs::write(&path, text).unwrap();
    Checkpoint::open(&path, &Settle::default()).map_err(|error| error.to_string())
}

/// Every number of the weights, in one fixed order.
fn numbers(params: &Params) -> Vec<u32> {
    let mut all = Vec::new();
    let mut add = |values: &[f32]| all.extend(values.iter().map(|value| value.to_bits()));
    let (patch, stem, norm) = (&params.patch, &params.stem_norm, &params.norm);
    for values in [
        &patch.weight,
        &patch.bias,
        &params.prefix,
        &params.table,
        &params.periods,
        &stem.weight,
        &stem.bias,
        &norm.weight,
        &norm.bias,
    ] {
        add(values);
    }
    for block in &params.blocks {
        for map in [&block.qkv, &block.proj, &block.up, &block.down] {
            add(&map.weight);
            add(&map.bias);
        }
        for norm in [&block.norm1, &block.norm2] {
            add(&norm.weight);
            add(&norm.bias);
        }
        add(&block.scale1);
        add(&block.scale2);
    }
    all
}

fn original(name: &str, family: Family) -> (Config, Vec<u32>) {
    let settle = Settle {
        heads: Some(2),
        family: Some(family),
        ..Settle::default()
    };
    let checkpoint = Checkpoint::open(&fixture(name), &settle).unwrap();
    let numbers = numbers(&checkpoint.params().unwrap());
    (checkpoint.config().clone(), numbers)
}

/// Invented names for timm's plain ViT.
const INVENTED: &[(&str, &str)] = &[
    ("blocks.", "trunk.stage_"),
    ("attn.qkv", "mixer.fused"),
    ("attn.proj", "mixer.merge"),
    ("mlp.fc1", "expand"),
    ("mlp.fc2", "contract"),
    ("norm1", "first_ln"),
    ("norm2", "second_ln"),
    ("cls_token", "summary"),
    ("pos_embed", "where"),
    ("patch_embed.proj", "eye"),
    ("norm.", "last_ln."),
];

#[test]
fn a_renamed_checkpoint_is_drafted_completed_and_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("mine.safetensors");
    let source = fixture("dino-timm").join("model.safetensors");
    renamed(&source, &weights, INVENTED, None);
    let told = format!("{TOLD}mlp = \"gelu\"\nresize = \"antialias\"\n");
    let text = completed(&weights, &told).replacen("\"own\"", "\"invented\"", 1);
    let checkpoint = open(folder.path(), &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let (config, weights) = original("dino-timm", Family::Dino);
    assert_eq!(*checkpoint.config(), config);
    assert_eq!(numbers(&checkpoint.params().unwrap()), weights);
    let identity = checkpoint.identity();
    assert_eq!(identity.family.to_string(), "invented");
    assert_eq!(identity.format, Format::Own);
    assert_eq!(identity.files.len(), 1);
    assert_eq!(
        checkpoint.tensors().used(),
        checkpoint.tensors().tensors.len()
    );
}

#[test]
fn other_architectures_are_drafted_too() {
    let both = "mlp = \"gelu\"\nresize = \"antialias\"\n";
    for (name, family, names, told) in [
        (
            "dinov2-transformers",
            Family::DinoV2,
            &[("encoder.layer.", "l."), ("attention.attention.", "a.")][..],
            "mlp = \"gelu\"\nresize = \"plain\"\n",
        ),
        (
            "dinov2reg-timm",
            Family::DinoV2Reg,
            &[("blocks.", "b/"), ("reg_token", "registers")],
            both,
        ),
        (
            "dinov2g-timm",
            Family::DinoV2,
            &[("blocks.", "x.y.")],
            "resize = \"antialias\"\n",
        ),
        (
            "dinov3plus-transformers",
            Family::DinoV3,
            &[("layer.", "tower.")],
            "rope_base = 100.0\n",
        ),
        (
            "openclip-openclip",
            Family::OpenClip,
            &[("visual.", "eye."), ("resblocks", "stack")],
            both,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let weights = folder.path().join("mine.safetensors");
        let source = std::fs::read_dir(fixture(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .find(|path| path.to_string_lossy().ends_with("model.safetensors"))
            .unwrap();
        renamed(&source, &weights, names, None);
        let (config, expected) = original(name, family);
        let text = completed(&weights, &format!("{TOLD}{told}")).replacen(
            "norm_eps = 1e-6",
            &format!("norm_eps = {:e}", config.norm_eps),
            1,
        );
        // CLIP's projection into the joint space is the one tensor that its user has to move.
        let text = text.replacen("ignore = [", "ignore = [\"eye.proj\",", 1);
        let text: String = text
            .lines()
            .filter(|line| !line.contains("= \"?\""))
            .map(|line| format!("{line}\n"))
            .collect();
        let checkpoint =
            open(folder.path(), &text).unwrap_or_else(|error| panic!("{name}: {error}\n{text}"));
        assert_eq!(*checkpoint.config(), config, "{name}");
        let found = numbers(&checkpoint.params().unwrap());
        assert!(found == expected, "{name}: other weights\n{text}");
    }
}

/// A complete description of the renamed fixture, for changing one thing at a time.
fn example(folder: &Path) -> String {
    let weights = folder.join("mine.safetensors");
    let source = fixture("dino-timm").join("model.safetensors");
    renamed(&source, &weights, INVENTED, None);
    let told = format!("{TOLD}mlp = \"gelu\"\nresize = \"plain\"\n");
    completed(&weights, &told)
}

#[test]
fn transposed_maps() {
    let folder = tempfile::tempdir().unwrap();
    let text = example(folder.path());
    let weights = folder.path().join("mine.safetensors");
    let source = fixture("dino-timm").join("model.safetensors");
    renamed(&source, &weights, INVENTED, Some("attn.proj.weight"));
    let (_, expected) = original("dino-timm", Family::Dino);
    let turned = text.replacen("ignore", "transposed = [\"proj.weight\"]\nignore", 1);
    let checkpoint = open(folder.path(), &turned).unwrap();
    assert_eq!(numbers(&checkpoint.params().unwrap()), expected);
    // A square map does not show it; another one does.
    assert_ne!(
        numbers(&open(folder.path(), &text).unwrap().params().unwrap()),
        expected
    );
    renamed(&source, &weights, INVENTED, Some("mlp.fc1.weight"));
    let message = open(folder.path(), &text).unwrap_err();
    assert!(
        message.contains("trunk.stage_0.expand.weight should be"),
        "{message}"
    );
    let turned = text.replacen("ignore", "transposed = [\"up.weight\"]\nignore", 1);
    let checkpoint = open(folder.path(), &turned).unwrap();
    assert_eq!(numbers(&checkpoint.params().unwrap()), expected);
}

#[test]
fn an_untouched_draft_asks_for_what_tensors_cannot_tell() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("mine.safetensors");
    let source = fixture("dino-timm").join("model.safetensors");
    renamed(&source, &weights, INVENTED, None);
    let message = open(folder.path(), &completed(&weights, "")).unwrap_err();
    assert!(
        message
            .contains("lacks heads, norm_eps, mlp, resize, mean, std, which tensors cannot tell"),
        "{message}"
    );
}

#[test]
fn a_wrong_description_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let text = example(folder.path());
    assert!(open(folder.path(), &text).is_ok(), "{text}");
    for (old, new, reason) in [
        ("heads = 2", "hedas = 2", "model.hedas; did you mean heads?"),
        ("heads = 2", "heads = 3", "width 16 is not a multiple of it"),
        ("heads = 2", "heads = \"two\"", "model.heads must be"),
        (
            "family = ",
            "famly = ",
            "unknown key famly; did you mean family?",
        ),
        ("weights = ", "weight = ", "unknown key weight"),
        ("[model]", "[model", "line "),
        (
            "[model]",
            "[model]\nwidth = 32",
            "it gives width = 32, but the tensors show 16",
        ),
        (
            "[model]",
            "[model]\nlayer_scale = true",
            "layer_scale = true",
        ),
        (
            "[model]",
            "[model]\nrope_base = 100",
            "no model here uses both",
        ),
        ("mlp = \"gelu\"", "mlp = \"swiglu\"", "are not gated"),
        (
            "mlp = \"gelu\"",
            "mlp = \"relu\"",
            "model.mlp must be one of gelu",
        ),
        (
            "\"qkv.weight\"",
            "\"qkv.wieght\"",
            "did you mean qkv.weight?",
        ),
        ("\"qkv.weight\"", "\"qkv.bias\"", "are given as qkv.bias"),
        (
            "\"qkv.weight\"",
            "\"?\"",
            "it still has \"?\" for trunk.stage_{i}.mixer.fused.weight",
        ),
        ("\"eye.bias\" =", "#", "it neither names nor ignores 1 of"),
        ("\"summary\" =", "#", "lacks class"),
        (
            "\"summary\" =",
            "\"sumary\" =",
            "called \"sumary\"; did you mean \"summary\"?",
        ),
        (
            "\"summary\" =",
            "\"{i}summary\" =",
            "class is no part of a block",
        ),
        (
            "stage_{i}.expand.bias",
            "stage_0.expand.bias",
            "must hold {i}",
        ),
        (
            "mine.safetensors\"\n",
            "gone.safetensors\"\n",
            "cannot read",
        ),
        (
            "mine.safetensors\"\n",
            "mine.safetensors\"\ngroup = \"model\"\n",
            "checkpoint is flat",
        ),
    ] {
        assert!(text.contains(old), "{old}\n{text}");
        let message = open(folder.path(), &text.replacen(old, new, 1))
            .err()
            .unwrap_or_else(|| panic!("{old} -> {new} was accepted"));
        assert!(message.contains(reason), "{message:?} lacks {reason:?}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn options_for_released_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = example(folder.path());
    open(folder.path(), &text).unwrap();
    for settle in [
        Settle {
            family: Some(Family::Dino),
            ..Settle::default()
        },
        Settle {
            heads: Some(4),
            ..Settle::default()
        },
    ] {
        assert!(Checkpoint::open(&folder.path().join("own.toml"), &settle).is_err());
    }
}

#[test]
fn a_table_that_is_not_square() {
    let folder = tempfile::tempdir().unwrap();
    let text = example(folder.path());
    let text = text.replacen("[model]", "[model]\ngrid = [2, 8]", 1);
    let checkpoint = open(folder.path(), &text).unwrap();
    let expected = PositionEncoding::Table {
        grid: [2, 8],
        resize: Resize::Plain,
    };
    assert_eq!(checkpoint.config().positions, expected);
    let message = open(folder.path(), &text.replacen("[2, 8]", "[3, 8]", 1)).unwrap_err();
    assert!(message.contains("3 x 8 patches"), "{message}");
}
