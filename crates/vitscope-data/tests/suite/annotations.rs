//! Sets whose ground truth is no plain mask: PASCAL-Part, COCO panoptic, SPair-71k.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_data::{DataSet, Geometry, Kind, Pair, PairSet};
use vitscope_testkit::samples;

use crate::common::{message, names, open, write_image};

/// A name, pixels of background, head, torso, leg, tail, wing and ignored, and the SHA-256 of a crop's labels.
type Parts = (&'static str, [u64; 7], &'static str);

/// The annotations that `tools/geometry/make_parts.py` drew, as SciPy 1.17.1 and Pillow 13.0.0 read and paint
/// them (`tools/geometry/record_parts.py`, crop to 64 pixels).
#[rustfmt::skip]
const PARTS: [Parts; 3] = [
    ("2008_000001", [5983, 118, 303, 29, 49, 189, 829], "4bf613a38976d64d8e70b26089aec5fa21d5fa71cc4839675f4fdc1146d6bec4"),
    ("2008_000002", [4911, 137, 725, 66, 49, 0, 1612], "1ff8d0a2ba36ce7e48be4a03825594c5fb9f35d4930ef51d81fe613dc5e347de"),
    ("2008_000003", [4427, 123, 1281, 100, 78, 189, 1482], "d38862f0169cff671c7ddb992d47001641bbb402cfc42caf09b72358be0162e4"),
];

/// The same of examples of the real data set, crop to 320 pixels.
#[rustfmt::skip]
const REAL_PARTS: [Parts; 8] = [
    ("2008_001978", [187250, 0, 181, 0, 0, 0, 69], "dda6b7825bbb0811d1a5aa762a7a174b9bfb150387b0953b7516e2fe25f5e61e"),
    ("2008_003228", [183511, 522, 3089, 0, 343, 0, 35], "f627ca4c2c322f15db26152df306bd4f983f0146409b81a4341b9b340c365a16"),
    ("2008_003497", [155451, 435, 1855, 921, 310, 0, 28], "3aa34710522391605c3a45f05327c7bdd51aed5781ddea132d18db54e24dd301"),
    ("2008_005643", [135050, 15603, 18630, 14186, 1491, 0, 2540], "b8d4a4eae328ced09b1ad019cf64035e158c9cd3bc2c08382badab0498d1bdee"),
    ("2008_006462", [155689, 12282, 19026, 498, 0, 0, 5], "4c54304f2b9005cd99f0fc841829cae95b93bcbcab6adb6ed48c229c8ac54afe"),
    ("2010_005243", [161303, 1766, 1991, 1374, 0, 0, 66], "34b46ec77c78f5b37d6b903cedace5ead52c47445ac9ee9406296346c3b70f1c"),
    ("2010_005275", [83102, 13468, 40782, 11331, 8958, 0, 6359], "26c3418e8d7db464aa498249187ab5b8d9e7d93010ea637aa28fbc50125ba726"),
    ("2010_005511", [113876, 4634, 38949, 8000, 380, 0, 661], "819b52a33e0bb0124908492d456e74744cf712cc71a01bf721f4da7c429616d7"),
];

/// The drawn annotations beside photographs of their sizes.
fn drawn_parts(root: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/parts/Annotations_Part");
    fs::create_dir_all(root.join("Annotations_Part")).unwrap();
    for (stem, size) in [
        ("2008_000001", (100, 75)),
        ("2008_000002", (75, 100)),
        ("2008_000003", (120, 64)),
        ("2008_000004", (60, 60)),
        ("2008_000005", (80, 60)),
    ] {
        let mat = format!("{stem}.mat");
        fs::copy(from.join(&mat), root.join("Annotations_Part").join(mat)).unwrap();
        write_image(&root.join(format!("JPEGImages/{stem}.jpg")), size);
    }
}

fn check_parts(root: &Path, size: usize, parts: &[Parts]) {
    let set = open("pascal-part-animals", root).unwrap();
    assert_eq!(set.kind, Kind::PascalPartAnimals);
    let expected: Vec<&str> = parts.iter().map(|row| row.0).collect();
    assert_eq!(names(&set.test), expected);
    let classes: Vec<&str> = set.classes.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        classes,
        ["background", "head", "torso", "leg", "tail", "wing"]
    );
    assert!(
        set.notes()
            .iter()
            .any(|note| note.contains("the paper has 1077 and 1094"))
    );
    let geometry = Geometry { size };
    for (item, &(name, pixels, crop)) in set.test.iter().zip(parts) {
        let examined = set.examine(item, &geometry);
        assert!(examined.problems.is_empty(), "{:?}", examined.problems);
        assert_eq!(examined.pixels, pixels[..6], "{name}");
        assert_eq!(examined.ignored, pixels[6], "{name}");
        let label = set.label(item, &geometry).unwrap().unwrap();
        let hash = Sha256::digest(&label.ids);
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, crop, "{name}");
    }
}

#[test]
fn pascal_part_equals_scipys_reading() {
    let folder = tempfile::tempdir().unwrap();
    drawn_parts(folder.path());
    check_parts(folder.path(), 64, &PARTS);
}

#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn real_pascal_part_equals_scipys_reading() {
    check_parts(&samples("data/pascal-part"), 320, &REAL_PARTS);
}

/// Opens a description that lies elsewhere than its root.
fn parts_by(root: &Path, settings: &str) -> Result<DataSet, vitscope_data::DataError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("parts.toml");
    let text = format!(
        "kind = \"pascal-part-animals\"\nroot = '{}'\n{settings}",
        root.display()
    );
    fs::write(&path, text).unwrap();
    DataSet::open(path.to_str().unwrap())
}

#[test]
fn pascal_part_by_settings() {
    let folder = tempfile::tempdir().unwrap();
    drawn_parts(folder.path());
    let parts_by = |settings: &str| parts_by(folder.path(), settings);
    let birds = parts_by(
        "animals = [\"bird\"]\nunlabeled = \"background\"\nmax_animals = 1\n\
         animals_alone = true\n[[classes]]\nname = \"bird\"\nparts = [\"bird.torso\"]\n",
    )
    .unwrap();
    // The third image also shows a cow, which is no animal that was asked for.
    assert_eq!(names(&birds.test), ["2008_000001"]);
    assert_eq!(birds.classes.len(), 2);
    let examined = birds.examine(&birds.test[0], &Geometry { size: 64 });
    // A disk of radius 12 has 441 pixels.
    assert_eq!(
        (examined.pixels, examined.ignored),
        (vec![100 * 75 - 441, 441], 0)
    );
    let alone = parts_by("min_area = 0.15\nanimals_alone = true\n").unwrap();
    assert_eq!(names(&alone.test), ["2008_000001", "2008_000003"]);
    // A disk of radius 22 covers a fifth of the first image.
    let large = parts_by("min_area = 0.25\n").unwrap();
    assert_eq!(names(&large.test), ["2008_000002", "2008_000003"]);
    assert!(message(parts_by("unlabelled = \"ignore\"\n")).contains("unlabelled"));
    assert!(message(parts_by("train = \"none.txt\"\n")).contains("no val.txt"));
}

#[test]
fn pascal_part_follows_the_lists_of_voc2010() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = tempfile::tempdir().unwrap();
    drawn_parts(drawn.path());
    let (root, from) = (folder.path(), drawn.path());
    let voc = root.join("VOCdevkit/VOC2010");
    for place in [
        root.join("Annotations_Part"),
        voc.join("JPEGImages"),
        voc.join("ImageSets/Main"),
    ] {
        fs::create_dir_all(place).unwrap();
    }
    for stem in ["2008_000001", "2008_000003", "2008_000004"] {
        let mat = format!("Annotations_Part/{stem}.mat");
        fs::copy(from.join(&mat), root.join(&mat)).unwrap();
        let jpeg = format!("JPEGImages/{stem}.jpg");
        fs::copy(from.join(&jpeg), voc.join(&jpeg)).unwrap();
    }
    // Not an animal, so it is in no split.
    fs::write(
        voc.join("ImageSets/Main/train.txt"),
        "2008_000004\n2008_000003  1\n",
    )
    .unwrap();
    fs::write(voc.join("ImageSets/Main/val.txt"), "2008_000001\n").unwrap();
    let set = DataSet::open(root.to_str().unwrap()).unwrap();
    assert_eq!(names(&set.train), ["2008_000003"]);
    assert_eq!(names(&set.test), ["2008_000001"]);
    let mat = root.join("Annotations_Part/2008_000003.mat");
    let bytes = fs::read(&mat).unwrap();
    fs::write(&mat, &bytes[..bytes.len() / 2]).unwrap();
    let text = message(DataSet::open(root.to_str().unwrap()));
    assert!(
        text.contains("2008_000003.mat") && text.contains("ends early"),
        "{text}"
    );
    let survey = DataSet::survey(root.to_str().unwrap()).unwrap();
    assert_eq!(survey.problems.count(), 1);
    assert_eq!((survey.set.train.len(), survey.set.test.len()), (0, 1));
    fs::remove_file(mat).unwrap();
    assert!(message(DataSet::open(root.to_str().unwrap())).contains("2008_000003.mat"));
}

const PANOPTIC: [(&str, &str); 2] = [("train2017", "000000439180"), ("val2017", "000000142238")];

/// The lists of a panoptic data set, whose archives unpack as they lie then.
fn panoptic_lists(root: &Path) {
    for (split, stem) in PANOPTIC {
        let list = root.join("curated").join(split);
        fs::create_dir_all(&list).unwrap();
        let list = list.join("Coco164kFull_Stuff_Coarse_7.txt");
        fs::write(list, format!("{stem}\n")).unwrap();
    }
}

/// Writes segments' numbers as panoptic masks store them.
fn write_segments(path: &Path, (width, height): (u32, u32), number: impl Fn(u32, u32) -> u32) {
    let pixels: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .flat_map(|(x, y)| {
            let [red, green, blue, _] = number(x, y).to_le_bytes();
            [red, green, blue]
        })
        .collect();
    crate::common::write_png(
        path,
        (width, height),
        (png::ColorType::Rgb, png::BitDepth::Eight),
        &pixels,
    );
}

/// A person at the left, a tree at the right, and between them what no segment covers.
fn panoptic(root: &Path) {
    panoptic_lists(root);
    for (split, stem) in PANOPTIC {
        write_image(&root.join(format!("{split}/{stem}.jpg")), (64, 42));
        let masks = root.join(format!("annotations/panoptic_{split}"));
        write_segments(
            &masks.join(format!("{stem}.png")),
            (64, 42),
            |x, _| match x {
                0..20 => 7,
                20..24 => 0,
                _ => 70_007,
            },
        );
        let annotation = serde_json::json!({"annotations": [{
            "file_name": format!("{stem}.png"),
            "segments_info": [{"id": 7, "category_id": 1}, {"id": 70_007, "category_id": 184}],
        }]});
        fs::write(masks.with_extension("json"), annotation.to_string()).unwrap();
    }
}

#[test]
fn panoptic_annotations_give_the_27_classes() {
    let folder = tempfile::tempdir().unwrap();
    panoptic(folder.path());
    let set = DataSet::open(folder.path().to_str().unwrap()).unwrap();
    assert_eq!((set.kind, set.classes.len()), (Kind::CocoStuff27, 27));
    assert!(set.notes()[0].contains("panoptic"), "{:?}", set.notes());
    for item in [&set.train[0], &set.test[0]] {
        let examined = set.examine(item, &Geometry { size: 32 });
        assert!(examined.problems.is_empty(), "{:?}", examined.problems);
        for (class, &pixels) in set.classes.iter().zip(&examined.pixels) {
            let expected = match class.name.as_str() {
                "person-things" => 20 * 42,
                "plant-stuff" => 40 * 42,
                _ => 0,
            };
            assert_eq!(pixels, expected, "{}", class.name);
        }
        assert_eq!(examined.ignored, 4 * 42);
    }
}

/// Against maps made from the same samples by the supercategories of their categories.
#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn real_panoptic_annotations_give_the_27_classes() {
    let folder = tempfile::tempdir().unwrap();
    panoptic_lists(folder.path());
    let from = samples("data/coco-panoptic");
    for (split, stem) in PANOPTIC {
        let masks = folder.path().join(format!("annotations/panoptic_{split}"));
        fs::create_dir_all(&masks).unwrap();
        fs::create_dir_all(folder.path().join(split)).unwrap();
        let image = from.join(format!("input_images/{stem}.jpg"));
        let to = folder.path().join(format!("{split}/{stem}.jpg"));
        fs::copy(image, to).unwrap();
        let mask = from.join(format!("panoptic_examples/{stem}.png"));
        fs::copy(mask, masks.join(format!("{stem}.png"))).unwrap();
        let json = from.join("panoptic_examples.json");
        fs::copy(json, masks.with_extension("json")).unwrap();
    }
    let set = DataSet::open(folder.path().to_str().unwrap()).unwrap();
    let maps = tempfile::tempdir().unwrap();
    let classes: String = (0..27)
        .map(|id| format!("[[classes]]\nname = \"{id}\"\nids = [{id}]\n"))
        .collect();
    let whole = |name: &str| samples(name).canonicalize().unwrap().display().to_string();
    let text = format!(
        "test = {{ images = '{}', masks = '{}' }}\n{classes}",
        whole("data/coco-panoptic/input_images"),
        whole("data/coco27-from-panoptic"),
    );
    let path = maps.path().join("maps.toml");
    fs::write(&path, text).unwrap();
    let maps = DataSet::open(path.to_str().unwrap()).unwrap();
    let geometry = Geometry { size: 320 };
    for item in [&set.train[0], &set.test[0]] {
        let other = maps
            .test
            .iter()
            .find(|other| other.name == item.name)
            .unwrap();
        let (ours, theirs) = (set.examine(item, &geometry), maps.examine(other, &geometry));
        assert!(ours.problems.is_empty(), "{:?}", ours.problems);
        assert_eq!(ours.pixels, theirs.pixels, "{}", item.name);
        assert_eq!(ours.ignored, theirs.ignored, "{}", item.name);
        assert!(
            ours.label.is_some() && ours.label == theirs.label,
            "{}",
            item.name
        );
    }
}

/// Every category of the official list falls into the class of its supercategory.
#[test]
fn panoptic_categories_agree_with_their_supercategories() {
    let folder = tempfile::tempdir().unwrap();
    let json = vitscope_testkit::fact("panoptic_categories.json");
    let categories: serde_json::Value = serde_json::from_slice(&json).unwrap();
    panoptic(folder.path());
    let root = folder.path();
    let mut seen = 0;
    for category in categories.as_array().unwrap() {
        // One segment over the whole image.
        let annotation = serde_json::json!({"annotations": [{"file_name": "000000142238.png",
            "segments_info": [{"id": 7, "category_id": category["id"]}]}]});
        let json = root.join("annotations/panoptic_val2017.json");
        fs::write(json, annotation.to_string()).unwrap();
        let mask = root.join("annotations/panoptic_val2017/000000142238.png");
        write_segments(&mask, (64, 42), |_, _| 7);
        let set = DataSet::open(root.to_str().unwrap()).unwrap();
        let label = set
            .label(&set.test[0], &Geometry { size: 16 })
            .unwrap()
            .unwrap();
        let name = &set.classes[usize::from(label.ids[0])].name;
        let supercategory = category["supercategory"]
            .as_str()
            .unwrap()
            .replace("raw-material", "rawmaterial");
        let kind = if category["isthing"] == 1 {
            "things"
        } else {
            "stuff"
        };
        let expected = if supercategory.ends_with("-stuff") {
            supercategory
        } else {
            format!("{supercategory}-{kind}")
        };
        assert_eq!(*name, expected, "{category}");
        seen += 1;
    }
    assert_eq!(seen, 133);
}

#[test]
fn what_panoptic_annotations_may_not_be() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    panoptic(root);
    let json = root.join("annotations/panoptic_val2017.json");
    fs::write(
        &json,
        r#"{"annotations": [{"file_name": "000000142238.png", "segments_info": []}]}"#,
    )
    .unwrap();
    let set = DataSet::open(root.to_str().unwrap()).unwrap();
    let text = message(set.label(&set.test[0], &Geometry { size: 4 }));
    assert!(text.contains("the segments of its annotation"), "{text}");
    fs::write(&json, r#"{"annotations": []}"#).unwrap();
    let set = DataSet::open(root.to_str().unwrap()).unwrap();
    let text = message(set.label(&set.test[0], &Geometry { size: 4 }));
    assert!(text.contains("has no entry in its JSON file"), "{text}");
    fs::write(&json, r#"{"annotations": [{"file_name": "x.png", "segments_info": [{"id": 1, "category_id": 183}]}]}"#).unwrap();
    let text = message(DataSet::open(root.to_str().unwrap()));
    assert!(text.contains("category 183"), "{text}");
    // What is said twice must be the same.
    let segment = |category: u32| format!(r#"{{"id": 1, "category_id": {category}}}"#);
    let entry =
        |segments: &str| format!(r#"{{"file_name": "x.png", "segments_info": [{segments}]}}"#);
    let (cat, dog) = (segment(17), segment(62));
    for (entries, says) in [
        (entry(&format!("{cat}, {dog}")), "has the segment 1 twice"),
        (
            format!("{}, {}", entry(&cat), entry(&dog)),
            "has two entries for x.png that differ",
        ),
    ] {
        fs::write(&json, format!(r#"{{"annotations": [{entries}]}}"#)).unwrap();
        let text = message(DataSet::open(root.to_str().unwrap()));
        assert!(text.contains(says), "{text}");
    }
    let same = format!("{}, {}", entry(&format!("{cat}, {cat}")), entry(&cat));
    fs::write(&json, format!(r#"{{"annotations": [{same}]}}"#)).unwrap();
    DataSet::open(root.to_str().unwrap()).unwrap();
    fs::write(&json, "{").unwrap();
    let text = message(DataSet::open(root.to_str().unwrap()));
    assert!(
        text.contains("panoptic_val2017.json is no panoptic annotation"),
        "{text}"
    );
    fs::remove_file(&json).unwrap();
    assert!(
        message(DataSet::open(&format!("coco-stuff27:{}", root.display()))).contains("val2017")
    );
}

/// A made-up pair in the form of SPair-71k.
const PAIR: &str = include_str!("../golden/pair.json");

#[test]
#[ignore = "needs photographs: tools/shared_checks.sh"]
fn real_pairs_of_spair_parse() {
    let root = samples("data/spair-71k");
    let folder = root.join("PairAnnotation/test");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 2);
    let pairs: Vec<Pair> = files
        .iter()
        .map(|file| Pair::parse(&root, file, &fs::read(file).unwrap()).unwrap())
        .collect();
    let pair = &pairs[0];
    assert_eq!(pair.name, "000017-2008_002719-2010_002065:aeroplane");
    assert_eq!(pair.category_name(), "aeroplane");
    assert_eq!(pair.source.size, (500, 333));
    assert_eq!(pair.source.bbox, [210.0, 34.0, 475.0, 250.0]);
    assert_eq!(pair.target.box_side(), 489.0);
    assert_eq!(
        (pair.source.points.len(), pair.target.points.len()),
        (15, 15)
    );
    assert_eq!(
        (pair.source.points[1], pair.target.points[1]),
        ([244.0, 165.0], [446.0, 187.0])
    );
    assert_eq!(pair.point_ids[..4], [0, 3, 6, 7]);
    assert!(pair.target.image.is_file() && !pair.source.image.is_file());
    assert_eq!(pairs[1].point_ids.len(), 14);
    // The photographs are not all there, which a survey counts and an opening refuses.
    let text = root.to_str().unwrap();
    let (set, problems) = PairSet::survey(text, PairSplit::Test, Layout::Large).unwrap();
    assert_eq!((set.pairs.len(), problems.count()), (0, 2));
    assert!(
        message(PairSet::open(text, PairSplit::Test, Layout::Large)).contains("2008_002719.jpg")
    );
    assert!(message(DataSet::open(text)).contains("pairs of images with key points"));
}

#[test]
fn a_set_of_pairs_in_the_official_layout() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("SPair-71k");
    let stems = [
        "000017-2008_002719-2010_002065:aeroplane",
        "000093-2008_004726-2010_002065:aeroplane",
    ];
    let pairs = root.join("PairAnnotation/test");
    fs::create_dir_all(&pairs).unwrap();
    fs::create_dir_all(root.join("Layout/small")).unwrap();
    fs::create_dir_all(root.join("Layout/large")).unwrap();
    for stem in stems {
        let [_, source, target] = stem.split(['-', ':']).collect::<Vec<_>>()[..3] else {
            unreachable!("{stem}");
        };
        let text = PAIR
            .replace("2008_002719", source)
            .replace("2010_002065", target);
        // As an unpacker on a system without colons in names would write it.
        fs::write(pairs.join(format!("{}.json", stem.replace(':', "_"))), text).unwrap();
    }
    for image in ["2008_002719", "2008_004726", "2010_002065"] {
        write_image(
            &root.join(format!("JPEGImages/aeroplane/{image}.jpg")),
            (500, 333),
        );
    }
    fs::write(root.join("Layout/large/test.txt"), stems.join("\n")).unwrap();
    fs::write(root.join("Layout/small/test.txt"), stems[1]).unwrap();
    let spec = format!("spair71k:{}", folder.path().display());
    let set = PairSet::open(&spec, PairSplit::Test, Layout::Large).unwrap();
    assert_eq!(set.pairs.len(), 2);
    assert!(set.notes()[0].contains("12234"), "{:?}", set.notes());
    let small = PairSet::open(&spec, PairSplit::Test, Layout::Small).unwrap();
    assert_eq!(small.pairs, set.pairs[1..]);
    assert!(
        message(PairSet::open(&spec, PairSplit::Val, Layout::Large)).contains("PairAnnotation/val")
    );
    fs::write(root.join("Layout/small/test.txt"), "000001-a-b:cat").unwrap();
    let text = message(PairSet::open(&spec, PairSplit::Test, Layout::Small));
    assert!(
        text.starts_with("line 1 of ") && text.contains("000001-a-b:cat"),
        "{text}"
    );
}

#[test]
fn what_a_pair_may_not_be() {
    let root = Path::new("SPair-71k");
    let file = root.join("PairAnnotation/test/000017-2008_002719-2010_002065:aeroplane.json");
    let whole = Pair::parse(root, &file, PAIR.as_bytes()).unwrap();
    assert_eq!(whole.name, "000017-2008_002719-2010_002065:aeroplane");
    assert_eq!(
        (whole.source.size, whole.target.size),
        ((500, 333), (490, 360))
    );
    assert_eq!(whole.source.bbox, [200.0, 30.0, 480.0, 250.0]);
    assert_eq!(
        (whole.target.box_side(), whole.point_ids.len()),
        (490.0 - 8.0, 3)
    );
    assert_eq!(whole.source.points[1], [250.0, 160.0]);
    assert_eq!(whole.target.points[1], [440.0, 180.0]);
    for (from, to, says) in [
        ("\"aeroplane\"", "\"zebra\"", "category 'zebra'"),
        ("[210, 150], ", "", "2 source points, 3 target points"),
        (
            "\"kps_ids\": [\"0\"",
            "\"kps_ids\": [\"x\"",
            "point id that is no number",
        ),
        ("[200, 30, 480, 250]", "[200, 30, 200, 250]", "has the box"),
        ("[200, 30, 480, 250]", "[200, 30, 502, 250]", "has the box"),
        (
            "[200, 30, 480, 250]",
            "[200, 30, 480, 1e300]",
            "has the box",
        ),
        ("[500, 333, 3]", "[500]", "no width and height"),
        (
            "\"2008_002719.jpg\"",
            "\"../../x.jpg\"",
            "expected a file name",
        ),
        ("\"src_kps\"", "\"src_points\"", "is no pair of SPair-71k"),
    ] {
        assert!(PAIR.contains(from), "{from}");
        let bad = PAIR.replace(from, to);
        let text = message(Pair::parse(root, &file, bad.as_bytes()));
        assert!(text.contains(says), "{text}");
    }
}
