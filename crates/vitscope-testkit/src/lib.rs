//! What the workspace's tests share. Nothing here is published, and no crate depends on it but for its tests.
//!
//! - [`fixture`] finds the tiny checkpoints with recorded activations under `fixtures/`, [`fact`] the tables
//!   of what was published about models and data sets under `facts/`.
//! - [`scenes`] draws photographs and data sets with the built-in generator.
//! - [`lcg`] and [`golden`] are the Rust half of the oracles in `tools/oracle`.
//! - [`hub`] plays Hugging Face on loopback.
//! - [`samples`] reaches photographs and trained weights that are not in the repository, and [`left_out`]
//!   says which checks this machine could not make.
//!
//! Everything panics on failure, as a test does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod golden;
pub mod hub;
pub mod lcg;
pub mod scenes;

use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder with one folder per recorded model.
#[must_use]
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A file or folder of the recorded models, such as `dino-timm/model.safetensors`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    fixtures().join(name)
}

/// The bytes of a table of facts, such as `models.json`.
#[must_use]
pub fn fact(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("facts")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path among the photographs and trained weights that the maintainers keep beside the repository. Only
/// tests marked `#[ignore]` may ask for it; `tools/shared_checks.sh` runs them.
///
/// # Panics
/// When `VITSCOPE_SHARED` does not name the folder.
#[must_use]
pub fn samples(path: &str) -> PathBuf {
    let folder = std::env::var_os("VITSCOPE_SHARED")
        .expect("VITSCOPE_SHARED names the folder of samples; run tools/shared_checks.sh FOLDER");
    Path::new(&folder).join(path)
}

/// Says that a check could not be made on this machine, in one line `what: why`. `.ci/run` collects these
/// lines in the file that `VITSCOPE_LEFT_OUT` names and prints them at its end.
pub fn left_out(what: &str, why: &str) {
    let line = format!("{what}: {why}\n");
    let mut stderr = std::io::stderr();
    stderr
        .write_all(format!("left out: {line}").as_bytes())
        .unwrap();
    if let Some(path) = std::env::var_os("VITSCOPE_LEFT_OUT") {
        let mut options = std::fs::File::options();
        let mut file = options.append(true).create(true).open(path).unwrap();
        // One write, so that tests that run side by side do not mix their lines.
        file.write_all(line.as_bytes()).unwrap();
    }
}
