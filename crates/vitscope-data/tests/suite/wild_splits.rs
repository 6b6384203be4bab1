//! Splits beside each other: masks with one code in training and another in test, and test images that are
//! training images. Each stands beside its plain form, which raises no doubt.

use std::fs;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use image::{DynamicImage, GrayImage, Luma, RgbImage};
use vitscope_data::{DataSet, Evidence, Geometry, Split};

use crate::wild::{SIDE, save, scene};

/// A set of training and test scenes whose masks hold a sky, a ground and a disc: ids 0, 1 and 2 as
/// `coded` gives them for training (false) and test (true).
fn set(root: &Path, counts: [u32; 2], coded: impl Fn(bool, u8) -> u8) {
    for (split, first, count, is_test) in [
        ("train", 0, counts[0], false),
        ("test", 100, counts[1], true),
    ] {
        for seed in first..first + count {
            let (mut image, disc) = scene(SIDE, SIDE, seed);
            // The scenes come again, and images of both splits must differ: a mark of its own in each.
            mark(&mut image, seed);
            let mask = GrayImage::from_fn(SIDE, SIDE, |x, y| {
                let ground = u8::from(y > 40 + seed % 7);
                Luma([coded(
                    is_test,
                    if disc.get_pixel(x, y)[0] == 1 {
                        2
                    } else {
                        ground
                    },
                )])
            });
            save(
                &image.into(),
                &root.join(format!("{split}/images/{seed}.png")),
            );
            let mask = DynamicImage::from(mask);
            save(&mask, &root.join(format!("{split}/masks/{seed}.png")));
        }
    }
}

/// Turns a few pixels, at a place that no other number has, black or white.
fn mark(image: &mut RgbImage, seed: u32) {
    let (left, top) = (4 * (seed % 16), 4 * (seed / 16 % 16));
    for (x, y) in (0..16).map(|at| (left + at % 4, top + at / 4)) {
        let pixel = image.get_pixel_mut(x, y);
        pixel.0 = pixel.0.map(|value| if value < 128 { 255 } else { 0 });
    }
}

/// The evidence of all files.
fn summed(set: &DataSet) -> Evidence {
    let mut evidence = Evidence::default();
    for split in [Split::Test, Split::Train] {
        for item in set.split(split) {
            let examined = set.examine(item, &Geometry { size: 32 });
            evidence.add(split, item, examined.facts, &examined.pixels);
        }
    }
    evidence.compare_images(set, usize::MAX);
    evidence
}

/// What is doubted of a set in two splits, by every file and by the sample.
fn doubts(root: &Path) -> Vec<(&'static str, String)> {
    let set = DataSet::open(root.to_str().unwrap()).unwrap();
    let all = summed(&set).doubts(&set);
    assert_eq!(set.doubts(), all, "the sample is the whole set here");
    all.into_iter()
        .map(|doubt| (doubt.sort, doubt.text))
        .collect()
}

#[track_caller]
fn assert_recoded(counts: [u32; 2], coded: impl Fn(bool, u8) -> u8, words: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("set");
    set(&root, counts, coded);
    let said = doubts(&root);
    let text = said
        .iter()
        .find(|doubt| doubt.0 == "splits coded differently");
    match text {
        None if words.is_empty() => assert!(said.is_empty(), "{said:?}"),
        None => panic!("{said:?}"),
        Some((_, text)) => {
            assert!(!words.is_empty() && text.ends_with('.'), "{text}");
            for word in words {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
    }
}

#[test]
fn masks_that_are_coded_differently_in_the_splits_are_doubted() {
    for counts in [[12, 8], [4, 4], [40, 3]] {
        assert_recoded(counts, |_, id| id, &[]);
        assert_recoded(
            counts,
            |test, id| id + u8::from(test),
            &[
                "hold the id 0 and no test mask does",
                "hold the id 3 and no training mask does",
                "with 1 taken from",
                "'mask - 1'",
            ],
        );
        assert_recoded(
            counts,
            |test, id| id + u8::from(!test),
            &["with 1 added to", "'mask + 1'"],
        );
        // Scaled for viewing in one split: the values between lie in neither.
        let words = [
            "the id 127 for the id 1, the id 254 for the id 2",
            "'ids = [1, 127]'",
        ];
        assert_recoded(counts, |test, id| if test { 127 * id } else { id }, &words);
    }
    // White is the foreground of one split, and counts nowhere.
    let foreground = |id: u8| u8::from(id == 2);
    let words = [
        "the id 255 for the id 1",
        "'ignore = []'",
        "'ids = [1, 255]'",
    ];
    let white = |is_white: bool, id: u8| if is_white { 255 * id } else { id };
    assert_recoded([12, 8], |test, id| white(test, foreground(id)), &words);
    let words = ["the id 1 for the id 255", "'ids = [1, 255]'"];
    assert_recoded([12, 8], |test, id| white(!test, foreground(id)), &words);
    // Foreground and background in each other's place: the same ids.
    let words = ["differ by", "the id 1 for the id 0, the id 0 for the id 1"];
    assert_recoded([12, 8], |test, id| foreground(id) ^ u8::from(test), &words);
    // Ground and disc in each other's place, of about the same size: only their looks tell.
    let words = [
        "by mean color and height",
        "'1' like '2' of test",
        "'2' like '1' of test",
    ];
    let swapped = |test: bool, id: u8| if test && id > 0 { 3 - id } else { id };
    assert_recoded([12, 8], swapped, &words);
    // White at borders in one split alone is no code.
    assert_recoded(
        [12, 8],
        |test, id| if test && id == 2 { 2 } else { id.min(1) },
        &[],
    );
}

#[test]
fn a_description_that_names_both_ids_is_taken_at_its_word() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("set");
    set(&root, [6, 6], |test, id| {
        if test {
            255 * u8::from(id == 2)
        } else {
            u8::from(id == 2)
        }
    });
    let toml = folder.path().join("set.toml");
    let text = "root = \"set\"\nignore = []\n\
        train = { images = \"train/images\", masks = \"train/masks\" }\n\
        test = { images = \"test/images\", masks = \"test/masks\" }\n\
        [[classes]]\nname = \"rest\"\nids = [0]\n[[classes]]\nname = \"disc\"\nids = [1, 255]\n";
    fs::write(&toml, text).unwrap();
    let said = doubts(&toml);
    assert!(said.is_empty(), "{said:?}");
    // Which is what a draft says, of this description, too: a class keeps its ids.
    let described = DataSet::open(toml.to_str().unwrap()).unwrap();
    let again = described.draft(&summed(&described), &toml).unwrap();
    assert_eq!(again.matches("[[classes]]").count(), 2, "{again}");
    assert!(again.contains("ids = [1, 255]"), "{again}");
    let set = DataSet::open(root.to_str().unwrap()).unwrap();
    let draft = set.draft(&summed(&set), &toml).unwrap();
    assert!(
        draft.contains("ignore = []") && draft.contains("ids = [1, 255]"),
        "{draft}"
    );
    fs::write(&toml, draft).unwrap();
    assert!(doubts(&toml).is_empty(), "{:?}", doubts(&toml));
}

#[test]
fn test_images_that_are_training_images_are_counted_whatever_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("set");
    set(&root, [6, 6], |_, id| id);
    assert!(doubts(&root).is_empty());
    // Of one size, and unlike.
    for (from, to) in [(0, 103), (4, 105)] {
        let image = |split: &str, number: u32| root.join(format!("{split}/images/{number}.png"));
        fs::copy(image("train", from), image("test", to)).unwrap();
    }
    let said = doubts(&root);
    let shared = said.iter().find(|doubt| doubt.0 == "shared images");
    let text = &shared.unwrap_or_else(|| panic!("{said:?}")).1;
    for word in [
        "2 of 6 test images",
        "0 by name and 2 byte for byte",
        "103.png",
        "0.png",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // The lists themselves overlap.
    let toml = folder.path().join("set.toml");
    let text = "root = \"set\"\ntrain = { images = [\"train/images\", \"test/images/100.png\"] }\n\
        test = { images = \"test/images/10[0-2].png\" }\n";
    fs::write(&toml, text).unwrap();
    let said = doubts(&toml);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0]
            .1
            .starts_with("1 of 3 test images are training images too (in both lists)")
    );
}

/// A photograph, made small, and others of its kind: the scene with a mark and grain of its own.
fn grained(seed: u32, shade: i32) -> RgbImage {
    let (mut image, _) = scene(96, 80, seed % 4);
    let mut state = u64::from(seed) + 1;
    for pixel in image.pixels_mut() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let grain = (state >> 58) as i32 - 32 + shade;
        pixel.0 = pixel
            .0
            .map(|value| (i32::from(value) + grain).clamp(0, 255) as u8);
    }
    mark(&mut image, seed);
    image
}

#[test]
fn test_images_that_are_training_images_saved_again_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("set");
    for seed in 0..6 {
        save(
            &grained(seed, 0).into(),
            &root.join(format!("images/train/{seed}.png")),
        );
        save(
            &grained(100 + seed, 0).into(),
            &root.join(format!("images/test/{seed}.png")),
        );
    }
    assert!(doubts(&root).is_empty(), "{:?}", doubts(&root));
    // Another exposure of the same place is no copy.
    save(&grained(2, 12).into(), &root.join("images/test/0.png"));
    assert!(doubts(&root).is_empty(), "{:?}", doubts(&root));
    // As a JPEG under another name, and larger.
    let mut bytes = Vec::new();
    let jpeg = JpegEncoder::new_with_quality(&mut bytes, 75);
    grained(4, 0).write_with_encoder(jpeg).unwrap();
    fs::write(root.join("images/test/other.jpg"), bytes).unwrap();
    let larger = resize(&grained(1, 0), 190, 161, FilterType::CatmullRom);
    save(&larger.into(), &root.join("images/test/1.png"));
    let said = doubts(&root);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(said[0].0, "images saved again");
    for word in ["2 of 7 test images", "6 training images", "1.png and"] {
        assert!(said[0].1.contains(word), "{word}: {said:?}");
    }
    // What is equal byte for byte is not told twice.
    fs::copy(
        root.join("images/train/4.png"),
        root.join("images/test/other.png"),
    )
    .unwrap();
    fs::remove_file(root.join("images/test/other.jpg")).unwrap();
    let sorts: Vec<&str> = doubts(&root).iter().map(|doubt| doubt.0).collect();
    assert_eq!(sorts, ["shared images", "images saved again"]);
}
