//! `vitscope models`.

use crate::common::run;
use vitscope_study::paper::Paper;

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
    assert_eq!(table.lines().count(), 77 + 2, "{table}");
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
    assert_eq!(all["models"].as_array().unwrap().len(), 77);
}

#[test]
fn an_unknown_name_is_usage() {
    let output = run(&["models", "dinov4-b16"]);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("dinov3-b16"), "{stderr}");
}

/// Every model of the paper's tables is one of the known ones, and shows its values.
#[test]
fn the_papers_values_are_shown_with_their_models() {
    let all: serde_json::Value =
        serde_json::from_str(&text(&["models", "--format", "json"])).unwrap();
    let all = all["models"].as_array().unwrap();
    let paper = Paper::new().unwrap();
    for entry in &paper.model {
        let found = all.iter().find(|model| model["name"] == *entry.model);
        let model = found.unwrap();
        assert_eq!(model["family"], *entry.family);
        assert_eq!(model["size"], *entry.size);
        assert_eq!(model["patch"], entry.patch);
        assert_eq!(model["paper"]["pck"]["token"], entry.pck.token);
        assert!(entry.pck.best_layer as u64 <= model["depth"].as_u64().unwrap());
    }
    let shown = all.iter().filter(|model| !model["paper"].is_null());
    assert_eq!(shown.count(), paper.model.len());
    let dino = text(&["models", "dino-b16"]);
    assert!(
        dino.contains("key 34.89, query 32.64, value 32.54, token 35.54 (best layer 9; Table 3)")
    );
    assert!(
        dino.contains("15.04, 16.11 (Table 4)") && !text(&["models", "dino-b8"]).contains("Table")
    );
}
