//! `vitscope compare`: on hand-made runs whose figures are known, and on real ones.
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{command, metrics, probe, succeed};

const HEADER: &str = "model,family,size,layer,facet,metric,class,value,low,high\n";
const FACETS: [&str; 4] = ["key", "query", "value", "token"];

/// A run directory with given rows.
pub struct Made<'a> {
    pub model: [&'a str; 3],
    pub kind: &'a str,
    pub list: &'a str,
    pub token_norm: &'a str,
    pub command: &'a str,
    /// Training and test images used.
    pub images: [usize; 2],
    pub crop: usize,
    pub rows: String,
}

impl Default for Made<'_> {
    fn default() -> Self {
        Self {
            model: ["a", "dino", "B"],
            kind: "camvid",
            list: "1",
            token_norm: "after",
            command: "probe",
            images: [40, 8],
            crop: 64,
            rows: String::new(),
        }
    }
}

impl Made<'_> {
    pub fn row(&mut self, layer: usize, facet: &str, metric: &str, value: &str) {
        let [name, family, size] = self.model;
        let rest = format!("{layer},{facet},{metric},,{value}");
        let ends = if value.contains(',') { "" } else { ",," };
        writeln!(self.rows, "{name},{family},{size},{rest}{ends}").unwrap();
    }

    pub fn write(&self, run: &Path) -> PathBuf {
        std::fs::create_dir_all(run).unwrap();
        let [name, family, size] = self.model;
        let record = serde_json::json!({
            "format": 1,
            "state": "complete",
            "command": self.command,
            "size": self.crop,
            "settings": {"token_norm": self.token_norm, "resamples": 40},
            "model": {"name": name, "family": family, "size": size, "patch": 16, "depth": 12},
            "data": {"kind": self.kind, "list_hash": self.list, "root": "somewhere", "train": self.images[0], "test": self.images[1]},
            "selection": {"key": 2, "query": 2, "value": 2, "token": 2},
        });
        std::fs::write(run.join("run.json"), record.to_string()).unwrap();
        std::fs::write(run.join("metrics.csv"), format!("{HEADER}{}", self.rows)).unwrap();
        run.to_owned()
    }
}

pub fn compare(out: &Path, runs: &[PathBuf], more: &[&str]) -> Output {
    let mut command = command();
    command.arg("compare").args(runs).arg("--out").arg(out);
    command.args(more).output().unwrap()
}

pub fn rows(file: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(file).unwrap();
    let fields = |line: &str| line.split(',').map(str::to_owned).collect();
    text.lines().map(fields).collect()
}

/// The figures of model `m` at a layer and facet: positional effect, mIoU, locality of the layer.
fn figures(m: usize, layer: usize, f: usize) -> (f64, f64, f64) {
    let s = layer + 2 * m;
    let nmi = 0.1 + ((7 * s + 3 * f + 5 * s * f) % 11) as f64 / 20.0;
    let miou = 0.02 + ((5 * s + f * f + 3) % 13) as f64 / 50.0;
    (nmi, miou, 0.2 + (3 * s % 7) as f64 / 5.0)
}

/// Two models of six layers: the first one's locality is in a run of its own.
fn two_models(dir: &Path) -> [PathBuf; 3] {
    let mut made = [0, 1].map(|m| Made {
        model: [["a", "b"][m], "dino", "B"],
        ..Made::default()
    });
    let mut attention = Made::default();
    for layer in 1..=6 {
        for (f, facet) in FACETS.into_iter().enumerate() {
            for (m, made) in made.iter_mut().enumerate() {
                let (nmi, miou, _) = figures(m, layer, f);
                made.row(layer, facet, "miou", &miou.to_string());
                made.row(layer, facet, "nmi", &nmi.to_string());
            }
        }
        attention.row(
            layer,
            "",
            "locality",
            &format!("{},0.1,2.5", figures(0, layer, 0).2),
        );
        made[1].row(layer, "", "locality", &figures(1, layer, 0).2.to_string());
    }
    [
        made[0].write(&dir.join("first")),
        made[1].write(&dir.join("second")),
        attention.write(&dir.join("looked")),
    ]
}

/// scipy 1.17.1: `pearsonr(nmi, np.log(miou)).statistic`, `spearmanr(...)` over the points of
/// [`figures`], and the same against locality over keys and queries; m = 0, 1, layers 1 to 6.
const SCIPY: [(&str, &str, usize, f64, f64); 11] = [
    (
        "nmi~log_miou",
        "all",
        48,
        -0.039821316512685875,
        -0.04880047934452547,
    ),
    (
        "nmi~log_miou",
        "first",
        24,
        0.07136071225901577,
        -0.02358667648549456,
    ),
    (
        "nmi~log_miou",
        "second",
        24,
        -0.1295131755308089,
        -0.06131124647943594,
    ),
    (
        "nmi~log_miou",
        "key",
        12,
        0.50007163645613,
        0.3617021276595745,
    ),
    (
        "nmi~log_miou",
        "query",
        12,
        -0.19892782796422512,
        -0.12765957446808512,
    ),
    (
        "nmi~log_miou",
        "value",
        12,
        -0.2638798212857397,
        -0.19148936170212766,
    ),
    (
        "nmi~locality",
        "all",
        24,
        -0.04035824934382128,
        -0.07261535195485526,
    ),
    (
        "nmi~locality",
        "first",
        12,
        -0.12238952390511135,
        -0.16341262193469613,
    ),
    (
        "nmi~locality",
        "second",
        12,
        -0.007330713749983037,
        -0.035524483029281774,
    ),
    (
        "nmi~locality",
        "key",
        12,
        0.11963863885203029,
        0.1314389284741286,
    ),
    (
        "nmi~locality",
        "query",
        12,
        -0.23444045849958364,
        -0.294849488198721,
    ),
];

#[test]
fn relations_are_scipys() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    succeed(compare(&out, &two_models(dir.path()), &[]));
    let table = rows(&out.join("relations.csv"));
    assert_eq!(
        table[0].join(","),
        "relation,group,n,pearson,pearson_low,pearson_high,spearman,spearman_low,spearman_high"
    );
    for (relation, group, n, pearson, spearman) in SCIPY {
        let found = table
            .iter()
            .find(|row| row[0] == relation && row[1] == group);
        let row = found.unwrap();
        assert_eq!(row[2], n.to_string(), "{row:?}");
        for (at, expected) in [(3, pearson), (6, spearman)] {
            let value: f64 = row[at].parse().unwrap();
            assert!((value - expected).abs() < 1e-12, "{row:?}");
            // Slots of one model are no independent draws.
            if ["first", "second"].contains(&group) {
                assert_eq!(row[at + 1..at + 3], ["", ""], "{row:?}");
                continue;
            }
            let [low, high]: [f64; 2] = [1, 2].map(|i| row[at + i].parse().unwrap());
            assert!(low < value && value < high && high - low < 2.0, "{row:?}");
        }
    }
    // The tokens' NMI is the same everywhere: no coefficient, and that is not 0.
    let token = table.iter().find(|row| row[1] == "token").unwrap();
    assert_eq!(token[2..], ["12", "", "", "", "", "", ""]);
    assert_eq!(table.len(), 1 + SCIPY.len() + 1);
}

#[test]
fn a_collapsed_slot_is_no_point_of_a_relation() {
    let dir = tempfile::tempdir().unwrap();
    let mut made = Made::default();
    for (layer, largest) in [(1, 0.3), (2, 0.2), (3, 0.99), (4, 0.25)] {
        made.row(layer, "key", "miou", &format!("0.{layer}"));
        made.row(layer, "key", "nmi", &format!("0.{}", 7 * layer % 5 + 1));
        made.row(layer, "key", "clusters_used", "9");
        made.row(layer, "key", "largest_cluster", &largest.to_string());
    }
    let (run, out) = (made.write(&dir.path().join("run")), dir.path().join("out"));
    succeed(compare(&out, &[run], &[]));
    let table = rows(&out.join("relations.csv"));
    let all = table.iter().find(|row| row[1] == "all").unwrap();
    assert_eq!(all[2], "3", "{all:?}");
}

#[test]
fn every_row_is_kept_and_the_shown_layer_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let runs = two_models(dir.path());
    let text = succeed(compare(&out, &runs, &[]));
    let table = rows(&out.join("comparison.csv"));
    assert_eq!(
        table[0].join(","),
        "run,model,family,size,layer,facet,metric,class,value,low,high,selected_layer"
    );
    assert_eq!(table.len(), 1 + 2 * 48 + 6 + 6);
    let stored = rows(&runs[0].join("metrics.csv"));
    for (row, stored) in table[1..].iter().zip(&stored[1..]) {
        assert_eq!((&row[0], &row[1..11]), (&"first".to_owned(), &stored[..]));
        let f = FACETS.iter().position(|facet| *facet == row[5]).unwrap();
        let best = (1..=6)
            .rev()
            .max_by(|&x, &y| figures(0, x, f).1.total_cmp(&figures(0, y, f).1));
        assert_eq!(row[11], best.unwrap().to_string());
    }
    // The locality beside a slot is that of its layer, joined from the model's other run.
    let line = text
        .lines()
        .find(|line| line.starts_with("first") && line.contains("query"));
    let cells: Vec<&str> = line.unwrap().split_whitespace().collect();
    let layer: usize = cells[2].parse().unwrap();
    let (nmi, miou, locality) = figures(0, layer, 1);
    assert_eq!(
        cells[3..6],
        [format!("{miou:.4}"), format!("{nmi:.4}"), "-".to_owned()]
    );
    assert_eq!(
        cells[6..9],
        [
            format!("{locality:.4}"),
            "[0.1000,".into(),
            "2.5000]".into()
        ]
    );

    let chosen = succeed(compare(
        &out,
        &runs,
        &["--select", "layer:4", "--format", "json"],
    ));
    let chosen: serde_json::Value = serde_json::from_str(&chosen).unwrap();
    let lines = chosen["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 9);
    assert!(lines.iter().all(|line| line["layer"] == 4));
    assert_eq!(lines[0]["miou"]["value"], figures(0, 4, 0).1);
    assert_eq!(chosen["relations"].as_array().unwrap().len(), 12);
    let last = succeed(compare(
        &out,
        &runs,
        &["--select", "last", "--format", "json"],
    ));
    assert!(!last.contains("\"layer\":4"));
    let missing = compare(&out, &runs, &["--select", "layer:7"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("first: has no key of layer:7"));
}

#[test]
fn what_does_not_belong_together_is_not_joined() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut small = Made::default();
    let mut other = Made {
        kind: "voc",
        list: "2",
        ..Made::default()
    };
    for layer in 1..=3 {
        for (made, sign) in [(&mut small, 1.0), (&mut other, -1.0)] {
            made.row(layer, "key", "miou", &(0.1 * layer as f64).to_string());
            made.row(
                layer,
                "key",
                "nmi",
                &(0.5 + sign * 0.1 * layer as f64).to_string(),
            );
        }
    }
    // Undefined figures and an mIoU of 0 are no points.
    small.row(4, "key", "miou", "");
    small.row(4, "key", "nmi", "0.2");
    small.row(5, "key", "miou", "0");
    small.row(5, "key", "nmi", "0.2");
    other.row(1, "", "locality", "0.5");
    let [a, b] =
        [(small, "here"), (other, "there")].map(|(m, name)| m.write(&dir.path().join(name)));
    let output = compare(&out, &[a.clone(), b.clone()], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    succeed(output);
    assert!(stderr.contains("different data sets"), "{stderr}");
    assert!(
        stderr.contains("the locality in there is of other images"),
        "{stderr}"
    );
    let table = rows(&out.join("relations.csv"));
    let row = |relation: &str, group: &str| {
        let found = table.iter().find(|r| r[0] == relation && r[1] == group);
        found.unwrap()[2..].to_vec()
    };
    assert_eq!(row("nmi~log_miou", "all"), ["6", "", "", "", "", "", ""]);
    assert_eq!(row("nmi~log_miou", "here")[0], "3");
    for (run, expected) in [("here", 1.0), ("there", -1.0)] {
        let rho: f64 = row("nmi~log_miou", run)[4].parse().unwrap();
        assert!((rho - expected).abs() < 1e-12, "{rho}");
    }
    assert_eq!(row("nmi~locality", "there"), ["1", "", "", "", "", "", ""]);
    assert_eq!(row("nmi~locality", "here"), ["0", "", "", "", "", "", ""]);

    // Two runs that say different things of one layer.
    let looked = |name: &str, value: &str| {
        let mut made = Made::default();
        made.row(1, "", "locality", value);
        made.write(&dir.path().join(name))
    };
    let (one, same, two) = (
        looked("one", "0.1"),
        looked("same", "0.1"),
        looked("two", "0.2"),
    );
    succeed(compare(&out, &[a.clone(), one.clone(), same], &[]));
    refused(
        compare(&out, &[a.clone(), one, two], &[]),
        2,
        "leave one of them out",
    );
    refused(
        compare(&out, &[a.clone(), a.clone()], &[]),
        2,
        "given twice",
    );
    refused(
        compare(&a, std::slice::from_ref(&b), &[]),
        2,
        "another --out",
    );
    refused(
        compare(&out, &[dir.path().to_owned()], &[]),
        3,
        "is not a run directory",
    );
    refused(
        compare(&out, std::slice::from_ref(&b), &["--select", "9"]),
        2,
        "layer:N",
    );
    // A name for one of two runs leaves open which, and for a third there is none.
    for count in [1, 3] {
        let labels = ["--label", "one"].repeat(count);
        refused(
            compare(&out, &[a.clone(), b.clone()], &labels),
            2,
            &format!("--label: {count} given, 2 wanted: give it once for each run"),
        );
    }
    let text = std::fs::read_to_string(a.join("run.json")).unwrap();
    std::fs::write(a.join("run.json"), text.replace("complete", "interrupted")).unwrap();
    refused(compare(&out, std::slice::from_ref(&a), &[]), 3, "--resume");
    std::fs::write(
        b.join("metrics.csv"),
        format!("{HEADER}a,dino,B,x,key,nmi,,1,,\n"),
    )
    .unwrap();
    refused(compare(&out, &[b], &[]), 3, "line 2");
}

/// The attention of other images of the same set, or of the same at another size, is another number.
#[test]
fn locality_is_of_the_same_images_at_the_same_size() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut probed = Made::default();
    for layer in 1..=3 {
        probed.row(layer, "key", "nmi", &(0.1 * layer as f64).to_string());
        probed.row(layer, "key", "miou", "0.2");
    }
    let probed = probed.write(&dir.path().join("probed"));
    let looked = |name: &str, command: &'static str, images: [usize; 2], crop: usize| {
        let mut made = Made {
            command,
            images,
            crop,
            ..Made::default()
        };
        for layer in 1..=3 {
            made.row(layer, "", "locality", &format!("0.{layer}{crop}"));
        }
        made.write(&dir.path().join(name))
    };
    for (name, command, images, crop, joined) in [
        ("same", "attention", [0, 8], 64, "3"),
        ("more", "attention", [0, 16], 64, "0"),
        ("training", "attention", [8, 0], 64, "0"),
        ("larger", "attention", [0, 8], 320, "0"),
        // A probe looks at its test images, whatever it was trained on.
        ("other", "probe", [20, 8], 64, "3"),
        ("cropped", "probe", [40, 8], 96, "0"),
    ] {
        let run = looked(name, command, images, crop);
        let output = compare(&out, &[probed.clone(), run], &[]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        succeed(output);
        let table = rows(&out.join("relations.csv"));
        let found = |r: &&Vec<String>| r[0] == "nmi~locality" && r[1] == "probed";
        assert_eq!(table.iter().find(found).unwrap()[2], joined, "{name}");
        assert_eq!(
            stderr.contains("or of another size"),
            joined == "0",
            "{stderr}"
        );
    }
    // One that fits is found beside one that does not.
    let both = ["same", "larger"].map(|name| dir.path().join(name));
    succeed(compare(&out, &[&[probed], &both[..]].concat(), &[]));
}

fn refused(output: Output, code: i32, word: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(
        stderr.contains(word) && stderr.lines().count() == 1,
        "{stderr}"
    );
}

#[test]
fn the_papers_figures_stand_beside_those_of_the_same_model_and_data() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let mut coco = Made {
        kind: "coco-stuff27",
        token_norm: "before",
        ..Made::default()
    };
    coco.row(11, "token", "miou", "0.21");
    coco.row(12, "token", "miou", "0.16");
    coco.row(10, "token", "miou", "0.1");
    for (layer, nmi) in [(10, "0.3"), (11, "0.1"), (12, "0.2")] {
        coco.row(layer, "token", "nmi", nmi);
    }
    let mut pairs = Made {
        kind: "spair71k",
        ..Made::default()
    };
    for (layer, pck) in [(9, "0.36"), (12, "0.33")] {
        pairs.row(layer, "token", "pck", pck);
    }
    pairs.row(7, "key", "pck", "0.35");
    let mut street = Made::default();
    street.row(12, "token", "miou", "0.5");
    let mut unknown = Made {
        model: ["z", "mae", "H"],
        ..Made::default()
    };
    unknown.row(12, "token", "miou", "0.5");
    let runs = [
        ("coco", coco),
        ("pairs", pairs),
        ("street", street),
        ("unknown", unknown),
    ]
    .map(|(name, made)| made.write(&dir.path().join(name)));
    let output = compare(&out, &runs, &["--paper"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = succeed(output);
    assert!(text.contains("arXiv:2605.29691"), "{text}");
    assert!(
        stderr.contains("street: the paper's mIoU is of COCO-Stuff"),
        "{stderr}"
    );
    assert!(
        stderr.contains("unknown: the paper reports nothing of z"),
        "{stderr}"
    );
    let table = rows(&out.join("paper.csv"));
    assert_eq!(
        table[0].join(","),
        "run,metric,facet,layer,measured,paper,difference,paper_layer,place"
    );
    let numbers =
        |row: &Vec<String>| -> [f64; 3] { std::array::from_fn(|i| row[4 + i].parse().unwrap()) };
    for (row, head, values, tail) in [
        (
            1,
            ["coco", "miou", "token", "12"],
            [0.16, 0.1504],
            ["12", "Table 4"],
        ),
        (
            2,
            ["pairs", "pck", "key", "7"],
            [0.35, 0.3489],
            ["", "Table 3"],
        ),
        (
            3,
            ["pairs", "pck", "token", "9"],
            [0.36, 0.3554],
            ["9", "Table 3"],
        ),
        (
            4,
            ["pairs", "pck", "token", "12"],
            [0.33, 0.3419],
            ["12", "Table 5"],
        ),
    ] {
        let row = &table[row];
        assert_eq!(
            (&row[..4], &row[7..]),
            (&head.map(str::to_owned)[..], &tail.map(str::to_owned)[..])
        );
        let [measured, paper, difference] = numbers(row);
        assert!(
            (measured - values[0]).abs() + (paper - values[1]).abs() < 1e-12,
            "{row:?}"
        );
        assert!(
            (difference - (values[0] - values[1])).abs() < 1e-12,
            "{row:?}"
        );
    }
    assert_eq!(table.len(), 7);
    assert_eq!(table[6][..2], ["all", "spearman nmi~log_miou"]);
    let [measured, paper, _] = numbers(&table[6]);
    assert!((measured + 1.0).abs() < 1e-12 && paper == -0.59);
    // What is measured stays apart from what is reported.
    let comparison = std::fs::read_to_string(out.join("comparison.csv")).unwrap();
    assert!(!comparison.contains("paper"));
    let plain = succeed(compare(
        &dir.path().join("plain"),
        &runs,
        &["--format", "json"],
    ));
    let plain: serde_json::Value = serde_json::from_str(&plain).unwrap();
    assert!(plain["paper"].is_null() && !dir.path().join("plain/paper.csv").exists());
}

#[test]
fn the_papers_correlations_are_of_its_own_data_set() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let output = compare(&out, &two_models(dir.path()), &["--paper"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    succeed(output);
    assert!(
        stderr.contains("the paper's correlations are of COCO-Stuff"),
        "{stderr}"
    );
    assert_eq!(rows(&out.join("paper.csv")).len(), 1);
}

/// Probe runs of several seeds with attention, as they are written.
#[test]
fn real_runs_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let (out, seeds) = (dir.path().join("out"), dir.path().join("seeds"));
    succeed(probe(&seeds, &["--seeds", "2", "--attention"]));
    let runs = [seeds.join("seed-0"), seeds.join("seed-1")];
    let text = succeed(compare(&out, &runs, &["--format", "json"]));
    let text: serde_json::Value = serde_json::from_str(&text).unwrap();
    let lines = text["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 8);
    for line in lines {
        let run = seeds.join(line["run"].as_str().unwrap());
        let layer = line["layer"].to_string();
        let stored = metrics(&run);
        for (metric, facet, value) in [
            (
                "miou",
                line["facet"].as_str().unwrap(),
                &line["miou"]["value"],
            ),
            (
                "nmi",
                line["facet"].as_str().unwrap(),
                &line["nmi"]["value"],
            ),
            ("locality", "", &line["locality"]["value"]),
        ] {
            let row = stored
                .iter()
                .find(|r| r[0] == facet && r[1] == layer && r[2] == metric && r[3].is_empty());
            assert_eq!(
                value.as_f64().unwrap(),
                row.unwrap()[4].parse::<f64>().unwrap()
            );
        }
        assert!(line["locality"]["interval"].is_array() && line["pck"].is_null());
    }
    // A run without attention takes that of its model, whichever seed drew the intervals.
    let (plain, both) = (dir.path().join("plain"), dir.path().join("both"));
    succeed(probe(&plain, &[]));
    let [first, second] = runs.clone();
    succeed(compare(&both, &[first, second, plain], &[]));
    // A slot that fell into one cluster has no NMI, and a collapsed one is no point: under a quarter of its 11 clusters
    // are used, or one has more than 95 % of the pixels.
    let defined = |facets: &[&str]| -> usize {
        let of_run = |run: &PathBuf| {
            let rows = metrics(run);
            let is = |r: &&[String; 5]| {
                let number = |metric: &str| -> f64 {
                    let same = |other: &&[String; 5]| other[..2] == r[..2] && other[2] == metric;
                    rows.iter().find(same).unwrap()[4].parse().unwrap()
                };
                let own = r[2] == "nmi" && !r[4].is_empty() && facets.contains(&r[0].as_str());
                own && number("clusters_used") >= 11.0 / 4.0 && number("largest_cluster") <= 0.95
            };
            rows.iter().filter(is).count()
        };
        runs.iter().map(of_run).sum()
    };
    let table = rows(&out.join("relations.csv"));
    for (relation, points) in [
        ("nmi~log_miou", defined(&FACETS)),
        ("nmi~locality", defined(&FACETS[..2])),
    ] {
        let mut of_all = table.iter().filter(|r| r[0] == relation && r[1] == "all");
        let row = of_all.next().unwrap();
        assert_eq!(row[2], points.to_string());
        assert!(points > 5 && !row[3].is_empty());
    }
}
