//! Passes with edited positions: what must not change does not, to rounding, and what must be equal is.

use std::collections::BTreeMap;

use ndarray::{Array2, Array3, Array4, Axis, concatenate, s};
use vitscope_testkit::fixture;
use vitscope_vit::Vit;
use vitscope_vit::checkpoint::Checkpoint;
use vitscope_vit::config::Precision;
use vitscope_vit::edit::{Codes, Edit, FromPrefix};
use vitscope_vit::error::DeviceError;
use vitscope_vit::facet::{TapKind, Taps};
use vitscope_vit::identify::{Family, Settle};
use vitscope_vit::vit::Tapped;

const KINDS: [TapKind; 4] = [
    TapKind::QueryRotated,
    TapKind::KeyRotated,
    TapKind::Value,
    TapKind::Token,
];

/// All tokens of every layer of one image, `[tokens, D]`, and attention `[heads, tokens, tokens]`.
struct Pass {
    rows: BTreeMap<(usize, TapKind), Array2<f32>>,
    attention: BTreeMap<usize, Array3<f32>>,
}

fn open(name: &str) -> Vit {
    let settle = Settle {
        heads: Some(2),
        family: name.starts_with("dino-").then_some(Family::Dino),
        ..Settle::default()
    };
    let checkpoint = Checkpoint::open(&fixture(name), &settle).unwrap();
    let params = checkpoint.params().unwrap();
    Vit::new(checkpoint.config().clone(), params, Precision::F32).unwrap()
}

fn table() -> Vit {
    open("dino-timm/model.safetensors")
}

/// Rotary, with registers.
fn rotary() -> Vit {
    open("dinov3-timm")
}

fn run(vit: &Vit, image: &Array4<f32>, codes: Codes, from_prefix: FromPrefix) -> Pass {
    let mut taps = Taps::new();
    for layer in 1..=vit.config().depth {
        for kind in KINDS {
            taps.add(layer, kind);
        }
        taps.add(layer, TapKind::Attention);
    }
    let (_, _, height, width) = image.dim();
    let edit = Edit { codes, from_prefix };
    let mut work = vit.workspace_edited([height, width], &edit).unwrap();
    let mut pass = Pass {
        rows: BTreeMap::new(),
        attention: BTreeMap::new(),
    };
    vit.forward(image.view(), &taps, &mut work, |tapped| {
        match tapped {
            Tapped::Rows {
                layer,
                kind,
                prefix,
                patches,
            } => {
                let (prefix, patches) = (prefix.host()?, patches.host()?);
                let all = concatenate(Axis(1), &[prefix.view(), patches.view()]).unwrap();
                pass.rows
                    .insert((layer, kind), all.index_axis(Axis(0), 0).to_owned());
            }
            Tapped::Attention { layer, weights } => {
                let weights = weights.host()?.index_axis(Axis(0), 0).to_owned();
                pass.attention.insert(layer, weights);
            }
        }
        Ok::<(), DeviceError>(())
    })
    .unwrap();
    pass
}

/// An image of `rows x columns` patches.
fn image(vit: &Vit, rows: usize, columns: usize) -> Array4<f32> {
    let patch = vit.config().patch;
    Array4::from_shape_fn((1, 3, rows * patch, columns * patch), |(_, c, y, x)| {
        ((c * 7 + y * 13 + x * 5) as f32 * 0.37).sin() + ((y / 3 * x) as f32 * 0.11).cos()
    })
}

fn blank(vit: &Vit) -> Array4<f32> {
    image(vit, 4, 5) * 0.0 + 0.3
}

/// The largest difference, relative to the largest magnitude.
fn apart(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    let largest = a.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max) / largest
}

/// The largest difference of any patch's row to the first patch's, relative.
fn spread(rows: &Array2<f32>, prefix: usize) -> f32 {
    let patches = rows.slice(s![prefix.., ..]).to_owned();
    let first = patches.slice(s![..1, ..]).to_owned();
    apart(
        &patches,
        &first.broadcast(patches.dim()).unwrap().to_owned(),
    )
}

/// Logits of a layer's heads one above the other.
fn logits(pass: &Pass, vit: &Vit, layer: usize) -> Array2<f32> {
    let width = vit.config().head_width();
    let heads = (0..vit.config().heads).map(|head| {
        let part = s![.., head * width..(head + 1) * width];
        let queries = pass.rows[&(layer, TapKind::QueryRotated)].slice(part);
        queries.dot(&pass.rows[&(layer, TapKind::KeyRotated)].slice(part).t())
    });
    let heads: Vec<Array2<f32>> = heads.collect();
    let views: Vec<_> = heads.iter().map(|head| head.view()).collect();
    concatenate(Axis(0), &views).unwrap()
}

#[test]
fn moving_all_coordinates_moves_no_logit_between_patches() {
    let vit = rotary();
    let (prefix, photo) = (vit.config().prefix(), image(&vit, 4, 5));
    let moved = || Codes::Moved([2.5, -1.0]);
    let own = run(&vit, &photo, Codes::Own, FromPrefix::Own);
    let other = run(&vit, &photo, moved(), FromPrefix::Own);
    let tokens = prefix + 20;
    let part = |pass: &Pass, patches: bool| {
        let all = logits(pass, &vit, 1);
        let row = |index: &usize| index % tokens >= prefix;
        let rows: Vec<usize> = (0..all.nrows()).filter(row).collect();
        let columns = if patches { prefix..tokens } else { 0..prefix };
        all.select(Axis(0), &rows).slice(s![.., columns]).to_owned()
    };
    assert!(apart(&part(&own, true), &part(&other, true)) < 1e-5);
    assert!(apart(&part(&own, false), &part(&other, false)) > 1e-3);
    // Without attention to the tokens that are not rotated, nothing is left in any layer that a shift could change.
    let own = run(&vit, &photo, Codes::Own, FromPrefix::Cut);
    let other = run(&vit, &photo, moved(), FromPrefix::Cut);
    for layer in 1..=vit.config().depth {
        let patches = |pass: &Pass| {
            let tokens = &pass.rows[&(layer, TapKind::Token)];
            tokens.slice(s![prefix.., ..]).to_owned()
        };
        assert!(apart(&patches(&own), &patches(&other)) < 1e-5);
    }
}

#[test]
fn patches_of_a_blank_image_are_equal_once_they_are_cut_off() {
    let vit = rotary();
    let (prefix, photo) = (vit.config().prefix(), blank(&vit));
    let last = (vit.config().depth, TapKind::Token);
    let own = run(&vit, &photo, Codes::Own, FromPrefix::Own);
    assert!(spread(&own.rows[&last], prefix) > 1e-4);
    for edit in [FromPrefix::Cut, FromPrefix::Mean] {
        let pass = run(&vit, &photo, Codes::Own, edit);
        for rows in pass.rows.iter().filter(|(key, _)| {
            // Rotation itself tells places apart.
            matches!(key.1, TapKind::Value | TapKind::Token)
        }) {
            assert!(spread(rows.1, prefix) < 1e-5, "{edit:?} {:?}", rows.0);
        }
    }
    // A table's mean is the same code for every patch.
    let vit = table();
    let photo = blank(&vit);
    let own = run(&vit, &photo, Codes::Own, FromPrefix::Own);
    let mean = run(&vit, &photo, Codes::Mean, FromPrefix::Own);
    let last = (vit.config().depth, TapKind::Token);
    assert!(spread(&own.rows[&last], 1) > 1e-3 && spread(&mean.rows[&last], 1) < 1e-5);
    // And so is the middle of the image for every coordinate.
    let vit = rotary();
    let mean = run(&vit, &photo, Codes::Mean, FromPrefix::Own);
    let last = (vit.config().depth, TapKind::Token);
    assert!(spread(&mean.rows[&last], prefix) < 1e-5);
}

/// Attention by its definition, in f64, from the queries, keys and values that were handed out.
#[test]
fn cut_attention_is_a_softmax_over_patches() {
    for vit in [table(), rotary()] {
        let (prefix, photo) = (vit.config().prefix(), image(&vit, 4, 5));
        let tokens = prefix + 20;
        let own = run(&vit, &photo, Codes::Own, FromPrefix::Own);
        for edit in [FromPrefix::Cut, FromPrefix::Mean] {
            let pass = run(&vit, &photo, Codes::Own, edit);
            let all = logits(&pass, &vit, 1);
            let scale = (vit.config().head_width() as f32).sqrt();
            for head in 0..vit.config().heads {
                let softmax = |query: usize, from: usize| {
                    let row = all.row(head * tokens + query);
                    let row = row.iter().map(|&logit| f64::from(logit / scale).exp());
                    let row: Vec<f64> = row.skip(from).collect();
                    let sum: f64 = row.iter().sum();
                    row.into_iter()
                        .map(|weight| weight / sum)
                        .collect::<Vec<_>>()
                };
                let mut mean = vec![0.0; prefix];
                for query in prefix..tokens {
                    for (mean, weight) in mean.iter_mut().zip(softmax(query, 0)) {
                        *mean += weight / 20.0;
                    }
                }
                let given = if edit == FromPrefix::Mean { 1.0 } else { 0.0 };
                let rest = 1.0 - given * mean.iter().sum::<f64>();
                for query in 0..tokens {
                    let expected: Vec<f64> = match query < prefix {
                        true => softmax(query, 0),
                        false => {
                            let before = mean.iter().map(|weight| given * weight);
                            let patches = softmax(query, prefix);
                            before.chain(patches.iter().map(|w| rest * w)).collect()
                        }
                    };
                    let found = pass.attention[&1].slice(s![head, query, ..]);
                    for (found, expected) in found.iter().zip(&expected) {
                        assert!((f64::from(*found) - expected).abs() < 1e-5, "{edit:?}");
                    }
                }
            }
            // What goes on is what those weights give, and no longer the model's own.
            let key = (1, TapKind::Token);
            assert!(apart(&own.rows[&key], &pass.rows[&key]) > 1e-4);
            let key = (2, TapKind::Value);
            let class = |pass: &Pass| pass.rows[&key].slice(s![..1, ..]).to_owned();
            assert!(apart(&class(&own), &class(&pass)) < 1e-5);
        }
    }
}

/// A model knows nothing of patches but their content and their code: both carried to other places carry the outputs
/// along.
#[test]
fn content_and_code_together_are_all_that_a_place_is() {
    for vit in [table(), rotary()] {
        let (prefix, patch) = (vit.config().prefix(), vit.config().patch);
        let (rows, columns) = (4, 5);
        let photo = image(&vit, rows, columns);
        let places: Vec<usize> = (0..20).map(|p| (p * 7 + 3) % 20).collect();
        let mut carried = photo.clone();
        for (to, &from) in places.iter().enumerate() {
            let part = |p: usize| {
                let (y, x) = (p / columns * patch, p % columns * patch);
                s![.., .., y..y + patch, x..x + patch]
            };
            carried.slice_mut(part(to)).assign(&photo.slice(part(from)));
        }
        let own = run(&vit, &photo, Codes::Own, FromPrefix::Own);
        let other = run(&vit, &carried, Codes::Of(places.clone()), FromPrefix::Own);
        let alone = run(&vit, &carried, Codes::Own, FromPrefix::Own);
        for layer in 1..=vit.config().depth {
            let key = (layer, TapKind::Token);
            let patches = |pass: &Pass| pass.rows[&key].slice(s![prefix.., ..]).to_owned();
            let expected = patches(&own).select(Axis(0), &places);
            assert!(apart(&expected, &patches(&other)) < 1e-5);
            assert!(apart(&expected, &patches(&alone)) > 1e-4);
        }
    }
}

#[test]
fn codes_of_other_patches_than_there_are_are_refused() {
    let vit = table();
    for places in [vec![0; 19], vec![20; 20]] {
        let edit = Edit {
            codes: Codes::Of(places),
            ..Edit::default()
        };
        let side = vit.config().patch;
        let error = vit
            .workspace_edited([4 * side, 5 * side], &edit)
            .unwrap_err();
        assert!(error.to_string().contains("20 patches"), "{error}");
    }
}
