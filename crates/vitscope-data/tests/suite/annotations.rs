//! Sets whose ground truth is no plain mask: PASCAL-Part, COCO panoptic, SPair-71k.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};
use vitscope_data::pairs::{Layout, PairSplit};
use vitscope_data::{DataSet, Geometry, Kind, Pair, PairSet};

use crate::common::{message, names, open, shared, write_image};

/// Pixels of background, head, torso, leg, tail, wing and ignored, and the SHA-256 of the labels of
/// the crop to 320 pixels: made with SciPy 1.17.1 and Pillow 13.0.0 by
/// tools/geometry/record_parts.py, which reads and paints the same annotations.
#[rustfmt::skip]
const PARTS: [(&str, [u64; 7], &str); 8] = [
    ("2008_001978", [187250, 0, 181, 0, 0, 0, 69], "dda6b7825bbb0811d1a5aa762a7a174b9bfb150387b0953b7516e2fe25f5e61e"),
    ("2008_003228", [183511, 522, 3089, 0, 343, 0, 35], "f627ca4c2c322f15db26152df306bd4f983f0146409b81a4341b9b340c365a16"),
    ("2008_003497", [155451, 435, 1855, 921, 310, 0, 28], "3aa34710522391605c3a45f05327c7bdd51aed5781ddea132d18db54e24dd301"),
    ("2008_005643", [135050, 15603, 18630, 14186, 1491, 0, 2540], "b8d4a4eae328ced09b1ad019cf64035e158c9cd3bc2c08382badab0498d1bdee"),
    ("2008_006462", [155689, 12282, 19026, 498, 0, 0, 5], "4c54304f2b9005cd99f0fc841829cae95b93bcbcab6adb6ed48c229c8ac54afe"),
    ("2010_005243", [161303, 1766, 1991, 1374, 0, 0, 66], "34b46ec77c78f5b37d6b903cedace5ead52c47445ac9ee9406296346c3b70f1c"),
    ("2010_005275", [83102, 13468, 40782, 11331, 8958, 0, 6359], "26c3418e8d7db464aa498249187ab5b8d9e7d93010ea637aa28fbc50125ba726"),
    ("2010_005511", [113876, 4634, 38949, 8000, 380, 0, 661], "819b52a33e0bb0124908492d456e74744cf712cc71a01bf721f4da7c429616d7"),
];

#[test]
fn pascal_part_equals_scipys_reading() {
    let set = open("pascal-part-animals", &shared().join("pascal-part")).unwrap();
    assert_eq!(set.kind, Kind::PascalPartAnimals);
    let expected: Vec<&str> = PARTS.iter().map(|row| row.0).collect();
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
    let geometry = Geometry { size: 320 };
    for (item, (name, pixels, crop)) in set.test.iter().zip(PARTS) {
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

/// A description beside a link to nothing: its root is the shared sample.
fn parts_by(settings: &str) -> Result<DataSet, vitscope_data::DataError> {
    let folder = tempfile::tempdir().unwrap();
    let root = shared().join("pascal-part").canonicalize().unwrap();
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
    let birds = parts_by(
        "animals = [\"bird\"]\nunlabeled = \"background\"\nmax_animals = 1\n\
         [[classes]]\nname = \"bird\"\nparts = [\"bird.torso\"]\n",
    )
    .unwrap();
    assert_eq!(names(&birds.test), ["2008_001978"]);
    assert_eq!(birds.classes.len(), 2);
    let examined = birds.examine(&birds.test[0], &Geometry { size: 320 });
    assert_eq!((examined.pixels, examined.ignored), (vec![187_319, 181], 0));
    let large = parts_by("min_area = 0.15\nanimals_alone = true\n").unwrap();
    assert_eq!(
        names(&large.test),
        ["2008_005643", "2008_006462", "2010_005275", "2010_005511"]
    );
    assert!(message(parts_by("unlabelled = \"ignore\"\n")).contains("unlabelled"));
    assert!(message(parts_by("train = \"none.txt\"\n")).contains("no val.txt"));
}

#[test]
fn pascal_part_follows_the_lists_of_voc2010() {
    let folder = tempfile::tempdir().unwrap();
    let (root, from) = (folder.path(), shared().join("pascal-part"));
    let voc = root.join("VOCdevkit/VOC2010");
    for place in [
        root.join("Annotations_Part"),
        voc.join("JPEGImages"),
        voc.join("ImageSets/Main"),
    ] {
        fs::create_dir_all(place).unwrap();
    }
    for stem in ["2008_001978", "2008_003228", "2008_000652"] {
        let mat = format!("Annotations_Part/{stem}.mat");
        fs::copy(from.join(&mat), root.join(&mat)).unwrap();
        let jpeg = format!("JPEGImages/{stem}.jpg");
        fs::copy(from.join(&jpeg), voc.join(&jpeg)).unwrap();
    }
    // Not an animal, so it is in no split.
    fs::write(
        voc.join("ImageSets/Main/train.txt"),
        "2008_000652\n2008_003228  1\n",
    )
    .unwrap();
    fs::write(voc.join("ImageSets/Main/val.txt"), "2008_001978\n").unwrap();
    let set = DataSet::open(root.to_str().unwrap()).unwrap();
    assert_eq!(names(&set.train), ["2008_003228"]);
    assert_eq!(names(&set.test), ["2008_001978"]);
    let mat = root.join("Annotations_Part/2008_003228.mat");
    let bytes = fs::read(&mat).unwrap();
    fs::write(&mat, &bytes[..bytes.len() / 2]).unwrap();
    let text = message(DataSet::open(root.to_str().unwrap()));
    assert!(
        text.contains("2008_003228.mat") && text.contains("ends early"),
        "{text}"
    );
    let survey = DataSet::survey(root.to_str().unwrap()).unwrap();
    assert_eq!(survey.problems.count(), 1);
    assert_eq!((survey.set.train.len(), survey.set.test.len()), (0, 1));
    fs::remove_file(mat).unwrap();
    assert!(message(DataSet::open(root.to_str().unwrap())).contains("2008_003228.mat"));
}

/// The two official samples of COCO panoptic, laid out as the archives unpack.
fn panoptic(root: &Path) {
    let from = shared().join("coco-panoptic");
    for (split, stem) in [("train2017", "000000439180"), ("val2017", "000000142238")] {
        let masks = root.join(format!("annotations/panoptic_{split}"));
        fs::create_dir_all(&masks).unwrap();
        fs::create_dir_all(root.join(split)).unwrap();
        let image = from.join(format!("input_images/{stem}.jpg"));
        fs::copy(image, root.join(format!("{split}/{stem}.jpg"))).unwrap();
        let mask = from.join(format!("panoptic_examples/{stem}.png"));
        fs::copy(mask, masks.join(format!("{stem}.png"))).unwrap();
        fs::copy(
            from.join("panoptic_examples.json"),
            masks.with_extension("json"),
        )
        .unwrap();
        let list = root.join("curated").join(split);
        fs::create_dir_all(&list).unwrap();
        let list = list.join("Coco164kFull_Stuff_Coarse_7.txt");
        fs::write(list, format!("{stem}\n")).unwrap();
    }
}

/// Against maps made from the same samples by the supercategories of their categories.
#[test]
fn panoptic_annotations_give_the_27_classes() {
    let folder = tempfile::tempdir().unwrap();
    panoptic(folder.path());
    let set = DataSet::open(folder.path().to_str().unwrap()).unwrap();
    assert_eq!((set.kind, set.classes.len()), (Kind::CocoStuff27, 27));
    assert!(set.notes()[0].contains("panoptic"), "{:?}", set.notes());
    let maps = tempfile::tempdir().unwrap();
    let classes: String = (0..27)
        .map(|id| format!("[[classes]]\nname = \"{id}\"\nids = [{id}]\n"))
        .collect();
    let text = format!(
        "test = {{ images = '{}', masks = '{}' }}\n{classes}",
        shared()
            .join("coco-panoptic/input_images")
            .canonicalize()
            .unwrap()
            .display(),
        shared()
            .join("coco27-from-panoptic")
            .canonicalize()
            .unwrap()
            .display(),
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
    let json = fs::read_to_string(shared().join("coco-panoptic/panoptic_coco_categories.json"));
    let categories: serde_json::Value = serde_json::from_str(&json.unwrap()).unwrap();
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
        let pixels = [7, 0, 0].repeat(640 * 427);
        crate::common::write_png(
            &mask,
            (640, 427),
            (png::ColorType::Rgb, png::BitDepth::Eight),
            &pixels,
        );
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

#[test]
fn real_pairs_of_spair_parse() {
    let root = shared().join("spair-71k");
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
        let from = shared().join(format!("spair-71k/PairAnnotation/test/{stem}.json"));
        // As an unpacker on a system without colons in names would write it.
        fs::copy(from, pairs.join(format!("{}.json", stem.replace(':', "_")))).unwrap();
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
    let root = shared().join("spair-71k");
    let file = root.join("PairAnnotation/test/000017-2008_002719-2010_002065:aeroplane.json");
    let good = fs::read_to_string(&file).unwrap();
    for (from, to, says) in [
        ("\"aeroplane\"", "\"zebra\"", "category 'zebra'"),
        ("[212, 153], ", "", "14 source points, 15 target points"),
        (
            "\"kps_ids\": [\"0\"",
            "\"kps_ids\": [\"x\"",
            "point id that is no number",
        ),
        ("[210, 34, 475, 250]", "[210, 34, 210, 250]", "has the box"),
        ("[500, 333, 3]", "[500]", "no width and height"),
        (
            "\"2008_002719.jpg\"",
            "\"../../x.jpg\"",
            "expected a file name",
        ),
        ("\"src_kps\"", "\"src_points\"", "is no pair of SPair-71k"),
    ] {
        assert!(good.contains(from), "{from}");
        let bad = good.replace(from, to);
        let text = message(Pair::parse(&root, &file, bad.as_bytes()));
        assert!(text.contains(says), "{text}");
    }
}
