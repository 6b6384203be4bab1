//! Writes made-up runs of every command with their pages, and a comparison, for `tools/browser.py`.
//!
//! `cargo run --example pages -p vitscope-figure -- [DIR]`
#![expect(clippy::unwrap_used, reason = "says what failed by panicking")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;

use common::{Spec, write_attention, write_correspond};
use vitscope_figure::{CompareOptions, compare, draw};

fn main() {
    let root = std::env::args().nth(1).unwrap_or("target/pages".to_owned());
    // A run names its photographs as seen from anywhere.
    let root = std::path::absolute(root).unwrap();
    if root.exists() {
        std::fs::remove_dir_all(&root).unwrap();
    }
    let spec = || Spec {
        layers: 6,
        examples: 4,
        side: 128,
        ..Spec::default()
    };
    let runs = [
        ("base", spec()),
        (
            "seed",
            Spec {
                seed: 1,
                skill: 0.95,
                ..spec()
            },
        ),
        (
            "small",
            Spec {
                model: "vit_small",
                skill: 0.7,
                attention: true,
                ..spec()
            },
        ),
        (
            "clusters",
            Spec {
                clusters: 40,
                ..spec()
            },
        ),
        (
            "without-truth",
            Spec {
                truth: false,
                ..spec()
            },
        ),
    ];
    for (name, spec) in &runs {
        spec.write(&root.join(name));
    }
    write_attention(&root.join("attention"));
    write_correspond(&root.join("correspond"));
    let names = runs.iter().map(|run| run.0);
    for name in names.clone().chain(["attention", "correspond"]) {
        draw(&root.join(name)).unwrap();
    }
    let runs: Vec<PathBuf> = ["correspond", "attention", "base", "seed", "small"]
        .iter()
        .map(|name| root.join(name))
        .collect();
    compare(&runs, &root.join("comparison"), &CompareOptions::default()).unwrap();
}
