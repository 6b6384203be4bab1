//! What a desk answers, against the features that `extract` writes.

use std::path::Path;

use ndarray::{Array3, ArrayView1, Axis};
use vitscope_data::{DataSet, Split};
use vitscope_run::{Facet, Slot};
use vitscope_study::extract::{Cut, Extraction, extract_data};
use vitscope_study::features::FeatureDir;
use vitscope_study::layers::Layers;
use vitscope_study::observer::Silent;
use vitscope_study::settings::Side;
use vitscope_testkit::{fixture, scenes};
use vitscope_view::{Desk, MOST_PICTURES, Pane, SlotReading, ViewError, png_of};
use vitscope_vit::identify::{Family, Settle};

const SIZE: usize = 64;

fn settled() -> Settle {
    Settle {
        family: Some(Family::Dino),
        heads: Some(2),
        ..Settle::default()
    }
}

fn data() -> DataSet {
    DataSet::open(&format!("folder:{}", scenes::photographs().display())).unwrap()
}

fn pane(model: &Path, settle: Settle) -> Pane {
    Pane::of_model(model, settle, SIZE).unwrap()
}

fn plain() -> Pane {
    pane(&fixture("dino-timm/model.safetensors"), settled())
}

fn look(slot: &str, token_norm: Side, rope: Side) -> SlotReading {
    SlotReading {
        slot: slot.parse().unwrap(),
        token_norm,
        rope,
    }
}

/// School's cosine, in f64.
fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    let dot = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    };
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

/// Compares a model's cosines with those of its extracted features; gives the largest difference.
fn farthest(model: &Path, settle: &Settle, sides: (Side, Side)) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let data = data();
    let what = Extraction {
        model: model.to_owned(),
        settle: settle.clone(),
        layers: Layers::All,
        facets: Facet::ALL.to_vec(),
        token_norm: sides.0,
        rope: sides.1,
        transform_from: None,
        half: false,
        out: dir.path().join("features"),
    };
    let cut = Cut {
        size: SIZE,
        limit_train: Some(3),
        limit_test: Some(3),
    };
    extract_data(&what, &data, cut, &mut Silent).unwrap();
    let mut features = FeatureDir::open(&what.out).unwrap();

    let names: Vec<String> = data
        .test
        .iter()
        .take(3)
        .map(|item| item.name.clone())
        .collect();
    let mut desk = Desk::new(vec![pane(model, settle.clone())], Some(data));
    let ids: Vec<usize> = names
        .iter()
        .map(|name| desk.pick(name).unwrap().id)
        .collect();
    let mut farthest = 0.0_f64;
    for slot in features.slots() {
        let mut rows = Array3::zeros((0, 0, 0));
        features
            .read(Split::Test, slot, &[0, 1, 2], &mut rows)
            .unwrap();
        let look = SlotReading {
            slot,
            token_norm: sides.0,
            rope: sides.1,
        };
        let patch = 5;
        let maps = desk.cosines(0, &look, ids[1], patch).unwrap();
        let own = rows.index_axis(Axis(0), 1);
        for (image, map) in maps.iter().enumerate() {
            assert_eq!(map.picture, ids[image]);
            let rows = rows.index_axis(Axis(0), image);
            assert_eq!(map.values.len(), rows.nrows());
            for (row, value) in rows.rows().into_iter().zip(&map.values) {
                farthest =
                    farthest.max((cosine(own.row(patch), row) - f64::from(value.unwrap())).abs());
            }
        }
        assert_eq!(maps[1].values[patch], Some(1.0));
    }
    farthest
}

#[test]
fn cosines_are_those_of_extracted_features() {
    let model = fixture("dino-timm/model.safetensors");
    for side in [Side::After, Side::Before] {
        let farthest = farthest(&model, &settled(), (side, Side::Before));
        assert!(farthest < 1e-6, "{farthest:e}");
    }
    let rotary = fixture("dinov3-timm/model.safetensors");
    for side in [Side::After, Side::Before] {
        let farthest = farthest(&rotary, &Settle::default(), (Side::After, side));
        assert!(farthest < 1e-6, "{farthest:e}");
    }
}

#[test]
fn a_dropped_file_is_what_a_picked_one_is() {
    let data = data();
    let (name, file) = (data.test[2].name.clone(), data.test[2].image.clone());
    let mut desk = Desk::new(vec![plain(), plain()], Some(data));
    let picked = desk.pick(&name).unwrap();
    assert_eq!(desk.pick(&name).unwrap(), picked, "it is there once");
    let dropped = desk.add("mine.png", &std::fs::read(file).unwrap()).unwrap();
    let key = look("key.2", Side::After, Side::Before);
    let maps = desk.cosines(1, &key, dropped.id, 3).unwrap();
    assert_eq!(maps[0].values, maps[1].values);
    let crops = [picked.id, dropped.id].map(|id| png_of(&desk.crop(0, id).unwrap()).unwrap());
    assert_eq!(crops[0], crops[1]);
    desk.close(picked.id).unwrap();
    assert_eq!(desk.cosines(0, &key, dropped.id, 3).unwrap().len(), 1);
    assert!(desk.cosines(0, &key, picked.id, 3).is_err());
}

/// The correlation of two lists.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (of_a, of_b) = (mean(a), mean(b));
    let sum = |a: &[f64], b: &[f64], of_a: f64, of_b: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - of_a) * (b - of_b)).sum()
    };
    sum(a, b, of_a, of_b) / (sum(a, a, of_a, of_a) * sum(b, b, of_b, of_b)).sqrt()
}

#[test]
fn colors_are_those_of_the_data_set_and_do_not_turn_over_between_layers() {
    // All twelve images, which are then those of the fit.
    let set = data();
    let mut desk = Desk::new(vec![plain()], Some(data()));
    desk.pick_some(MOST_PICTURES).unwrap();
    assert!(desk.pick(&set.test[0].name).is_ok() && desk.add("more.png", b"").is_err());
    for facet in Facet::ALL {
        let mut before: Option<Vec<Vec<f64>>> = None;
        for layer in 1..=3 {
            let look = SlotReading {
                slot: Slot { facet, layer },
                token_norm: Side::After,
                rope: Side::Before,
            };
            let colors = desk.colors(0, &look).unwrap();
            assert_eq!(colors.fitted, "fitted on 12 images of the data set");
            assert!(
                colors.shares.windows(2).all(|pair| pair[0] >= pair[1]),
                "{:?}",
                colors.shares
            );
            let all = colors.maps.iter().flat_map(|map| &map.colors);
            let channel =
                |channel: usize| all.clone().map(|color| f64::from(color[channel])).collect();
            let channels: Vec<Vec<f64>> = (0..3).map(channel).collect();
            for (at, own) in channels.iter().enumerate() {
                let guide = before.as_ref().map(|before| before[at].as_slice());
                // Colors are cut at both ends, so a correlation near 0 may fall a little below it.
                let agrees = guide.is_none_or(|guide| correlation(own, guide) > -0.1);
                assert!(agrees, "{facet}.{layer}, component {at}");
            }
            before = Some(channels);
        }
    }
    // They do not depend on what else lies on the desk.
    let key = look("key.3", Side::After, Side::Before);
    let full = desk.colors(0, &key).unwrap();
    let mut alone = Desk::new(vec![plain()], Some(data()));
    alone.pick(&set.test[4].name).unwrap();
    assert_eq!(
        alone.colors(0, &key).unwrap().maps[0].colors,
        full.maps[4].colors
    );
    // Without a data set they are fitted on what is open, and say so.
    let mut bare = Desk::new(vec![plain()], None);
    bare.add("a.png", &std::fs::read(&set.test[0].image).unwrap())
        .unwrap();
    assert_eq!(
        bare.colors(0, &key).unwrap().fitted,
        "fitted on the 1 open images"
    );
}

fn sentence<T: std::fmt::Debug>(result: Result<T, ViewError>, part: &str) {
    let text = result.unwrap_err().to_string();
    assert!(text.contains(part) && text.lines().count() == 1, "{text}");
}

/// A PNG that says it has `side` x `side` pixels, and holds almost nothing.
fn bomb(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Rgb);
    encoder
        .write_header()
        .unwrap()
        .write_chunk(png::chunk::IDAT, &[120, 156, 3, 0, 0, 0, 0, 1])
        .unwrap();
    bytes
}

#[test]
#[cfg(unix)]
fn a_name_with_hidden_letters_is_shown_with_them_and_found_by_either() {
    let dir = tempfile::tempdir().unwrap();
    let source = data();
    let file = source.test[0].image.clone();
    let odd = "a\u{202e}\u{2028}\u{9b}.png";
    std::fs::copy(&file, dir.path().join(odd)).unwrap();
    let data = DataSet::open(&format!("folder:{}", dir.path().display())).unwrap();
    let name = data.test[0].name.clone();
    assert!(name.contains('\u{202e}'), "{name:?}");
    let mut desk = Desk::new(vec![plain()], Some(data));
    let about = serde_json::to_value(desk.about()).unwrap();
    let shown = about["names"][0].as_str().unwrap().to_owned();
    assert!(shown.contains("a\\u{202e}\\u{2028}\\u{9b}"), "{shown:?}");
    let picked = desk.pick(&shown).unwrap();
    assert_eq!(picked.name, shown);
    assert_eq!(desk.pick(&name).unwrap().id, picked.id);
    assert_eq!(desk.pick(&shown).unwrap().id, picked.id);
    // What the page gets of anything else that holds them.
    let refused = vitscope_view::Answer::refusal(404, "a\u{202e}b");
    let body = String::from_utf8(refused.body).unwrap();
    assert_eq!(body, "{\"error\":\"a\\\\u{202e}b\"}");
}

#[test]
fn what_cannot_be_shown_is_said_in_a_sentence() {
    let mut desk = Desk::new(vec![plain()], None);
    sentence(desk.add("note.txt", b"not an image"), "note.txt");
    sentence(desk.add("empty.png", b""), "empty.png");
    sentence(
        desk.add("bomb.png", &bomb(100_000)),
        "at most 268,435,456 pixels",
    );
    sentence(desk.add("cut.png", &bomb(40)), "cut.png");
    sentence(desk.pick("../../etc/passwd"), "no image of that name");
    let file = &data().test[0].image;
    let one = desk.add("a.png", &std::fs::read(file).unwrap()).unwrap().id;
    let key = look("key.1", Side::After, Side::Before);
    sentence(
        desk.cosines(0, &look("key.4", Side::After, Side::Before), one, 0),
        "layers 1 to 3",
    );
    sentence(desk.cosines(0, &key, one, 10_000), "patches, from 0");
    sentence(desk.cosines(7, &key, one, 0), "no model 7");
    sentence(desk.cosines(0, &key, 99, 0), "image 99 is not open");
    sentence(desk.clusters(0, &key), "no codebook of key.1");
    sentence(Pane::of_run(Path::new("nowhere")), "nowhere");
}
