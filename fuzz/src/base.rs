//! Small folders of results as the program wrote them (`base/`), of which one file at a time is bent.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A tensor file's data is extended by zeros to what a bent header asks for, up to so many bytes.
const MOST: u64 = 1 << 20;

/// A copy of a folder of `base/`.
pub struct Base {
    root: PathBuf,
    /// Its files, sorted by path: the first byte of an input says which of them is bent.
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Base {
    /// Copies `base/{name}` to `to/{name}`.
    pub fn copy(name: &str, to: &Path) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("base").join(name);
        let root = to.join(name);
        let mut files = Vec::new();
        collect(&from, &from, &mut files);
        files.sort();
        for (path, bytes) in &files {
            let place = root.join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, bytes).unwrap();
        }
        Self { root, files }
    }

    /// The copy.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Calls `read` with one file bent, and puts it right again. Tensor files come in two ways: whole, and, in the
    /// upper half of the first byte, as the header alone, before the data that was there.
    pub fn bent(&self, bytes: &[u8], read: impl FnOnce(&Path)) {
        let Some((&which, bytes)) = bytes.split_first() else {
            return;
        };
        let (name, sound) = &self.files[usize::from(which & 0x7f) % self.files.len()];
        let path = self.root.join(name);
        let is_tensors = name.extension().is_some_and(|ending| ending == "safetensors");
        if is_tensors && which & 0x80 != 0 {
            header(&path, bytes, sound);
        } else {
            fs::write(&path, bytes).unwrap();
        }
        read(&self.root);
        fs::write(&path, sound).unwrap();
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let bytes = fs::read(&path).unwrap();
            files.push((path.strip_prefix(root).unwrap().to_owned(), bytes));
        }
    }
}

/// Writes a header, its length before it and the sound file's data behind it.
fn header(path: &Path, bytes: &[u8], sound: &[u8]) {
    let own = u64::from_le_bytes(sound[..8].try_into().unwrap()) as usize;
    let mut out = OpenOptions::new();
    let mut out = out
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .unwrap();
    out.write_all(&(bytes.len() as u64).to_le_bytes()).unwrap();
    out.write_all(bytes).unwrap();
    out.write_all(&sound[8 + own..]).unwrap();
    let asked = crate::data_of(bytes).min(MOST);
    let end = 8 + bytes.len() as u64 + asked.max((sound.len() - 8 - own) as u64);
    out.set_len(end).unwrap();
}
