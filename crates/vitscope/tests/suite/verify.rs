//! `vitscope verify` on fixtures, right ones and wrong ones.

use std::path::Path;
use std::process::Output;

use crate::common::run;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn fixture(name: &str) -> String {
    vitscope_testkit::fixture(name).display().to_string()
}

fn verify(model: &str, against: &str, more: &[&str]) -> Output {
    let mut args = vec!["verify", model, "--against", against];
    args.extend(more);
    run(&args)
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

/// A recording that was changed in some way.
fn changed(folder: &Path, change: impl FnOnce(&mut Tensors)) -> String {
    let bytes = std::fs::read(fixture("dino-timm/expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors = file
        .iter()
        .map(|(name, view)| {
            let shape = view.shape().to_vec();
            (name.to_owned(), view.dtype(), shape, view.data().to_vec())
        })
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (name, TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let path = folder.join("recorded.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path.display().to_string()
}

fn tensor<'a>(
    tensors: &'a mut Tensors,
    name: &str,
) -> &'a mut (String, Dtype, Vec<usize>, Vec<u8>) {
    tensors.iter_mut().find(|entry| entry.0 == name).unwrap()
}

#[test]
fn fixtures_are_reproduced() {
    for (name, file, more) in [
        ("dino-timm", "model.safetensors", &[][..]),
        ("dinov3-timm", "model.safetensors", &[]),
        ("openclip-openclip", "open_clip_model.safetensors", &[]),
        (
            "mugs-official-full",
            "checkpoint.pth",
            &["--heads", "2", "--family", "mugs"],
        ),
    ] {
        for size in ["expected", "expected_nonsquare"] {
            let against = fixture(&format!("{name}/{size}.safetensors"));
            let output = verify(&fixture(&format!("{name}/{file}")), &against, more);
            let stdout = String::from_utf8_lossy(&output.stdout);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name} {size}: {stdout}{stderr}");
            assert!(stdout.contains("passed"), "{stdout}");
            assert!(!stdout.contains("not known"), "{stdout}");
        }
    }
}

#[test]
fn another_model_fails_with_exit_code_1() {
    let output = verify(
        &fixture("dino-timm"),
        &fixture("mae-timm/expected.safetensors"),
        &["--format", "json"],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = json(&output);
    assert_eq!(told["passed"], false);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("not reproduced within 2e-4"), "{stderr}");
}

#[test]
fn one_wrong_value_is_found_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let against = changed(folder.path(), |tensors| {
        // Image 1, token 5, channel 3 of [2, 17, 16].
        let data = &mut tensor(tensors, "block1.value").3;
        let at = 4 * ((17 + 5) * 16 + 3);
        data[at..at + 4].copy_from_slice(&1e3_f32.to_le_bytes());
    });
    let output = verify(&fixture("dino-timm"), &against, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let told = json(&output);
    let failed: Vec<_> = told["compared"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|tensor| tensor["passed"] == false)
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["tensor"], "block1.value");
    assert_eq!(failed[0]["layer"], 2);
    assert_eq!(failed[0]["at"], serde_json::json!([1, 5, 3]));
    let loose = verify(&fixture("dino-timm"), &against, &["--tolerance", "2"]);
    assert_eq!(loose.status.code(), Some(0));
    let strict = verify(
        &fixture("dino-timm"),
        &fixture("dino-timm/expected.safetensors"),
        &["--tolerance", "1e-12"],
    );
    assert_eq!(strict.status.code(), Some(1));
}

#[test]
fn missing_unknown_and_misshapen_tensors_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let against = changed(folder.path(), |tensors| {
        tensors.retain(|entry| entry.0 != "block0.attention");
        tensor(tensors, "embed").0 = "logits".to_owned();
        tensor(tensors, "block2.key").0 = "block7.key".to_owned();
        let query = tensor(tensors, "block0.query");
        query.2 = vec![17, 2, 16];
        let nan = &mut tensor(tensors, "final_norm").3;
        nan[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    let output = verify(&fixture("dino-timm"), &against, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let told = json(&output);
    assert_eq!(told["unknown"], serde_json::json!(["logits"]));
    assert_eq!(
        told["missing"],
        serde_json::json!(["embed", "block0.attention", "block2.key"])
    );
    let problem = |name: &str| {
        let list = told["compared"].as_array().unwrap();
        let entry = list.iter().find(|entry| entry["tensor"] == name).unwrap();
        assert_eq!(entry["passed"], false);
        entry["problem"].as_str().unwrap().to_owned()
    };
    assert!(problem("block7.key").contains("only 3 blocks"));
    assert!(problem("block0.query").contains("[17, 2, 16]"));
    assert!(problem("final_norm").contains("not finite"));
}

#[test]
fn recordings_that_cannot_be_used_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = fixture("dino-timm");
    let refused = |against: &str, more: &[&str], code: i32, word: &str| {
        let output = verify(&model, against, more);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.contains(word), "no {word} in: {stderr}");
        assert!(output.stdout.is_empty());
    };
    let bare = changed(folder.path(), |tensors| {
        tensors.retain(|entry| entry.0 == "input");
    });
    refused(&bare, &[], 3, "nothing to compare");
    let blind = changed(folder.path(), |tensors| {
        tensors.retain(|entry| entry.0 != "input");
    });
    refused(&blind, &[], 3, "no tensor named 'input'");
    refused("nowhere.safetensors", &[], 3, "nowhere.safetensors");
    refused(&fixture("dino-timm/meta.json"), &[], 3, "meta.json");
    let good = fixture("dino-timm/expected.safetensors");
    refused(&good, &["--tolerance", "NaN"], 2, "tolerance");
}
