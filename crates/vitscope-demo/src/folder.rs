//! Scenes as a data set on disk, of the kind `folder`: `images/{train,test}`, `masks/{train,test}` and
//! `classes.txt`.

use std::path::Path;

use rayon::prelude::*;
use vitscope_run::files::{make_dir, write_inside};

use crate::classes::SceneClass;
use crate::error::DemoError;
use crate::files;
use crate::scene::{Scene, SceneSplit};

/// Which scenes a data set has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scenes {
    /// The generator's seed; the built-in models were trained on scenes of seed 0.
    pub seed: u64,
    /// The dial of spatial bias, 0 to 1.
    pub bias: f64,
    /// Scenes 0 and on of [`SceneSplit::Train`].
    pub train: usize,
    /// Scenes 0 and on of [`SceneSplit::Test`].
    pub test: usize,
}

impl Scenes {
    /// Those of `vitscope demo`: what centroids are trained on (the models saw it too), and held-out ones on
    /// which everything is measured. What lies where is chance: any positional effect is the model's own.
    pub const DEMO: Self = Self {
        seed: 0,
        bias: 0.0,
        train: 320,
        test: 128,
    };

    /// Writes the data set into a folder that is not there yet.
    ///
    /// # Errors
    /// When the folder is there, or the disk refuses.
    pub fn write(&self, root: &Path) -> Result<(), DemoError> {
        files::folder(root, |root| {
            for (split, name, count) in [
                (SceneSplit::Train, "train", self.train),
                (SceneSplit::Test, "test", self.test),
            ] {
                let (images, masks) = (
                    root.join("images").join(name),
                    root.join("masks").join(name),
                );
                make_dir(&images)?;
                make_dir(&masks)?;
                (0..count).into_par_iter().try_for_each(|index| {
                    let picture = Scene::new(self.seed, split, index as u64, self.bias).picture();
                    let file = format!("{index:04}.png");
                    let (rgb, grey) = (png::ColorType::Rgb, png::ColorType::Grayscale);
                    write_inside(
                        &images.join(&file),
                        &files::png(picture.side, rgb, &picture.rgb)?,
                    )?;
                    write_inside(
                        &masks.join(&file),
                        &files::png(picture.side, grey, &picture.mask)?,
                    )?;
                    Ok::<(), DemoError>(())
                })?;
            }
            let names: String = SceneClass::ALL
                .iter()
                .map(|class| format!("{}\n", class.name()))
                .collect();
            write_inside(&root.join("classes.txt"), names.as_bytes())?;
            Ok(())
        })
    }
}
