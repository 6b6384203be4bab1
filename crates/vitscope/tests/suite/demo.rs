//! `vitscope demo` whole, and the paper's finding in it: on held-out scenes, the masked model's keys follow
//! position, the contrastive model's tokens follow meaning.
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::common::{command, run, succeed};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const CLASSES: usize = 10;

/// mIoU of an embedding that knows nothing but the place, as counted in the calibration.
const CHANCE: f64 = 0.061;

type Confusion = [[f64; CLASSES]; CLASSES];

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

/// The mIoU of a model's best token layer, with a 95 % interval from a bootstrap over the held-out scenes;
/// the clusters stay matched to the classes as they are.
fn token_miou(out: &Path, model: &Value) -> (f64, f64, f64) {
    let name = model["model"].as_str().unwrap();
    let best = model["slots"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|slot| slot["facet"] == "token")
        .max_by(|a, b| {
            a["miou"]
                .as_f64()
                .unwrap()
                .total_cmp(&b["miou"].as_f64().unwrap())
        })
        .unwrap();
    let again = out.join(format!("{name}-labels"));
    succeed(run(&[
        "probe",
        "--quiet",
        out.join("models")
            .join(format!("{name}.toml"))
            .to_str()
            .unwrap(),
        "--data",
        out.join("scenes").to_str().unwrap(),
        "--out",
        again.to_str().unwrap(),
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
        "token",
        "--layers",
        &best["layer"].to_string(),
        "--save-labels",
        "all",
    ]));
    let labels = again
        .join("labels")
        .join(format!("token.{}", best["layer"]));
    let mut files: Vec<_> = std::fs::read_dir(labels)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let images: Vec<Confusion> = files
        .iter()
        .map(|file| {
            let mut confusion = [[0.0; CLASSES]; CLASSES];
            let truth = out
                .join("scenes/masks/test")
                .join(file.file_name().unwrap());
            for (label, class) in samples(file).into_iter().zip(samples(&truth)) {
                confusion[usize::from(label)][usize::from(class)] += 1.0;
            }
            confusion
        })
        .collect();
    let value = miou(images.iter());
    let told = best["miou"].as_f64().unwrap();
    assert!(
        (value - told).abs() < 1e-9,
        "{name}: label maps say {value}, the demo {told}"
    );
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut drawn: Vec<f64> = (0..400)
        .map(|_| miou((0..images.len()).map(|_| &images[rng.random_range(0..images.len())])))
        .collect();
    drawn.sort_by(f64::total_cmp);
    (value, drawn[10], drawn[389])
}

/// The key layer that follows position most: its excess of NMI over chance with its interval.
fn key_excess(model: &Value) -> (f64, f64, f64) {
    let of = |slot: &Value, name: &str| slot[name].as_f64().unwrap();
    let slots = model["slots"].as_array().unwrap();
    let keys = slots.iter().filter(|slot| slot["facet"] == "key");
    let most = keys
        .max_by(|a, b| of(a, "nmi_excess").total_cmp(&of(b, "nmi_excess")))
        .unwrap();
    (
        of(most, "nmi_excess"),
        of(most, "nmi_excess_low"),
        of(most, "nmi_excess_high"),
    )
}

#[test]
fn the_papers_finding_shows_in_the_demo() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let output = command()
        .args([
            "demo",
            "--quiet",
            "--format",
            "json",
            "--out",
            out.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    let told: Value = serde_json::from_str(&succeed(output)).unwrap();
    let [masked, contrastive] = told["models"].as_array().unwrap().as_slice() else {
        panic!("two models: {told}");
    };
    for model in [masked, contrastive] {
        assert!(Path::new(model["page"].as_str().unwrap()).is_file());
        assert_eq!(model["slots"].as_array().unwrap().len(), 24);
        assert_eq!(model["locality"].as_array().unwrap().len(), 6);
        assert_eq!(model["pck"].as_array().unwrap().len(), 24);
    }

    // Position: the masked model's keys, far beyond the contrastive model's and the scenes' own.
    let (position, other) = (key_excess(masked), key_excess(contrastive));
    let rows = std::fs::read_to_string(out.join("masked/metrics.csv")).unwrap();
    let truth: Vec<&str> = rows
        .lines()
        .find(|row| row.contains(",ground_truth,nmi_excess,"))
        .unwrap()
        .split(',')
        .collect();
    let truth_high: f64 = truth[9].parse().unwrap();
    println!(
        "key NMI beyond chance: masked {position:.3?}, contrastive {other:.3?}, truth up to {truth_high:.3}"
    );
    assert!(position.1 > other.2 && position.1 > truth_high);
    assert!(position.0 > 5.0 * other.0.max(0.0));

    // Meaning: the contrastive model's tokens, beyond the masked model's and chance.
    let (meaning, other) = (token_miou(&out, contrastive), token_miou(&out, masked));
    println!("token mIoU: contrastive {meaning:.3?}, masked {other:.3?}");
    assert!(meaning.1 > other.2 && meaning.1 > 2.0 * CHANCE);
}
