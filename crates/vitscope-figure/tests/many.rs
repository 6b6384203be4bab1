//! Comparisons of more runs than can be shown with pictures.

mod common;

use std::fs;

use common::Spec;
use vitscope_figure::{CompareOptions, compare};

#[test]
fn of_many_runs_a_few_have_pictures_and_all_have_a_cell() {
    let root = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for seed in 0..15 {
        for model in ["vit_base", "vit_small"] {
            let run = root.path().join(format!("{model}-{seed}"));
            Spec {
                model,
                seed,
                layers: 1,
                examples: 1,
                side: 32,
                skill: if model == "vit_base" { 0.9 } else { 0.2 },
                ..Spec::default()
            }
            .write(&run);
            runs.push(run);
        }
    }
    let out = root.path().join("out");
    let drawn = compare(&runs, &out, &CompareOptions::default()).unwrap();
    let page = fs::read_to_string(drawn.page).unwrap();
    // Both models, then nothing more: runs that differ in the seed alone show the same.
    assert!(page.contains("are of 2 of the 30 runs"));
    let table = fs::read_to_string(out.join("figures/matrix.csv")).unwrap();
    assert_eq!(table.lines().count(), 31);
    let leading = |model: &str| {
        let own = table.lines().filter(|line| line.contains(model));
        own.filter(|line| line.ends_with(",true")).count()
    };
    assert_eq!(leading("vit_small"), 0, "{table}");
    assert!(leading("vit_base") > 0, "{table}");
    // A point of a run that the explorer does not have opens nothing.
    let svg = fs::read_to_string(out.join("figures/matrix.svg")).unwrap();
    assert_eq!(svg.matches("data-slot=").count(), 2);
    assert_eq!(svg.matches("data-run=").count(), 28);
}
