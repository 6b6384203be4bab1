//! Where NVIDIA's libraries lie: on the loader's path, or beside the packages of a Python.
#![expect(
    unsafe_code,
    reason = "a library is looked for by loading it, which runs its initializers"
)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cudarc::driver::sys;

/// The oldest driver that runs what CUDA 12 makes, and what a version of the driver means.
const OLDEST: i32 = 12_000;

/// A library of the CUDA runtime.
struct Library {
    /// Its name without prefix and ending.
    name: &'static str,
    /// The folders of the PyPI packages that have it, CUDA 13's first.
    folders: [&'static str; 2],
}

const LIBRARIES: [Library; 2] = [
    Library {
        name: "nvrtc",
        folders: ["cu13/lib", "cuda_nvrtc/lib"],
    },
    Library {
        name: "cublasLt",
        folders: ["cu13/lib", "cublas/lib"],
    },
];

/// Loads what the loader does not find by itself, once: a library that was loaded from anywhere is
/// found by its name from then on.
pub(crate) fn prepare() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        for library in LIBRARIES {
            if !found(&library) {
                for file in places(&library) {
                    if load(&file) {
                        break;
                    }
                }
            }
        }
    });
}

/// Whether the loader finds a library under one of the names that are asked for later.
fn found(library: &Library) -> bool {
    let name = library.name;
    [
        format!("lib{name}.so"),
        format!("lib{name}.so.13"),
        format!("lib{name}.so.12"),
    ]
    .iter()
    .any(|name| load(Path::new(name)))
}

/// Loads a library for good.
fn load(file: &Path) -> bool {
    // SAFETY: NVIDIA's libraries may be loaded at any time, by any thread.
    match unsafe { libloading::Library::new(file) } {
        Ok(library) => {
            std::mem::forget(library);
            true
        }
        Err(_) => false,
    }
}

/// Files that may be a library: those of CUDA 13 only where the driver can run what it makes.
fn places(library: &Library) -> Vec<PathBuf> {
    let new = driver().is_none_or(|version| version >= 13_000);
    let versions = [(13, library.folders[0]), (12, library.folders[1])];
    let mut files = Vec::new();
    for (version, folder) in versions.into_iter().filter(|(v, _)| *v == 12 || new) {
        let file = format!("lib{}.so.{version}", library.name);
        for packages in packages() {
            files.push(packages.join("nvidia").join(folder).join(&file));
        }
        for toolkit in toolkits() {
            files.push(toolkit.join("lib64").join(&file));
        }
    }
    files.retain(|file| file.is_file());
    files
}

/// Folders of Python packages: of the environment that is active, of the user, of the system.
fn packages() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let environments = [variable("VIRTUAL_ENV"), variable("CONDA_PREFIX")];
    let mut roots: Vec<PathBuf> = environments
        .into_iter()
        .flatten()
        .map(|root| root.join("lib"))
        .collect();
    roots.extend(variable("HOME").map(|home| home.join(".local/lib")));
    roots.extend(["/usr/local/lib", "/usr/lib", "/opt/conda/lib"].map(PathBuf::from));
    let mut found = Vec::new();
    for root in roots {
        let mut pythons = listed(&root, "python3");
        pythons.reverse();
        for python in pythons {
            found.extend(["site-packages", "dist-packages"].map(|name| python.join(name)));
        }
    }
    found
}

/// Installed toolkits.
fn toolkits() -> Vec<PathBuf> {
    let home = std::env::var_os("CUDA_HOME").map(PathBuf::from);
    let mut found: Vec<PathBuf> = home.into_iter().collect();
    found.extend(listed(Path::new("/usr/local"), "cuda"));
    found
}

/// What a folder holds whose name begins so, in order.
fn listed(folder: &Path, start: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(start))
    };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(named);
    found.sort();
    found
}

/// The newest CUDA that the driver knows (12080 is 12.8), if there is a driver.
pub(crate) fn driver() -> Option<i32> {
    // SAFETY: the driver is loaded, and asked for nothing but its version.
    unsafe {
        if !sys::is_culib_present() {
            return None;
        }
        let mut version = 0;
        let answer = sys::cuDriverGetVersion(&raw mut version);
        (answer == sys::CUresult::CUDA_SUCCESS).then_some(version)
    }
}

/// Whether a driver is too old for what is compiled here.
pub(crate) fn too_old(version: i32) -> bool {
    version < OLDEST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_a_python_are_found() {
        let root = std::env::temp_dir().join(format!("vitscope-libraries-{}", std::process::id()));
        let folder = root.join("python3.12");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::create_dir_all(root.join("perl")).expect("a folder");
        assert_eq!(listed(&root, "python3"), [folder]);
        assert!(listed(&root.join("nowhere"), "python3").is_empty());
        std::fs::remove_dir_all(&root).expect("it goes");
        assert!(!load(Path::new("/nowhere/libnvrtc.so.12")));
    }

    #[test]
    fn drivers_before_cuda_12_are_too_old() {
        assert!(too_old(11_080) && !too_old(12_000) && !too_old(13_000));
    }
}
