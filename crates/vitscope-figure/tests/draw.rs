//! `draw` on run directories of every kind: whole, without truth, unfinished, damaged.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may fail as the test itself may"
)]

mod common;
#[path = "draw/soft.rs"]
mod soft;

use std::fs;
use std::path::Path;

use common::{Spec, write_manifest};
use resvg::usvg::roxmltree::Document;
use serde_json::{Value, json};
use vitscope_figure::{FigureError, draw};
use vitscope_run::RunError;

const FIGURES: [&str; 13] = [
    "examples",
    "aggregate",
    "miou-by-layer",
    "nmi-by-layer",
    "excess-by-layer",
    "relations",
    "class-mi",
    "position-locked",
    "aggregate-layers",
    "layers-key",
    "layers-query",
    "layers-value",
    "layers-token",
];

fn read(run: &Path, file: &str) -> String {
    fs::read_to_string(run.join(file)).unwrap()
}

/// Every text of an SVG file, in order.
fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).unwrap();
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts
        .map(|node| node.text().unwrap_or_default().to_owned())
        .collect()
}

fn count(svg: &str, tag: &str) -> usize {
    Document::parse(svg)
        .unwrap()
        .descendants()
        .filter(|node| node.tag_name().name() == tag)
        .count()
}

fn island(page: &str) -> Value {
    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let end = start + page[start..].find("</script>").unwrap();
    serde_json::from_str(&page[start..end]).unwrap()
}

#[test]
fn a_whole_run_gives_every_figure_in_four_forms() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    let drawn = draw(run.path()).unwrap();
    assert_eq!(drawn.figures.len(), FIGURES.len() * 4);
    assert_eq!(drawn.page, run.path().join("report.html"));
    for name in FIGURES {
        let svg = read(run.path(), &format!("figures/{name}.svg"));
        let document = Document::parse(&svg).unwrap();
        let side = |name: &str| {
            document
                .root_element()
                .attribute(name)
                .unwrap()
                .parse::<u32>()
                .unwrap()
        };
        let png = fs::File::open(run.path().join(format!("figures/{name}.png"))).unwrap();
        let png = png::Decoder::new(std::io::BufReader::new(png))
            .read_info()
            .unwrap();
        assert_eq!(
            (png.info().width, png.info().height),
            (2 * side("width"), 2 * side("height")),
            "{name}"
        );
        assert!(svg.contains("@font-face"), "{name} carries its font");
        assert!(
            read(run.path(), &format!("figures/{name}.csv")).contains("layer,facet,"),
            "{name}"
        );
    }
    let left = fs::read_dir(run.path().join("figures")).unwrap().count();
    assert_eq!(left, FIGURES.len() * 4, "no file is left half written");
}

/// A stranger's names come as letters that are shown: on the page, in what its script reads, and in every figure.
#[test]
fn names_neither_steer_nor_turn_the_order_of_letters() {
    const EVIL: &str = "a\u{1b}[31m\u{9b}\u{202e}b\u{2066}<i>";
    let run = tempfile::tempdir().unwrap();
    let mut manifest = Spec::default().write(run.path());
    manifest["data"]["classes"][0]["name"] = EVIL.into();
    manifest["model"]["name"] = EVIL.into();
    fs::write(run.path().join("run.json"), manifest.to_string()).unwrap();
    draw(run.path()).unwrap();
    let odd = |letter: char| {
        let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || letter.is_control() && !letter.is_whitespace()
    };
    let shown = "a\\u{1b}[31m\\u{9b}\\u{202e}b\\u{2066}";
    let page = read(run.path(), "report.html");
    assert!(!page.contains(odd) && page.contains(&format!("{shown}&#60;i&#62;")));
    let island = island(&page).to_string();
    assert!(!island.contains("\\u001b") && !island.contains(odd));
    assert!(island.contains(&format!("{}<i>", shown.replace('\\', "\\\\"))));
    for name in FIGURES {
        let svg = read(run.path(), &format!("figures/{name}.svg"));
        assert!(!svg.contains(odd), "{name}");
        Document::parse(&svg).unwrap();
    }
    let svg = read(run.path(), "figures/examples.svg");
    assert!(svg.contains(&format!("{shown}&lt;i&gt;")));
}

#[test]
fn the_examples_figure_has_a_row_per_facet_and_a_column_per_example() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    draw(run.path()).unwrap();
    let svg = read(run.path(), "figures/examples.svg");
    // Two images; two label maps and an aggregate map for the truth and each of four facets.
    assert_eq!(count(&svg, "image"), 2 + 5 * 3);
    let texts = texts(&svg);
    for text in [
        "image",
        "ground",
        "truth",
        "key",
        "query",
        "value",
        "token",
        "layer 3",
        "mIoU",
        "effect (NMI)",
        "sky",
        "bicyclist",
        "no label",
    ] {
        assert!(
            texts.iter().any(|found| found == text),
            "{text} is missing from {texts:?}"
        );
    }
    let csv = read(run.path(), "figures/examples.csv");
    assert!(
        csv.contains("\n3,key,street_000 street_001,0.2,0.19,0.212,0.5,,\n"),
        "{csv}"
    );
}

#[test]
fn curves_name_their_axes_and_series() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    draw(run.path()).unwrap();
    let svg = read(run.path(), "figures/nmi-by-layer.svg");
    let found = texts(&svg);
    let expected = [
        "layer",
        "1",
        "2",
        "3",
        "positional effect (NMI)",
        "0.0",
        "0.2",
        "0.4",
        "0.6",
    ];
    assert_eq!(found[..expected.len()], expected);
    for name in ["ground truth", "key", "query", "value", "token"] {
        assert!(found.iter().any(|text| text == name), "{name}");
    }
    // Key has three marks and one in the legend; the tokens' first layer is undefined.
    assert_eq!(count(&svg, "circle"), 4);
    assert!(svg.matches("class=\"f-paper s-token\"").count() == 3);
    let csv = read(run.path(), "figures/nmi-by-layer.csv");
    assert!(
        csv.contains("\n1,token,nmi,,,\n"),
        "undefined stays empty: {csv}"
    );
}

/// Adds rows to a run's metrics.csv: layer, facet, metric, class, value.
fn add_rows(run: &Path, rows: &[&str]) {
    let mut csv = read(run, "metrics.csv");
    for row in rows {
        csv.push_str(&format!("vit_base,dino,base,{row},,\n"));
    }
    fs::write(run.join("metrics.csv"), csv).unwrap();
}

#[test]
fn baselines_collapsed_slots_and_unearned_names_are_shown() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    add_rows(
        run.path(),
        &[
            ",ground_truth,place_alone,,0.26",
            ",ground_truth,one_class,,0.05",
            // The key of highest mIoU says nothing; the second layer uses half of its clusters.
            "3,key,clusters_used,,1.3",
            "3,key,largest_cluster,,0.97",
            "2,key,clusters_used,,4.6",
            "2,key,iou,0,0.6",
            "2,key,iou,3,0.02",
        ],
    );
    let page = fs::read_to_string(draw(run.path()).unwrap().page).unwrap();
    let svg = read(run.path(), "figures/miou-by-layer.svg");
    let found = texts(&svg);
    for text in ["place alone", "one class", "1/11", "5/11"] {
        assert!(found.iter().any(|found| found == text), "{text}: {found:?}");
    }
    let caption = found.join(" ");
    assert!(caption.contains("8 of 12 slots lie below it"), "{caption}");
    // Two points and no course: the third is a cross of two lines.
    assert!(svg.contains("data-slot=\"0/key.3\""));
    assert!(
        read(run.path(), "figures/miou-by-layer.csv")
            .contains(",ground_truth,place_alone,0.26,,\n")
    );
    // The layer of highest mIoU that means something is shown.
    assert!(read(run.path(), "figures/examples.csv").contains("\n2,key,"));
    let examples = texts(&read(run.path(), "figures/examples.svg"));
    assert!(
        examples.iter().any(|text| text == "5/11 used"),
        "{examples:?}"
    );
    assert!(
        examples
            .join(" ")
            .contains("Muted and hatched: a cluster whose class has an IoU below 0.1")
    );
    let relations = read(run.path(), "figures/relations.svg");
    assert!(
        !relations.contains("data-slot=\"0/key.3\"") && relations.contains("place alone 0.260")
    );
    assert!(texts(&relations).join(" ").contains("Pearson"));
    let slot = &island(&page)["runs"][0]["slots"]["key.2"];
    assert_eq!(
        (&slot["unearned"][0], &slot["unearned"][3]),
        (&json!(false), &json!(true))
    );
    for part in [
        "<td class=\"number\" data-sort=\"0.26\">0.260</td>",
        "class=\"collapsed\"",
        "(1/11 clusters used) is collapsed",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn clusters_that_know_their_place_are_mapped() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    draw(run.path()).unwrap();
    let svg = read(run.path(), "figures/position-locked.svg");
    // No counts of the ground truth are stored: four facets of six clusters.
    assert_eq!(count(&svg, "image"), 4 * 6);
    let csv = read(run.path(), "figures/position-locked.csv");
    assert_eq!(csv.lines().count(), 1 + 4 * 6);
    assert!(csv.starts_with("layer,facet,cluster,name,iou,share,information,lock,shape,locked\n"));
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for run in [&one, &two] {
        Spec::default().write(run.path());
    }
    let first = draw(one.path()).unwrap();
    draw(one.path()).unwrap();
    draw(two.path()).unwrap();
    for file in first.figures.iter().chain([&first.page]) {
        let file = file.strip_prefix(one.path()).unwrap();
        assert_eq!(
            fs::read(one.path().join(file)).unwrap(),
            fs::read(two.path().join(file)).unwrap(),
            "{}",
            file.display()
        );
    }
}

#[test]
fn the_page_stands_alone() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    let page = fs::read_to_string(draw(run.path()).unwrap().page).unwrap();
    let without_names = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!without_names.contains("http:") && !without_names.contains("https:"));
    for attribute in [" src=\"", " href=\"", "url("] {
        for part in page.split(attribute).skip(1) {
            assert!(
                part.starts_with("data:") || part.starts_with('#'),
                "{attribute}{:.40}",
                part
            );
        }
    }
    assert!(page.contains("Content-Security-Policy"));
}

#[test]
fn undefined_is_said_and_never_shown_as_zero() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    let page = fs::read_to_string(draw(run.path()).unwrap().page).unwrap();
    let row = page
        .split("<tr data-slot=\"0/token.1\"")
        .nth(1)
        .unwrap()
        .split("</tr>")
        .next()
        .unwrap();
    assert!(
        row.contains("<td class=\"number\" data-sort=\"\">undefined</td>"),
        "{row}"
    );
    assert_eq!(
        island(&page)["runs"][0]["slots"]["token.1"]["nmi"],
        Value::Null
    );
}

#[test]
fn a_run_without_truth_shows_clusters_and_says_what_is_absent() {
    let run = tempfile::tempdir().unwrap();
    Spec {
        truth: false,
        ..Spec::default()
    }
    .write(run.path());
    let drawn = draw(run.path()).unwrap();
    let names: Vec<_> = drawn
        .figures
        .iter()
        .filter(|path| path.extension().unwrap() == "svg")
        .map(|path| path.file_stem().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "examples",
            "aggregate",
            "nmi-by-layer",
            "excess-by-layer",
            "position-locked",
            "aggregate-layers",
            "layers-key",
            "layers-query",
            "layers-value",
            "layers-token"
        ]
    );
    let page = fs::read_to_string(drawn.page).unwrap();
    assert!(page.contains("mIoU needs ground truth, and there is none."));
    assert!(
        page.contains("Examples at each facet's last layer")
            || page.contains("Examples at each facet&#39;s last layer")
    );
    let island = &island(&page)["runs"][0];
    assert_eq!(island["entries"].as_array().unwrap().len(), 11);
    assert_eq!(island["entries"][1]["name"], "cluster 1");
    assert_eq!(island["truth"], Value::Null);
}

#[test]
fn extra_clusters_join_the_legend_through_their_class() {
    let run = tempfile::tempdir().unwrap();
    Spec {
        clusters: 20,
        ..Spec::default()
    }
    .write(run.path());
    let island = &island(&fs::read_to_string(draw(run.path()).unwrap().page).unwrap())["runs"][0];
    assert_eq!(island["entries"][11]["name"], "unmatched clusters");
    let entries = island["slots"]["key.1"]["entries"].as_array().unwrap();
    assert_eq!(entries[..11], (0..11).map(Value::from).collect::<Vec<_>>());
    assert!(entries[11..].iter().all(|entry| entry == 11));
}

#[test]
fn long_models_break_into_bands() {
    let run = tempfile::tempdir().unwrap();
    Spec {
        layers: 24,
        examples: 1,
        side: 32,
        ..Spec::default()
    }
    .write(run.path());
    draw(run.path()).unwrap();
    let svg = read(run.path(), "figures/aggregate-layers.svg");
    assert_eq!(count(&svg, "image"), 96);
    assert_eq!(
        texts(&svg).iter().filter(|text| *text == "layer").count(),
        2
    );
}

#[test]
fn a_run_that_has_just_begun_gives_a_page() {
    let run = tempfile::tempdir().unwrap();
    write_manifest(
        run.path(),
        &json!({ "format": 1, "state": "running", "model": { "name": "m", "source": "features", "family": null } }),
    );
    let drawn = draw(run.path()).unwrap();
    assert!(drawn.figures.is_empty());
    let page = fs::read_to_string(drawn.page).unwrap();
    assert!(page.contains("This run is not finished: it is at work, or was ended."));
    assert!(page.contains("No slot has been measured yet."));
    assert!(page.contains("The run has not measured anything yet."));
}

#[test]
fn files_that_are_gone_leave_their_places_empty() {
    let run = tempfile::tempdir().unwrap();
    Spec::default().write(run.path());
    draw(run.path()).unwrap();
    for gone in ["labels", "images", "aggregate"] {
        fs::remove_dir_all(run.path().join(gone)).unwrap();
    }
    for gone in ["codebooks.safetensors", "counts.safetensors"] {
        fs::remove_file(run.path().join(gone)).unwrap();
    }
    let drawn = draw(run.path()).unwrap();
    assert_eq!(
        drawn.figures.len(),
        5 * 4,
        "curves, bars and points are left"
    );
    assert!(
        !run.path().join("figures/examples.svg").exists(),
        "a figure of an earlier call is removed"
    );
}

#[test]
fn names_cannot_break_out_of_the_page_or_a_figure() {
    let run = tempfile::tempdir().unwrap();
    let mut manifest = Spec::default().write(run.path());
    let hostile = "</script><b onload=\"x\">&'\u{1}";
    manifest["data"]["classes"][0]["name"] = json!(hostile);
    manifest["model"]["name"] = json!(hostile);
    manifest["notes"] = json!([hostile]);
    write_manifest(run.path(), &manifest);
    let page = fs::read_to_string(draw(run.path()).unwrap().page).unwrap();
    assert!(!page.contains("<b onload"));
    let shown = hostile.replace('\u{1}', "\\u{1}");
    assert_eq!(island(&page)["runs"][0]["entries"][0]["name"], shown);
    for name in FIGURES {
        Document::parse(&read(run.path(), &format!("figures/{name}.svg"))).unwrap();
    }
}

#[test]
fn what_is_wrong_is_said_in_one_sentence() {
    let cases = [
        ("run.json", "{\"format\": 1,", "is not valid JSON"),
        (
            "run.json",
            "{\"format\": 1, \"model\": 3}",
            "does not have the expected fields",
        ),
        (
            "run.json",
            "{\"format\": 9}",
            "has format 9, and this version reads format 1: use a newer vitscope",
        ),
        ("run.json", "[]", "has no format number"),
        (
            "run.json",
            "{\"format\": 1, \"examples\": [\"../../secret\"]}",
            "is not a plain stem",
        ),
        ("metrics.csv", "a,b\n", "has no column \"layer\""),
        (
            "metrics.csv",
            "layer,facet,metric,class,value,low,high\n1,key,nmi,,high,,\n",
            "line 2 has \"high\" where a number was expected",
        ),
        (
            "metrics.csv",
            "layer,facet,metric,class,value,low,high\n1,keys,nmi,,1,,\n",
            "line 2 has facet \"keys\"",
        ),
        ("codebooks.safetensors", "x", "is not a safetensors file"),
        ("images/street_000.png", "x", "is not a readable PNG"),
        ("labels/key.3/street_000.png", "x", "is not a readable PNG"),
    ];
    for (file, content, expected) in cases {
        let run = tempfile::tempdir().unwrap();
        Spec::default().write(run.path());
        fs::write(run.path().join(file), content).unwrap();
        let message = draw(run.path()).unwrap_err().to_string();
        assert!(
            message.contains(file) && message.contains(expected),
            "{message}"
        );
        assert!(
            !message.contains('\n') && message.contains(": "),
            "{message}"
        );
    }
    let empty = tempfile::tempdir().unwrap();
    let error = draw(empty.path()).unwrap_err();
    assert!(
        matches!(error, FigureError::Run(RunError::NotARun { .. })),
        "{error}"
    );
}

#[test]
fn a_full_sweep_fits_in_fifteen_megabytes() {
    let run = tempfile::tempdir().unwrap();
    Spec {
        layers: 12,
        examples: 12,
        side: 320,
        ..Spec::default()
    }
    .write(run.path());
    let page = draw(run.path()).unwrap().page;
    let megabytes = fs::metadata(page).unwrap().len() as f64 / 1e6;
    assert!(megabytes < 15.0, "{megabytes} MB");
}

#[test]
fn counts_and_matches_are_held_against_their_run() {
    for (field, value, expected) in [
        ("clusters", json!(99), "has match.key.1 that is not a class"),
        (
            "grid",
            json!([5, 7]),
            "has position.key.1 that does not count",
        ),
    ] {
        let run = tempfile::tempdir().unwrap();
        let mut manifest = Spec::default().write(run.path());
        manifest[field] = value;
        fs::write(run.path().join("run.json"), manifest.to_string()).unwrap();
        let message = draw(run.path()).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
