//! What a verdict says of planted runs: a position-only model, a semantic one, a collapsed one, a
//! biased data set, a model with corners.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may fail as the test itself may"
)]

use std::fmt::Write;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use tempfile::TempDir;
use vitscope_figure::{Verdict, verdict};

const GRID: usize = 10;
const CLUSTERS: usize = 8;

/// A run of two layers of keys and tokens, whose rows and counts a test gives.
struct Planted {
    dir: TempDir,
    rows: String,
    tensors: Vec<(String, Vec<u32>)>,
    steps: u64,
}

impl Planted {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            rows: "layer,facet,metric,class,value,low,high\n".to_owned(),
            tensors: Vec::new(),
            steps: 5000,
        }
    }

    /// A number of a slot such as `key.1`, or of `ground_truth`.
    fn number(mut self, of: &str, metric: &str, value: f64, interval: Option<(f64, f64)>) -> Self {
        let (facet, layer) = of.split_once('.').unwrap_or((of, ""));
        let (low, high) = interval.map_or_else(Default::default, |(low, high)| {
            (low.to_string(), high.to_string())
        });
        writeln!(self.rows, "{layer},{facet},{metric},,{value},{low},{high}").unwrap();
        self
    }

    fn miou(self, of: &str, value: f64, half: f64) -> Self {
        self.number(of, "miou", value, Some((value - half, value + half)))
    }

    fn iou(mut self, of: &str, class: usize, value: f64) -> Self {
        let (facet, layer) = of.split_once('.').unwrap();
        writeln!(self.rows, "{layer},{facet},iou,{class},{value},,").unwrap();
        self
    }

    /// Counts of positions: of each cluster at each place.
    fn positions(mut self, of: &str, count: impl Fn(usize, usize, usize) -> u32) -> Self {
        let places = GRID * GRID;
        let counts = (0..CLUSTERS * places).map(|index| {
            let (cluster, place) = (index / places, index % places);
            count(cluster, place / GRID, place % GRID)
        });
        let name = format!("position.{of}");
        self.tensors.push((name, counts.collect()));
        self
    }

    /// Writes the run and reads its verdict.
    fn verdict(self) -> Verdict {
        let run = self.dir.path();
        std::fs::write(run.join("metrics.csv"), &self.rows).unwrap();
        self.write_tensors(run);
        let classes: Vec<_> = (0..CLUSTERS)
            .map(|class| json!({ "name": format!("class{class}"), "color": [class, 0, 0] }))
            .collect();
        let record = json!({
            "format": 1, "state": "complete", "command": "probe",
            "settings": { "steps": self.steps }, "model": { "name": "planted" },
            "data": { "kind": "folder", "root": "set", "test": 9, "classes": classes, "has_truth": true },
            "clusters": CLUSTERS, "grid": [GRID, GRID]
        });
        std::fs::write(run.join("run.json"), record.to_string()).unwrap();
        verdict(run).unwrap()
    }

    fn write_tensors(&self, run: &Path) {
        let bytes: Vec<(String, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, counts)| {
                let bytes = counts.iter().flat_map(|count| count.to_le_bytes());
                (name.clone(), bytes.collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, bytes)| {
            let shape = vec![CLUSTERS, GRID, GRID];
            (name, TensorView::new(Dtype::U32, shape, bytes).unwrap())
        });
        let file = safetensors::serialize(views, None).unwrap();
        std::fs::write(run.join("counts.safetensors"), file).unwrap();
        // Every cluster is matched with the class of its number.
        let matched: Vec<u8> = (0..CLUSTERS as i64).flat_map(i64::to_le_bytes).collect();
        let names = self.tensors.iter().filter_map(|(name, _)| {
            let of = name.strip_prefix("position.")?;
            (of != "ground_truth").then(|| format!("match.{of}"))
        });
        let views = names.map(|name| {
            let view = TensorView::new(Dtype::I64, vec![CLUSTERS], &matched).unwrap();
            (name, view)
        });
        let file = safetensors::serialize(views, None).unwrap();
        std::fs::write(run.join("codebooks.safetensors"), file).unwrap();
    }
}

/// Clusters evenly spread over all places.
fn even(_: usize, _: usize, _: usize) -> u32 {
    100
}

/// Each cluster a strip of rows of its own.
fn strips(cluster: usize, y: usize, _: usize) -> u32 {
    if y * CLUSTERS / GRID == cluster {
        800
    } else {
        0
    }
}

fn says(sentences: &[String], part: &str) -> bool {
    sentences.iter().any(|sentence| sentence.contains(part))
}

#[test]
fn a_semantic_model_is_recommended_with_its_interval_and_the_baselines() {
    let verdict = Planted::new()
        .number("ground_truth", "nmi", 0.1, Some((0.08, 0.12)))
        .number("ground_truth", "place_alone", 0.2, None)
        .number("ground_truth", "one_class", 0.05, None)
        .miou("key.1", 0.15, 0.02)
        .miou("key.2", 0.3, 0.02)
        .miou("token.1", 0.35, 0.02)
        .miou("token.2", 0.5, 0.02)
        .number("key.1", "nmi", 0.05, None)
        .number("token.2", "nmi", 0.02, None)
        .verdict();
    assert_eq!(
        verdict.findings[..2],
        [
            "Use token, layer 2: its mIoU, 0.500 [0.480, 0.520], is the highest of 4 slots.",
            "Knowing the place alone gives 0.200 (one class everywhere: 0.050); 1 slot falls below that.",
        ]
    );
    assert!(says(&verdict.findings, "the data set's own is 0.100."));
    // No interval, no comparison.
    assert!(!says(&verdict.findings, "more than its labels do"));
    assert_eq!(verdict.warnings, [""; 0]);
}

#[test]
fn what_is_beyond_chance_decides_whether_position_does_more_than_in_the_data() {
    // With few images the plain value is high for everything.
    let verdict = Planted::new()
        .number("ground_truth", "nmi", 0.011, Some((0.010, 0.012)))
        .number("ground_truth", "nmi_excess", 0.000, Some((-0.004, 0.004)))
        .miou("key.1", 0.3, 0.02)
        .miou("key.2", 0.2, 0.02)
        .number("key.1", "nmi", 0.02, Some((0.018, 0.022)))
        .number("key.2", "nmi", 0.9, Some((0.88, 0.92)))
        .number("key.1", "nmi_excess", 0.001, Some((-0.003, 0.005)))
        .number("key.2", "nmi_excess", 0.8, Some((0.78, 0.82)))
        .verdict();
    assert!(says(
        &verdict.findings,
        "and 1 slot follows position more than its labels do."
    ));
}

#[test]
fn what_intervals_do_not_carry_is_not_said() {
    let tied = Planted::new()
        .number("ground_truth", "place_alone", 0.28, None)
        .miou("key.1", 0.30, 0.03)
        .miou("key.2", 0.29, 0.03)
        .miou("token.1", 0.28, 0.03)
        .miou("token.2", 0.10, 0.03)
        .verdict();
    assert_eq!(
        tied.findings[0],
        "Key, layer 1 has the highest mIoU of 4 slots, 0.300 [0.270, 0.330], but key, layer 2 and token, layer 1 cannot be told apart from it."
    );
    assert!(says(
        &tied.findings,
        "and the highest mIoU is not surely more."
    ));
    let bare = Planted::new()
        .number("key.1", "miou", 0.3, None)
        .number("key.2", "miou", 0.2, None)
        .verdict();
    assert!(says(
        &bare.findings,
        "without intervals this run cannot say"
    ));
    assert!(!says(&bare.findings, "Use "));
    let alone = Planted::new().number("key.1", "miou", 0.3, None).verdict();
    assert!(says(
        &alone.findings,
        "there is no other slot to compare it with"
    ));
}

#[test]
fn a_position_only_model_does_not_beat_the_place_and_its_clusters_are_named() {
    let verdict = Planted::new()
        .number("ground_truth", "nmi", 0.1, Some((0.08, 0.12)))
        .number("ground_truth", "place_alone", 0.2, None)
        .miou("key.1", 0.15, 0.02)
        .miou("key.2", 0.18, 0.01)
        .number("ground_truth", "nmi_excess", 0.08, Some((0.06, 0.1)))
        .number("key.1", "nmi_excess", 0.78, Some((0.76, 0.8)))
        .number("key.2", "nmi_excess", 0.68, Some((0.66, 0.7)))
        .number("key.1", "nmi", 0.8, None)
        .number("key.2", "nmi", 0.7, None)
        .positions("ground_truth", even)
        .positions("key.1", strips)
        .positions("key.2", even)
        .verdict();
    assert!(says(&verdict.findings, "2 of 2 slots fall below that,"));
    assert!(says(
        &verdict.findings,
        "and even the highest mIoU is not more."
    ));
    assert!(says(
        &verdict.findings,
        "2 slots follow position more than its labels do."
    ));
    assert!(says(&verdict.warnings, "is a band across the picture"));
    assert!(says(&verdict.warnings, "and 7 more are tied to position"));
    assert!(!says(&verdict.warnings, "Key, layer 2"));
}

#[test]
fn clusters_are_held_against_the_ground_truth() {
    // The same strips are no warning where the data set's own classes are strips.
    let verdict = Planted::new()
        .miou("key.1", 0.9, 0.02)
        .positions("ground_truth", strips)
        .positions("key.1", strips)
        .verdict();
    assert_eq!(verdict.warnings, [""; 0]);
}

#[test]
fn a_collapsed_slot_is_never_the_best_and_is_named() {
    let one = |cluster: usize, _: usize, _: usize| if cluster == 0 { 970 } else { 4 };
    let verdict = Planted::new()
        .miou("key.1", 0.9, 0.02)
        .miou("key.2", 0.3, 0.02)
        .miou("token.1", 0.1, 0.02)
        .number("key.1", "nmi", 0.9, None)
        .number("key.2", "nmi", 0.1, None)
        .positions("key.1", one)
        .positions("key.2", even)
        .number("token.1", "clusters_used", 3.2, None)
        .number("token.1", "largest_cluster", 0.6, None)
        .verdict();
    assert!(
        verdict.findings[0].starts_with("Use key, layer 2: "),
        "{verdict}"
    );
    assert!(says(
        &verdict.findings,
        "Its positional effect (NMI) is 0.100"
    ));
    assert!(says(
        &verdict.warnings,
        "Key, layer 1 (1/8 clusters used) is collapsed: its numbers say nothing about the facet."
    ));
    assert!(says(
        &verdict.warnings,
        "Token, layer 1 (3/8 clusters used) uses less than half of its clusters."
    ));
    let none = Planted::new()
        .miou("key.1", 0.9, 0.02)
        .positions("key.1", one)
        .number("key.1", "channel_top3", 0.97, None)
        .number("key.1", "common_direction", 0.98, None)
        .verdict();
    assert_eq!(
        none.findings[0],
        "No slot can be used: every one is collapsed."
    );
    assert!(says(
        &none.warnings,
        "Three channels hold 97 % of what key, layer 1 has, so that cosines see little else: try --transform standardize"
    ));
    let direction = Planted::new()
        .miou("key.1", 0.9, 0.02)
        .positions("key.1", one)
        .number("key.1", "channel_top3", 0.2, None)
        .number("key.1", "common_direction", 0.98, None)
        .verdict();
    assert!(says(
        &direction.warnings,
        "share one direction (mean cosine to their mean 0.980), so that little is left to tell them apart by: try --transform center"
    ));
}

#[test]
fn corners_are_found_and_a_name_that_is_not_earned_is_a_question() {
    let corner = |at: usize| at == 0 || at == GRID - 1;
    let corners = |cluster: usize, y: usize, x: usize| match (cluster, corner(y) && corner(x)) {
        (7, true) => 700,
        (7, false) | (..7, true) => 0,
        _ => 100,
    };
    let verdict = Planted::new()
        .miou("key.2", 0.3, 0.02)
        .iou("key.2", 7, 0.004)
        .iou("key.2", 0, 0.4)
        .positions("ground_truth", even)
        .positions("key.2", corners)
        .verdict();
    assert_eq!(
        verdict.warnings,
        ["Key, layer 2: k7 (class7? 0.00) holds the corners (4 % of the pixels)."]
    );
}

#[test]
fn a_biased_data_set_and_a_short_run_are_warned_of() {
    let mut planted = Planted::new()
        .number("ground_truth", "nmi", 0.54, None)
        .number("ground_truth", "nmi_excess", 0.48, Some((0.45, 0.51)))
        .miou("key.1", 0.3, 0.02)
        .miou("key.2", 0.2, 0.02);
    planted.steps = 150;
    let verdict = planted.verdict();
    assert!(says(
        &verdict.warnings,
        "The data set itself is strongly tied to position (NMI beyond chance 0.480 [0.450, 0.510]): the place alone tells much of its labels."
    ));
    assert!(says(
        &verdict.warnings,
        "150 steps were taken; the paper's protocol takes 5000"
    ));
}

/// Four images of scenes without a layout have such numbers: the plain value is all chance.
#[test]
fn few_images_do_not_make_a_data_set_biased() {
    for (excess, interval) in [
        (-0.02, Some((-0.193, 0.149))),
        (0.45, Some((0.39, 0.51))),
        (0.45, None),
    ] {
        let verdict = Planted::new()
            .number("ground_truth", "nmi", 0.6, None)
            .number("ground_truth", "nmi_excess", excess, interval)
            .miou("key.1", 0.3, 0.02)
            .miou("key.2", 0.2, 0.02)
            .number("key.1", "nmi", 0.9, Some((0.8, 1.0)))
            .number("key.1", "nmi_excess", 0.0, None)
            .verdict();
        assert_eq!(verdict.warnings, [""; 0], "{excess} {interval:?}");
        assert!(!says(&verdict.findings, "more than its labels do"));
    }
}

#[test]
fn chance_is_said_from_the_intervals_of_the_excess() {
    let verdict = Planted::new()
        .miou("key.1", 0.3, 0.02)
        .miou("key.2", 0.2, 0.02)
        .number("key.1", "nmi_excess", 0.01, Some((-0.01, 0.03)))
        .number("key.2", "nmi_excess", 0.2, Some((0.18, 0.22)))
        .verdict();
    assert!(says(
        &verdict.findings,
        "Of 2 slots 1 cannot be said to have a positional effect beyond chance."
    ));
}

#[test]
fn clusters_of_a_slot_that_chance_may_have_made_are_not_called_tied() {
    let planted = |low: f64| {
        Planted::new()
            .miou("key.1", 0.3, 0.02)
            .number("ground_truth", "nmi", 0.41, None)
            .number("ground_truth", "nmi_excess", -0.02, Some((-0.19, 0.15)))
            .number("key.1", "nmi", 0.5, None)
            .number("key.1", "nmi_excess", 0.1, Some((low, 0.2)))
            .positions("ground_truth", even)
            .positions("key.1", strips)
            .verdict()
    };
    let chance = planted(-0.01);
    assert_eq!(chance.warnings, [""; 0]);
    assert!(says(
        &chance.findings,
        "the data set's own is 0.410, beyond chance -0.020 [-0.190, 0.150], and no slot can be said to follow position more than its labels do."
    ));
    assert!(says(
        &chance.findings,
        "No slot can be said to have a positional effect beyond chance."
    ));
    assert!(says(
        &planted(0.01).warnings,
        "is a band across the picture"
    ));
}

/// The verdict of a run of another command.
fn of_command(command: &str, rows: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let rows = format!("layer,facet,metric,class,value,low,high\n{rows}");
    std::fs::write(dir.path().join("metrics.csv"), rows).unwrap();
    let record = json!({
        "format": 1, "state": "complete", "command": command, "model": { "name": "planted" },
        "data": { "kind": "folder", "root": "set", "test": 9 }, "grid": [GRID, GRID]
    });
    std::fs::write(dir.path().join("run.json"), record.to_string()).unwrap();
    verdict(dir.path()).unwrap().findings.concat()
}

#[test]
fn where_intervals_overlap_no_layer_is_first() {
    let pck = |rows: &str| of_command("correspond", rows);
    let best = "2,key,pck,,0.50,0.48,0.52\n";
    let apart = pck(&format!("{best}1,key,pck,,0.3,0.28,0.32\n"));
    assert!(
        apart.contains("Key, layer 2 finds 0.500 [0.480, 0.520]"),
        "{apart}"
    );
    assert!(apart.contains("more than any other of 2 slots"), "{apart}");
    let tied = pck(&format!("{best}1,key,pck,,0.49,0.47,0.51\n"));
    assert!(
        tied.contains("but key, layer 1 cannot be told apart from it"),
        "{tied}"
    );
    let unknown = pck("2,key,pck,,0.5,,\n1,key,pck,,0.3,,\n");
    assert!(unknown.contains("without intervals"), "{unknown}");

    let attention = |rows: &str| of_command("attention", rows);
    let apart = attention("1,,locality,,2.0,1.9,2.1\n2,,locality,,1.0,0.9,1.1\n");
    assert!(apart.contains("most in layer 1"), "{apart}");
    let tied = attention("1,,locality,,1.2,0.9,1.5\n2,,locality,,1.0,0.9,1.3\n");
    assert!(!tied.contains("most") && tied.contains("overlap"), "{tied}");
}

#[test]
fn one_class_among_the_test_labels_recommends_nothing() {
    let verdict = Planted::new()
        .miou("key.1", 0.3, 0.02)
        .miou("key.2", 0.2, 0.02)
        .number("ground_truth", "entropy", 0.0, None)
        .verdict();
    assert!(says(
        &verdict.findings,
        "All labels of the test images are of one class"
    ));
    assert!(!verdict.findings.concat().contains("Use "));
}

#[test]
fn causes_are_told_as_far_as_intervals_carry_them() {
    let said = |rows: &str| of_command("causes", rows);
    let effect = "3,key,place_nmi@plain,,0.5,0.45,0.55\n";
    let by_code = said(&format!(
        "{effect}3,key,place_nmi@roll,,0.02,0,0.04\n3,key,code_nmi@roll,,0.5,0.4,0.6\n"
    ));
    assert!(
        by_code.contains("Key, layer 3 has the largest positional effect, NMI 0.500 [0.450, 0.550] beyond chance, and it goes with the position code"),
        "{by_code}"
    );
    let by_place = said(&format!(
        "{effect}3,key,place_nmi@roll,,0.5,0.4,0.6\n3,key,code_nmi@roll,,0.02,0,0.04\n"
    ));
    assert!(
        by_place.contains("does not go with the position code"),
        "{by_place}"
    );
    let open = said(&format!(
        "{effect}3,key,place_nmi@roll,,0.2,0.1,0.3\n3,key,code_nmi@roll,,0.25,0.1,0.4\n"
    ));
    assert!(open.contains("cannot be told here"), "{open}");
    let cut = said(&format!(
        "{effect}3,key,place_nmi@cut_mean,,0.1,0.05,0.15\n"
    ));
    assert!(cut.contains("It falls to 0.100"), "{cut}");
    let kept = said(&format!(
        "{effect}3,key,place_nmi@cut_mean,,0.48,0.4,0.55\n"
    ));
    assert!(!kept.contains("falls"), "{kept}");

    let lean = "1,key,place_lean@shift,,0.2,0.1,0.3\n2,key,place_lean@shift,,-0.5,-0.6,-0.4\n";
    let one = said(&format!("{lean}3,key,place_lean@shift,,0.0,-0.1,0.1\n"));
    assert!(
        one.contains("labels follow the place more than the content in key 1 (1 of 3 slots), and the content more than the place in 1 of 3 (95 %"),
        "{one}"
    );
    let fewer = said(&format!("{lean}3,key,agree_content@flip,,,,\n"));
    assert!(
        fewer.contains("(1 of 2 slots in which that is defined)"),
        "{fewer}"
    );
    let nothing = said("3,key,place_nmi@plain,,,,\n3,key,place_lean@shift,,,,\n");
    assert!(
        nothing.contains("Every slot gives all patches one label"),
        "{nothing}"
    );
    let chance = said("3,key,place_nmi@plain,,0.02,-0.01,0.05\n3,key,code_nmi@roll,,0.9,0.8,1\n");
    assert!(
        chance.contains("No slot can be said to have a positional effect")
            && !chance.contains("code"),
        "{chance}"
    );
    let unsure = said("3,key,place_lean@flip,,0.4,,\n");
    assert!(unsure.contains("this run cannot say it"), "{unsure}");
}

#[test]
fn the_terminal_gets_a_paragraph_and_a_line_per_warning() {
    let mut planted = Planted::new()
        .miou("key.1", 0.3, 0.02)
        .miou("key.2", 0.2, 0.02);
    planted.steps = 150;
    let text = planted.verdict().to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("Use key, layer 1") && lines[1].starts_with("warning: 150 steps"));
}
