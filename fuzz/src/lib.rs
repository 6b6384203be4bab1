//! What the fuzz targets share: bytes become a file as a user would have it, and the file is
//! opened and read whole through the same functions that the program calls.

#[cfg(feature = "results")]
mod base;
#[cfg(feature = "results")]
mod plan;
#[cfg(feature = "results")]
mod results;

#[cfg(feature = "results")]
pub use plan::plan;
#[cfg(feature = "results")]
pub use results::{features, run};

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex},
};

use serde_json::Value;
use tempfile::TempDir;
use vitscope_vit::{
    checkpoint::{Checkpoint, draft},
    identify::{Family, Format, Settle},
};

/// Weights of this many bytes are read; more would only slow the search down.
const DATA_LIMIT: u64 = 1 << 20;

/// Storages of the archives around a fuzzed pickle, and the bytes of each.
const STORAGES: usize = 160;
const STORAGE: u64 = 1 << 16;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn settle() -> Settle {
    Settle {
        family: Some(Family::Dino),
        format: Some(Format::Official),
        heads: Some(2),
        ..Settle::default()
    }
}

/// Opens a file in both ways and reads its weights; an error is as good as success.
fn read(path: &Path, settle: &Settle) {
    match Checkpoint::open(path, settle) {
        Ok(checkpoint) => drop(checkpoint.params()),
        Err(error) => assert!(error.to_string().len() < 8000),
    }
    drop(draft(path, FOLDER.path(), None));
}

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = FOLDER.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn raw(name: &str, bytes: &[u8]) {
    read(&file(name, bytes), &settle());
}

/// A header in JSON, to which the length before it and the data behind it are added.
pub fn safetensors(bytes: &[u8]) {
    if !bytes.starts_with(b"{") {
        return raw("raw.safetensors", bytes);
    }
    let path = file("model.safetensors", &(bytes.len() as u64).to_le_bytes());
    let mut out = File::options().append(true).open(&path).unwrap();
    out.write_all(bytes).unwrap();
    out.set_len(8 + bytes.len() as u64 + data_of(bytes).min(DATA_LIMIT))
        .unwrap();
    read(&path, &settle());
}

/// The bytes of data that a header in JSON asks for.
fn data_of(header: &[u8]) -> u64 {
    serde_json::from_slice::<Value>(header)
        .ok()
        .and_then(|header| {
            let entries = header.as_object()?.values();
            entries
                .filter_map(|entry| entry.get("data_offsets")?.get(1)?.as_u64())
                .max()
        })
        .unwrap_or(0)
}

/// An index beside one small shard.
pub fn index(bytes: &[u8]) {
    static SHARD: LazyLock<PathBuf> = LazyLock::new(|| {
        let header = br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
        let mut shard = (header.len() as u64).to_le_bytes().to_vec();
        shard.extend(header);
        shard.extend([0; 4]);
        file("model-00001-of-00001.safetensors", &shard)
    });
    assert!(SHARD.is_file());
    raw("model.safetensors.index.json", bytes);
}

/// A whole archive.
pub fn torch_zip(bytes: &[u8]) {
    raw("model.pth", bytes);
}

/// A whole stream.
pub fn legacy(bytes: &[u8]) {
    raw("old.pth", bytes);
}

/// A whole archive.
pub fn npz(bytes: &[u8]) {
    raw("model.npz", bytes);
}

/// A pickle in an archive with storages of zeros.
pub fn pickle(bytes: &[u8]) {
    static ARCHIVE: LazyLock<Mutex<Archive>> =
        LazyLock::new(|| Mutex::new(Archive::torch("wrapped.pth", false)));
    ARCHIVE.lock().unwrap().read("a/data.pkl", bytes);
}

/// A pickle in a TorchScript archive with storages of zeros.
pub fn torchscript(bytes: &[u8]) {
    static ARCHIVE: LazyLock<Mutex<Archive>> =
        LazyLock::new(|| Mutex::new(Archive::torch("script.pt", true)));
    ARCHIVE.lock().unwrap().read("a/data.pkl", bytes);
}

/// The bytes of one array in an archive.
pub fn npy(bytes: &[u8]) {
    static ARCHIVE: LazyLock<Mutex<Archive>> =
        LazyLock::new(|| Mutex::new(Archive::empty("wrapped.npz")));
    ARCHIVE.lock().unwrap().read("cls.npy", bytes);
}

/// The tensors of a small DINO model: names and shapes.
fn small() -> Vec<(String, Vec<usize>)> {
    let mut tensors: Vec<(String, Vec<usize>)> = vec![
        ("cls_token".into(), vec![1, 1, 8]),
        ("pos_embed".into(), vec![1, 5, 8]),
        ("patch_embed.proj.weight".into(), vec![8, 3, 2, 2]),
        ("patch_embed.proj.bias".into(), vec![8]),
        ("norm.weight".into(), vec![8]),
        ("norm.bias".into(), vec![8]),
    ];
    for i in 0..2 {
        for (name, shape) in [
            ("norm1", vec![8]),
            ("attn.qkv", vec![24, 8]),
            ("attn.proj", vec![8, 8]),
            ("norm2", vec![8]),
            ("mlp.fc1", vec![16, 8]),
            ("mlp.fc2", vec![8, 16]),
        ] {
            tensors.push((format!("blocks.{i}.{name}.bias"), vec![shape[0]]));
            tensors.push((format!("blocks.{i}.{name}.weight"), shape));
        }
    }
    tensors
}

/// Writes that model of zeros.
fn weights(folder: &Path) {
    let mut header = serde_json::Map::new();
    let mut at = 0;
    for (name, shape) in small() {
        let end = at + 4 * shape.iter().product::<usize>();
        let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]});
        header.insert(name, entry);
        at = end;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.resize(file.len() + at, 0);
    std::fs::write(folder.join("model.safetensors"), file).unwrap();
}

static MODEL: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = FOLDER.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    weights(&folder);
    folder
});

/// A config file beside a model.
pub fn sidecar(bytes: &[u8]) {
    std::fs::write(MODEL.join("config.json"), bytes).unwrap();
    drop(Checkpoint::open(&MODEL, &Settle::default()).map(|checkpoint| checkpoint.params()));
}

/// A description beside a model.
pub fn own(bytes: &[u8]) {
    let path = MODEL.join("own.toml");
    std::fs::write(&path, bytes).unwrap();
    match Checkpoint::open(&path, &Settle::default()) {
        Ok(checkpoint) => drop(checkpoint.params()),
        Err(error) => assert!(error.to_string().len() < 8000),
    }
}

/// A zip archive whose last entry is written anew each time.
struct Archive {
    path: PathBuf,
    file: File,
    index: Vec<u8>,
    entries: u16,
    end: u64,
}

impl Archive {
    fn empty(name: &str) -> Self {
        let path = FOLDER.path().join(name);
        Self {
            file: File::create(&path).unwrap(),
            path,
            index: Vec::new(),
            entries: 0,
            end: 0,
        }
    }

    fn torch(name: &str, script: bool) -> Self {
        let mut archive = Self::empty(name);
        for key in 0..STORAGES {
            archive.add(&format!("a/data/{key}"), &[], STORAGE);
        }
        if script {
            archive.add("a/constants.pkl", b"\x80\x02).", 4);
        }
        archive
    }

    /// Adds a stored entry; holes stand for the bytes that `data` lacks.
    fn add(&mut self, name: &str, data: &[u8], size: u64) {
        let mut common = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        common.extend((size as u32).to_le_bytes());
        common.extend((size as u32).to_le_bytes());
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        let mut local = b"PK\x03\x04".to_vec();
        local.extend(&common);
        local.extend(name.as_bytes());
        local.extend(data);
        self.index.extend(b"PK\x01\x02\x14\x00");
        self.index.extend(&common);
        self.index.extend([0; 10]);
        self.index.extend((self.end as u32).to_le_bytes());
        self.index.extend(name.as_bytes());
        self.file.seek(SeekFrom::Start(self.end)).unwrap();
        self.file.write_all(&local).unwrap();
        self.end += (local.len() - data.len()) as u64 + size;
        self.entries += 1;
        self.file.set_len(self.end).unwrap();
    }

    fn read(&mut self, name: &str, bytes: &[u8]) {
        let (index, entries, end) = (self.index.clone(), self.entries, self.end);
        self.add(name, bytes, bytes.len() as u64);
        let mut tail = self.index.clone();
        let length = tail.len() as u32;
        tail.extend(b"PK\x05\x06\0\0\0\0");
        tail.extend(self.entries.to_le_bytes());
        tail.extend(self.entries.to_le_bytes());
        tail.extend(length.to_le_bytes());
        tail.extend((self.end as u32).to_le_bytes());
        tail.extend([0; 2]);
        self.file.seek(SeekFrom::Start(self.end)).unwrap();
        self.file.write_all(&tail).unwrap();
        self.file.set_len(self.end + tail.len() as u64).unwrap();
        read(&self.path, &settle());
        (self.index, self.entries, self.end) = (index, entries, end);
    }
}
