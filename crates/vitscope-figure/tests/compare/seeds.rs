//! What runs are called, and runs that differ in the seed alone.

use std::fs;

use vitscope_figure::{CompareOptions, Look, compare};

use super::common::Spec;
use super::{five, texts};

/// Where a drawing has the small dots of seeds.
fn specks(svg: &str) -> usize {
    svg.matches("r=\"2\"").count()
}

#[test]
fn seeds_are_dots_of_one_model_and_named_runs_stand_alone() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    let figure = |name: &str| fs::read_to_string(out.join(format!("figures/{name}.svg"))).unwrap();
    compare(&runs[..3], &out, &CompareOptions::default()).unwrap();
    // Two seeds of four facets at their layers; the other model has one run, and no dots.
    assert_eq!(specks(&figure("best-miou")), 2 * 4);
    assert!(specks(&figure("miou-by-layer")) >= 2 * 4);
    let told = figure("best-miou");
    assert!(told.contains("small dots are seeds"));
    // A label map has no median: a row of the first seed, and one of the other model.
    let overview = fs::read_to_string(out.join("figures/overview-key.csv")).unwrap();
    assert!(
        overview.contains("seed 0") && !overview.contains("seed 7"),
        "{overview}"
    );
    // Authors who name seeds apart see them apart; those who give one name see one model.
    let named = |names: [&str; 3]| {
        let look = Look {
            labels: names.map(str::to_owned).to_vec(),
            ..Look::default()
        };
        let options = CompareOptions {
            look,
            ..CompareOptions::default()
        };
        compare(&runs[..3], &out, &options).unwrap();
        specks(&figure("best-miou"))
    };
    assert_eq!(named(["first", "second", "other"]), 0);
    assert_eq!(named(["base", "base", "other"]), 2 * 4);
}

#[test]
fn runs_of_one_name_are_told_apart_by_what_differs() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    compare(&runs, &out, &CompareOptions::default()).unwrap();
    let svg = fs::read_to_string(out.join("figures/miou-by-layer.svg")).unwrap();
    let found = texts(&svg);
    // Seeds are one model in figures, and have names of their own in tables.
    for label in ["vit_base", "vit_small"] {
        assert!(found.iter().any(|text| text == label), "{label}: {found:?}");
    }
    assert!(
        !found.iter().any(|text| text.contains(", seed ")),
        "{found:?}"
    );
    let csv = fs::read_to_string(out.join("figures/miou-by-layer.csv")).unwrap();
    for label in [
        "\"vit_base, seed 0\",",
        "\"vit_base, seed 7\",",
        "vit_small,",
    ] {
        assert!(csv.contains(label), "{label}: {csv}");
    }
    // Equal in everything: only the folder tells them apart.
    Spec::default().write(&root.path().join("twin"));
    let twins = [root.path().join("base"), root.path().join("twin")];
    compare(&twins, &out, &CompareOptions::default()).unwrap();
    let csv = fs::read_to_string(out.join("figures/best-miou.csv")).unwrap();
    assert!(
        csv.contains("vit_base (base),") && csv.contains("vit_base (twin),"),
        "{csv}"
    );
}
