//! Runs that are stopped at a counted place, between the first and the last step, and taken up again.

use std::path::Path;

use vitscope_study::StudyError;
use vitscope_study::model::Model;
use vitscope_study::observer::{Observer, Phase, Silent};
use vitscope_study::probe::{ProbeRequest, probe_together};
use vitscope_study::settings::Settings;
use vitscope_study::variants::Vary;

use crate::common::{assert_same, camvid, checkpoint, run_json, settled};

/// Counts the images of every phase and stops the run as soon as `images` of one have gone by.
pub struct Counter {
    phase: Phase,
    images: u64,
    now: Phase,
    /// Images of the phase that an earlier run had done when this one began it.
    before: Option<u64>,
    counted: u64,
}

impl Counter {
    pub fn new(phase: Phase, images: u64) -> Self {
        Self {
            phase,
            images,
            now: phase,
            before: None,
            counted: 0,
        }
    }
}

impl Observer for Counter {
    fn begin(&mut self, phase: Phase, done: u64, _: u64) {
        self.now = phase;
        if phase == self.phase {
            self.before = Some(done);
        }
    }

    fn advance(&mut self, images: u64, _: Option<f64>) {
        if self.now == self.phase {
            self.counted += images;
        }
    }

    fn stop(&self) -> bool {
        self.counted >= self.images
    }
}

fn request(out: &Path, resume: bool) -> ProbeRequest {
    ProbeRequest {
        model: Model::Checkpoint(checkpoint(), settled()),
        data: camvid(),
        out: Some(out.to_owned()),
        settings: Settings {
            size: 64,
            steps: 10,
            batch: 4,
            pca_batches: 2,
            limit_train: Some(12),
            limit_test: Some(20),
            examples: 2,
            ..Settings::default()
        },
        resume,
        trained: None,
    }
}

/// Stops a run after so many images of a phase; says how many the phase had when it was begun here.
fn stopped(out: &Path, vary: &Vary, resume: bool, phase: Phase, images: u64) -> u64 {
    let mut counter = Counter::new(phase, images);
    let ended = probe_together(&request(out, resume), vary, &mut counter);
    assert!(matches!(ended, Err(StudyError::Interrupted { .. })));
    assert_eq!(
        counter.counted, images,
        "the run went on after it was stopped"
    );
    counter.before.unwrap()
}

#[test]
fn a_training_goes_on_in_its_middle() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let alone = Vary::default();
    probe_together(&request(&whole, false), &alone, &mut Silent).unwrap();

    // 10 steps of 4 images: stopped after the third, the fourth and the ninth, then twice while counting.
    assert_eq!(stopped(&broken, &alone, false, Phase::TRAIN, 12), 0);
    assert!(broken.join("state/training.safetensors").exists());
    assert_eq!(stopped(&broken, &alone, true, Phase::TRAIN, 4), 12);
    assert_eq!(stopped(&broken, &alone, true, Phase::TRAIN, 20), 16);
    assert_eq!(stopped(&broken, &alone, true, Phase::EVALUATE, 8), 0);
    assert_eq!(stopped(&broken, &alone, true, Phase::EVALUATE, 8), 8);
    probe_together(&request(&broken, true), &alone, &mut Silent).unwrap();
    // What it took is added up over all of its beginnings.
    let [once, often] = [&whole, &broken].map(|run| run_json(run)["times"].clone());
    for name in ["start_images", "train_images", "evaluate_images"] {
        assert_eq!(often[name], once[name], "{name}");
    }
    std::fs::remove_dir_all(whole.join("state")).unwrap();
    std::fs::remove_dir_all(broken.join("state")).unwrap();
    assert_same(&whole, &broken);
}

/// Runs that learn together are stopped while one of them is in the middle of a step.
#[test]
fn trainings_that_share_images_go_on_in_their_middle() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let both = Vary::default().with("batch", [4, 6]);
    probe_together(&request(&whole, false), &both, &mut Silent).unwrap();

    // Batches of 4 end at 4, 8 and 12, those of 6 at 6 and 12. After 8 images, the second run has taken one step
    // and is in the middle of the next, whose first two images are seen again.
    assert_eq!(stopped(&broken, &both, false, Phase::TRAIN, 8), 0);
    assert!(stopped(&broken, &both, true, Phase::TRAIN, 18) > 0);
    probe_together(&request(&broken, true), &both, &mut Silent).unwrap();
    for name in ["batch-4", "batch-6"] {
        let (whole, broken) = (whole.join(name), broken.join(name));
        std::fs::remove_dir_all(whole.join("state")).unwrap();
        std::fs::remove_dir_all(broken.join("state")).unwrap();
        assert_same(&whole, &broken);
    }
}
