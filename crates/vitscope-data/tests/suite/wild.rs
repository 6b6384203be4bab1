//! Data sets as people have them: masks that lie, and layouts of every sort. Each case stands beside
//! its plain form, which must raise no doubt. The pictures are drawn here: a checkered ramp with a
//! disc, as in the cases that they were taken from.

use std::fs;
use std::path::Path;

use image::{DynamicImage, GrayImage, ImageBuffer, Luma, RgbImage};
use vitscope_data::{DataSet, Evidence, Geometry, Split};

use crate::common::names;

pub(crate) const SIDE: u32 = 64;

/// The image of number `seed`, and 1 where its disc is.
pub(crate) fn scene(width: u32, height: u32, seed: u32) -> (RgbImage, GrayImage) {
    let radius = f64::from(width.min(height)) / 4.0;
    let center = (
        f64::from(width) * (0.3 + 0.1 * f64::from(seed % 4)),
        f64::from(height) * (0.62 - 0.08 * f64::from(seed % 4)),
    );
    let inside = |x: u32, y: u32| {
        let (dx, dy) = (f64::from(x) - center.0, f64::from(y) - center.1);
        dx * dx + dy * dy < radius * radius
    };
    let image = RgbImage::from_fn(width, height, |x, y| {
        if inside(x, y) {
            image::Rgb([250, 30, 30])
        } else {
            let checks = if (x / 16 + y / 16) % 2 == 1 { 200 } else { 0 };
            image::Rgb([(2 * x + 40 * seed) as u8, (2 * y) as u8, checks])
        }
    });
    let mask = GrayImage::from_fn(width, height, |x, y| Luma([u8::from(inside(x, y))]));
    (image, mask)
}

pub(crate) fn save(image: &DynamicImage, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

/// Four images and masks under names that `place` gives, masks as `mask` makes them.
pub(crate) fn set_of(
    root: &Path,
    place: impl Fn(u32) -> (String, String),
    mask: impl Fn(u32, GrayImage) -> DynamicImage,
) {
    for seed in 0..4 {
        let (image, disc) = scene(SIDE, SIDE, seed);
        let (image_name, mask_name) = place(seed);
        save(&image.into(), &root.join(image_name));
        if !mask_name.is_empty() {
            save(&mask(seed, disc), &root.join(mask_name));
        }
    }
}

pub(crate) fn usual(seed: u32) -> (String, String) {
    (format!("images/{seed}.png"), format!("masks/{seed}.png"))
}

/// The mask with other ids for background and disc.
pub(crate) fn ids(background: u8, disc: u8) -> impl Fn(u32, GrayImage) -> DynamicImage {
    move |_, mut mask| {
        for pixel in mask.pixels_mut() {
            pixel[0] = if pixel[0] == 1 { disc } else { background };
        }
        mask.into()
    }
}

/// Everything that is said of a set: its notes, problems and doubts (of every file, and of the sample
/// where the set opens), and a draft.
pub(crate) struct Said {
    pub(crate) notes: Vec<String>,
    pub(crate) problems: Vec<String>,
    pub(crate) doubts: Vec<(&'static str, String)>,
    pub(crate) draft: String,
    pub(crate) items: usize,
    pub(crate) masks: usize,
}

fn look(root: &Path) -> Said {
    let spec = root.to_str().unwrap();
    let survey = DataSet::survey(spec).unwrap();
    let mut evidence = Evidence::default();
    let mut problems: Vec<String> = survey
        .problems
        .kept()
        .iter()
        .map(ToString::to_string)
        .collect();
    for item in &survey.set.test {
        let examined = survey.set.examine(item, &Geometry { size: 32 });
        problems.extend(examined.problems.iter().map(ToString::to_string));
        evidence.add(Split::Test, item, examined.facts, &examined.pixels);
    }
    let doubts = evidence.doubts(&survey.set);
    if let Ok(set) = DataSet::open(spec)
        && set.train == set.test
    {
        assert_eq!(set.doubts(), doubts, "the sample is the whole set here");
    }
    for doubt in &doubts {
        assert!(
            doubt.text.ends_with('.') && !doubt.text.contains('\n'),
            "{}",
            doubt.text
        );
    }
    let file = root.parent().unwrap().join("draft.toml");
    Said {
        notes: survey.set.notes().to_vec(),
        problems,
        doubts: doubts
            .into_iter()
            .map(|doubt| (doubt.sort, doubt.text))
            .collect(),
        draft: survey.set.draft(&evidence, &file).unwrap(),
        items: survey.set.test.len(),
        masks: survey
            .set
            .test
            .iter()
            .filter(|item| item.mask.is_some())
            .count(),
    }
}

pub(crate) fn case(make: impl FnOnce(&Path)) -> (tempfile::TempDir, Said) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("set");
    make(&root);
    let said = look(&root);
    (folder, said)
}

#[track_caller]
pub(crate) fn assert_plain(make: impl FnOnce(&Path)) {
    let (_folder, said) = case(make);
    assert!(said.doubts.is_empty(), "{:?}", said.doubts);
    assert!(said.notes.is_empty(), "{:?}", said.notes);
    assert!(said.problems.is_empty(), "{:?}", said.problems);
}

/// Asserts that there is a doubt of a sort, with these words in it.
#[track_caller]
pub(crate) fn assert_doubt(said: &Said, sort: &str, words: &[&str]) {
    let doubt = said.doubts.iter().find(|(other, _)| *other == sort);
    let Some((_, text)) = doubt else {
        panic!("no doubt '{sort}' in {:?}", said.doubts);
    };
    for word in words {
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// Writes the draft, opens it, and comes back with its classes and what is doubted of it.
pub(crate) fn drafted(folder: &tempfile::TempDir, said: &Said) -> (Vec<String>, Vec<&'static str>) {
    let path = folder.path().join("draft.toml");
    fs::write(&path, &said.draft).unwrap();
    let set =
        DataSet::open(path.to_str().unwrap()).unwrap_or_else(|e| panic!("{e}\n{}", said.draft));
    for item in &set.test {
        set.label(item, &Geometry { size: 32 })
            .unwrap_or_else(|e| panic!("{e}\n{}", said.draft));
    }
    let classes = set.classes.iter().map(|class| class.name.clone()).collect();
    (
        classes,
        set.doubts().iter().map(|doubt| doubt.sort).collect(),
    )
}

#[test]
fn plain_sets_raise_no_doubt() {
    assert_plain(|root| set_of(root, usual, |_, mask| mask.into()));
    assert_plain(|root| set_of(root, usual, ids(0, 7)));
    // A border of the ignored id between two classes, as VOC has it.
    assert_plain(|root| {
        set_of(root, usual, |_, mask| {
            let edge = |x: u32, y: u32| {
                let near = |dx: i32, dy: i32| {
                    let (x, y) = (x as i32 + dx, y as i32 + dy);
                    mask.get_pixel_checked(x as u32, y as u32)
                        .map(|pixel| pixel[0])
                };
                let around = [near(1, 0), near(-1, 0), near(0, 1), near(0, -1)];
                around
                    .iter()
                    .flatten()
                    .any(|&other| other != mask.get_pixel(x, y)[0])
            };
            GrayImage::from_fn(SIDE, SIDE, |x, y| {
                if edge(x, y) {
                    Luma([255])
                } else {
                    *mask.get_pixel(x, y)
                }
            })
            .into()
        });
    });
    // Many classes, each with an inside; ids with gaps, and all even.
    assert_plain(|root| {
        set_of(root, usual, |seed, _| {
            let id = |x: u32, y: u32| {
                [0, 15, 20, 3, 8, 90, 91, 40][((x / 8 + 3 * (y / 8) + seed) % 8) as usize]
            };
            GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([id(x, y)])).into()
        });
    });
    assert_plain(|root| {
        set_of(root, usual, |_, mask| {
            let (width, height) = mask.dimensions();
            GrayImage::from_fn(width, height, |x, y| {
                Luma([[0, 15, 20][(x / 16) as usize % 3] * mask.get_pixel(x, y)[0]])
            })
            .into()
        })
    });
}

#[test]
fn white_as_the_only_foreground() {
    let (folder, said) = case(|root| set_of(root, usual, ids(0, 255)));
    assert_doubt(
        &said,
        "ignored class",
        &["255", "0 (", "ignore = []", "ids = [255]", "--draft"],
    );
    let (classes, doubts) = drafted(&folder, &said);
    assert_eq!(
        (classes, doubts.len()),
        (vec!["0".to_owned(), "255".to_owned()], 0)
    );
    // With names, of which one occurs nowhere.
    let (folder, said) = case(|root| {
        set_of(root, usual, ids(0, 255));
        fs::write(root.join("classes.txt"), "background\nlesion\n").unwrap();
    });
    assert_doubt(
        &said,
        "ignored class",
        &["the class 'lesion'", "ids = [255]"],
    );
    let (classes, doubts) = drafted(&folder, &said);
    assert_eq!(classes, ["background", "lesion"]);
    assert!(doubts.is_empty());
    // As the last of several levels.
    let (folder, said) = case(|root| {
        set_of(root, usual, |_, mask| {
            let level =
                |x: u32, y: u32| [0, 85, 170, 255][(x / 16) as usize] * mask.get_pixel(x, y)[0];
            GrayImage::from_fn(SIDE, SIDE, |x, y| Luma([level(x, y)])).into()
        });
    });
    assert_doubt(
        &said,
        "ignored class",
        &["0, 85, 170 and 255 are evenly spaced"],
    );
    let (classes, doubts) = drafted(&folder, &said);
    assert_eq!((classes.len(), doubts.len()), (4, 0));
}

#[test]
fn one_class_alone_says_nothing() {
    let (_folder, said) = case(|root| set_of(root, usual, ids(3, 3)));
    assert_doubt(&said, "one class", &["only one class occurs, '3'", "mIoU"]);
}

#[test]
fn test_masks_that_only_hold_a_place_say_nothing() {
    let root = tempfile::tempdir().unwrap();
    for (split, disc) in [("train", 1), ("test", 0)] {
        let place = |seed| {
            let name = |what: &str| format!("{what}/{split}/{split}{seed}.png");
            (name("images"), name("masks"))
        };
        set_of(root.path(), place, ids(0, disc));
    }
    let set = DataSet::open(root.path().to_str().unwrap()).unwrap();
    assert_eq!((set.train.len(), set.test.len()), (4, 4));
    let doubt = set.doubts().iter().find(|doubt| doubt.sort == "one class");
    let text = &doubt.unwrap().text;
    assert!(
        text.contains("in the 4 masks of test images looked at"),
        "{text}"
    );
}

#[test]
fn interpolated_masks_are_doubted() {
    use image::imageops::{FilterType, resize};
    for filter in [
        FilterType::Triangle,
        FilterType::CatmullRom,
        FilterType::Lanczos3,
    ] {
        for large in [48, 200] {
            let (folder, said) = case(|root| {
                set_of(root, usual, |seed, _| {
                    let (_, mask) = scene(large, large, seed);
                    let mask = ids(20, 220)(seed, mask).into_luma8();
                    resize(&mask, SIDE, SIDE, filter).into()
                });
            });
            assert_doubt(&said, "interpolated masks", &["nearest neighbor"]);
            if filter == FilterType::Triangle {
                assert_doubt(&said, "interpolated masks", &["the others are 20, 220"]);
                let (classes, doubts) = drafted(&folder, &said);
                assert_eq!(
                    (classes, doubts.len()),
                    (vec!["20".to_owned(), "220".to_owned()], 0)
                );
            }
        }
    }
    // What JPEG leaves around borders.
    let (_folder, said) = case(|root| {
        set_of(root, usual, |seed, mask| {
            let mask = ids(20, 220)(seed, mask);
            let mut bytes = std::io::Cursor::new(Vec::new());
            let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 90);
            encoder.encode_image(&mask).unwrap();
            image::load_from_memory(bytes.get_ref()).unwrap()
        });
    });
    assert_doubt(&said, "interpolated masks", &["only along borders"]);
    // Between ids that are classes themselves.
    let (_folder, said) = case(|root| {
        set_of(root, usual, |seed, _| {
            let (_, disc) = scene(200, 200, seed);
            let mask = GrayImage::from_fn(200, 200, |x, y| {
                Luma([disc.get_pixel(x, y)[0] * 4
                    + [0, 1, 2, 3][(y / 50) as usize] * u8::from(x < 20)])
            });
            resize(&mask, SIDE, SIDE, FilterType::Triangle).into()
        });
    });
    assert_doubt(&said, "interpolated masks", &["nearest neighbor"]);
}

/// Writes a palette mask.
fn indexed(path: &Path, mask: &GrayImage, palette: &[[u8; 3]]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder =
        png::Encoder::new(fs::File::create(path).unwrap(), mask.width(), mask.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette.concat());
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(mask.as_raw()).unwrap();
}

#[test]
fn palettes_in_other_orders_are_doubted() {
    let colors = [[0, 0, 0], [128, 0, 0]];
    let make = |root: &Path, turned: bool| {
        set_of(root, usual, |_, mask| mask.into());
        for seed in 0..4 {
            let (_, mut mask) = scene(SIDE, SIDE, seed);
            let mut palette = colors;
            if turned && seed % 2 == 1 {
                // The same picture with the palette in the other order.
                palette.reverse();
                mask.pixels_mut().for_each(|pixel| pixel[0] = 1 - pixel[0]);
            }
            indexed(&root.join(format!("masks/{seed}.png")), &mask, &palette);
        }
    };
    assert_plain(|root| make(root, false));
    let (folder, said) = case(|root| make(root, true));
    assert_doubt(
        &said,
        "palettes that differ",
        &["#000000", "#800000", "0.png", "1.png", "rgb"],
    );
    // By color, the disc is one class again.
    let (classes, doubts) = drafted(&folder, &said);
    assert_eq!(
        (classes, doubts.len()),
        (vec!["#000000".to_owned(), "#800000".to_owned()], 0)
    );
    let set = DataSet::open(folder.path().join("draft.toml").to_str().unwrap()).unwrap();
    let (_, mask) = scene(SIDE, SIDE, 1);
    let label = set
        .label(
            &set.test[1],
            &Geometry {
                size: SIDE as usize,
            },
        )
        .unwrap()
        .unwrap();
    assert_eq!(label.ids, *mask.as_raw());
}

#[test]
fn color_masks_are_named_with_their_colors() {
    let color = |_: u32, mask: GrayImage| -> DynamicImage {
        RgbImage::from_fn(SIDE, SIDE, |x, y| {
            image::Rgb([128 * mask.get_pixel(x, y)[0], 0, 0])
        })
        .into()
    };
    let (folder, said) = case(|root| set_of(root, usual, color));
    assert_doubt(
        &said,
        "color masks",
        &["4 masks", "2 colors", "#000000", "#800000", "--draft"],
    );
    assert!(
        said.problems[0].contains("#800000") && said.problems[0].contains("rgb = [[R, G, B]]"),
        "{:?}",
        said.problems
    );
    let (classes, doubts) = drafted(&folder, &said);
    assert_eq!((classes.len(), doubts.len()), (2, 0));
    // A run is told the colors of the first mask, too.
    let text = DataSet::open(folder.path().join("set").to_str().unwrap())
        .unwrap_err()
        .to_string();
    assert!(text.contains("#800000"), "{text}");
    let grey = |_: u32, mask: GrayImage| DynamicImage::from(DynamicImage::from(mask).to_rgb8());
    let (_folder, said) = case(|root| set_of(root, usual, grey));
    assert_doubt(&said, "color masks", &["ids saved as RGB"]);
    // Noise, of which no pixel has its own kind around it: no color is left out, and none is grey.
    let noise = |_: u32, mask: GrayImage| -> DynamicImage {
        let bit = |hash: u32, at: u32| 255 * (hash >> at & 1) as u8;
        RgbImage::from_fn(mask.width(), mask.height(), |x, y| {
            let hash = (x * 193 + y * 3079 + 7).wrapping_mul(2_654_435_761);
            image::Rgb([29, 23, 17].map(|at| bit(hash, at)))
        })
        .into()
    };
    let (_folder, said) = case(|root| set_of(root, usual, noise));
    assert!(
        said.doubts
            .iter()
            .any(|(sort, _)| *sort == "interpolated masks")
    );
    assert_doubt(
        &said,
        "color masks",
        &["of 8 colors: #", "#ffffff", "#0000ff"],
    );
}

#[test]
fn ids_scaled_for_viewing_are_noted() {
    let scaled = |factor: u8| {
        move |_: u32, mask: GrayImage| -> DynamicImage {
            GrayImage::from_fn(SIDE, SIDE, |x, y| {
                Luma([(x / 22) as u8 * factor * mask.get_pixel(x, y)[0]])
            })
            .into()
        }
    };
    assert_plain(|root| set_of(root, usual, scaled(1)));
    for factor in [2, 10, 50, 100] {
        let (folder, said) = case(|root| set_of(root, usual, scaled(factor)));
        let words = format!(
            "multiples of {factor} (0, {factor}, {}",
            2 * u32::from(factor)
        );
        assert_doubt(&said, "scaled ids", &[&words, "--draft"]);
        assert_eq!(drafted(&folder, &said).1.len(), 0);
    }
    // With names, the ids are off the table; the reason is given.
    let (folder, said) = case(|root| {
        set_of(root, usual, scaled(50));
        fs::write(root.join("classes.txt"), "a\nb\nc\n").unwrap();
    });
    assert_doubt(&said, "scaled ids", &["multiples of 50"]);
    assert!(!said.problems.is_empty());
    assert_eq!(drafted(&folder, &said).0, ["a", "b", "c"]);
    // Ids from 1 where names are from 0.
    let (_folder, said) = case(|root| {
        set_of(root, usual, ids(1, 2));
        fs::write(root.join("classes.txt"), "a\nb\n").unwrap();
    });
    assert_doubt(&said, "shifted ids", &["from 1 to 2"]);
}

/// A JPEG with an EXIF orientation.
fn oriented(image: &RgbImage, orientation: u8, path: &Path) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 92);
    image.write_with_encoder(encoder).unwrap();
    let bytes = bytes.into_inner();
    let mut exif =
        b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    fs::write(path, [&bytes[..2], &exif, &bytes[2..]].concat()).unwrap();
}

#[test]
fn turned_images_beside_masks_are_doubted() {
    for (orientation, width) in [(2, 96), (3, 96), (4, 96), (6, 64), (8, 64)] {
        let make = |root: &Path, upright: bool| {
            for seed in 0..4 {
                let (image, mask) = scene(width, SIDE, seed);
                oriented(
                    &image,
                    orientation,
                    &root.join(format!("images/{seed}.jpg")),
                );
                let mut mask = DynamicImage::from(mask);
                if upright {
                    mask.apply_orientation(
                        image::metadata::Orientation::from_exif(orientation).unwrap(),
                    );
                }
                save(&mask, &root.join(format!("masks/{seed}.png")));
            }
        };
        let (_folder, said) = case(|root| make(root, false));
        let number = format!("orientation {orientation}");
        let words = ["4 of 4 images", &number, "DO NOT FIT", "exiftool"];
        assert_doubt(&said, "turned images", &words);
        // Masks of the upright images are told to fit.
        let (_folder, said) = case(|root| make(root, true));
        assert_doubt(&said, "turned images", &["seem to fit the upright images"]);
    }
    assert_plain(|root| {
        for seed in 0..4 {
            let (image, mask) = scene(96, SIDE, seed);
            oriented(&image, 1, &root.join(format!("images/{seed}.jpg")));
            save(&mask.into(), &root.join(format!("masks/{seed}.png")));
        }
    });
}

#[test]
fn values_that_do_not_reach_the_model_are_noted() {
    let deep = |bits: u32| {
        move |root: &Path| {
            for seed in 0..4 {
                let (image, mask) = scene(SIDE, SIDE, seed);
                let grey = DynamicImage::from(image).to_luma8();
                let wide = ImageBuffer::<Luma<u16>, _>::from_fn(SIDE, SIDE, |x, y| {
                    Luma([(u16::from(grey.get_pixel(x, y)[0]) * 257) >> (16 - bits)])
                });
                save(&wide.into(), &root.join(format!("images/{seed}.png")));
                save(&mask.into(), &root.join(format!("masks/{seed}.png")));
            }
        }
    };
    for bits in [8, 10, 12, 14, 15] {
        let (_folder, said) = case(deep(bits));
        let (used, factor) = (
            format!("of which {bits} are used"),
            format!("by {} before", 1 << (16 - bits)),
        );
        assert_doubt(&said, "unused range", &[&used, &factor, "all but black"]);
    }
    let (_folder, said) = case(deep(16));
    assert_doubt(&said, "reduced depth", &["16 bits a sample"]);
    let (_folder, said) = case(|root| {
        for seed in 0..4 {
            let (mut image, mask) = scene(SIDE, SIDE, seed);
            image
                .pixels_mut()
                .for_each(|pixel| pixel.0 = pixel.0.map(|value| value / 16));
            save(&image.into(), &root.join(format!("images/{seed}.png")));
            save(&mask.into(), &root.join(format!("masks/{seed}.png")));
        }
    });
    assert_doubt(
        &said,
        "unused range",
        &["brightest value of 4 images is 15 of 255"],
    );
    let (_folder, said) = case(|root| {
        let (image, _) = scene(SIDE, SIDE, 0);
        let mut image = DynamicImage::from(image).into_rgba8();
        image.get_pixel_mut(3, 3)[3] = 0;
        save(&image.into(), &root.join("a.png"));
    });
    assert_doubt(&said, "transparency", &["1 image has", "a.png"]);
    // Of masks: opaque ones are plain, and one pixel is enough.
    let faint = |alpha: u8| {
        move |root: &Path| {
            set_of(root, usual, |seed, mask| {
                let mut mask = DynamicImage::from(mask).into_luma_alpha8();
                if seed == 2 {
                    mask.get_pixel_mut(5, 7)[1] = alpha;
                }
                mask.into()
            });
        }
    };
    assert_plain(faint(255));
    let (_folder, said) = case(faint(128));
    assert_doubt(&said, "transparent masks", &["1 masks", "2.png"]);
}

/// Writes a PNG of so many frames, each of these pixels.
fn save_frames(path: &Path, color: png::ColorType, pixels: &[u8], frames: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), SIDE, SIDE);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    if frames > 1 {
        encoder.set_animated(frames, 0).unwrap();
    }
    let mut writer = encoder.write_header().unwrap();
    for _ in 0..frames {
        writer.write_image_data(pixels).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn frames_after_the_first_are_told() {
    let moving = |images: u32, masks: u32| {
        move |root: &Path| {
            for seed in 0..4 {
                let (image, mask) = scene(SIDE, SIDE, seed);
                let (images, masks) = if seed == 2 { (images, masks) } else { (1, 1) };
                let path = root.join(format!("images/{seed}.png"));
                save_frames(&path, png::ColorType::Rgb, &image, images);
                let path = root.join(format!("masks/{seed}.png"));
                save_frames(&path, png::ColorType::Grayscale, &mask, masks);
            }
        }
    };
    assert_plain(moving(1, 1));
    let (_folder, said) = case(moving(1, 3));
    assert_doubt(
        &said,
        "several frames",
        &["1 masks (such as", "2.png, of 3 frames"],
    );
    let (_folder, said) = case(moving(2, 3));
    assert_doubt(
        &said,
        "several frames",
        &["1 images (such as", "2 frames) and 1 masks"],
    );
}

/// Asserts what is found in a layout: images, masks, and a note with these words.
#[track_caller]
fn assert_found(make: impl FnOnce(&Path), counts: (usize, usize), note: &str) {
    let (folder, said) = case(make);
    assert_eq!(
        (said.items, said.masks),
        counts,
        "{:?} {:?}",
        said.notes,
        said.problems
    );
    assert!(said.problems.is_empty(), "{:?}", said.problems);
    if note.is_empty() {
        assert!(said.notes.is_empty(), "{:?}", said.notes);
    } else {
        assert!(
            said.notes.iter().any(|text| text.contains(note)),
            "{:?}",
            said.notes
        );
    }
    if said.masks > 0 {
        assert_eq!(drafted(&folder, &said).0.len(), 2, "{}", said.draft);
    }
}

fn layout(place: impl Fn(u32) -> (String, String)) -> impl FnOnce(&Path) {
    move |root| set_of(root, place, |_, mask| mask.into())
}

#[test]
fn layouts_are_found_as_they_lie() {
    let half = |seed: u32| if seed < 2 { "train" } else { "val" };
    let note = "val split is evaluated";
    assert_found(
        layout(|i| {
            (
                format!("images/{}/{i}.png", half(i)),
                format!("masks/{}/{i}.png", half(i)),
            )
        }),
        (2, 2),
        note,
    );
    assert_found(
        layout(|i| {
            (
                format!("{}/images/{i}.png", half(i)),
                format!("{}/masks/{i}.png", half(i)),
            )
        }),
        (2, 2),
        note,
    );
    assert_found(
        layout(|i| {
            (
                format!("{}/{i}.png", half(i)),
                format!("{}_labels/{i}.png", half(i)),
            )
        }),
        (2, 2),
        note,
    );
    assert_found(
        layout(|i| {
            (
                format!("images/{}2017/{i}.png", half(i)),
                format!("labels/{}2017/{i}.png", half(i)),
            )
        }),
        (2, 2),
        note,
    );
    for name in [
        "labels",
        "annotations",
        "gt",
        "GroundTruth",
        "Masks",
        "segmentation",
    ] {
        let place = |i: u32| (format!("images/{i}.png"), format!("{name}/{i}.png"));
        assert_found(layout(place), (4, 4), "is taken for masks/");
    }
    assert_found(
        layout(|i| (format!("Images/{i}.png"), format!("masks/{i}.png"))),
        (4, 4),
        "Images/ is taken for images/",
    );
    assert_found(
        layout(|i| (format!("{i}.png"), format!("masks/{i}.png"))),
        (4, 4),
        "",
    );
    assert_found(
        layout(|i| (format!("images/a{i}/x.png"), format!("masks/a{i}/x.png"))),
        (4, 4),
        "",
    );
    assert_found(
        layout(|i| {
            (
                format!("pack/images/{i}.png"),
                format!("pack/masks/{i}.png"),
            )
        }),
        (4, 4),
        "",
    );
    assert_found(
        layout(|i| (format!("images/{i}.png"), format!("masks/{i}_mask.png"))),
        (4, 4),
        "ending '_mask'",
    );
    assert_found(
        layout(|i| (format!("images/IMG_{i}.png"), format!("masks/img_{i}.png"))),
        (4, 4),
        "case of letters",
    );
    assert_found(
        layout(|i| {
            (
                format!("images/\u{e9}_{i}.png"),
                format!("masks/e\u{301}_{i}.png"),
            )
        }),
        (4, 4),
        "Unicode form",
    );
    assert_found(
        layout(|i| (format!("{i}.png"), format!("{i}_mask.png"))),
        (4, 4),
        "taken for the masks of the others",
    );
    assert_found(
        layout(|i| (format!("{i}.jpg"), format!("{i}.png"))),
        (4, 4),
        "PNGs beside JPEGs",
    );
    // The masks of both splits in one folder.
    let place = |i: u32| {
        let image = format!("images/{}/{i}.png", half(i));
        (image, format!("masks/{i}.png"))
    };
    assert_found(layout(place), (2, 2), note);
    let place = |i: u32| (format!("images/{i}.jpg"), format!("masks/{i}.jpg.png"));
    assert_found(layout(place), (4, 4), "ending '.jpg'");
    // One folder per class, as ImageNet has it.
    let place = |i: u32| (format!("n{}/x_{i}.jpg", i / 2), String::new());
    assert_found(layout(place), (4, 0), "4 images in 2 folders");
    // A split without masks gives way to one with masks.
    assert_found(
        |root| {
            layout(|i| {
                (
                    format!("images/{}/{i}.png", half(i)),
                    format!("masks/{}/{i}.png", half(i)),
                )
            })(root);
            layout(|i| (format!("images/test/t{i}.png"), String::new()))(root);
        },
        (2, 2),
        "the test split has no masks",
    );
}

#[test]
fn names_of_nested_images_stay_apart() {
    let (folder, said) = case(layout(|i| (format!("class{i}/0001.jpg"), String::new())));
    assert_eq!(said.items, 4);
    let set = DataSet::open(folder.path().join("set").to_str().unwrap()).unwrap();
    assert_eq!(names(&set.test)[..2], ["class0.0001", "class1.0001"]);
}

/// What is not recognized is asked for in one sentence.
#[test]
fn layouts_that_could_mean_two_things_are_asked_for() {
    let refused = |make: &dyn Fn(&Path), words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("set");
        make(&root);
        let text = DataSet::open(root.to_str().unwrap())
            .unwrap_err()
            .to_string();
        assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
        for word in words {
            assert!(text.contains(word), "{word}: {text}");
        }
    };
    let two = |root: &Path| {
        layout(|i| (format!("images/{i}.png"), format!("labels/{i}.png")))(root);
        layout(|i| (format!("images/{i}.png"), format!("gt/{i}.png")))(root);
    };
    refused(
        &two,
        &[
            "gt/ and labels/",
            "test = { images = \"images\", masks = \"gt\" }",
        ],
    );
    let unknown =
        |root: &Path| layout(|i| (format!("pics/{i}.png"), format!("areas/{i}.png")))(root);
    refused(
        &unknown,
        &[
            "pics/",
            "areas/",
            "test = { images = \"pics\", masks = \"areas\" }",
        ],
    );
    // Pictures, and pictures of few colors.
    let colored = |root: &Path| {
        let place = |i: u32| (format!("raw/{i}.png"), format!("labeled/{i}_L.png"));
        set_of(root, place, |_, mask| {
            DynamicImage::from(mask).to_rgb8().into()
        });
    };
    refused(&colored, &["raw/", "labeled/", "masks = \"labeled\""]);
    let full = |root: &Path| {
        layout(|i| {
            (
                format!("images/training/a/ADE_{i}.jpg"),
                format!("images/training/a/ADE_{i}_seg.png"),
            )
        })(root);
        fs::write(root.join("index_ade20k.pkl"), "x").unwrap();
    };
    refused(&full, &["full ADE20K", "ADEChallengeData2016.zip"]);
    let lonely = |root: &Path| {
        layout(|i| {
            (
                format!("images/train/{i}.png"),
                format!("masks/train/{i}.png"),
            )
        })(root)
    };
    refused(
        &lonely,
        &[
            "has train/ but no test/",
            "images = \"images/train\", masks = \"masks/train\"",
        ],
    );
    // As KITTI has them: only folders that are there are named.
    let inside = |root: &Path| {
        layout(|i| {
            (
                format!("training/image_2/{i}.png"),
                format!("training/semantic/{i}.png"),
            )
        })(root)
    };
    refused(&inside, &["images = \"training\", masks = \"MASKS\""]);
}

/// One picture beside folders of pictures does not stand for all of them, and none is passed over in silence.
#[test]
fn pictures_on_two_levels_are_told() {
    let more = |below: u32, images: &'static str, masks: &'static str| {
        move |root: &Path| {
            layout(|i| (format!("images/{i}.png"), format!("masks/{i}.png")))(root);
            for i in 0..below {
                for (folder, file) in [(images, "images/0.png"), (masks, "masks/0.png")] {
                    fs::create_dir_all(root.join(folder)).unwrap();
                    fs::copy(root.join(file), root.join(folder).join(format!("x{i}.png"))).unwrap();
                }
            }
        }
    };
    assert_found(
        more(3, "images/more", "masks/more"),
        (4, 4),
        "left alone (3), because there are some in it itself (4)",
    );
    for (images, masks, named) in [
        ("images/more", "away", "images holds pictures itself (4)"),
        ("away", "masks/more", "masks holds pictures itself (4)"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("set");
        more(5, images, masks)(&root);
        let text = DataSet::open(root.to_str().unwrap())
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(named) && text.contains("images/**/*"),
            "{text}"
        );
    }
    // Masks beside or below the images are none that are left alone.
    let found = case(layout(|i| (format!("{i}.png"), format!("masks/{i}.png")))).1;
    assert!(!found.notes.iter().any(|note| note.contains("left alone")));
}

#[test]
fn folders_that_are_passed_over_are_noted() {
    let place = |i: u32| (format!("images/{i}.png"), format!("areas/{i}.png"));
    assert_found(
        layout(place),
        (4, 0),
        "areas is not used, though 4 of 4 images",
    );
    let yolo = |root: &Path| {
        layout(|i| (format!("images/{i}.png"), String::new()))(root);
        fs::create_dir(root.join("labels")).unwrap();
        fs::write(root.join("labels/0.txt"), "0 0.5 0.5 0.1 0.1").unwrap();
    };
    assert_found(yolo, (4, 0), "holds no images");
}
