//! Every reader of checkpoints on thousands of damaged files: none may panic, take long, or ask
//! for more memory than a small file can justify. The short and deterministic form of the fuzz
//! targets. Alone in its file, because it watches the whole process.
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use vitscope_testkit::fixture;
use vitscope_vit::{
    checkpoint::{Checkpoint, draft},
    identify::{Family, Format, Settle},
};

/// Damaged files per source.
const ROUNDS: usize = 250;

/// No file here is larger than a few hundred kilobytes.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the whole process may ask for beyond its start: stacks, arenas, and the longest index
/// that a reader believes.
const MEMORY: usize = 512 << 20;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// Numbers at which programs break.
const EDGES: [u64; 8] = [
    0,
    1,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
    1 << 40,
    0x8000_0000,
];

/// Words of the texts that the readers parse.
const WORDS: [&str; 14] = [
    "18446744073709551615",
    "-1",
    "1e999",
    "null",
    "[]",
    "{}",
    "\"",
    "0",
    "999999999999",
    "true",
    "{i}",
    "..",
    "/",
    "\\u0000",
];

/// A copy with a few changes, most of them where the file describes itself.
fn damaged(bytes: &[u8], text: bool, random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let near = if random.below(2) == 0 {
            out.len()
        } else {
            out.len().min(3000)
        };
        let at = random.below(near);
        let at = if text || random.below(2) == 0 {
            at
        } else {
            out.len() - 1 - at
        };
        let length = (1 + random.below(24)).min(out.len() - at);
        match random.below(if text { 5 } else { 6 }) {
            0 => out[at] = random.below(256) as u8,
            1 => drop(out.drain(at..at + length)),
            2 => {
                let piece = out[at..at + length].to_vec();
                out.splice(at..at, piece);
            }
            3 if text => {
                let word = WORDS[random.below(WORDS.len())];
                out.splice(at..at + length, word.bytes());
            }
            3 => out.truncate(at.max(1)),
            4 => {
                let from = random.below(out.len() - length + 1);
                out.copy_within(from..from + length, at);
            }
            _ => {
                let edge = EDGES[random.below(EDGES.len())].to_le_bytes();
                let length = [2, 4, 8][random.below(3)].min(out.len() - at);
                out[at..at + length].copy_from_slice(&edge[..length]);
            }
        }
        if out.is_empty() {
            out.push(0);
        }
    }
    out
}

/// Address space of the process at its largest, where the system tells it.
fn peak() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmPeak:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<usize>().ok()? * 1024)
}

fn settle() -> Settle {
    Settle {
        family: Some(Family::Dino),
        format: Some(Format::Official),
        heads: Some(2),
        ..Settle::default()
    }
}

fn read(path: &Path, settle: &Settle) -> bool {
    let start = Instant::now();
    let opened = Checkpoint::open(path, settle);
    let accepted = opened.is_ok();
    match opened {
        Ok(checkpoint) => drop(checkpoint.params()),
        Err(error) => assert!(error.to_string().len() < 8000, "{error}"),
    }
    drop(draft(path, path.parent().unwrap(), None));
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    accepted
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

/// A description of the fixture beside it.
fn description(weights: &Path) -> String {
    draft(weights, weights.parent().unwrap(), None).unwrap().text.replacen(
        "[model]\n",
        "[model]\nheads = 2\nnorm_eps = 1e-6\nmlp = \"gelu\"\nresize = \"plain\"\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\n",
        1,
    )
}

/// A file to damage.
struct Source {
    bytes: Vec<u8>,
    /// Where its damaged copies go.
    path: PathBuf,
    /// What is opened then.
    open: PathBuf,
    /// Whether it is text.
    text: bool,
    settle: Settle,
}

#[test]
fn damaged_files_end_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = fixture("dino-timm/model.safetensors");
    let mut sources: Vec<Source> = Vec::new();
    let mut file = |from: &Path, name: &str, settle: Settle| {
        sources.push(Source {
            bytes: std::fs::read(from).unwrap(),
            path: folder.join(name),
            open: folder.join(name),
            text: false,
            settle,
        });
    };
    let heads = Settle {
        heads: Some(2),
        ..Settle::default()
    };
    let official = fixture("dino-official/dino_vittiny16_pretrain.pth");
    file(&weights, "header.safetensors", settle());
    file(&official, "zip.pth", settle());
    file(&data("modern.pth"), "small.pth", settle());
    file(&data("legacy.pth"), "legacy.pth", settle());
    file(&data("clip_script.pt"), "script.pt", heads.clone());
    file(
        &fixture("supervised-timm/augreg.npz"),
        "arrays.npz",
        heads.clone(),
    );

    let sharded = folder.join("sharded");
    std::fs::create_dir(&sharded).unwrap();
    copy(&weights, &sharded.join("one.safetensors"));
    let index = br#"{"metadata": {"total_size": 1}, "weight_map": {"norm.weight": "one.safetensors", "norm.bias": "one.safetensors"}}"#;
    let path = sharded.join("model.safetensors.index.json");
    sources.push(Source {
        bytes: index.to_vec(),
        open: path.clone(),
        path,
        text: true,
        settle: settle(),
    });

    for (name, config, model) in [
        ("dino-timm", "config.json", "model.safetensors"),
        ("dinov2-transformers", "config.json", "model.safetensors"),
        (
            "openclip-openclip",
            "open_clip_config.json",
            "open_clip_model.safetensors",
        ),
    ] {
        let beside = folder.join(name);
        std::fs::create_dir(&beside).unwrap();
        copy(&fixture(name).join(model), &beside.join(model));
        let bytes = std::fs::read(fixture(name).join(config)).unwrap();
        sources.push(Source {
            bytes,
            path: beside.join(config),
            open: beside,
            text: true,
            settle: Settle::default(),
        });
    }

    let own = folder.join("own");
    std::fs::create_dir(&own).unwrap();
    copy(&weights, &own.join("model.safetensors"));
    let text = description(&own.join("model.safetensors"));
    let path = own.join("own.toml");
    sources.push(Source {
        bytes: text.into_bytes(),
        open: path.clone(),
        path,
        text: true,
        settle: Settle::default(),
    });

    // The first reading starts threads and their arenas, which are not the files' doing.
    for source in &sources {
        std::fs::write(&source.path, &source.bytes).unwrap();
        let whole = read(&source.open, &source.settle);
        assert!(whole, "{}", source.path.display());
    }
    let before = peak();
    let start = Instant::now();
    for source in &sources {
        let mut random = Random(source.bytes.len() as u64);
        let mut accepted = 0;
        for _ in 0..ROUNDS {
            let bytes = damaged(&source.bytes, source.text, &mut random);
            std::fs::write(&source.path, bytes).unwrap();
            accepted += usize::from(read(&source.open, &source.settle));
        }
        println!("{}: {accepted} of {ROUNDS} accepted", source.path.display());
    }
    println!("{:?} altogether", start.elapsed());
    if let (Some(before), Some(after)) = (before, peak()) {
        let grown = after.saturating_sub(before);
        println!("{grown} bytes of address space");
        assert!(grown < MEMORY, "{grown} bytes of address space");
    }
}
