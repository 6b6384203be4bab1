//! Run directories that no run has written: what cannot be is refused in one sentence before anything is
//! allocated by it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{probe, run as run_args, run_json, succeed, take_proofs};

/// Writes a run's record with one field changed.
fn forge(run: &Path, place: &str, value: &Value) {
    let mut record = run_json(run);
    *record.pointer_mut(place).unwrap() = value.clone();
    std::fs::write(run.join("run.json"), record.to_string()).unwrap();
}

/// Runs a command, which must be refused, soon, with these words.
fn refused(args: &[&str], word: &str) {
    let begun = Instant::now();
    let output = run_args(args);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{args:?}\n{stderr}");
    assert!(stderr.contains(word), "{word}: {stderr}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{args:?}");
}

#[test]
fn records_that_cannot_be_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("shard");
    let out = dir.path().join("out");
    succeed(probe(&run, &["--shard", "1/1", "--facets", "key"]));
    let kept = std::fs::read(run.join("run.json")).unwrap();
    let [run_text, out_text] = [&run, &out].map(|path| path.display().to_string());
    let many = |count: usize| json!(vec!["x"; count]);
    for (place, value) in [
        ("/grid", json!([0, 0])),
        ("/grid", json!([1, 4])),
        ("/grid", json!([3, 3])),
        ("/grid", json!([1_000_000, 1_000_000])),
        ("/size", json!(0)),
        ("/size", json!(1_000_000_000_000_000_u64)),
        ("/clusters", json!(0)),
        ("/clusters", json!(1_000_000)),
        ("/data/test", json!(1_000_000_000_000_000_u64)),
        ("/data/test", json!(90_000_000)),
        ("/data/train", json!(1_000_000_000_000_000_u64)),
        ("/model/depth", json!(100_000)),
        ("/examples", many(100_000)),
        ("/notes", many(200_000)),
        ("/settings/examples", json!(1_000_000_000_000_000_u64)),
        ("/settings/resamples", json!(1_000_000_000_000_000_u64)),
        ("/settings/steps", json!(1_000_000_000_000_000_u64)),
    ] {
        forge(&run, place, &value);
        let output = run_args(&["merge", &run_text, "--out", &out_text]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let code = output.status.code();
        assert!(matches!(code, Some(2 | 3)), "{place} {value}\n{stderr}");
        assert!(!stderr.contains("internal"), "{place} {value}\n{stderr}");
        assert!(!out.exists(), "{place} {value}");
        std::fs::write(run.join("run.json"), &kept).unwrap();
    }
    succeed(run_args(&["merge", &run_text, "--out", &out_text]));
}

/// A name that turns letters red, rings, turns the order of letters and begins a line.
const EVIL: &str = "a\u{1b}[31m\u{7}\u{9b}\u{202e}\u{2066}\nnote: b";

/// What is told, which must have EVIL in letters that are shown.
fn plainly(args: &[&str]) -> String {
    let output = run_args(args);
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let told = told.concat();
    let odd = |letter: char| {
        let turns = matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        letter != '\n' && (letter.is_control() || turns)
    };
    assert!(!told.contains(odd), "{args:?}: {told:?}");
    let lines = told.lines();
    let own = lines.filter(|line| line.starts_with("note: b"));
    assert_eq!(own.count(), 0, "{args:?}: {told}");
    told
}

#[cfg(unix)]
#[test]
fn names_of_strangers_are_shown_and_do_not_steer_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for folder in ["images", "masks"] {
        std::fs::create_dir(path(folder)).unwrap();
    }
    for name in [EVIL, "plain"] {
        let photograph = image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 9]));
        photograph
            .save(path(&format!("images/{name}.png")))
            .unwrap();
        let mask = image::GrayImage::from_fn(64, 64, |x, _| image::Luma([(x / 32) as u8]));
        mask.save(path(&format!("masks/{name}.png"))).unwrap();
    }
    let set = path("set.toml");
    let name = |index: usize| toml::Value::String(format!("{EVIL}{index}"));
    let classes = [0, 1].map(|id| format!("[[classes]]\nname = {}\nids = [{id}]\n", name(id)));
    let splits = "test = { images = \"images\", masks = \"masks\" }\n";
    std::fs::write(&set, format!("{splits}{}", classes.concat())).unwrap();
    let check = ["data", "check", &set, "--size", "64"];
    let shown = "a\\u{1b}[31m\\u{7}\\u{9b}\\u{202e}\\u{2066}\\nnote: b1";
    assert!(plainly(&check).contains(shown));
    // What a program reads is as it is.
    let json = run_args(&[&check[..], &["--format", "json"]].concat()).stdout;
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["test"]["classes"][1]["name"], format!("{EVIL}1"));
    std::fs::write(path(&format!("masks/{EVIL}.png")), b"junk").unwrap();
    assert!(plainly(&check).contains("\\u{1b}"));
    // In one line, as a key must be.
    let key = json!(EVIL);
    std::fs::write(&set, format!("{key} = 1\n")).unwrap();
    let plan = format!("[sweep]\nout = 'x'\n[base]\nmodel = 'm'\ndata = 'd'\n{key} = 1\n");
    std::fs::write(path("plan.toml"), plan).unwrap();
    let flag = format!("--{EVIL}");
    for args in [
        &["data", "check", &set][..],
        &["sweep", &path("plan.toml")],
        &["inspect", &path(EVIL)],
        &["report", &path(EVIL)],
        &["compare", &path(EVIL), &path(EVIL), "--out", &path("out")],
        &["probe", "m", "--data", "d", "--out", "o", "--steps", EVIL],
        &["probe", &flag],
        &[EVIL],
    ] {
        let told = plainly(args);
        // Of what no flag or command is, escapes are left out.
        assert!(told.contains("\\u{202e}"), "{args:?}: {told}");
    }
}

#[test]
fn numbers_names_and_pictures_that_cannot_be_are_refused_or_drawn_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    succeed(probe(&run, &["--facets", "key", "--examples", "1"]));
    let text = run.display().to_string();
    // One who gives a bent run away bends its proofs, too.
    take_proofs(&run);
    let table = run.join("metrics.csv");
    let kept = std::fs::read_to_string(&table).unwrap();
    let (head, _) = kept.split_once('\n').unwrap();
    let row = |layer: usize, value: &str| format!("m,f,s,{layer},key,miou,,{value},,");
    let deep: Vec<String> = (1..=100_000).map(|layer| row(layer, "0.5")).collect();
    std::fs::write(&table, format!("{head}\n{}\n", deep.join("\n"))).unwrap();
    refused(&["report", &text], "metrics.csv");
    // The smallest number there is, everywhere.
    let tiny: Vec<String> = (1..=3).map(|layer| row(layer, "1e-320")).collect();
    std::fs::write(&table, format!("{head}\n{}\n", tiny.join("\n"))).unwrap();
    succeed(run_args(&["report", &text]));
    std::fs::write(&table, &kept).unwrap();
    // A name as long as a book.
    let record = std::fs::read(run.join("run.json")).unwrap();
    forge(&run, "/data/classes/0/name", &json!("a".repeat(100_000)));
    let begun = Instant::now();
    succeed(run_args(&["report", &text]));
    // Where fitting it was quadratic it took hours; a busy machine must not be taken for that.
    assert!(begun.elapsed() < Duration::from_secs(300));
    std::fs::write(run.join("run.json"), &record).unwrap();
    forge(&run, "/model/name", &json!("a".repeat(1001)));
    refused(
        &["report", &text],
        "letters of its model's name, namely 1001",
    );
    std::fs::write(run.join("run.json"), record).unwrap();
    // A picture that is small as a file only.
    let stem = run_json(&run)["examples"][0].as_str().unwrap().to_owned();
    let picture = run.join("images").join(format!("{stem}.png"));
    assert!(picture.exists());
    let large = image::RgbImage::new(8000, 8000);
    large.save(&picture).unwrap();
    refused(&["report", &text], "8000 x 8000");
}
