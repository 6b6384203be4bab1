//! MODEL as a Hugging Face id, with the whole program against a stand-in hub.

use std::path::Path;
use std::process::{Command, Output};

use crate::common::{SMALL, camvid, command};
use vitscope_testkit::fixture;
use vitscope_testkit::hub::{COMMIT, Standin};

const ID: &str = "timm/vit_fixture_patch16.dino";

/// The program with nothing of the machine's own settings.
pub fn bare(cache: &Path, hub: &str) -> Command {
    let mut command = command();
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let lower = name.to_lowercase();
        if lower.starts_with("hf_") || lower.contains("proxy") || lower.contains("offline") {
            command.env_remove(name);
        }
    }
    command.env("HF_HOME", cache).env("HF_ENDPOINT", hub);
    command
}

/// Runs with nothing of the machine's own settings but those given.
fn run(cache: &Path, hub: &str, more: &[(&str, &str)], args: &[&str]) -> Output {
    bare(cache, hub)
        .envs(more.iter().copied())
        .args(args)
        .output()
        .unwrap()
}

fn serve() -> Standin {
    let hub = Standin::start();
    hub.add_folder(
        ID,
        &fixture("dino-timm"),
        &["config.json", "model.safetensors"],
    );
    hub
}

fn line(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    let lines: Vec<&str> = stderr
        .lines()
        .filter_map(|line| line.strip_prefix("vitscope: "))
        .collect();
    assert_eq!(lines.len(), 1, "{stderr}");
    lines[0].to_owned()
}

#[test]
fn inspect_downloads_once_and_then_works_offline() {
    let hub = serve();
    let cache = tempfile::tempdir().unwrap();
    let args = ["inspect", ID, "--format", "json"];
    let first = run(cache.path(), &hub.endpoint, &[], &args);
    assert!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    let told: serde_json::Value = serde_json::from_slice(&first.stdout).unwrap();
    assert_eq!(told["identity"]["family"], "dino");
    assert_eq!(told["identity"]["format"], "timm");
    assert_eq!(told["config"]["heads"], 2);
    // News are JSON lines too, on stderr.
    for line in String::from_utf8_lossy(&first.stderr).lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert!(!hub.take_log().is_empty());
    let offline = [("HF_HUB_OFFLINE", "1")];
    let second = run(cache.path(), "http://127.0.0.1:9", &offline, &args);
    assert!(second.status.success());
    assert_eq!(first.stdout, second.stdout);
    assert!(hub.take_log().is_empty());
}

#[test]
fn a_gated_model_gets_one_sentence_and_exit_code_3() {
    let hub = serve();
    {
        let mut state = hub.state.lock().unwrap();
        state.tokens = vec!["hf_good".to_owned()];
        state.repos.get_mut(ID).unwrap().gate = Some("hf_good".to_owned());
    }
    let cache = tempfile::tempdir().unwrap();
    let refused = line(&run(cache.path(), &hub.endpoint, &[], &["inspect", ID]), 3);
    assert!(
        refused.contains(&format!("{}/{ID}", hub.endpoint)) && refused.contains("HF_TOKEN"),
        "{refused}"
    );
    let token = [("HF_TOKEN", "hf_good")];
    assert!(
        run(cache.path(), &hub.endpoint, &token, &["inspect", ID])
            .status
            .success()
    );
}

#[test]
fn words_that_mean_nothing_are_usage_and_a_missing_cache_is_not() {
    let cache = tempfile::tempdir().unwrap();
    let away = "http://127.0.0.1:9";
    let near = line(&run(cache.path(), away, &[], &["inspect", "dino-b15"]), 2);
    assert!(near.contains("dino-b16"), "{near}");
    let offline = [("HF_HUB_OFFLINE", "1")];
    let missing = line(&run(cache.path(), away, &offline, &["inspect", ID]), 3);
    assert!(missing.contains("HF_HUB_OFFLINE"), "{missing}");
    let endpoint = line(&run(cache.path(), "nowhere", &[], &["inspect", ID]), 2);
    assert!(endpoint.contains("HF_ENDPOINT"), "{endpoint}");
}

#[test]
fn verify_takes_an_id_too() {
    let hub = serve();
    let cache = tempfile::tempdir().unwrap();
    let recorded = fixture("dino-timm/expected.safetensors");
    let args = ["verify", ID, "--against", recorded.to_str().unwrap()];
    let output = run(cache.path(), &hub.endpoint, &[], &args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_run_is_named_after_the_model_and_not_its_commit() {
    let hub = serve();
    let cache = tempfile::tempdir().unwrap();
    let out = cache.path().join("run");
    let data = camvid();
    let mut args = vec!["probe", ID, "--data", &data, "--out"];
    args.push(out.to_str().unwrap());
    args.extend(SMALL);
    let output = run(cache.path(), &hub.endpoint, &[], &args);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let told: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("run.json")).unwrap()).unwrap();
    let name = told["model"]["name"].as_str().unwrap();
    assert!(
        name.contains("vit_fixture_patch16.dino") && !name.contains(&COMMIT[..7]),
        "{name}"
    );
}
