//! Comparisons of runs, the other kinds of run, and the choice of images.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may fail as the test itself may"
)]

mod common;
#[path = "compare/seeds.rs"]
mod seeds;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Spec, write_attention, write_correspond, write_manifest};
use resvg::usvg::roxmltree::Document;
use serde_json::json;
use vitscope_figure::{
    CompareOptions, DrawOptions, ImageChoice, Look, Select, compare, draw, draw_with,
};

fn texts(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).unwrap();
    let texts = document
        .descendants()
        .filter(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "text")));
    texts
        .map(|node| node.text().unwrap_or_default().to_owned())
        .collect()
}

fn names(figures: &[PathBuf]) -> Vec<String> {
    let drawings = figures
        .iter()
        .filter(|path| path.extension().unwrap() == "svg");
    drawings
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect()
}

/// Two runs of one model that differ in the seed, a second model with attention, and runs of the
/// other commands.
fn five(root: &Path) -> Vec<PathBuf> {
    Spec::default().write(&root.join("base"));
    let seed = Spec {
        seed: 7,
        skill: 0.9,
        ..Spec::default()
    };
    seed.write(&root.join("seed"));
    let small = Spec {
        model: "vit_small",
        skill: 0.6,
        attention: true,
        ..Spec::default()
    };
    small.write(&root.join("small"));
    write_attention(&root.join("attention"));
    write_correspond(&root.join("correspond"));
    ["base", "seed", "small", "attention", "correspond"]
        .map(|name| root.join(name))
        .to_vec()
}

#[test]
fn a_point_names_its_run_as_the_explorer_counts_it() {
    let root = tempfile::tempdir().unwrap();
    let mut runs = five(root.path());
    // What has no slots to explore comes first, and takes no number.
    runs.reverse();
    let out = root.path().join("out");
    compare(&runs, &out, &CompareOptions::default()).unwrap();
    let svg = fs::read_to_string(out.join("figures/relations.svg")).unwrap();
    let places: Vec<&str> = svg
        .split("data-slot=\"")
        .skip(1)
        .filter_map(|part| part.split('/').next())
        .collect();
    assert!(places.contains(&"0") && places.iter().all(|place| ["0", "1", "2"].contains(place)));
}

#[test]
fn runs_of_every_kind_stand_side_by_side() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    let drawn = compare(&runs, &out, &CompareOptions::default()).unwrap();
    let expected = [
        "overview",
        "overview-key",
        "overview-query",
        "overview-value",
        "overview-token",
        "best-miou",
        "miou-by-layer",
        "nmi-by-layer",
        "excess-by-layer",
        "relations",
        "class-mi-key",
        "class-mi-query",
        "class-mi-value",
        "class-mi-token",
        "sensitivity",
        "pck-by-layer",
        "locality-by-layer",
    ];
    assert_eq!(names(&drawn.figures), expected);
    assert_eq!(drawn.figures.len(), 4 * expected.len());
    for figure in &drawn.figures {
        let bytes = fs::read(figure).unwrap();
        match figure.extension().unwrap().to_str().unwrap() {
            "pdf" => assert!(
                bytes.starts_with(b"%PDF-")
                    && !bytes.windows(13).any(|part| part == b"/CreationDate")
            ),
            "png" => assert!(bytes.starts_with(b"\x89PNG")),
            "csv" => assert!(
                bytes.starts_with(b"run,")
                    || bytes.starts_with(b"relation,")
                    || bytes.starts_with(b"model,")
            ),
            _ => {
                Document::parse(std::str::from_utf8(&bytes).unwrap()).unwrap();
            }
        }
    }
    // The same again gives the same bytes.
    let before: Vec<Vec<u8>> = drawn
        .figures
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    let again = compare(&runs, &out, &CompareOptions::default()).unwrap();
    let after: Vec<Vec<u8>> = again
        .figures
        .iter()
        .map(|file| fs::read(file).unwrap())
        .collect();
    assert!(before == after);
}

#[test]
fn the_chosen_layer_is_the_one_that_was_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    let best = |select| {
        let options = CompareOptions {
            select,
            ..CompareOptions::default()
        };
        compare(&runs, &out, &options).unwrap();
        fs::read_to_string(out.join("figures/best-miou.csv")).unwrap()
    };
    // Quality rises with the layer: the best is the last, 0.5 * 3 / 3 for keys.
    assert!(best(Select::BestMiou).contains("\"vit_base, seed 0\",3,key,0.5,0.2\n"));
    assert_eq!(best(Select::BestMiou), best(Select::Last));
    assert!(best(Select::Layer(1)).contains("\"vit_base, seed 0\",1,key,0.1667,0.3333\n"));
    let none = best(Select::Layer(2));
    assert!(
        none.lines().skip(1).all(|line| line.contains(",2,")),
        "{none}"
    );
}

#[test]
fn correlations_are_read_and_their_absence_is_said() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    let caption = || {
        compare(&runs, &out, &CompareOptions::default()).unwrap();
        let svg = fs::read_to_string(out.join("figures/relations.svg")).unwrap();
        texts(&svg).join(" ")
    };
    assert!(caption().contains("relations.csv is not there"));
    let table = "relation,group,n,pearson,pearson_low,pearson_high,spearman,spearman_low,spearman_high\n\
                 nmi~log_miou,all,36,-0.59,-0.7,-0.45,-0.61,,\nnmi~locality,vit_small,6,0.7,0.6,0.8,0.7,0.6,0.8\n";
    fs::write(out.join("relations.csv"), table).unwrap();
    let text = caption();
    assert!(
        text.contains("All facets: Pearson −0.59 [−0.70, −0.45], Spearman −0.61, n = 36."),
        "{text}"
    );
    assert!(text.contains("In brackets: 95 % intervals."), "{text}");
    // Of one model there is no interval, as on the page of a single run.
    let table = "relation,group,n,pearson,pearson_low,pearson_high,spearman,spearman_low,spearman_high\n\
                 nmi~log_miou,all,12,-0.59,,,-0.61,,\n";
    fs::write(out.join("relations.csv"), table).unwrap();
    let text = caption();
    assert!(
        text.contains("All facets: Pearson −0.59, Spearman −0.61, n = 12.")
            && !text.contains("In brackets"),
        "{text}"
    );
    let words = "the slots of one model, which are not independent of one another: no interval can be given.";
    assert!(text.contains(words), "{text}");
    fs::write(out.join("relations.csv"), "relation,n\n").unwrap();
    let error = compare(&runs, &out, &CompareOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("relations.csv has no column \"group\""),
        "{error}"
    );
}

#[test]
fn locality_of_an_attention_run_joins_the_probe_run_of_the_same_weights() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    compare(&runs, &out, &CompareOptions::default()).unwrap();
    let csv = fs::read_to_string(out.join("figures/relations.csv")).unwrap();
    // vit_base has no rows of its own; layer 2 of the attention run is 0.5.
    assert!(
        csv.contains("nmi~locality,\"vit_base, seed 0\",2,key,0.2667,0.5\n"),
        "{csv}"
    );
    assert!(!csv.contains("nmi~locality,\"vit_base, seed 0\",2,value"));
    // The same images at another size are other attention.
    let record = root.path().join("attention/run.json");
    let text = fs::read_to_string(&record).unwrap();
    let mut larger: serde_json::Value = serde_json::from_str(&text).unwrap();
    larger["size"] = 320.into();
    fs::write(&record, larger.to_string()).unwrap();
    compare(&runs, &out, &CompareOptions::default()).unwrap();
    let csv = fs::read_to_string(out.join("figures/relations.csv")).unwrap();
    assert!(!csv.contains("nmi~locality,\"vit_base, seed 0\""), "{csv}");
}

/// The rows of the page's table of all slots that have this run's name, this facet and this layer.
fn rows_of(page: &str, run: &str, facet: &str, layer: usize) -> Vec<String> {
    let rows = page.split("<tr").skip(1);
    let rows = rows.filter_map(|row| row.split("</tr>").next());
    let rows = rows.filter(|row| {
        row.contains(&format!("<td data-sort=\"{run}\">"))
            && row.contains(&format!("data-sort=\"{facet}\">"))
            && row.contains(&format!(
                "<td class=\"number\" data-sort=\"{layer}\">{layer}</td>"
            ))
    });
    rows.map(str::to_owned).collect()
}

#[test]
fn keypoints_stand_in_the_rows_of_the_same_slots_and_what_was_not_measured_is_not_undefined() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    let page = |runs: &[PathBuf]| {
        let drawn = compare(runs, &out, &CompareOptions::default()).unwrap();
        fs::read_to_string(drawn.page).unwrap()
    };
    let joined = page(&runs);
    for run in ["vit_base, seed 0", "vit_base, seed 7"] {
        let [row]: [String; 1] = rows_of(&joined, run, "key", 3).try_into().unwrap();
        assert!(row.contains("data-sort=\"0.5\">0.500</td>"), "{row}");
        // No query was matched.
        let [row]: [String; 1] = rows_of(&joined, run, "query", 3).try_into().unwrap();
        assert!(
            row.contains("data-sort=\"\">–</td>") && !row.contains("undefined"),
            "{row}"
        );
    }
    // Nor any slot of this model.
    let [row]: [String; 1] = rows_of(&joined, "vit_small", "key", 3).try_into().unwrap();
    assert!(
        row.contains("data-sort=\"\">–</td>") && !row.contains("undefined"),
        "{row}"
    );
    assert!(rows_of(&joined, "vit_base", "key", 3).is_empty());

    // Where keypoints of two runs differ, each run has rows of its own.
    let other = root.path().join("other");
    write_correspond(&other);
    let metrics = fs::read_to_string(other.join("metrics.csv")).unwrap();
    fs::write(
        other.join("metrics.csv"),
        metrics.replace(",pck,,0.5,", ",pck,,0.4,"),
    )
    .unwrap();
    let apart = page(&[runs[0].clone(), runs[4].clone(), other]);
    let [row]: [String; 1] = rows_of(&apart, "vit_base", "key", 3).try_into().unwrap();
    assert!(
        row.contains("data-sort=\"\">–</td>") && !row.contains("undefined"),
        "{row}"
    );
    for (run, pck) in [("correspond", "0.500"), ("other", "0.400")] {
        let name = format!("vit_base ({run})");
        let [row]: [String; 1] = rows_of(&apart, &name, "key", 3).try_into().unwrap();
        assert!(
            row.contains(&format!(">{pck}</td>")) && !row.contains("undefined"),
            "{row}"
        );
    }
    // A name for two commands is told apart.
    let mut many = runs[2..].to_vec();
    let renamed = root.path().join("renamed");
    write_correspond(&renamed);
    let record = fs::read_to_string(renamed.join("run.json")).unwrap();
    fs::write(
        renamed.join("run.json"),
        record.replace("vit_base", "vit_small"),
    )
    .unwrap();
    many.push(renamed);
    let named = page(&many);
    assert_eq!(rows_of(&named, "vit_small (correspond)", "key", 3).len(), 1);
}

#[test]
fn attention_runs_are_drawn() {
    let run = tempfile::tempdir().unwrap();
    write_attention(run.path());
    let drawn = draw(run.path()).unwrap();
    assert_eq!(names(&drawn.figures), ["locality-by-layer", "attention"]);
    let svg = fs::read_to_string(run.path().join("figures/attention.svg")).unwrap();
    // Three layers, each a matrix and one query.
    assert_eq!(svg.matches("<image").count(), 6);
    let found = texts(&svg);
    assert!(
        found.iter().any(|text| text == "street.000")
            && found.iter().any(|text| text == "row 0, column 1")
    );
    let csv = fs::read_to_string(run.path().join("figures/locality-by-layer.csv")).unwrap();
    assert!(
        csv.contains("\n2,,0.5,0.45,0.55\n") && csv.contains("\n3,2,1,,\n"),
        "{csv}"
    );
    let page = fs::read_to_string(drawn.page).unwrap();
    assert!(page.contains("I(K,Q) in nats") && !page.contains("class=\"explorer\""));
}

#[test]
fn correspondences_are_drawn() {
    let run = tempfile::tempdir().unwrap();
    write_correspond(run.path());
    let drawn = draw(run.path()).unwrap();
    let expected = [
        "pck-by-layer",
        "pck-by-category",
        "similarity",
        "similarity-by-layer",
        "matches-by-layer",
    ];
    assert_eq!(names(&drawn.figures), expected);
    // One layer of three is stored.
    let csv = fs::read_to_string(run.path().join("figures/similarity-by-layer.csv")).unwrap();
    assert!(csv.ends_with("\n3,key,p0,0,1\n"), "{csv}");
    let csv = fs::read_to_string(run.path().join("figures/similarity.csv")).unwrap();
    // The first of two points: (13, 10) is one pixel from (12, 10), within a tenth of 60.
    assert!(
        csv.contains("p0,aeroplane,0,3,key,12,10,13,10,1,1\n"),
        "{csv}"
    );
    let csv = fs::read_to_string(run.path().join("figures/matches-by-layer.csv")).unwrap();
    assert!(csv.contains("2,key,p0,1,2\n"), "{csv}");
    let csv = fs::read_to_string(run.path().join("figures/pck-by-category.csv")).unwrap();
    assert!(
        csv.contains("3,key,bird,0.75\n") && !csv.contains("bicycle"),
        "{csv}"
    );
    // Photographs that are gone leave their places empty, and the figure says so.
    fs::remove_dir_all(run.path().join("set")).unwrap();
    draw(run.path()).unwrap();
    let svg = fs::read_to_string(run.path().join("figures/similarity.svg")).unwrap();
    assert!(svg.contains("no longer where the run found it"));
    assert!(!run.path().join("figures/matches-by-layer.svg").exists());
}

#[test]
fn images_are_chosen_by_name_seed_and_class() {
    let run = tempfile::tempdir().unwrap();
    let spec = Spec {
        examples: 5,
        ..Spec::default()
    };
    spec.write(run.path());
    let shown = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        draw_with(run.path(), &of_images(&words)).map(|_| {
            let csv = fs::read_to_string(run.path().join("figures/examples.csv")).unwrap();
            let line = csv.lines().nth(1).unwrap().to_owned();
            line.split(',').nth(2).unwrap().to_owned()
        })
    };
    assert_eq!(
        shown(&["street_003", "street_001"]).unwrap(),
        "street_003 street_001"
    );
    let random = shown(&["random:5"]).unwrap();
    assert_eq!(random, shown(&["random:5"]).unwrap());
    assert_ne!(random, shown(&[]).unwrap());
    // Sky reaches down to the horizon, which is lowest in the fourth scene of four.
    assert!(shown(&["class:sky"]).unwrap().starts_with("street_003"));
    for (words, part) in [
        (
            ["street_009"],
            "`images` street_009: no example has this name; ",
        ),
        (
            ["class:water"],
            "`images` class:water: no class has this name; this run has sky, building",
        ),
        (
            ["class:pedestrian"],
            "`images` class:pedestrian: no example shows it; ",
        ),
    ] {
        let error = shown(&words).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn loose_clusters_have_the_colors_that_the_legend_has() {
    let run = tempfile::tempdir().unwrap();
    let spec = Spec {
        clusters: 20,
        ..Spec::default()
    };
    spec.write(run.path());
    let drawn = draw(run.path()).unwrap();
    assert!(names(&drawn.figures).contains(&"clusters".to_owned()));
    let page = fs::read_to_string(&drawn.page).unwrap();
    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let end = start + page[start..].find("</script>").unwrap();
    let island: serde_json::Value = serde_json::from_str(&page[start..end]).unwrap();
    let (slot, entries) = (
        &island["runs"][0]["slots"]["key.1"],
        &island["runs"][0]["entries"],
    );
    // Cluster 3 was matched to the road: in the map, and in the legend, it has the road's color.
    assert_eq!(slot["palette"][3], json!([128, 64, 128]));
    assert_eq!(slot["palette"][3], entries[3]["color"]);
    assert_eq!(
        (&slot["entries"][15], &entries[11]["is_rest"]),
        (&json!(11), &json!(true))
    );
}

#[test]
fn images_that_were_left_out_are_listed() {
    let run = tempfile::tempdir().unwrap();
    let mut manifest = Spec::default().write(run.path());
    manifest["skipped"] = json!([{ "split": "train", "name": "bad_7", "problem": "is cut short" }]);
    write_manifest(run.path(), &manifest);
    let page = fs::read_to_string(draw(run.path()).unwrap().page).unwrap();
    assert!(page.contains("bad_7 (train): is cut short") && page.contains("1 image left out"));
}

fn of_images(words: &[String]) -> DrawOptions {
    DrawOptions {
        images: ImageChoice::parse(words).unwrap(),
        ..DrawOptions::default()
    }
}

#[test]
fn authors_give_names_and_letters_and_take_captions_as_text() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    let look = Look {
        labels: vec!["Ours".to_owned()],
        no_caption: true,
        letters: true,
    };
    let options = CompareOptions {
        look,
        ..CompareOptions::default()
    };
    compare(&runs[..3], &out, &options).unwrap();
    let svg = fs::read_to_string(out.join("figures/miou-by-layer.svg")).unwrap();
    let found = texts(&svg);
    for text in ["Ours", "vit_base, seed 7", "a\u{2002}key", "d\u{2002}token"] {
        assert!(found.iter().any(|found| found == text), "{text}: {found:?}");
    }
    assert!(!found.iter().any(|text| text.starts_with("On camvid")));
    let caption = fs::read_to_string(out.join("figures/miou-by-layer.txt")).unwrap();
    assert!(
        caption.starts_with("On camvid (94 test images)."),
        "{caption}"
    );
    // Without such wishes the text is gone, and no letter's place is left.
    compare(&runs[..3], &out, &CompareOptions::default()).unwrap();
    assert!(!out.join("figures/miou-by-layer.txt").exists());
    let svg = fs::read_to_string(out.join("figures/miou-by-layer.svg")).unwrap();
    assert!(!svg.contains('\u{e000}') && texts(&svg).iter().any(|text| text == "key"));
}

/// What a figure looks like, against what it looked like when it was last looked at. To accept a
/// change after looking at it: `VITSCOPE_ACCEPT=1 cargo test -p vitscope-figure`.
#[test]
fn figures_look_as_they_did() {
    let root = tempfile::tempdir().unwrap();
    let runs = five(root.path());
    let out = root.path().join("out");
    compare(&runs, &out, &CompareOptions::default()).unwrap();
    for run in [0, 3, 4] {
        draw(&runs[run]).unwrap();
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let accept = std::env::var_os("VITSCOPE_ACCEPT").is_some();
    let cases = [
        (&runs[0], "miou-by-layer", true),
        (&runs[0], "class-mi", true),
        (&runs[0], "examples", false),
        (&runs[3], "locality-by-layer", false),
        (&runs[4], "pck-by-category", false),
        (&out, "relations", true),
        (&out, "best-miou", false),
        (&out, "sensitivity", false),
    ];
    for (run, name, with_png) in cases {
        let folder = run.file_name().unwrap().to_string_lossy();
        let file = golden.join(format!("{folder}-{name}.svg"));
        let svg = fs::read_to_string(run.join(format!("figures/{name}.svg"))).unwrap();
        let svg = without_data(&svg);
        let png = run.join(format!("figures/{name}.png"));
        let picture = file.with_extension("png");
        if accept {
            fs::create_dir_all(&golden).unwrap();
            fs::write(&file, &svg).unwrap();
            if with_png {
                fs::copy(&png, &picture).unwrap();
            }
            continue;
        }
        let expected = fs::read_to_string(&file).unwrap();
        let differs = svg
            .lines()
            .zip(expected.lines())
            .find(|(now, then)| now != then);
        assert!(svg == expected, "{folder} {name}: {differs:?}");
        if with_png {
            let [now, then] = [&png, &picture].map(|path| image::open(path).unwrap().into_rgb8());
            assert_eq!(now.dimensions(), then.dimensions(), "{name}");
            let pairs = now.as_raw().iter().zip(then.as_raw());
            let worst = pairs.map(|(now, then)| now.abs_diff(*then)).max();
            assert!(
                worst <= Some(2),
                "{folder} {name}: a channel differs by {worst:?}"
            );
        }
    }
}

/// The drawing without the bytes of its pictures and fonts.
fn without_data(svg: &str) -> String {
    let mut parts = svg.split(";base64,");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['"', ')']).unwrap_or(part.len());
        text.push_str(";base64,");
        text.push_str(&part[end..]);
    }
    text
}

#[test]
fn runs_without_truth_share_colors_where_they_share_pixels() {
    let root = tempfile::tempdir().unwrap();
    for (name, skill) in [("one", 1.0), ("two", 0.9)] {
        let spec = Spec {
            truth: false,
            skill,
            ..Spec::default()
        };
        spec.write(&root.path().join(name));
    }
    let runs = ["one", "two"].map(|name| root.path().join(name));
    let out = root.path().join("out");
    compare(&runs, &out, &CompareOptions::default()).unwrap();
    let svg = fs::read_to_string(out.join("figures/overview-key.svg")).unwrap();
    assert!(svg.contains("shares the most pixels"));
    assert!(!out.join("figures/best-miou.svg").exists());
    // A run is never written over.
    let error = compare(&runs, &runs[0], &CompareOptions::default()).unwrap_err();
    assert!(error.to_string().contains("this is a run"), "{error}");
}
