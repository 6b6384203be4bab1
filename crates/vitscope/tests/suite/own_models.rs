//! The worked example of `docs/own-models.md`, replayed: a checkpoint with invented names is
//! drafted, completed as the page says, and gives the activations of the original.
use std::path::Path;

use crate::common::command;
use serde_json::{Map, Value};
use vitscope_testkit::fixture;

/// The names of the example's `sunflower.safetensors`, as the page lists them.
const INVENTED: [(&str, &str); 11] = [
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

fn header(bytes: &[u8]) -> (Map<String, Value>, &[u8]) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    (header, &bytes[8 + length..])
}

fn sunflower(path: &Path) {
    let bytes = std::fs::read(fixture("dino-timm/model.safetensors")).unwrap();
    let (names, data) = header(&bytes);
    let renamed: Map<String, Value> = names
        .into_iter()
        .filter(|(name, _)| name != "__metadata__")
        .map(|(name, entry)| {
            let new = INVENTED
                .iter()
                .fold(name, |name, (old, new)| name.replace(old, new));
            (new, entry)
        })
        .collect();
    let renamed = serde_json::to_vec(&renamed).unwrap();
    let mut file = (renamed.len() as u64).to_le_bytes().to_vec();
    file.extend(renamed);
    file.extend(data);
    std::fs::write(path, file).unwrap();
}

fn ok(args: &[&str]) -> String {
    let output = command().args(args).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of the page's block that begins with this line.
fn block(first: &str) -> Vec<String> {
    let page = include_str!("../../../../docs/own-models.md");
    let at = page.find(first).unwrap_or_else(|| panic!("no {first:?}"));
    let rest = &page[at..];
    let end = rest.find("```").unwrap();
    rest[..end].lines().map(str::to_owned).collect()
}

#[test]
fn the_worked_example() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let weights = path("sunflower.safetensors");
    sunflower(Path::new(&weights));

    // No family fits, so the program says so and offers the draft.
    let output = command().args(["inspect", &weights]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("fits no known Vision Transformer"), "{said}");
    let offered = String::from_utf8(output.stdout).unwrap();
    assert!(offered.contains("\"summary\" = \"class\""), "{offered}");

    let toml = path("sunflower.toml");
    ok(&["inspect", &weights, "--draft", &toml]);
    let draft = std::fs::read_to_string(&toml).unwrap();
    // A completed description is not overwritten.
    let again = command()
        .args(["inspect", &weights, "--draft", &toml])
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(2));

    // The page shows the draft as it is and the table as it becomes.
    let draft_table: Vec<String> = block("[model]\n# Tensors cannot tell");
    let completed: Vec<String> = block("[model]\nheads = 2");
    let tensors: Vec<String> = block("[tensors]\n");
    assert!(draft.contains(draft_table.join("\n").trim()), "{draft}");
    assert!(draft.contains(tensors.join("\n").trim()), "{draft}");
    let text = draft.replace(draft_table.join("\n").trim(), &completed.join("\n"));
    let text = text.replace("family = \"own\"", "family = \"sunflower\"");
    std::fs::write(&toml, text).unwrap();
    let shown = ok(&["inspect", &toml]);
    assert!(shown.contains("family       sunflower"), "{shown}");

    let input = fixture("dino-timm/expected.safetensors")
        .display()
        .to_string();
    let features = |model: &str, out: &str, more: &[&str]| {
        let out = path(out);
        let args = ["extract", model, "--tensor", &input, "--out", &out];
        ok(&[&args[..], more].concat());
        std::fs::read(Path::new(&out).join("features.safetensors")).unwrap()
    };
    let own = features(&toml, "own", &[]);
    let original = fixture("dino-timm/model.safetensors").display().to_string();
    let original = features(&original, "original", &["--heads", "2", "--family", "dino"]);
    let ((a, x), (b, y)) = (header(&own), header(&original));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    assert!(x == y, "other activations");
}
