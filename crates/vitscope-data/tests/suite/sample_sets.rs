//! Whole data sets: a drawn one, and real samples, which the maintainers keep beside the repository (their
//! folders say where they are from).

use std::path::PathBuf;

use sha2::{Digest, Sha256};
use vitscope_data::{DataSet, Geometry, IGNORE, Kind, Split, stream};

use vitscope_testkit::{samples, scenes};

fn open(folder: &str) -> DataSet {
    DataSet::open(samples("data").join(folder).to_str().unwrap()).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The drawn data set: every image, and labels that are the middle of the masks.
#[test]
fn a_drawn_camvid_is_whole() {
    let set = DataSet::open(scenes::camvid().to_str().unwrap()).unwrap();
    assert_eq!(set.kind, Kind::Camvid);
    assert_eq!((set.train.len(), set.test.len()), scenes::CAMVID);
    assert!(set.has_truth() && set.notes().is_empty());
    let ((width, height), mut counts, mut expected) = (scenes::SIZE, [0_u64; 12], [0_u64; 12]);
    for item in &set.test {
        let mask = item.mask.as_ref().unwrap();
        let mask = image::open(mask).unwrap().into_luma8().into_raw();
        for row in mask.chunks(width) {
            for &id in &row[(width - height) / 2..(width + height) / 2] {
                expected[usize::from(id)] += 1;
            }
        }
    }
    let order: Vec<usize> = (0..set.test.len()).collect();
    let geometry = Geometry { size: height };
    for sample in stream(&set, Split::Test, order, geometry, true, 8, 2) {
        for id in sample.unwrap().label.unwrap().ids {
            counts[if id == IGNORE { 11 } else { usize::from(id) }] += 1;
        }
    }
    assert_eq!(counts, expected);
    assert!(counts[11] > 0 && counts[0] > 0);
}

#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn camvid_is_whole() {
    let set = open("camvid");
    assert_eq!(
        (set.kind, set.train.len(), set.test.len()),
        (Kind::Camvid, 150, 94)
    );
    assert!(set.has_truth() && set.notes().is_empty());
    assert_eq!(set.train[0].name, "0001TP_006690");
    let explicit = DataSet::open(&format!("camvid:{}", samples("data/camvid").display())).unwrap();
    assert_eq!(explicit.list_hash(), set.list_hash());
}

/// The class counts of the test split at its own height, of which the crop keeps the middle three
/// quarters: recorded with Pillow 13.0.0 and numpy 2.4.6 as
///
/// ```python
/// total = np.zeros(12, int)
/// for f in sorted(glob("camvid/testannot/*.png")):
///     total += np.bincount(np.asarray(Image.open(f))[:, 60:420].ravel(), minlength=12)
/// ```
#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn camvid_counts_equal_numpys() {
    let set = open("camvid");
    let order: Vec<usize> = (0..set.test.len()).collect();
    let mut counts = [0u64; 12];
    for sample in stream(&set, Split::Test, order, Geometry { size: 360 }, true, 8, 2) {
        for id in sample.unwrap().label.unwrap().ids {
            counts[if id == IGNORE { 11 } else { usize::from(id) }] += 1;
        }
    }
    assert_eq!(counts, CAMVID_COUNTS);
}

/// One crop of an image and its labels against torchvision, see `record_samples.py`.
#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn crops_of_real_files_equal_torchvision() {
    for (folder, index, size, image, label) in SAMPLES {
        let set = open(folder);
        let (item, geometry) = (&set.test[index], Geometry { size });
        let labels = set.label(item, &geometry).unwrap().unwrap();
        assert_eq!(sha256(&labels.ids), label, "{folder} {index} {size}");
        if let Some(image) = image {
            let pixels = set.image(item, &geometry).unwrap().pixels;
            assert_eq!(sha256(&pixels), image, "{folder} {index} {size}");
        }
    }
}

#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn voc_and_ade20k_samples_are_recognized() {
    let voc = open("voc-layout");
    assert_eq!((voc.kind, voc.test.len()), (Kind::Voc, 3));
    let ade = open("ade20k");
    assert_eq!(
        (ade.kind, ade.train.len(), ade.test.len()),
        (Kind::Ade20k, 1, 1)
    );
}

#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn palette_masks_with_endings_are_described_in_toml() {
    let folder = tempfile::tempdir().unwrap();
    let root = samples("data/palette-masks-mini");
    let root = root.to_str().unwrap();
    let classes: String = (0..7)
        .map(|id| format!("[[classes]]\nname = \"{id}\"\nids = [{id}]\n"))
        .collect();
    let text = format!(
        "root = '{root}'\ntest = {{ images = \"images\", masks = \"masks\" }}\n\
         image_suffix = \"_img\"\nmask_suffix = \"_gt\"\n{classes}"
    );
    let path = folder.path().join("set.toml");
    std::fs::write(&path, text).unwrap();
    let set = DataSet::open(path.to_str().unwrap()).unwrap();
    assert_eq!(set.test.len(), 5);
    for item in &set.test {
        assert!(set.label(item, &Geometry { size: 128 }).unwrap().is_some());
    }
}

#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn every_unlabeled_photograph_is_read() {
    let mut read = 0;
    for folder in [
        "imagenet-sample",
        "bsds500/images",
        "bsds500/train",
        "bsds500/test",
        "bsds500/val",
        "voc",
    ] {
        let root: PathBuf = samples("data/unlabelled").join(folder);
        let set = DataSet::open(&format!("folder:{}", root.display())).unwrap();
        assert!(!set.has_truth());
        let order: Vec<usize> = (0..set.test.len()).collect();
        for sample in stream(&set, Split::Test, order, Geometry { size: 64 }, true, 8, 2) {
            assert_eq!(sample.unwrap().image.pixels.len(), 64 * 64 * 3);
            read += 1;
        }
    }
    assert_eq!(read, UNLABELED);
}

const CAMVID_COUNTS: [u64; 12] = [
    2560579, 2396782, 159951, 3592045, 896284, 1309664, 128755, 108772, 516625, 66585, 25160,
    421198,
];
const UNLABELED: usize = 208;
#[rustfmt::skip]
const SAMPLES: [(&str, usize, usize, Option<&str>, &str); 10] = [
    ("camvid", 0, 320, Some("9be74776560ca5e55068e945809fc7f6f3368cb79a48092b325ab715be51e30f"), "0bde463d0bee5aacc1b29143c7b54864dbdc9b8272a9060c0022f36c48cf45e1"),
    ("camvid", 0, 322, Some("a78b6fb86be500a6ec3b08f212a0a12de14da8731eee7d07bdda07f01acfc638"), "40ccc16bdf31a99196dc43259cc458a8c3359a7bf07a87ad183205fb06376e62"),
    ("camvid", 47, 320, Some("3bb3e3e02da9450245e6dd2dc7138ea8be6f7552a5d48c595b49b941f4ace422"), "25cdd8e812dfcd09c7f28a33bac96814e537bf937d8d6559e827e7eda3a3cbc0"),
    ("camvid", 47, 322, Some("fc41be065c559e48d59032a8a569b0d096f9c790d7c82bb5984a6d8d01d86df6"), "f50236add79f5b16d27d50c4aa7dcaf0b98ab03a06f08fe364590087a0c54142"),
    ("camvid", 93, 320, Some("23c3733bd4e1bb82aa7937e42e704d195f29742324357d8823aca267e7d9489a"), "099664b68036059d96bab837c14d6ccf701c39017fa701aa1d1d2cc0b9b26b4e"),
    ("camvid", 93, 322, Some("bd7fea60823aff53b61097259c64bbc34617b43ed3a24e7e4e82f97d2cf86478"), "5a3d2115295efb4ff2e0f265a33356468395d00f913d9f1d56d2a9d92143d8f0"),
    ("voc-layout", 1, 320, None, "8dbaa65c8141aecbbc601743d09ff57a47000139e490bcc5f6057de901e5578f"),
    ("voc-layout", 1, 322, None, "adba758fceb197c94e6eca7a60fbb9c0d02fef5c4d326973dea3d7ab9941d35b"),
    ("ade20k", 0, 320, None, "7eecea7a52764d961bbc750140bc2f05ee9a1d367ccd6a0132c7cf95b9384302"),
    ("ade20k", 0, 322, None, "064e4da1abd98602ee2028db6f3f1403eb426b74b8e7341082b28834963456d0"),
];
