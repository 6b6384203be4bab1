//! Masks that do not belong where they lie, that number objects, or whose names say half: each beside its
//! plain form, which raises no doubt.

use std::fs;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, RgbImage, imageops};
use vitscope_data::DataSet;

use crate::wild::{
    SIDE, assert_doubt, assert_plain, case, drafted, ids, save, scene, set_of, usual,
};

/// As many scenes as are asked for, with the mask that `mask` makes of a scene's number.
fn scenes(root: &Path, count: u32, mask: impl Fn(u32) -> DynamicImage) {
    for seed in 0..count {
        let (image, _) = scene(SIDE, SIDE, seed);
        save(&image.into(), &root.join(format!("images/{seed:02}.png")));
        save(&mask(seed), &root.join(format!("masks/{seed:02}.png")));
    }
}

/// What is said of the masks of so many training and test scenes, from their discs.
fn misplaced(counts: [u32; 2], mask: impl Fn(bool, u32) -> GrayImage) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    for (split, first, count) in [("train", 0, counts[0]), ("test", 100, counts[1])] {
        for seed in first..first + count {
            let (mut image, _) = scene(SIDE, SIDE, seed);
            // The scenes' colors come again, and images of both splits must differ.
            image.put_pixel(0, 0, image::Rgb([seed as u8; 3]));
            let place = |sort: &str| folder.path().join(format!("{split}/{sort}/{seed}.png"));
            save(&image.into(), &place("images"));
            save(&mask(split == "test", seed).into(), &place("masks"));
        }
    }
    let set = DataSet::open(folder.path().to_str().unwrap()).unwrap();
    let said = set.doubts().iter();
    let said = said.filter(|doubt| doubt.sort == "masks that do not fit");
    said.map(|doubt| doubt.text.clone()).collect()
}

#[test]
fn each_split_is_judged_by_itself() {
    let mirrored = |wrong: bool, seed: u32| match wrong {
        true => imageops::flip_horizontal(&disc(seed)),
        false => disc(seed),
    };
    assert!(misplaced([24, 16], |_, seed| disc(seed)).is_empty());
    // As many of the other split as would drown them.
    for (wrong, counts, words, file) in [
        (
            true,
            [40, 12],
            "of test images DO NOT FIT",
            "test/masks/100.png",
        ),
        (
            false,
            [12, 40],
            "of training images DO NOT FIT",
            "train/masks/0.png",
        ),
    ] {
        let said = misplaced(counts, |test, seed| mirrored(test == wrong, seed));
        let [text] = &said[..] else {
            panic!("{said:?}");
        };
        for words in [words, "mirrored (more in 12 of 12 images)", file] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }
    // Each wrong in its own way.
    let said = misplaced([12, 12], |test, seed| match test {
        true => imageops::flip_vertical(&disc(seed)),
        false => mirrored(true, seed),
    });
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("of test images") && said[0].contains("upside down"));
    assert!(said[1].contains("of training images") && said[1].contains("mirrored"));
    // Both in the same way, and too few of each to tell alone.
    for count in [12, 4] {
        let said = misplaced([count; 2], |_, seed| mirrored(true, seed));
        let [text] = &said[..] else {
            panic!("{said:?}");
        };
        assert!(text.starts_with("the masks DO NOT FIT"), "{text}");
    }
}

#[test]
fn masks_of_images_anywhere_in_the_list_are_doubted() {
    // Noise, brighter on the disc.
    let noisy = |root: &Path, place: fn(u32) -> (u32, u32)| {
        for seed in 0..24 {
            let disc = disc(seed);
            let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
                let noise = (x * 7919 + y * 104_729 + seed * 31 + x * y * (seed + 3)) % 97;
                let value = noise + 100 * u32::from(disc.get_pixel(x, y)[0]);
                image::Rgb([value as u8, value as u8, (value / 2) as u8])
            });
            let (right, down) = place(seed);
            let mask = GrayImage::from_fn(SIDE, SIDE, |x, y| {
                *disc.get_pixel((x + right) % SIDE, (y + down) % SIDE)
            });
            save(&image.into(), &root.join(format!("images/{seed:02}.png")));
            save(&mask.into(), &root.join(format!("masks/{seed:02}.png")));
        }
    };
    assert_plain(|root| noisy(root, |_| (0, 0)));
    let (_folder, said) = case(|root| {
        noisy(root, |seed| (20 + seed * 7 % 25, 20 + seed * 11 % 25));
    });
    let words = [
        "fit their images no better than those of other images",
        "24 compared",
    ];
    assert_doubt(&said, "masks that do not fit", &words);
}

#[test]
fn things_in_an_even_place_of_an_image_of_much_texture_fit_where_they_are() {
    // A faint bar on an even ground below, and stripes above, where the mask turned by half a circle lies.
    let (_folder, said) = case(|root| {
        for seed in 0..20 {
            let bar = |x: u32, y: u32| (40..50).contains(&y) && (10..20 + seed % 5).contains(&x);
            let image = RgbImage::from_fn(SIDE, SIDE, |x, y| {
                let noise = (x * 7919 + y * 104_729 + seed * 31 + x * y * y) % 7;
                let stripes = if y < 32 {
                    60 * ((x * 5 + y * 3 + seed) % 4)
                } else {
                    0
                };
                let value = 60 + noise + stripes + 10 * u32::from(bar(x, y));
                image::Rgb([value as u8, value as u8, (value / 2) as u8])
            });
            let mask = GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([u8::from(bar(x, y))]));
            save(&image.into(), &root.join(format!("images/{seed:02}.png")));
            save(&mask.into(), &root.join(format!("masks/{seed:02}.png")));
        }
    });
    assert!(said.doubts.is_empty(), "{:?}", said.doubts);
}

type Turn = fn(&GrayImage) -> GrayImage;

fn disc(seed: u32) -> GrayImage {
    scene(SIDE, SIDE, seed).1
}

#[test]
fn masks_of_other_images_are_doubted() {
    assert_plain(|root| scenes(root, 40, |seed| disc(seed).into()));
    for (shift, words) in [(1, "on the image after"), (15, "on the image before")] {
        let (_folder, said) =
            case(|root| scenes(root, 16, |seed| disc((seed + shift) % 16).into()));
        let expected = ["DO NOT FIT", words, "shifted by one", "00.png"];
        assert_doubt(&said, "masks that do not fit", &expected);
    }
}

#[test]
fn masks_that_are_turned_are_doubted() {
    let turns: [(Turn, &str); 4] = [
        (|mask| imageops::flip_vertical(mask), "upside down"),
        (|mask| imageops::flip_horizontal(mask), "mirrored"),
        (|mask| imageops::rotate180(mask), "half a circle"),
        (|mask| imageops::rotate90(mask), "a quarter of a circle"),
    ];
    for (turn, words) in turns {
        let (_folder, said) = case(|root| scenes(root, 8, |seed| turn(&disc(seed)).into()));
        assert_doubt(&said, "masks that do not fit", &["DO NOT FIT", words]);
    }
}

#[test]
fn images_and_masks_in_each_others_place_are_doubted() {
    let (_folder, said) = case(|root| {
        for seed in 0..4 {
            let (image, disc) = scene(SIDE, SIDE, seed);
            let photograph = DynamicImage::from(image).into_luma8();
            save(
                &ids(0, 200)(seed, disc),
                &root.join(format!("images/{seed}.png")),
            );
            save(&photograph.into(), &root.join(format!("masks/{seed}.png")));
        }
    });
    let words = ["4 of 4 images", "in each other's place"];
    assert_doubt(&said, "images like masks", &words);
    // Masks alone that are photographs, in grey and in color, with noise as cameras have it.
    for in_color in [false, true] {
        let (_folder, said) = case(|root| {
            set_of(root, usual, |seed, _| {
                let noise = |x: u32, y: u32| (x * 7919 + y * 104_729 + seed * 31 + x * y) % 251;
                let (mut image, _) = scene(SIDE, SIDE, seed);
                for (x, y, pixel) in image.enumerate_pixels_mut() {
                    pixel[0] = pixel[0].wrapping_add(noise(x, y) as u8);
                    pixel[1] = pixel[1].wrapping_add(noise(y, x) as u8);
                }
                match in_color {
                    true => image.into(),
                    false => DynamicImage::from(image).into_luma8().into(),
                }
            });
        });
        assert_doubt(
            &said,
            "masks like images",
            &["4 of 4 masks", "and no masks"],
        );
        assert_eq!(said.doubts.len(), 1, "{:?}", said.doubts);
    }
}

#[test]
fn numbers_of_objects_are_doubted() {
    // Columns of width 4 are objects, numbered by `id` from their image and place.
    let numbered = |count: u32, id: fn(u32, u32) -> u16, objects: fn(u32) -> u32| {
        move |root: &Path| {
            scenes(root, count, |seed| {
                let mask = ImageBuffer::from_fn(SIDE, SIDE, |x, _| {
                    let object = x / 4;
                    let is_object = object % 2 == 1 && object / 2 < objects(seed);
                    Luma([if is_object { id(seed, object / 2) } else { 0 }])
                });
                DynamicImage::ImageLuma16(mask)
            });
        }
    };
    let (_folder, said) = case(numbered(
        8,
        |_, object| object as u16 + 1,
        |seed| 1 + seed % 6,
    ));
    let words = [
        "from 1 without a gap, to 1 in some and to 6 in others",
        "in one class",
    ];
    assert_doubt(&said, "object numbers", &words);
    let (_folder, said) = case(numbered(
        8,
        |seed, object| (1 + 8 * seed + object) as u16,
        |_| 5,
    ));
    assert_doubt(
        &said,
        "object numbers",
        &["40 of 40 ids occur in one mask alone"],
    );
    let (_folder, said) = case(numbered(
        8,
        |seed, object| (26_000 + 10 * seed + object) as u16,
        |_| 4,
    ));
    assert_doubt(&said, "object numbers", &["divided by 1000", "labelIds"]);
    // Classes: some in many masks, none numbered.
    let (_folder, said) = case(numbered(
        8,
        |seed, object| [3, 7, 11, 12, 20, 21][((seed + 2 * object) % 6) as usize],
        |_| 5,
    ));
    assert!(said.doubts.is_empty(), "{:?}", said.doubts);
}

#[test]
fn minus_one_in_16_bits_is_doubted() {
    let with = |ids: [u16; 4]| {
        move |root: &Path| {
            set_of(root, usual, |_, mask| {
                let mask = ImageBuffer::from_fn(SIDE, SIDE, |x, y| {
                    let place = if y < 8 { 3 } else { (x / 22).min(2) };
                    let inside = mask.get_pixel(x, y)[0] == 1;
                    Luma([ids[if inside || y < 8 { place as usize } else { 0 }]])
                });
                DynamicImage::ImageLuma16(mask)
            });
        }
    };
    let (_folder, said) = case(with([0, u16::MAX, u16::MAX, u16::MAX]));
    assert_doubt(
        &said,
        "largest id",
        &["beside 0", "white in 16 bits", "ignore = [65535]"],
    );
    let (folder, said) = case(with([0, 1, 2, u16::MAX]));
    assert_doubt(&said, "largest id", &["store -1", "ignore = [65535]"]);
    let (classes, doubts) = drafted(&folder, &said);
    assert_eq!(classes, ["0", "1", "2"]);
    assert!(doubts.is_empty(), "{doubts:?}");
    assert!(said.draft.contains("65535]"), "{}", said.draft);
}

#[test]
fn soft_edges_of_color_masks_are_no_classes() {
    let (folder, said) = case(|root| {
        set_of(root, usual, |seed, _| {
            let (_, disc) = scene(4 * SIDE, 4 * SIDE, seed);
            let drawn = RgbImage::from_fn(4 * SIDE, 4 * SIDE, |x, y| {
                match (disc.get_pixel(x, y)[0], x < 2 * SIDE) {
                    (0, _) => image::Rgb([0, 0, 0]),
                    (_, true) => image::Rgb([220, 20, 60]),
                    (_, false) => image::Rgb([0, 0, 142]),
                }
            });
            imageops::resize(&drawn, SIDE, SIDE, imageops::FilterType::Triangle).into()
        });
    });
    assert_doubt(
        &said,
        "color masks",
        &["along borders alone, since edges are blended"],
    );
    assert!(said.draft.contains("edges are blended"), "{}", said.draft);
    let (mut classes, _) = drafted(&folder, &said);
    classes.sort_unstable();
    assert_eq!(classes, ["#000000", "#00008e", "#dc143c"]);
}

#[test]
fn drafts_of_soft_masks_hold_no_shades_and_all_foreground() {
    // Grey from 0 to 255 with soft edges: 255 is the foreground.
    let soft = |seed: u32| {
        let (_, disc) = scene(4 * SIDE, 4 * SIDE, seed);
        let disc = GrayImage::from_fn(4 * SIDE, 4 * SIDE, |x, y| {
            Luma([255 * disc.get_pixel(x, y)[0]])
        });
        imageops::resize(&disc, SIDE, SIDE, imageops::FilterType::Triangle)
    };
    let (folder, said) = case(|root| set_of(root, usual, |seed, _| soft(seed).into()));
    assert_doubt(&said, "interpolated masks", &["lie only along borders"]);
    assert_eq!(drafted(&folder, &said).0, ["0", "255"]);
    // Lossy colors: whole stretches are one step beside their class's color.
    let (folder, said) = case(|root| {
        set_of(root, usual, |seed, _| {
            let soft = soft(seed);
            let shade = |x: u32, y: u32| u8::from(x % 32 < 8 && y % 32 < 8);
            let color = |x: u32, y: u32| match soft.get_pixel(x, y)[0] {
                255 => image::Rgb([220 + shade(x, y), 20, 60 - shade(x, y)]),
                0 => image::Rgb([0, 0, 2 * shade(x, y)]),
                level => image::Rgb([level - level / 8, level / 12, level / 4]),
            };
            RgbImage::from_fn(SIDE, SIDE, color).into()
        });
    });
    let (mut classes, _) = drafted(&folder, &said);
    classes.sort_unstable();
    assert_eq!(classes, ["#000000", "#dc143c"]);
}

#[test]
fn one_mask_that_is_missing_is_named() {
    let named = |seed: u32| {
        (
            format!("images/{seed}.png"),
            format!("masks/{seed}_mask.png"),
        )
    };
    for missing in [0, 2] {
        let (folder, said) = case(|root| {
            set_of(root, named, |_, mask| mask.into());
            fs::remove_file(root.join(format!("masks/{missing}_mask.png"))).unwrap();
        });
        assert_eq!((said.items, said.masks), (4, 3), "{:?}", said.problems);
        assert!(
            said.notes[0].starts_with("3 of 4 images"),
            "{:?}",
            said.notes
        );
        let error = DataSet::open(folder.path().join("set").to_str().unwrap()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(&format!("{missing}_mask.png")), "{error}");
    }
}

#[test]
fn zeros_before_numbers_are_seen_through() {
    let (_folder, said) = case(|root| {
        let place = |seed| {
            (
                format!("images/{}.jpg", seed + 8),
                format!("masks/{:03}_mask.png", seed + 8),
            )
        };
        set_of(root, place, |_, mask| mask.into());
    });
    assert_eq!((said.items, said.masks), (4, 4), "{:?}", said.problems);
    assert!(said.notes[0].contains("010_mask to 10"), "{:?}", said.notes);
    assert!(said.doubts.is_empty(), "{:?}", said.doubts);
}

#[test]
fn files_that_are_no_pictures_are_called_what_they_are() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n".as_slice();
    for (folder, bytes, words) in [
        ("masks", pointer, "git lfs pull"),
        ("images", pointer, "git lfs pull"),
        (
            "images",
            b"<!DOCTYPE html><title>404".as_slice(),
            "a web page",
        ),
        ("masks", b"\x93NUMPY\x01\x00".as_slice(), "astype"),
        (
            "masks",
            b"plain text".as_slice(),
            "not an image by its content",
        ),
    ] {
        let (_folder, said) = case(|root| {
            set_of(root, usual, |_, mask| mask.into());
            fs::write(root.join(folder).join("1.png"), bytes).unwrap();
        });
        let told = said.problems.iter().any(|problem| problem.contains(words));
        assert!(told, "{words}: {:?}", said.problems);
    }
    let (_folder, said) = case(|root| {
        let place = |seed| (format!("images/{seed}.png"), String::new());
        set_of(root, place, |_, mask| mask.into());
        fs::create_dir_all(root.join("masks")).unwrap();
        fs::write(root.join("masks/0.npy"), b"\x93NUMPY").unwrap();
    });
    assert!(
        said.problems[0].contains("1 files of type .npy"),
        "{:?}",
        said.problems
    );
}

#[test]
fn a_draft_of_unequal_names_takes_the_first_of_two_folders_for_images() {
    // As nnU-Net has them: as many files in both, and an ending that masks lack.
    let root = tempfile::tempdir().unwrap();
    let place = |i: u32| {
        (
            format!("imagesTr/case{i}_0000.png"),
            format!("labelsTr/case{i}.png"),
        )
    };
    set_of(root.path(), place, ids(0, 1));
    let toml = root.path().join("set.toml");
    let draft = DataSet::begin_draft(root.path().to_str().unwrap(), &toml);
    let draft = draft.unwrap().unwrap();
    assert!(draft.contains("images = \"imagesTr\""), "{draft}");
}

#[test]
fn a_draft_takes_the_folder_for_masks_that_the_refusal_takes() {
    // Whichever of the two comes first in order.
    for (images, masks) in [("zzz", "pics1"), ("pics1", "zzz")] {
        let root = tempfile::tempdir().unwrap();
        let place = |i: u32| (format!("{images}/{i}.png"), format!("{masks}/{i}.png"));
        set_of(root.path(), place, ids(0, 1));
        let said = format!("test = {{ images = \"{images}\", masks = \"{masks}\" }}");
        let spec = root.path().to_str().unwrap();
        let refusal = DataSet::open(spec).unwrap_err().to_string();
        assert!(refusal.contains(&said), "{refusal}");
        let draft = DataSet::begin_draft(spec, &root.path().join("set.toml"));
        let draft = draft.unwrap().unwrap();
        assert!(draft.contains(&said), "{draft}");
    }
}

#[test]
fn names_that_begin_with_ids_name_those() {
    let named = |text: &'static str| {
        let (_folder, said) = case(|root| {
            set_of(root, usual, ids(0, 2));
            fs::write(root.join("classes.txt"), text).unwrap();
        });
        let name = said.draft.lines().filter(|line| line.starts_with("name"));
        let names: Vec<String> = name.map(str::to_owned).collect();
        (names.join(" "), said)
    };
    // By their numbers, in whatever order they stand.
    for (text, noted) in [
        ("0: sky\n1: road\n2: disc\n", 0),
        ("2 disc\n0 sky\n1 road\n", 1),
    ] {
        let (names, said) = named(text);
        assert_eq!(names, "name = \"sky\" name = \"disc\"", "{text}");
        assert_eq!(said.notes.len(), noted, "{:?}", said.notes);
        assert!(said.problems.is_empty(), "{:?}", said.problems);
    }
    // Names that are or begin with numbers now and then are names.
    let (names, _) = named("sky\n3 roads\n2 discs\n");
    assert_eq!(names, "name = \"sky\" name = \"2 discs\"");
}
