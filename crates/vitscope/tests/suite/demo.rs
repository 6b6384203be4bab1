//! `vitscope demo` whole, and what it shows, asserted on scenes that nobody chose anything by: settings of the
//! trainings were chosen on scenes of their own, layers on the demo's held-out scenes, and the claims are
//! measured on others, with intervals.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{command, floats, run, succeed};
use crate::correspond::{matches, tensor};
use crate::paused::{as_a_kill_would_leave, paused};
use crate::stopped::left_over;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use vitscope_demo::{Scenes, pairs::write_pairs};

const CLASSES: usize = 10;

/// mIoU of a network of this shape before any training, which goes by color (`tools/demo_models/README.md`).
const COLORS: f64 = 0.21;

/// Bootstrap samples; the interval goes from their 11th to their 390th.
const SAMPLES: usize = 400;

type Confusion = [[f64; CLASSES]; CLASSES];

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug)]
struct Claim {
    value: f64,
    low: f64,
    high: f64,
}

/// The value over all units and its percentile interval over drawn ones.
fn bootstrap(units: usize, value: impl Fn(&mut dyn Iterator<Item = usize>) -> f64) -> Claim {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut drawn: Vec<f64> = (0..SAMPLES)
        .map(|_| value(&mut (0..units).map(|_| rng.random_range(0..units))))
        .collect();
    drawn.sort_by(f64::total_cmp);
    Claim {
        value: value(&mut (0..units)),
        low: drawn[10],
        high: drawn[SAMPLES - 11],
    }
}

fn miou<'a>(images: impl Iterator<Item = &'a Confusion>) -> f64 {
    let mut sum: Confusion = [[0.0; CLASSES]; CLASSES];
    for image in images {
        for (row, more) in sum.iter_mut().zip(image) {
            row.iter_mut()
                .zip(more)
                .for_each(|(sum, more)| *sum += more);
        }
    }
    let iou = (0..CLASSES).map(|class| {
        let predicted: f64 = sum[class].iter().sum();
        let real: f64 = sum.iter().map(|row| row[class]).sum();
        sum[class][class] / (predicted + real - sum[class][class])
    });
    iou.sum::<f64>() / CLASSES as f64
}

fn samples(path: &Path) -> Vec<u8> {
    let mut decoder = png::Decoder::new(BufReader::new(File::open(path).unwrap()));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut bytes).unwrap();
    bytes
}

/// The layer of a facet at which the demo found the most of something.
fn layer(model: &Value, facet: &str, metric: &str) -> String {
    let of = |slot: &Value| slot[metric].as_f64().unwrap();
    let slots = model["slots"].as_array().unwrap().iter();
    let slots = slots.filter(|slot| slot["facet"] == facet);
    let most = slots.max_by(|a, b| of(a).total_cmp(&of(b))).unwrap();
    most["layer"].to_string()
}

/// A run of one slot on fresh scenes, as the demo makes its runs.
fn probed(demo: &Path, scenes: &Path, model: &str, facet: &str, layer: &str) -> PathBuf {
    let out = demo.join(format!("{model}-{facet}-fresh"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let path = text(&demo.join("models").join(format!("{model}.toml")));
    let (data, run_dir) = (text(scenes), text(&out));
    succeed(run(&[
        "probe",
        "--quiet",
        &path,
        "--data",
        &data,
        "--out",
        &run_dir,
        "--size",
        "128",
        "--steps",
        "200",
        "--batch",
        "8",
        "--lr",
        "0.01",
        "--pca-batches",
        "16",
        "--facets",
        facet,
        "--layers",
        layer,
        "--save-labels",
        "all",
    ]));
    out
}

/// The mIoU of stored label maps; clusters stay matched to the classes as they are.
fn token_miou(run: &Path, scenes: &Path, layer: &str) -> Claim {
    let mut files: Vec<_> = std::fs::read_dir(run.join("labels").join(format!("token.{layer}")))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let images: Vec<Confusion> = files
        .iter()
        .map(|file| {
            let mut confusion = [[0.0; CLASSES]; CLASSES];
            let truth = scenes.join("masks/test").join(file.file_name().unwrap());
            for (label, class) in samples(file).into_iter().zip(samples(&truth)) {
                confusion[usize::from(label)][usize::from(class)] += 1.0;
            }
            confusion
        })
        .collect();
    let claim = bootstrap(images.len(), |chosen| miou(chosen.map(|i| &images[i])));
    let told = row(run, ",token,miou,").value;
    assert!(
        (claim.value - told).abs() < 1e-9,
        "label maps say {}, the run {told}",
        claim.value
    );
    claim
}

/// The first row of a run's metrics that has this in it, with its interval (or with none, at its value).
fn row(run: &Path, with: &str) -> Claim {
    let rows = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let row = rows.lines().find(|row| row.contains(with)).unwrap();
    let fields: Vec<&str> = row.split(',').collect();
    let value: f64 = fields[7].parse().unwrap();
    Claim {
        value,
        low: fields[8].parse().unwrap_or(value),
        high: fields[9].parse().unwrap_or(value),
    }
}

/// Of each fresh pair, how many keypoints a model finds at the slot where it found most of the demo's (PCK@0.1), and how
/// many there are.
fn keypoints(demo: &Path, pairs: &Path, model: &Value) -> Vec<[f64; 2]> {
    let name = model["model"].as_str().unwrap();
    let of = |slot: &Value| slot["pck"].as_f64().unwrap();
    let slots = model["pck"].as_array().unwrap().iter();
    let best = slots.max_by(|a, b| of(a).total_cmp(&of(b))).unwrap();
    let (facet, layer) = (best["facet"].as_str().unwrap(), best["layer"].to_string());
    let out = demo.join(format!("{name}-correspond-fresh"));
    let path = demo.join("models").join(format!("{name}.toml"));
    let data = format!("spair71k:{}", pairs.display());
    let [path, run_dir] = [&path, &out].map(|path| path.to_str().unwrap());
    succeed(run(&[
        "correspond",
        "--quiet",
        path,
        "--data",
        &data,
        "--out",
        run_dir,
        "--size",
        "128",
        "--fit",
        "stretch",
        "--facets",
        facet,
        "--layers",
        &layer,
    ]));
    let file = out.join("pairs.safetensors");
    let ((_, truth), (_, sides)) = (floats(&file, "true"), floats(&file, "side"));
    let (_, numbers) = tensor(&file, "pair");
    let (numbers, _) = numbers.as_chunks::<4>();
    let mut found = vec![[0.0; 2]; FRESH_PAIRS];
    for (point, at) in matches(&out, &format!("{facet}.{layer}"))
        .into_iter()
        .enumerate()
    {
        let off = [0, 1].map(|axis| f64::from(at[axis]) - f64::from(truth[2 * point + axis]));
        let pair = &mut found[u32::from_le_bytes(numbers[point]) as usize];
        pair[0] += f64::from(off[0].hypot(off[1]) <= 0.1 * f64::from(sides[point]));
        pair[1] += 1.0;
    }
    let told = row(&out, ",pck,").value;
    let value = share(&found, &mut (0..FRESH_PAIRS));
    assert!(
        (value - told).abs() < 1e-9,
        "matches say {value}, the run {told}"
    );
    found
}

/// The share of keypoints that is found, of these pairs.
fn share(found: &[[f64; 2]], pairs: &mut dyn Iterator<Item = usize>) -> f64 {
    let [mut hits, mut points] = [0.0; 2];
    for pair in pairs {
        hits += found[pair][0];
        points += found[pair][1];
    }
    hits / points
}

fn demo(out: &Path) -> Command {
    let mut demo = command();
    demo.args(["demo", "--quiet", "--out"]).arg(out);
    demo
}

/// Begins a demo where another was killed when the folder was as it is now: it takes away all that is there before it
/// draws anything, so it ends as one in a new folder does.
fn begins_anew(out: &Path, change: usize) {
    let dir = tempfile::tempdir_in(out.parent().unwrap()).unwrap();
    let killed = dir.path().join("demo");
    as_a_kill_would_leave(out, &killed);
    // Taking away is at most two changes for each of its fourteen names, and two more for noting one. To begin takes ten,
    // and what is drawn then is drawn for nothing.
    let mut again = demo(&killed);
    let died = again.env("VITSCOPE_TEST_DIE_AT", "44").output().unwrap();
    assert!(!died.status.success(), "{change}");
    let left = std::fs::read_dir(&killed)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let (drawn, others): (Vec<_>, Vec<_>) = left
        .filter(|path| !path.ends_with(".vitscope"))
        .partition(|path| path.join("folder").is_dir());
    assert_eq!((drawn.len(), others), (1, Vec::new()), "{change}");
    // What it was drawing when it died is its own: there is no more than it can have drawn.
    let scenes = walk(&drawn[0]);
    assert!((1..=44).contains(&scenes), "{change}: {scenes}");
}

/// How many files are in a folder and below.
fn walk(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap();
    let count = |path: PathBuf| if path.is_dir() { walk(&path) } else { 1 };
    entries.map(|entry| count(entry.unwrap().path())).sum()
}

#[test]
fn the_papers_finding_shows_in_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let mut whole = demo(&out);
    whole.args(["--format", "json"]);
    let (told, states) = paused(&mut whole, 257, |change| begins_anew(&out, change));
    println!("{states} states of a demo begun anew");
    assert!(states > 5, "{states}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(left_over(&out), Vec::<PathBuf>::new());
    let models = told["models"].as_array().unwrap();
    let names: Vec<&str> = models
        .iter()
        .map(|m| m["model"].as_str().unwrap())
        .collect();
    assert_eq!(names, NAMES);
    for model in models {
        assert!(Path::new(model["page"].as_str().unwrap()).is_file());
        assert_eq!(model["slots"].as_array().unwrap().len(), 24);
        assert_eq!(model["locality"].as_array().unwrap().len(), 6);
        assert_eq!(model["pck"].as_array().unwrap().len(), 24);
    }

    let fresh = folder.path().join("fresh");
    Scenes {
        seed: 1,
        bias: 0.0,
        train: 320,
        test: 128,
    }
    .write(&fresh)
    .unwrap();
    let mut position = Vec::new();
    let mut meaning = Vec::new();
    let mut truth = None;
    for (model, name) in models.iter().zip(NAMES) {
        let keys = probed(
            &out,
            &fresh,
            name,
            "key",
            &layer(model, "key", "nmi_excess"),
        );
        position.push(row(&keys, ",key,nmi_excess,"));
        truth = Some(row(&keys, ",ground_truth,nmi_excess,"));
        let at = layer(model, "token", "miou");
        let tokens = probed(&out, &fresh, name, "token", &at);
        meaning.push(token_miou(&tokens, &fresh, &at));
    }
    for (name, (position, meaning)) in NAMES.iter().zip(position.iter().zip(&meaning)) {
        println!("{name}: key NMI beyond chance {position:.3?}, token mIoU {meaning:.3?}");
    }
    claims(&position, &meaning, truth.unwrap());

    let pairs = folder.path().join("fresh-pairs");
    write_pairs(&pairs, 1, FRESH_PAIRS).unwrap();
    let found: Vec<_> = models
        .iter()
        .map(|model| keypoints(&out, &pairs, model))
        .collect();
    for (name, found) in NAMES.iter().zip(&found) {
        let claim = bootstrap(FRESH_PAIRS, |pairs| share(found, pairs));
        println!("{name}: keypoints found {claim:.3?}");
    }
    // Keypoints: the contrastive model finds more of them than the others, pair by pair.
    let [masked, contrastive, distilled] = [0, 1, 2];
    for other in [masked, distilled] {
        let more = bootstrap(FRESH_PAIRS, |pairs| {
            let pairs: Vec<usize> = pairs.collect();
            let of = |model: usize| share(&found[model], &mut pairs.iter().copied());
            of(contrastive) - of(other)
        });
        println!(
            "the contrastive model, more than the {} one: {more:.3?}",
            NAMES[other]
        );
        assert!(more.low > 0.0);
    }
}

/// Pairs on which claims about keypoints are measured.
const FRESH_PAIRS: usize = 300;

/// The models in the demo's order.
const NAMES: [&str; 3] = ["masked", "contrastive", "distilled"];

/// Asserts what the demo is for, each from the intervals of [`NAMES`] in their order.
fn claims(position: &[Claim], meaning: &[Claim], truth: Claim) {
    let [masked, contrastive, distilled] = [0, 1, 2];
    // Position: in the keys of the masked and the distilled model, far beyond the scenes' own and beyond
    // the contrastive model's.
    for model in [masked, distilled] {
        assert!(position[model].low > truth.high);
        assert!(position[model].low > position[contrastive].high);
        assert!(position[model].value > 5.0 * position[contrastive].value.max(0.0));
    }
    // Meaning: in the tokens of the contrastive and the distilled model, beyond what colors give; none in the masked
    // model's.
    for model in [contrastive, distilled] {
        assert!(meaning[model].low > meaning[masked].high);
        assert!(meaning[model].low > 1.5 * COLORS);
    }
}
