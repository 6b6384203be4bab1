//! What reads folders of results: runs, feature directories.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use vitscope_data::Split;
use vitscope_run::{Run, Select};
use vitscope_study::artifacts::artifacts;
use vitscope_study::compare::{CompareRequest, compare};
use vitscope_study::features::FeatureDir;
use vitscope_study::model::Model;

use crate::FOLDER;
use crate::base::Base;

/// Numbers of features that are read; more would only slow the search down.
const NUMBERS: usize = 1 << 20;

static RUNS: LazyLock<[Base; 4]> = LazyLock::new(|| {
    ["probe", "attention", "correspond", "causes"].map(|kind| Base::copy(kind, FOLDER.path()))
});

/// A run that nothing bends.
static BESIDE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = FOLDER.path().join("beside");
    Base::copy("probe", &folder).root().to_owned()
});

static FEATURES: LazyLock<Base> = LazyLock::new(|| Base::copy("features", FOLDER.path()));

/// A run of any command with one file bent: the first byte says of which, the second of which file.
pub fn run(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    RUNS[usize::from(kind) % RUNS.len()].bent(bytes, read_run);
}

fn short<T>(result: Result<T, impl std::fmt::Display>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            let told = error.to_string();
            assert!(told.len() < 8000 && !told.is_empty());
            None
        }
    }
}

/// All that `report`, `compare` and `artifacts` do with a run, but for the files that they write of figures.
fn read_run(root: &Path) {
    if let Some(run) = short(Run::finished(root)) {
        short(artifacts(&run));
    }
    short(vitscope_figure::fuzzing::draw(root));
    let runs = vec![root.to_owned(), BESIDE.clone()];
    let out = FOLDER.path().join("comparison");
    short(compare(&CompareRequest {
        runs: runs.clone(),
        out: out.clone(),
        select: Select::default(),
        paper: true,
        series: false,
        steps: Vec::new(),
        fail_if: Vec::new(),
        baseline: None,
    }));
    short(vitscope_figure::fuzzing::compare(&runs, &out));
}

/// A feature directory with one file bent.
pub fn features(bytes: &[u8]) {
    FEATURES.bent(bytes, |root| {
        short(Model::Features(root.to_owned()).glance());
        let Some(mut dir) = short(FeatureDir::open(root)) else {
            return;
        };
        for split in [Split::Train, Split::Test] {
            for slot in dir.slots() {
                let images = dir.count(split).min(2);
                let one = dir.grid[0].saturating_mul(dir.grid[1]).saturating_mul(dir.width(slot));
                if images > 0 && one <= NUMBERS {
                    let images: Vec<usize> = (0..images).collect();
                    let mut out = ndarray::Array3::zeros((0, 0, 0));
                    short(dir.read(split, slot, &images, &mut out));
                }
            }
        }
    });
}
