//! Every kind of data set in miniature, and what is wrong with it when something is.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use vitscope_data::{DataSet, Geometry, IGNORE, Kind};

use crate::common::{message, names, open, write_image, write_mask, write_png};

const SIZE: (u32, u32) = (6, 5);

fn root() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn images(root: &Path, files: &[&str]) {
    for file in files {
        write_image(&root.join(file), SIZE);
    }
}

fn masks(root: &Path, files: &[(&str, u8)]) {
    for (file, id) in files {
        write_mask(&root.join(file), SIZE, *id);
    }
}

fn recognize(root: &Path) -> Result<DataSet, vitscope_data::DataError> {
    DataSet::open(root.to_str().unwrap())
}

/// The label at the first pixel of a test image.
fn first_label(set: &DataSet, index: usize) -> u8 {
    set.label(&set.test[index], &Geometry { size: 4 })
        .unwrap()
        .unwrap()
        .ids[0]
}

#[test]
fn a_plain_directory_of_images_serves_both_splits() {
    let root = root();
    images(root.path(), &["b.png", "A.PNG", "c.png", ".hidden.png"]);
    fs::write(root.path().join("notes.txt"), "not an image").unwrap();
    fs::create_dir(root.path().join("d.png")).unwrap();
    let set = recognize(root.path()).unwrap();
    assert_eq!(set.kind, Kind::Folder);
    assert_eq!(names(&set.test), ["A", "b", "c"]);
    assert_eq!(set.train, set.test);
    assert!(!set.has_truth() && set.classes.is_empty());
    assert!(
        set.label(&set.test[0], &Geometry { size: 4 })
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_folder_with_splits_and_masks() {
    let root = root();
    let root = root.path();
    images(
        root,
        &[
            "images/train/x.png",
            "images/train/y.png",
            "images/test/y.png",
            "images/test/z.png",
        ],
    );
    masks(
        root,
        &[
            ("masks/train/x.png", 3),
            ("masks/train/y.png", 255),
            ("masks/test/y.png", 9),
        ],
    );
    masks(
        root,
        &[("masks/test/z.png", 0), ("masks/test/unclaimed.png", 77)],
    );
    let set = recognize(root).unwrap();
    assert!(set.has_truth());
    let classes: Vec<&str> = set
        .classes
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    assert_eq!(classes, ["0", "3", "9"]);
    assert_eq!(names(&set.test), ["y", "z"]);
    // The training image that shares its name with a test image gives way.
    assert_eq!(names(&set.train), ["x", "train.y"]);
    assert_eq!([first_label(&set, 0), first_label(&set, 1)], [2, 0]);
    let label = set
        .label(&set.train[1], &Geometry { size: 4 })
        .unwrap()
        .unwrap();
    assert_eq!(label.ids, [IGNORE; 16]);
    assert_eq!(set.notes().len(), 1);
    assert!(
        set.notes()[0].starts_with("1 masks in "),
        "{:?}",
        set.notes()
    );
}

#[test]
fn images_beside_the_splits_are_noted() {
    let root = root();
    images(
        root.path(),
        &["images/train/a.png", "images/test/b.png", "images/c.png"],
    );
    let set = recognize(root.path()).unwrap();
    assert!(
        set.notes()[0].starts_with("1 images directly in "),
        "{:?}",
        set.notes()
    );
}

#[test]
fn a_folder_with_class_names() {
    let root = root();
    let root = root.path();
    images(root, &["images/a.png"]);
    masks(root, &[("masks/a.png", 1)]);
    fs::write(root.join("classes.txt"), "ground\r\nblue sky\r\n").unwrap();
    let set = recognize(root).unwrap();
    assert_eq!(set.classes[1].name, "blue sky");
    assert_eq!(set.train, set.test);
    assert_eq!(first_label(&set, 0), 1);
    fs::write(root.join("classes.txt"), "ground\n\nsky\n").unwrap();
    let text = message(recognize(root));
    assert!(
        text.starts_with("line 2 of ") && text.contains("is blank"),
        "{text}"
    );
    fs::write(root.join("classes.txt"), b"ground\ntr\xe9e\nsky\n").unwrap();
    let text = message(recognize(root));
    let end = "classes.txt is not UTF-8 text, expected one class name per line; \
               correct that line or remove the list";
    assert!(
        text.starts_with("line 2 of ") && text.ends_with(end),
        "{text}"
    );
    fs::write(root.join("classes.txt"), "").unwrap();
    let text = message(recognize(root));
    assert!(text.contains("expected one class name per line"), "{text}");
    for names in ["sky\nground\nsky\n", "0: sky\n7: ground\n1: sky\n"] {
        fs::write(root.join("classes.txt"), names).unwrap();
        let text = message(recognize(root));
        assert!(
            text.starts_with("line 3 of ") && text.contains("names 'sky', as line 1 does"),
            "{text}"
        );
        let survey = DataSet::survey(root.to_str().unwrap()).unwrap();
        assert_eq!(survey.problems.count(), 1, "{:?}", survey.problems);
    }
}

#[test]
fn what_a_folder_may_not_be() {
    let root = root();
    let root = root.path();
    fs::create_dir(root.join("images")).unwrap();
    assert!(message(recognize(root)).contains("holds no images"));
    images(root, &["images/a.png", "images/b.png"]);
    masks(root, &[("masks/a.png", 1)]);
    let text = message(recognize(root));
    assert!(
        text.contains("images/b.png has no mask") && text.contains("masks/b.png"),
        "{text}"
    );
    masks(root, &[("masks/b.png", 255), ("masks/a.png", 255)]);
    let text = message(recognize(root));
    assert!(text.contains("nothing but 255"), "{text}");
    let survey = DataSet::survey(root.to_str().unwrap()).unwrap();
    let told: Vec<String> = survey
        .problems
        .kept()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(told, [text]);
    write_image(&root.join("images/a.jpg"), SIZE);
    let text = message(recognize(root));
    assert!(
        text.contains("a.jpg and ") && text.contains("a.png have the same stem"),
        "{text}"
    );
    images(root, &["images/train/a.png"]);
    assert!(message(recognize(root)).contains("has train/ but no test/"));
}

#[test]
fn every_stem_that_occurs_twice_is_told_once() {
    let root = root();
    let root = root.path();
    let files = ["gray.png", "gray.jpg", "rgb.png", "rgb.jpg", "alone.png"];
    let told = |data: &Path| {
        let problems = DataSet::survey(data.to_str().unwrap()).unwrap().problems;
        let counts = problems.counts().iter();
        counts
            .map(|(&sort, &count)| (sort, count))
            .collect::<Vec<_>>()
    };
    // One list for both splits.
    images(&root.join("one"), &files);
    assert_eq!(told(&root.join("one")), [("duplicate stem", 2)]);
    assert!(message(recognize(&root.join("one"))).contains("gray.png have the same stem"));
    // Each split's own; those that only share a name with an image of the other are no problem.
    for split in ["train", "test"] {
        images(&root.join("two/images").join(split), &files);
    }
    assert_eq!(told(&root.join("two")), [("duplicate stem", 4)]);
    // A training image that gives way, and one that is called so already.
    images(
        &root.join("away/images"),
        &["train/a.png", "train/train.a.png", "test/a.png"],
    );
    assert_eq!(told(&root.join("away")), [("duplicate stem", 1)]);
    // A description, with masks.
    masks(
        &root.join("one"),
        &[
            ("masks/gray.png", 0),
            ("masks/rgb.png", 0),
            ("masks/alone.png", 0),
        ],
    );
    let text = "root = \"one\"\ntest = { images = \"*.*\", masks = \"masks\" }\n\
                [[classes]]\nname = \"a\"\nids = [0]\n";
    fs::write(root.join("set.toml"), text).unwrap();
    assert_eq!(told(&root.join("set.toml")), [("duplicate stem", 2)]);
}

#[test]
fn an_image_that_is_none_is_kept_and_named_when_read() {
    let root = root();
    images(root.path(), &["a.png"]);
    fs::write(root.path().join("b.jpg"), "not really").unwrap();
    let set = recognize(root.path()).unwrap();
    assert_eq!(names(&set.test), ["a", "b"]);
    let text = message(set.image(&set.test[1], &Geometry { size: 4 }));
    assert!(
        text.contains("b.jpg is not an image by its content"),
        "{text}"
    );
}

#[cfg(unix)]
#[test]
fn names_that_are_not_utf8_are_read() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let root = root();
    images(root.path(), &["a.png"]);
    let odd = root.path().join(OsStr::from_bytes(b"caf\xe9.png"));
    // Some file systems refuse such names; then there is nothing to read.
    if fs::copy(root.path().join("a.png"), &odd).is_err() {
        vitscope_testkit::left_out("names that are not UTF-8", "this file system has none");
        return;
    }
    let set = recognize(root.path()).unwrap();
    assert_eq!(names(&set.test), ["a", "caf%E9"]);
    set.image(&set.test[1], &Geometry { size: 4 }).unwrap();
    assert_eq!(set.list_hash().len(), 64);
}

#[test]
fn the_list_hash_follows_names_and_order_and_not_the_place() {
    let make = |files: &[&str]| {
        let root = root();
        images(root.path(), files);
        recognize(root.path()).unwrap().list_hash()
    };
    assert_eq!(make(&["a.png", "b.png"]), make(&["b.png", "a.png"]));
    assert_ne!(make(&["a.png", "b.png"]), make(&["a.png", "c.png"]));
    assert_ne!(make(&["images/a.png"]), make(&["a.png"]));
}

#[test]
fn camvid_from_directories_or_lists() {
    let root = root();
    let root = root.path();
    images(root, &["train/a.png", "train/b.png", "val/v.png"]);
    masks(
        root,
        &[
            ("trainannot/a.png", 0),
            ("trainannot/b.png", 11),
            ("valannot/v.png", 10),
        ],
    );
    let set = recognize(root).unwrap();
    assert_eq!((set.kind, set.classes.len()), (Kind::Camvid, 11));
    assert_eq!(
        (names(&set.train), names(&set.test)),
        (vec!["a", "b"], vec!["v"])
    );
    assert!(set.notes()[0].contains("val split is evaluated"));
    images(root, &["test/t.png", "test/u.png"]);
    masks(root, &[("testannot/t.png", 11), ("testannot/u.png", 12)]);
    let set = recognize(root).unwrap();
    assert_eq!(first_label(&set, 0), IGNORE);
    let text = message(set.label(&set.test[1], &Geometry { size: 4 }));
    assert!(
        text.contains("label id 12") && text.contains("camvid (classes 0-10; ignored 11)"),
        "{text}"
    );
    // SegNet's own lists hold the paths of another machine.
    let list = "/SegNet/CamVid/test/u.png /SegNet/CamVid/testannot/u.png\n";
    fs::write(root.join("test.txt"), list).unwrap();
    fs::write(
        root.join("train.txt"),
        "train/b.png\ttrainannot/b.png\r\n\ntrain/a.png\n",
    )
    .unwrap();
    let set = recognize(root).unwrap();
    assert_eq!(
        (names(&set.train), names(&set.test)),
        (vec!["b", "a"], vec!["u"])
    );
    assert_eq!(
        set.train[1].mask.as_deref(),
        Some(root.join("trainannot/a.png").as_path())
    );
    fs::write(
        root.join("test.txt"),
        "test/u.png testannot/u.png\ntest/w.png testannot/w.png\n",
    )
    .unwrap();
    let text = message(recognize(root));
    assert!(
        text.contains("line 2 of ") && text.contains("names test/w.png, which is not in"),
        "{text}"
    );
    fs::write(root.join("test.txt"), "a b c\n").unwrap();
    assert!(message(recognize(root)).contains("has 3 columns"));
    fs::write(root.join("test.txt"), "\n").unwrap();
    assert!(message(recognize(root)).contains("lists nothing"));
}

#[test]
fn voc_with_lists_and_without() {
    let root = root();
    let inner = root.path().join("VOCdevkit/VOC2012");
    images(
        &inner,
        &[
            "JPEGImages/p.jpg",
            "JPEGImages/q.jpg",
            "JPEGImages/unsegmented.jpg",
        ],
    );
    let indexed = (png::ColorType::Indexed, png::BitDepth::Eight);
    write_png(
        &inner.join("SegmentationClass/p.png"),
        SIZE,
        indexed,
        &[15; 30],
    );
    write_png(
        &inner.join("SegmentationClass/q.png"),
        SIZE,
        indexed,
        &[255; 30],
    );
    let set = recognize(root.path()).unwrap();
    assert_eq!((set.kind, set.classes.len()), (Kind::Voc, 21));
    assert_eq!(names(&set.test), ["p", "q"]);
    assert_eq!(set.train, set.test);
    assert_eq!(set.root, inner);
    assert_eq!([first_label(&set, 0), first_label(&set, 1)], [15, IGNORE]);
    assert_eq!(set.notes().len(), 1, "{:?}", set.notes());
    // As CVAT exports it: one list of its own, and classes that need not be VOC's.
    let lists = inner.join("ImageSets/Segmentation");
    fs::create_dir_all(&lists).unwrap();
    fs::write(lists.join("default.txt"), "p\n").unwrap();
    fs::write(inner.join("labelmap.txt"), "cat:15,0,0::\n").unwrap();
    let set = open("voc", &inner).unwrap();
    assert_eq!((names(&set.test), set.notes().len()), (vec!["p", "q"], 2));
    assert!(set.notes()[0].contains("neither train.txt nor val.txt"));
    assert!(set.notes()[1].contains("labelmap.txt lies in"));
    fs::remove_file(inner.join("labelmap.txt")).unwrap();
    fs::write(lists.join("train.txt"), "q\n").unwrap();
    fs::write(lists.join("val.txt"), "p\n").unwrap();
    let set = open("voc", &inner).unwrap();
    assert_eq!(
        (names(&set.train), names(&set.test)),
        (vec!["q"], vec!["p"])
    );
    fs::write(lists.join("val.txt"), "unsegmented\n").unwrap();
    assert!(message(open("voc", &inner)).contains("unsegmented.jpg has no mask"));
    fs::write(lists.join("val.txt"), "r\n").unwrap();
    assert!(message(open("voc", &inner)).contains("r.jpg does not exist"));
}

#[test]
fn ade20k_ids_start_at_one() {
    let root = root();
    let root = root.path();
    images(
        root,
        &[
            "images/training/a.jpg",
            "images/validation/b.jpg",
            "images/validation/c.jpg",
        ],
    );
    masks(
        root,
        &[
            ("annotations/training/a.png", 0),
            ("annotations/validation/b.png", 150),
        ],
    );
    masks(root, &[("annotations/validation/c.png", 0)]);
    let set = recognize(root).unwrap();
    assert_eq!((set.kind, set.classes.len()), (Kind::Ade20k, 150));
    assert_eq!([first_label(&set, 0), first_label(&set, 1)], [149, IGNORE]);
    assert_eq!(
        (set.classes[0].name.as_str(), set.classes[149].name.as_str()),
        ("wall", "flag")
    );
}

#[test]
fn cityscapes_ids_become_27_classes() {
    let root = root();
    let root = root.path();
    for (split, city, frame, id) in [
        ("train", "ulm", 1, 7),
        ("val", "bonn", 1, 33),
        ("val", "aachen", 9, 6),
        ("val", "aachen", 8, 26),
    ] {
        let stem = format!("{city}_00000{frame}_000019");
        write_image(
            &root.join(format!("leftImg8bit/{split}/{city}/{stem}_leftImg8bit.png")),
            SIZE,
        );
        write_mask(
            &root.join(format!("gtFine/{split}/{city}/{stem}_gtFine_labelIds.png")),
            SIZE,
            id,
        );
    }
    let set = recognize(root).unwrap();
    assert_eq!((set.kind, set.classes.len()), (Kind::Cityscapes27, 27));
    let expected = [
        "aachen_000008_000019",
        "aachen_000009_000019",
        "bonn_000001_000019",
    ];
    assert_eq!(names(&set.test), expected);
    assert_eq!(
        [0, 1, 2].map(|index| first_label(&set, index)),
        [19, IGNORE, 26]
    );
    assert_eq!(set.classes[19].name, "car");
    write_image(
        &root.join("leftImg8bit/val/bonn/bonn_2_leftImg8bit.png"),
        SIZE,
    );
    assert!(message(recognize(root)).contains("bonn_2_gtFine_labelIds.png"));
}

#[test]
fn coco_stuff_with_its_curated_lists_and_without() {
    let root = root();
    let root = root.path();
    let stems = ["000000000139", "000000000285", "000000000632"];
    let pair = |split: &str, stem: &str, size: (u32, u32), id: u8| {
        write_image(&root.join(format!("{split}/{stem}.jpg")), size);
        let mask = root.join(format!("stuffthingmaps/{split}/{stem}.png"));
        write_mask(&mask, size, id);
    };
    for (stem, id) in stems.iter().zip([0, 181, 255]) {
        pair("val2017", stem, SIZE, id);
    }
    pair("train2017", "000000000009", (360, 400), 92);
    pair("train2017", "000000000025", (359, 400), 92);
    pair("train2017", "000000000030", (360, 400), 0);
    // Without the list, the rule that made it: 360 pixels, three quarters stuff.
    let text = message(recognize(root));
    assert!(
        text.contains("none of the 3 images passes the rule"),
        "{text}"
    );
    let curated = |split: &str, list: &str| {
        let folder = root.join("curated").join(split);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("Coco164kFull_Stuff_Coarse_7.txt"), list).unwrap();
    };
    curated("val2017", &stems.join("\n"));
    let set = recognize(root).unwrap();
    assert_eq!((set.kind, set.classes.len()), (Kind::CocoStuff27, 27));
    assert_eq!(names(&set.test), stems);
    assert_eq!(names(&set.train), ["000000000009"]);
    let [note] = set.notes() else {
        panic!("{:?}", set.notes())
    };
    assert!(
        note.contains("1 of 3 images of train2017 are kept (the published list has 49,629)"),
        "{note}"
    );
    // A person is the thing class 9; value 181, wood, is the stuff class solid.
    assert_eq!(
        [0, 1, 2].map(|index| first_label(&set, index)),
        [9, 24, IGNORE]
    );
    curated("val2017", "000000000632\n000000000139\n");
    curated("train2017", "000000000009\n");
    let set = recognize(root).unwrap();
    assert_eq!(names(&set.test), ["000000000632", "000000000139"]);
    assert!(set.notes().is_empty());
    masks(root, &[("stuffthingmaps/val2017/000000000139.png", 200)]);
    let text = message(set.label(&set.test[1], &Geometry { size: 4 }));
    assert!(
        text.contains("label id 200") && text.contains("coco-stuff27 (classes 0-181"),
        "{text}"
    );
}

#[test]
fn arguments_that_name_no_set() {
    let root = root();
    let root = root.path();
    assert!(
        message(DataSet::open("imagenet:/data"))
            .contains("'imagenet' in 'imagenet:/data' is no kind")
    );
    assert!(message(DataSet::open("/no/such/place")).contains("/no/such/place does not exist"));
    assert!(
        message(DataSet::open("voc:/no/such/place")).contains("the directory of a voc data set")
    );
    assert!(message(DataSet::open("/no/such/set.toml")).contains("a .toml file"));
    assert!(message(DataSet::open("")).contains("does not exist"));
    let text = message(recognize(root));
    assert!(
        text.contains("fits no kind") && text.contains("trainannot/ for camvid"),
        "{text}"
    );
    fs::create_dir_all(root.join("JPEGImages")).unwrap();
    fs::create_dir_all(root.join("SegmentationClass")).unwrap();
    fs::create_dir_all(root.join("Annotations_Part")).unwrap();
    let text = message(recognize(root));
    assert!(text.contains("(pascal-part-animals, voc)"), "{text}");
    let text = message(open("pascal-part-animals", root));
    assert!(text.contains("holds no annotations"), "{text}");
    let text = message(open("spair71k", root));
    assert!(text.contains("pairs of images"), "{text}");
    write_image(&root.join("file.png"), SIZE);
    let text = message(DataSet::open(root.join("file.png").to_str().unwrap()));
    assert!(text.contains("is a file"), "{text}");
}

#[test]
fn outputs_may_lie_beside_a_description() {
    let dir = tempfile::tempdir().unwrap();
    let root = &fs::canonicalize(dir.path()).unwrap();
    for image in ["photos/a.png", "one.png"] {
        fs::create_dir_all(root.join(image).parent().unwrap()).unwrap();
        write_image(&root.join(image), SIZE);
    }
    let of = |text: &str| describe(root, text).unwrap();
    let set = of("test.images = \"photos/*.png\"");
    assert_eq!(set.folders(&root.join("runs")), [root.join("photos")]);
    // A folder in which an image lies is one of images.
    let set = of("test.images = [\"one.png\", \"photos\"]");
    assert!(set.folders(&root.join("runs")).contains(root));
    let set = of("test.images = \"**/*.png\"");
    assert!(set.folders(&root.join("runs")).contains(root));
    // The folder of any other set could hold more of it.
    let set = open("folder", root);
    assert!(set.is_err() || set.unwrap().folders(root).contains(root));
}

fn describe(root: &Path, text: &str) -> Result<DataSet, vitscope_data::DataError> {
    fs::write(root.join("set.toml"), text).unwrap();
    DataSet::open(root.join("set.toml").to_str().unwrap())
}

#[test]
fn a_described_set_with_ids() {
    let root = root();
    let root = root.path();
    images(
        root,
        &[
            "day/b_rgb.png",
            "day/a_rgb.png",
            "night/c_rgb.png",
            "night/readme.png.txt",
        ],
    );
    masks(
        root,
        &[
            ("gt/x/a_gt.png", 4),
            ("gt/x/b_gt.png", 5),
            ("gt/y/c_gt.png", 255),
        ],
    );
    let text = r#"
        test = { images = ["night/*.png", "day"], masks = "gt/**/*.png" }
        train = { images = "day/a_rgb.png" }
        image_suffix = "_rgb"
        mask_suffix = "_gt"
        [[classes]]
        name = "low"
        ids = [4]
        [[classes]]
        name = "high"
        ids = [5, 6]
        color = [1, 2, 3]
    "#;
    let set = describe(root, text).unwrap();
    assert_eq!(set.kind, Kind::Described);
    assert_eq!(names(&set.test), ["c_rgb", "a_rgb", "b_rgb"]);
    assert_eq!(
        [0, 1, 2].map(|index| first_label(&set, index)),
        [IGNORE, 0, 1]
    );
    assert_eq!(set.classes[1].color, [1, 2, 3]);
    assert!(set.has_truth() && set.train[0].mask.is_none());
    masks(root, &[("gt/x/a_gt.png", 9)]);
    let error = message(set.label(&set.test[1], &Geometry { size: 4 }));
    assert!(
        error.contains("set.toml (classes 4-6; ignored 255)"),
        "{error}"
    );
    let set = describe(root, &format!("others = \"ignored\"\n{text}")).unwrap();
    assert_eq!(first_label(&set, 1), IGNORE);
}

#[test]
fn a_described_set_with_colors() {
    let root = root();
    let root = root.path();
    images(root, &["images/a.png"]);
    let rgb = (png::ColorType::Rgb, png::BitDepth::Eight);
    let row = [
        [1, 2, 3],
        [9, 9, 9],
        [1, 2, 4],
        [0, 0, 0],
        [1, 2, 3],
        [1, 2, 3],
    ]
    .concat();
    write_png(&root.join("masks/a.png"), SIZE, rgb, &row.repeat(5));
    let text = r#"
        test = { images = "images", masks = "masks" }
        ignore_rgb = [[0, 0, 0]]
        classes = [
            { name = "one", rgb = [[9, 9, 9]] },
            { name = "two", rgb = [[1, 2, 3], [1, 2, 4]], color = [5, 5, 5] },
        ]
    "#;
    let set = describe(root, text).unwrap();
    let label = set
        .label(&set.test[0], &Geometry { size: 5 })
        .unwrap()
        .unwrap();
    // Of six columns, the crop of five begins at round(0.5) = 0.
    assert_eq!(label.ids[..5], [1, 0, 1, IGNORE, 1]);
    assert_eq!(
        [set.classes[0].color, set.classes[1].color],
        [[9, 9, 9], [5, 5, 5]]
    );
    assert_eq!(set.train, set.test);
    let set = describe(root, &text.replace(", [1, 2, 4]", "")).unwrap();
    let error = message(set.label(&set.test[0], &Geometry { size: 5 }));
    assert!(
        error.contains("color (1, 2, 4)") && error.contains("set.toml (3 colors)"),
        "{error}"
    );
    write_mask(&root.join("masks/a.png"), SIZE, 1);
    let error = message(set.label(&set.test[0], &Geometry { size: 5 }));
    assert!(error.contains("a PNG of ids"), "{error}");
}

#[test]
fn descriptions_that_are_not_usable() {
    let root = root();
    let root = root.path();
    images(root, &["images/a.png"]);
    masks(root, &[("masks/a.png", 0)]);
    let set = "test = { images = \"images\", masks = \"masks\" }\n";
    let class = "[[classes]]\nname = \"a\"\n";
    let other = "[[classes]]\nname = \"b\"\n";
    for (text, expected) in [
        (String::new(), "neither 'train' nor 'test'"),
        (
            format!("{set}clases = []"),
            "line 2: unknown field `clases`",
        ),
        (
            format!("{set}[[classes]]\nname = \"a\"\nid = [1]"),
            "unknown field `id`",
        ),
        (
            "test = { images = 3 }".to_owned(),
            "expected a path or glob, or a list of them",
        ),
        ("test = {".to_owned(), "line 1: "),
        (
            "test = { images = \"none/*.png\" }".to_owned(),
            "'none/*.png' names no image",
        ),
        (
            "test = { images = \"a[\" }".to_owned(),
            "is no path and no glob",
        ),
        (set.to_owned(), "no [[classes]]"),
        (format!("{set}{class}"), "either 'ids' or 'rgb'"),
        (
            format!("{set}{class}ids = [1]\nrgb = [[1, 2, 3]]"),
            "either 'ids' or 'rgb'",
        ),
        (
            format!("{set}{class}ids = [1]\n{other}rgb = [[1, 2, 3]]"),
            "expected one of them throughout",
        ),
        (
            format!("{set}{class}ids = [1]\n{other}ids = [1]"),
            "the id 1 is named twice",
        ),
        (
            format!("{set}{class}ids = [1]\n{class}ids = [2]"),
            "the class 'a' is named twice",
        ),
        (
            format!("ignore = [1]\n{set}{class}ids = [1]"),
            "the id 1 is named twice",
        ),
        (format!("{set}{class}ids = [70000]"), "line 4: "),
        (
            format!("{set}{class}rgb = [[1, 2, 3], [1, 2, 3]]"),
            "[1, 2, 3] is named twice",
        ),
        (
            format!("ignore_rgb = [[0, 0, 0]]\n{set}{class}ids = [1]"),
            "'ignore_rgb' needs",
        ),
    ] {
        let error = message(describe(root, &text));
        assert!(
            error.contains("set.toml") && error.contains(expected),
            "{text}: {error}"
        );
    }
    let without = describe(root, "train = { images = \"images/*.png\" }").unwrap();
    assert!(!without.has_truth() && without.classes.is_empty());
}
