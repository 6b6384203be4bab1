//! Drawn photographs with exact masks, by the generator of `vitscope demo`. They are cut to a landscape
//! format, so that a test that mixes up rows and columns fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rayon::prelude::*;
use vitscope_demo::scene::SceneSplit;
use vitscope_demo::{SIDE, Scene};

/// Width and height of a photograph.
pub const SIZE: (usize, usize) = (SIDE, SIDE * 3 / 4);

/// A drawn photograph.
#[derive(Clone, Debug)]
pub struct Photograph {
    /// Red, green and blue, row by row.
    pub rgb: Vec<u8>,
    /// The class of every pixel, 0 to 9, row by row.
    pub mask: Vec<u8>,
}

impl Photograph {
    /// Number `index` of the training or the test images, of 128 x 96 pixels. Grounds lie mostly in bands,
    /// so that what a pixel shows tells something about where it is, as in photographs.
    #[must_use]
    pub fn new(split: SceneSplit, index: usize) -> Self {
        let picture = Scene::new(20, split, index as u64, 0.7).picture();
        let (width, height) = SIZE;
        let kept = (picture.side - height) / 2 * width..(picture.side + height) / 2 * width;
        Self {
            rgb: picture.rgb[3 * kept.start..3 * kept.end].to_vec(),
            mask: picture.mask[kept].to_vec(),
        }
    }

    /// Writes the image as a PNG.
    pub fn save(&self, path: &Path) {
        write_png(path, png::ColorType::Rgb, &self.rgb);
    }

    /// Writes the mask as a gray PNG.
    pub fn save_mask(&self, path: &Path) {
        write_png(path, png::ColorType::Grayscale, &self.mask);
    }
}

fn write_png(path: &Path, color: png::ColorType, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let (width, height) = SIZE;
    let file = fs::File::create(path).unwrap();
    let mut encoder = png::Encoder::new(file, width as u32, height as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(bytes).unwrap();
}

/// How many images [`camvid`] has for training and for testing.
pub const CAMVID: (usize, usize) = (40, 94);

/// A data set of drawn photographs in CamVid's layout, which has 11 classes: `train`, `trainannot`, `test`
/// and `testannot`. The strip at the bottom of every mask is void, as the car's hood is in CamVid.
///
/// It is drawn once per state of the generator, under the build's own folder.
pub fn camvid() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        once("camvid-layout", |root| {
            for (split, name, count) in [
                (SceneSplit::Train, "train", CAMVID.0),
                (SceneSplit::Test, "test", CAMVID.1),
            ] {
                (0..count).into_par_iter().for_each(|index| {
                    let mut photograph = Photograph::new(split, index);
                    let (width, height) = SIZE;
                    photograph.mask[width * (height - 4)..].fill(11);
                    // No name occurs in both splits.
                    let file = format!("{name}-{index:04}.png");
                    photograph.save(&root.join(name).join(&file));
                    photograph.save_mask(&root.join(format!("{name}annot")).join(&file));
                });
            }
        })
    })
}

/// A folder of 12 drawn photographs without ground truth.
pub fn photographs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        once("photographs", |root| {
            for index in 0..12 {
                let photograph = Photograph::new(SceneSplit::Pairs, index);
                photograph.save(&root.join(format!("{index:04}.png")));
            }
        })
    })
}

/// A folder that is made by whoever comes first, and whole when it is there. Its name carries a hash of a
/// scene: where the generator has changed, it is made anew.
fn once(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    // A test runs from `target/PROFILE/deps`.
    let program = std::env::current_exe().unwrap();
    let place = program.ancestors().nth(3).unwrap().join("testkit");
    let first = Photograph::new(SceneSplit::Train, 0);
    // FNV-1a.
    let hash = first
        .rgb
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let folder = place.join(format!("{name}-{hash:016x}"));
    if !folder.is_dir() {
        fs::create_dir_all(&place).unwrap();
        let draft = tempfile::tempdir_in(&place).unwrap();
        make(draft.path());
        // Somebody else may have been faster; then theirs is the same.
        let _ = fs::rename(draft.keep(), &folder);
    }
    assert!(folder.is_dir(), "{}", folder.display());
    folder
}
