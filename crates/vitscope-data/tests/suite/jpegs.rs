//! JPEGs as programs write them, against Pillow 13.0.0 (libjpeg-turbo 3.2.0): every place and version
//! of Adobe's segment, component names, missing tables, scans and sampling. `tools/geometry/
//! record_jpegs.py` makes the files.

use std::fs;
use std::path::Path;

use vitscope_data::resize::RgbImage;

/// Files, and how far their values may be from Pillow's: at most, and on average. The picture is a
/// checkered ramp of full contrast, where color at half resolution shows most; two decoders that
/// interpolate it alike differ by a few, and one that takes another color model by a hundred.
const FILES: [(&str, u8, f64); 29] = [
    ("ad_ys_0_jfif", 40, 2.0),
    ("ad_ys_0_mid", 40, 2.0),
    ("ad_ys_1_first", 40, 2.0),
    ("ad_ys_2_first", 40, 2.0),
    ("ad_ys_2_last", 40, 2.0),
    ("ad_ys_255_first", 40, 2.0),
    ("cmyk0_ad0", 4, 1.0),
    ("cmyk0_ad2", 4, 1.0),
    ("cmyk0_ad7", 4, 1.0),
    ("cmyk1_none", 40, 2.0),
    ("fill_ys", 40, 2.0),
    ("iccbad_ys", 40, 2.0),
    ("idsRGB_ys_ad1", 40, 2.0),
    ("idsRGB_ys_jfif", 40, 2.0),
    ("idsRGB_ys_none", 40, 2.0),
    ("mpo_ys", 40, 2.0),
    ("nodht_ys", 40, 2.0),
    ("part22", 40, 2.0),
    ("restartb", 40, 2.0),
    ("s1x1_2x2_2x2_37x29_b", 40, 2.0),
    ("s1x1_2x2_2x2_37x29_p", 40, 2.0),
    ("s1x3_37x29_p", 40, 2.0),
    ("s2x2_1x2_2x1_37x29_b", 40, 2.0),
    ("s3x1_37x29_b", 40, 2.0),
    ("s3x2_37x29_p", 40, 2.0),
    ("s4x1_37x29_b", 40, 2.0),
    ("stray_ys", 40, 2.0),
    ("two_ys", 40, 2.0),
    ("xmp_ys", 40, 2.0),
];

#[test]
fn jpegs_of_every_form_are_read_as_pillow_reads_them() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/jpeg");
    let mut wrong = Vec::new();
    for (name, most, mean) in FILES {
        let image = match RgbImage::open(&folder.join(format!("{name}.jpg"))) {
            Ok(image) => image,
            Err(error) => {
                wrong.push(error.to_string());
                continue;
            }
        };
        assert_eq!((image.width(), image.height()), (37, 29), "{name}");
        let expected = fs::read(folder.join(format!("{name}.rgb"))).unwrap();
        let differences: Vec<u8> = image
            .pixels()
            .iter()
            .zip(&expected)
            .map(|(a, b)| a.abs_diff(*b))
            .collect();
        let largest = *differences.iter().max().unwrap();
        let sum: u64 = differences.iter().map(|&value| u64::from(value)).sum();
        let average = sum as f64 / differences.len() as f64;
        if largest > most || average > mean {
            wrong.push(format!(
                "{name}: {largest} at most, {average:.2} on average"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn forms_that_are_not_read_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jpg");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/jpeg/ad_ys_1_first.jpg");
    let bytes = fs::read(golden).unwrap();
    let frame = bytes
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    for (marker, bits, says) in [
        (0xc9, 8, "arithmetic codes"),
        (0xc3, 8, "a lossless JPEG"),
        (0xc5, 8, "a hierarchical JPEG"),
        (0xc1, 12, "12 bits a sample"),
    ] {
        let mut bytes = bytes.clone();
        bytes[frame + 1] = marker;
        bytes[frame + 4] = bits;
        fs::write(&path, &bytes).unwrap();
        let text = RgbImage::open(&path).unwrap_err().to_string();
        assert!(text.contains(says) && text.contains("a.jpg"), "{text}");
    }
}
