//! `vitscope models`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::run;

fn text(args: &[&str]) -> String {
    let output = run(args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_table_has_a_line_for_each_model() {
    let table = text(&["models"]);
    assert_eq!(table.lines().count(), 36 + 2, "{table}");
    let dino = text(&["models", "dinov2reg"]);
    assert_eq!(dino.lines().count(), 4 + 2, "{dino}");
    let gated = table
        .lines()
        .find(|line| line.starts_with("dinov3-b16 "))
        .unwrap();
    assert!(gated.contains("official, transformers"), "{gated}");
}

#[test]
fn a_short_name_shows_every_page() {
    let all = text(&["models", "dinov3-b16"]);
    for part in [
        "https://huggingface.co/facebook/dinov3-vitb16-pretrain-lvd1689m",
        "https://huggingface.co/timm/vit_base_patch16_dinov3.lvd1689m",
        "dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth",
        "dinov3-license",
        "gated",
    ] {
        assert!(all.contains(part), "no {part} in: {all}");
    }
}

#[test]
fn json_has_the_same_facts() {
    let json: serde_json::Value =
        serde_json::from_str(&text(&["models", "mocov3-s16", "--format", "json"])).unwrap();
    let model = &json["models"][0];
    assert_eq!(model["heads"], 12);
    assert_eq!(model["source"][0]["file"], "vit-s-300ep.pth.tar");
    assert_eq!(
        model["source"][0]["page"],
        "https://github.com/facebookresearch/moco-v3"
    );
    let all: serde_json::Value =
        serde_json::from_str(&text(&["models", "--format", "json"])).unwrap();
    assert_eq!(all["models"].as_array().unwrap().len(), 36);
}

#[test]
fn an_unknown_name_is_usage() {
    let output = run(&["models", "dinov4-b16"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("dinov3-b16"), "{stderr}");
}
