//! Files and directories as they occur in the wild.

use std::fs;
use std::path::Path;

use vitscope_data::{DataSet, Geometry, Split, stream};

use crate::common::{message, names, write_image, write_mask};

const SIZE: (u32, u32) = (12, 8);
const CROP: Geometry = Geometry { size: 4 };

fn open(root: &Path) -> Result<DataSet, vitscope_data::DataError> {
    let text = root.to_str().map(str::to_owned);
    DataSet::open(&text.unwrap_or_default())
}

#[test]
fn content_counts_and_not_the_name() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("photo.jpg");
    write_image(&path, SIZE);
    fs::rename(&path, root.path().join("photo.JPEG")).unwrap();
    let set = open(root.path()).unwrap();
    let crop = set.image(&set.test[0], &CROP).unwrap();
    assert_eq!(crop.pixels[..3], [10, 200, 30]);
}

#[test]
fn grey_jpegs_are_repeated() {
    let root = tempfile::tempdir().unwrap();
    let grey = image::GrayImage::from_pixel(12, 8, image::Luma([77]));
    grey.save(root.path().join("grey.jpg")).unwrap();
    let set = open(root.path()).unwrap();
    assert_eq!(set.image(&set.test[0], &CROP).unwrap().pixels, [77; 48]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_broken_ones_named() {
    use std::os::unix::fs::symlink;
    let outside = tempfile::tempdir().unwrap();
    write_image(&outside.path().join("a.png"), SIZE);
    write_image(&outside.path().join("more/b.png"), SIZE);
    let root = tempfile::tempdir().unwrap();
    let images = root.path().join("images");
    fs::create_dir(&images).unwrap();
    symlink(outside.path().join("a.png"), images.join("a.png")).unwrap();
    symlink(outside.path().join("more/b.png"), images.join("c.png")).unwrap();
    // A link to a directory, and a directory that holds itself, are no images.
    symlink(outside.path().join("more"), images.join("d.png")).unwrap();
    symlink(&images, images.join("e")).unwrap();
    let set = open(root.path()).unwrap();
    assert_eq!(names(&set.test), ["a", "c"]);
    // The whole set behind a link.
    let link = outside.path().join("set");
    symlink(root.path(), &link).unwrap();
    let linked = open(&link).unwrap();
    assert_eq!(linked.list_hash(), set.list_hash());
    symlink("f.png", images.join("f.png")).unwrap();
    let text = message(open(root.path()));
    assert!(text.contains("f.png cannot be read"), "{text}");
    let survey = DataSet::survey(root.path().to_str().unwrap()).unwrap();
    assert_eq!((survey.problems.count(), survey.set.test.len()), (1, 2));
}

#[cfg(unix)]
#[test]
fn what_is_no_file_under_a_pictures_name_is_refused_once() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for stem in ["a", "b"] {
        write_image(&root.join(format!("set/images/{stem}.png")), SIZE);
        write_mask(&root.join(format!("set/masks/{stem}.png")), SIZE, 1);
    }
    for (name, test) in [
        ("folders", "images = \"images\", masks = \"masks\""),
        ("globs", "images = \"images/**/*.png\", masks = \"masks/*\""),
    ] {
        let classes = "[[classes]]\nname = \"a\"\nids = [1]\n";
        let text = format!("root = \"set\"\ntest = {{ {test} }}\n{classes}");
        fs::write(root.join(format!("{name}.toml")), text).unwrap();
    }
    let pipe = root.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let no_file = |path: &Path| format!("{} is a named pipe, a socket", path.display());
    for data in ["set", "folders.toml", "globs.toml"] {
        let data = root.join(data);
        assert_eq!(open(&data).unwrap().test.len(), 2);
        for (name, to) in [
            ("images/c.png", pipe.as_path()),
            ("images/c.png", Path::new("/dev/null")),
            ("images/c.png", Path::new("nowhere")),
            ("masks/c.png", pipe.as_path()),
        ] {
            let odd = root.join("set").join(name);
            symlink(to, &odd).unwrap();
            let expected = match to.ends_with("nowhere") {
                true => format!("{} cannot be read", odd.display()),
                false => no_file(&odd),
            };
            let text = message(open(&data));
            assert!(text.starts_with(&expected), "{text}");
            let survey = DataSet::survey(data.to_str().unwrap()).unwrap();
            assert_eq!(survey.problems.count(), 1, "{:?}", survey.problems);
            assert_eq!(survey.set.test.len(), 2);
            fs::remove_file(odd).unwrap();
        }
    }
    // Below folders, where both levels are looked through.
    fs::create_dir(root.join("set/images/more")).unwrap();
    for stem in ["a.png", "b.png"] {
        let images = root.join("set/images");
        fs::rename(images.join(stem), images.join("more").join(stem)).unwrap();
    }
    let odd = root.join("set/images/c.png");
    fs::rename(pipe, &odd).unwrap();
    assert!(message(open(&root.join("set"))).starts_with(&no_file(&odd)));
    let survey = DataSet::survey(root.join("set").to_str().unwrap()).unwrap();
    assert_eq!(survey.problems.count(), 1, "{:?}", survey.problems);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let root = tempfile::tempdir().unwrap();
    for folder in ["images", "masks"] {
        let folder = root.path().join(folder);
        fs::create_dir(&folder).unwrap();
        for bytes in [&b"caf\xe9.png"[..], b"new\nline.png", b"a b%.png"] {
            let path = folder.join(OsStr::from_bytes(bytes));
            if folder.ends_with("images") {
                write_image(&path, SIZE);
            } else {
                write_mask(&path, SIZE, 3);
            }
        }
    }
    let set = open(root.path()).unwrap();
    assert_eq!(names(&set.test), ["a b%", "caf%E9", "new\nline"]);
    for item in &set.test {
        assert_eq!(set.label(item, &CROP).unwrap().unwrap().ids, [0; 16]);
        assert!(set.image(item, &CROP).is_ok());
    }
}

#[test]
fn thousands_of_files() {
    let root = tempfile::tempdir().unwrap();
    let first = root.path().join("images/00000.png");
    write_image(&first, SIZE);
    write_mask(&root.path().join("masks/00000.png"), SIZE, 1);
    for index in 1..5000 {
        for folder in ["images", "masks"] {
            let folder = root.path().join(folder);
            let copy = folder.join(format!("{index:05}.png"));
            fs::hard_link(folder.join("00000.png"), copy).unwrap();
        }
    }
    let set = open(root.path()).unwrap();
    assert_eq!(set.test.len(), 5000);
    let order: Vec<usize> = (0..5000).rev().collect();
    let samples = stream(&set, Split::Test, order, CROP, true, 4, 2);
    assert_eq!(samples.filter(Result::is_ok).count(), 5000);
}

#[cfg(unix)]
#[test]
fn directories_that_may_only_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let images = root.path().join("images");
    write_image(&images.join("a.png"), SIZE);
    let allow = |path: &Path, mode: u32| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(&images.join("a.png"), 0o444);
    allow(&images, 0o555);
    allow(root.path(), 0o555);
    let set = open(root.path());
    let read = set.map(|set| set.image(&set.test[0], &CROP).is_ok());
    allow(root.path(), 0o755);
    allow(&images, 0o755);
    assert!(read.unwrap());
}

#[test]
fn a_file_cut_anywhere_is_refused_or_whole() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a.jpg");
    let picture = image::RgbImage::from_fn(40, 24, |x, y| {
        image::Rgb([x as u8 * 6, y as u8 * 10, (x * y) as u8])
    });
    picture.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        fs::write(&path, &bytes[..length]).unwrap();
        let set = open(root.path()).unwrap();
        let text = message(set.image(&set.test[0], &CROP));
        assert!(text.contains("a.jpg"), "{length}: {text}");
    }
}

/// Found by fuzzing: the png crate 0.18.1 panics when it expands it.
#[test]
fn a_palette_that_ends_within_a_color() {
    let root = tempfile::tempdir().unwrap();
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/short_palette.png"
    );
    fs::copy(golden, root.path().join("a.png")).unwrap();
    let set = open(root.path()).unwrap();
    let text = message(set.image(&set.test[0], &CROP));
    assert!(text.contains("its palette ends within a color"), "{text}");
}
