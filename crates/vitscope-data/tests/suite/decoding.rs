//! Image and mask files in every form that people have them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{message, open, write_image, write_mask, write_png};
use png::{BitDepth, ColorType};
use vitscope_data::resize::RgbImage;
use vitscope_data::{Geometry, IGNORE};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// JPEG decoders differ by a little; a wrong orientation or color model differs by a lot.
fn assert_near(image: &RgbImage, expected: &[u8], most: u8, what: &str) {
    assert_eq!(image.pixels().len(), expected.len(), "{what}");
    let differ = image
        .pixels()
        .iter()
        .zip(expected)
        .map(|(a, b)| a.abs_diff(*b));
    let largest = differ.max().unwrap();
    assert!(largest <= most, "{what}: {largest}");
}

#[test]
fn exif_orientation_turns_images_as_pillow_does() {
    for orientation in 1..=8 {
        let name = format!("turned{orientation}");
        let image = RgbImage::open(&golden(&format!("{name}.jpg"))).unwrap();
        let turned = orientation > 4;
        let size = if turned { (24, 32) } else { (32, 24) };
        assert_eq!((image.width(), image.height()), size);
        assert_near(
            &image,
            &fs::read(golden(&format!("{name}.rgb"))).unwrap(),
            3,
            &name,
        );
    }
}

#[test]
fn four_inks_become_rgb_as_pillow_does() {
    for name in ["cmyk", "ycck"] {
        let image = RgbImage::open(&golden(&format!("{name}.jpg"))).unwrap();
        assert_near(
            &image,
            &fs::read(golden(&format!("{name}.rgb"))).unwrap(),
            4,
            name,
        );
    }
}

#[test]
fn png_forms_become_rgb() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.png");
    use BitDepth::{Eight, Four, One, Sixteen};
    use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    let cases: [(ColorType, BitDepth, &[u8], [u8; 6]); 9] = [
        (Rgb, Eight, &[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        // Alpha is dropped, not blended.
        (Rgba, Eight, &[1, 2, 3, 0, 4, 5, 6, 9], [1, 2, 3, 4, 5, 6]),
        (GrayscaleAlpha, Eight, &[7, 0, 8, 255], [7, 7, 7, 8, 8, 8]),
        (Grayscale, Eight, &[7, 8], [7, 7, 7, 8, 8, 8]),
        (Grayscale, Sixteen, &[7, 255, 8, 0], [7, 7, 7, 8, 8, 8]),
        (
            Rgb,
            Sixteen,
            &[1, 99, 2, 0, 3, 200, 4, 1, 5, 255, 6, 7],
            [1, 2, 3, 4, 5, 6],
        ),
        (Grayscale, One, &[0b0100_0000], [0, 0, 0, 255, 255, 255]),
        (Grayscale, Four, &[0x2f], [34, 34, 34, 255, 255, 255]),
        // An image's palette gives its colors; a mask's does not.
        (Indexed, Four, &[0x12], [254, 7, 9, 253, 7, 9]),
    ];
    for (color, depth, data, expected) in cases {
        write_png(&path, (2, 1), (color, depth), data);
        assert_eq!(
            RgbImage::open(&path).unwrap().pixels(),
            expected,
            "{color:?} {depth:?}"
        );
    }
}

#[test]
fn other_formats_and_wrong_extensions_are_read_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let picture =
        image::RgbImage::from_fn(5, 4, |x, y| image::Rgb([x as u8 * 40, y as u8 * 50, 3]));
    for format in [
        image::ImageFormat::Bmp,
        image::ImageFormat::WebP,
        image::ImageFormat::Png,
    ] {
        let path = folder.path().join("lies.jpg");
        picture.save_with_format(&path, format).unwrap();
        let read = RgbImage::open(&path).unwrap();
        assert_eq!((read.width(), read.height()), (5, 4));
        assert_eq!(read.pixels(), picture.as_raw().as_slice(), "{format:?}");
    }
}

#[test]
fn files_that_are_no_whole_image_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("photo.jpg");
    let whole = fs::read(golden("turned1.jpg")).unwrap();
    let png = {
        let path = folder.path().join("a.png");
        write_image(&path, (40, 40));
        fs::read(path).unwrap()
    };
    let cases: [(&[u8], &str); 9] = [
        (b"", "empty (0 bytes)"),
        (b"<html>not found</html>", "is a web page"),
        (b"II*\0 tiff", "is a TIFF"),
        (b"GIF89a", "is a GIF"),
        (
            &whole[..whole.len() - 1],
            "the file ends before the image does",
        ),
        (
            &whole[..whole.len() / 2],
            "the file ends before the image does",
        ),
        (&whole[..3], "the file ends before the image does"),
        (&png[..png.len() / 2], "cannot be decoded as PNG"),
        (&png[..8], "cannot be decoded as PNG"),
    ];
    for (bytes, expected) in cases {
        fs::write(&path, bytes).unwrap();
        let message = message(RgbImage::open(&path));
        assert!(
            message.contains("photo.jpg") && message.contains(expected),
            "{message}"
        );
    }
    fs::remove_file(&path).unwrap();
    assert!(message(RgbImage::open(&path)).contains("cannot be read"));
}

/// Decoders must answer damaged files with an error or an image, never with a panic.
#[test]
fn damaged_files_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let mut state = 1u32;
    for source in ["turned6.jpg", "cmyk.jpg", "ycck.jpg"] {
        let whole = fs::read(golden(source)).unwrap();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = (state >> 8) as usize % bytes.len();
                bytes[at] = (state >> 3) as u8;
            }
            fs::write(&path, &bytes).unwrap();
            let _ = RgbImage::open(&path);
        }
    }
}

/// A folder set of one 4x2 image with one mask, and its labels with no resizing of the rows.
fn labels_of(color: ColorType, depth: BitDepth, data: &[u8]) -> Result<Vec<u8>, String> {
    let folder = tempfile::tempdir().unwrap();
    write_image(&folder.path().join("images/a.png"), (4, 2));
    write_png(
        &folder.path().join("masks/a.png"),
        (4, 2),
        (color, depth),
        data,
    );
    let set = open("folder", folder.path()).map_err(|error| error.to_string())?;
    // The crop keeps columns 1 and 2.
    let crop = set
        .label(&set.test[0], &Geometry { size: 2 })
        .map_err(|error| error.to_string())?;
    let names: Vec<u8> = set
        .classes
        .iter()
        .map(|class| class.name.parse().unwrap_or(254))
        .collect();
    let name = |&id: &u8| {
        if id == IGNORE {
            IGNORE
        } else {
            names[usize::from(id)]
        }
    };
    Ok(crop.unwrap().ids.iter().map(name).collect())
}

#[test]
fn masks_are_read_as_the_numbers_they_store() {
    use BitDepth::{Eight, Four, One, Sixteen, Two};
    use ColorType::{Grayscale, GrayscaleAlpha, Indexed};
    for color in [Grayscale, Indexed] {
        assert_eq!(
            labels_of(color, One, &[0b0100_1111, 0b1011_0000]).unwrap(),
            [1, 0, 0, 1]
        );
        assert_eq!(
            labels_of(color, Two, &[0b00_01_10_11, 0b11_00_11_00]).unwrap(),
            [1, 2, 0, 3]
        );
        assert_eq!(
            labels_of(color, Four, &[0x01, 0x2f, 0xfe, 0xd0]).unwrap(),
            [1, 2, 14, 13]
        );
        assert_eq!(
            labels_of(color, Eight, &[0, 9, 255, 0, 0, 77, 200, 0]).unwrap(),
            [9, 255, 77, 200]
        );
    }
    assert_eq!(
        labels_of(
            GrayscaleAlpha,
            Eight,
            &[0, 0, 3, 0, 4, 0, 0, 0, 0, 0, 5, 0, 6, 0, 0, 0]
        )
        .unwrap(),
        [3, 4, 5, 6]
    );
    let wide: Vec<u8> = [0u16, 7, 255, 0, 0, 100, 200, 0]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    assert_eq!(
        labels_of(Grayscale, Sixteen, &wide).unwrap(),
        [7, 255, 100, 200]
    );
}

#[test]
fn sixteen_bit_ids_past_255_are_classes_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    write_image(&folder.path().join("images/a.png"), (2, 1));
    let data: Vec<u8> = [300u16, 65535]
        .iter()
        .flat_map(|v| v.to_be_bytes())
        .collect();
    let coding = (ColorType::Grayscale, BitDepth::Sixteen);
    write_png(&folder.path().join("masks/a.png"), (2, 1), coding, &data);
    let set = open("folder", folder.path()).unwrap();
    assert_eq!(
        set.classes
            .iter()
            .map(|c| c.name.as_str())
            .collect::<Vec<_>>(),
        ["300", "65535"]
    );
    let label = set
        .label(&set.test[0], &Geometry { size: 1 })
        .unwrap()
        .unwrap();
    assert_eq!(label.ids, [0]);
}

#[test]
fn masks_of_another_coding_are_refused() {
    let text = labels_of(ColorType::Rgb, BitDepth::Eight, &[0; 24]).unwrap_err();
    assert!(
        text.contains("an RGB picture") && text.contains("a.png"),
        "{text}"
    );
    let text = labels_of(ColorType::Rgb, BitDepth::Sixteen, &[0; 48]).unwrap_err();
    assert!(text.contains("16-bit color"), "{text}");
    let folder = tempfile::tempdir().unwrap();
    write_image(&folder.path().join("images/a.png"), (4, 2));
    fs::create_dir(folder.path().join("masks")).unwrap();
    fs::copy(golden("turned1.jpg"), folder.path().join("masks/a.jpg")).unwrap();
    let text = message(open("folder", folder.path()));
    assert!(text.contains("is a JPEG"), "{text}");
}

#[test]
fn a_mask_of_another_size_is_an_error_that_names_both() {
    let folder = tempfile::tempdir().unwrap();
    write_image(&folder.path().join("images/a.png"), (4, 2));
    write_mask(&folder.path().join("masks/a.png"), (2, 4), 1);
    let set = open("folder", folder.path()).unwrap();
    let message = message(set.label(&set.test[0], &Geometry { size: 2 }));
    assert!(message.contains("masks/a.png is 2x4"), "{message}");
    assert!(message.contains("images/a.png is 4x2,"), "{message}");
}

#[test]
fn exif_orientation_is_never_applied_to_masks() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir(root.join("images")).unwrap();
    fs::copy(golden("turned6.jpg"), root.join("images/a.jpg")).unwrap();
    // The stored size is 32x24; shown upright, the image is 24x32.
    write_mask(&root.join("masks/a.png"), (24, 32), 3);
    let set = open("folder", root).unwrap();
    let label = set
        .label(&set.test[0], &Geometry { size: 16 })
        .unwrap()
        .unwrap();
    assert_eq!(label.ids, [0; 256]);
    write_mask(&root.join("masks/a.png"), (32, 24), 3);
    let message = message(set.label(&set.test[0], &Geometry { size: 16 }));
    assert!(
        message.contains("24x32 once turned by its EXIF orientation"),
        "{message}"
    );
}

#[test]
fn an_id_off_the_table_is_an_error_even_outside_the_crop() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_image(&root.join("images/a.png"), (4, 2));
    let coding = (ColorType::Grayscale, BitDepth::Eight);
    write_png(
        &root.join("masks/a.png"),
        (4, 2),
        coding,
        &[7, 0, 1, 0, 0, 1, 1, 0],
    );
    fs::write(root.join("classes.txt"), "ground\nsky\n").unwrap();
    let set = open("folder", root).unwrap();
    let message = message(set.label(&set.test[0], &Geometry { size: 2 }));
    assert!(
        message.contains("masks/a.png has the label id 7"),
        "{message}"
    );
    assert!(
        message.contains("folder (classes 0-1; ignored 255)"),
        "{message}"
    );
}

#[test]
fn interlaced_masks_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_image(&root.join("images/a.png"), (13, 11));
    fs::create_dir(root.join("masks")).unwrap();
    fs::copy(golden("interlaced.png"), root.join("masks/a.png")).unwrap();
    let set = open("folder", root).unwrap();
    let label = set
        .label(&set.test[0], &Geometry { size: 11 })
        .unwrap()
        .unwrap();
    for (index, &id) in label.ids.iter().enumerate() {
        // The crop begins at column 1.
        let (x, y) = (index % 11 + 1, index / 11);
        assert_eq!(usize::from(id), (3 * x + 5 * y) % 16);
    }
}

/// As for images: damaged masks are errors or labels, never a panic.
#[test]
fn damaged_masks_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_image(&root.join("images/a.png"), (13, 11));
    fs::create_dir(root.join("masks")).unwrap();
    let whole = fs::read(golden("interlaced.png")).unwrap();
    for at in 0..whole.len() {
        for change in [1, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            fs::write(root.join("masks/a.png"), &bytes).unwrap();
            let Ok(set) = open("folder", root) else {
                continue;
            };
            let _ = set.label(&set.test[0], &Geometry { size: 11 });
        }
        fs::write(root.join("masks/a.png"), &whole[..at]).unwrap();
        assert!(
            open("folder", root).is_err() || at + 12 >= whole.len(),
            "{at}"
        );
    }
}
