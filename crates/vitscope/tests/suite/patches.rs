//! What a run keeps of patches for its page, against the facets that `extract` writes.

use crate::common::{extracted, floats, probe, succeed};
use safetensors::SafeTensors;

/// Example images of nine test images, of which three are examples.
const EXAMPLES: [usize; 3] = [0, 3, 6];

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product = |a: &[f32], b: &[f32]| -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    };
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

#[test]
fn cosines_of_kept_patches_are_those_of_extracted_facets() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    succeed(probe(
        &run,
        &[
            "--layers",
            "2,3",
            "--facets",
            "key,token",
            "--select",
            "layer:3",
        ],
    ));
    let features = extracted(dir.path(), &EXAMPLES);
    let bytes = std::fs::read(run.join("patches.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), 2 * 3);
    for slot in ["key.3", "token.3"] {
        let (shape, values) = floats(&features, slot);
        let [images, patches, dim] = [shape[0], shape[1] * shape[2], shape[3]];
        let stored = file.tensor(&format!("patches.{slot}")).unwrap();
        assert_eq!(stored.shape()[..2], [3, 16]);
        let width = stored.shape()[2];
        assert!(width <= dim, "{width}");
        let codes: Vec<f32> = stored
            .data()
            .iter()
            .map(|&b| f32::from(b.cast_signed()))
            .collect();
        let number = |what: &str| {
            let stored = file.tensor(&format!("{what}.{slot}")).unwrap();
            f64::from_le_bytes(stored.data().try_into().unwrap())
        };
        let (rest, error) = (number("patch_rest"), number("patch_error"));
        let product = |a: usize, b: usize| {
            let [p, q] = [a, b].map(|at| &codes[at * width..(at + 1) * width]);
            let sum: f64 = p.iter().zip(q).map(|(&p, &q)| f64::from(p * q)).sum();
            sum / 32.0_f64.powi(2)
        };
        let (mut squares, mut pairs, mut most) = (0.0, 0.0, 0.0_f64);
        for a in 0..images * patches {
            for b in 0..images * patches {
                let whole = [a, b].map(|at| &values[at * dim..(at + 1) * dim]);
                let [own, other] = [product(a, a), product(b, b)];
                let outside = (1.0 - own).max(0.0) * (1.0 - other).max(0.0);
                let alike = product(a, b) / (own * other).sqrt();
                let found = product(a, b) + rest * outside.sqrt() * alike.powi(3);
                let error = found - cosine(whole[0], whole[1]);
                most = most.max(error.abs());
                if a / patches == b / patches && a != b {
                    squares += error.powi(2);
                    pairs += 1.0;
                }
            }
        }
        // All sixteen patches of an image are looked at, and sixteen numbers a patch leave nothing but rounding (at most 2 x 4 / 64).
        assert!(
            (error - (squares / pairs).sqrt()).abs() < 1e-6,
            "{slot} {error}"
        );
        assert!(most < 0.1, "{slot} {most}");
    }
    let none = dir.path().join("none");
    succeed(probe(&none, &["--save-labels", "none"]));
    assert!(!none.join("patches.safetensors").exists());
}
