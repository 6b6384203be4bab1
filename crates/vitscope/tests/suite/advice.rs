//! What a sentence tells the user to do, works: each is provoked, and its advice is followed.

use std::path::Path;
use std::process::Output;

use vitscope_testkit::scenes;

use crate::common::{camvid, checkpoint, command, copy_folder};

/// A sentence and its way out. Commands are typed in a folder in which `whole` is a run, `one` and `two`
/// are its shards, `stopped` is a run that was killed while its figures were drawn, `set` is a data set of
/// the user's own, and `mine` a folder of theirs. In them, `MODEL` stands for a model and what its file
/// leaves open, `DATA` for `--data` with CamVid, `SMALL` for settings of a small run, `PART` for one that
/// draws no figures, `CUT` for a small pass. What begins with `!` is done by hand: `!rm PATH`, `!spoil FILE`.
struct Sentence {
    /// What leads to it.
    before: &'static [&'static str],
    /// The command that is refused.
    typed: &'static str,
    /// What it says.
    says: &'static str,
    /// What the sentence advises, each of which must succeed.
    advised: &'static [&'static str],
}

const STOPPED: &str = "probe MODEL DATA PART --out stopped";

/// Sentences about runs.
const RUNS: &[Sentence] = &[
    Sentence {
        before: &[],
        typed: "probe MODEL DATA SMALL --out whole",
        says: "continue it with --resume, or choose another --out",
        advised: &[
            "probe MODEL DATA SMALL --out whole --resume",
            "probe MODEL DATA PART --out other",
        ],
    },
    Sentence {
        before: &[],
        typed: "probe MODEL DATA PART --out stopped --resume --lr 0.5",
        says: "repeat the command that began it, or choose another --out",
        advised: &[
            "probe MODEL DATA PART --out stopped --resume",
            "probe MODEL DATA PART --out other --lr 0.5",
        ],
    },
    Sentence {
        before: &["!spoil stopped/state/training.safetensors"],
        typed: "probe MODEL DATA PART --out stopped --resume",
        says: "remove its folder `state`, then continue with --resume",
        advised: &[
            "!rm stopped/state",
            "probe MODEL DATA PART --out stopped --resume",
        ],
    },
    Sentence {
        before: &[],
        typed: "compare whole stopped --out table",
        says: "continue it with --resume, or leave it out",
        advised: &[
            "compare whole --out table",
            "probe MODEL DATA PART --out stopped --resume",
        ],
    },
    Sentence {
        before: &["!spoil whole/metrics.csv"],
        typed: "report whole",
        says: "remove the folder of its run and make that again",
        advised: &["!rm whole", "probe MODEL DATA PART --out whole"],
    },
    Sentence {
        before: &["!spoil whole/run.json"],
        typed: "probe MODEL DATA SMALL --out whole --resume",
        says: "remove the folder of its run and make that again",
        advised: &["!rm whole", "probe MODEL DATA PART --out whole"],
    },
    Sentence {
        before: &["!spoil whole/codebooks.safetensors"],
        typed: "report whole",
        says: "remove the folder of its run and make that again",
        advised: &["!rm whole", "probe MODEL DATA PART --out whole"],
    },
    Sentence {
        before: &[],
        typed: "probe MODEL DATA PART --out mine",
        says: "mine: holds something, and no run.json that says vitscope made it: choose another --out",
        advised: &["probe MODEL DATA PART --out other"],
    },
    Sentence {
        before: &[],
        typed: "probe MODEL DATA SMALL --out whole --seeds 2",
        says: "choose another --out",
        advised: &["probe MODEL DATA PART --out other --seeds 2"],
    },
    Sentence {
        before: &[],
        typed: "probe MODEL DATA SMALL --shard 1/2 --out other --trained whole",
        says: "give --trained the directory of a shard, or of a run that was stopped",
        advised: &["probe MODEL DATA SMALL --shard 1/2 --out other --trained one"],
    },
    Sentence {
        before: &[],
        typed: "probe MODEL DATA PART --out other --transform-from whole",
        says: "give --transform-from a run that was made with --transform",
        advised: &[
            "probe MODEL DATA SMALL --out edited --transform mean",
            "probe MODEL DATA PART --out other --transform-from edited",
        ],
    },
];

/// Sentences about shards and their merge.
const SHARDS: &[Sentence] = &[
    Sentence {
        before: &[],
        typed: "compare whole one --out table",
        says: "make the run of all its shards with vitscope merge",
        advised: &[
            "merge one two --out merged",
            "compare whole merged --out table",
        ],
    },
    Sentence {
        before: &[],
        typed: "merge one --out merged",
        says: "shard 2/2 is missing: give the directories of all of them",
        advised: &["merge one two --out merged"],
    },
    Sentence {
        before: &[],
        typed: "merge one two --out whole",
        says: "choose another --out",
        advised: &["merge one two --out merged"],
    },
    Sentence {
        before: &["!rm one/state"],
        typed: "merge one two --out merged",
        says: "run this shard again with --resume",
        advised: &[
            "probe MODEL DATA SMALL --out one --shard 1/2 --resume",
            "merge one two --out merged",
        ],
    },
    Sentence {
        before: &["!rm one/state/evaluation.safetensors"],
        typed: "merge one two --out merged",
        says: "run this shard again with --resume",
        advised: &[
            "probe MODEL DATA SMALL --out one --shard 1/2 --resume",
            "merge one two --out merged",
        ],
    },
    Sentence {
        before: &["!spoil two/state/evaluation.safetensors"],
        typed: "merge one two --out merged",
        says: "remove its folder `state`, then continue with --resume",
        advised: &[
            "!rm two/state",
            "probe MODEL DATA SMALL --out two --shard 2/2 --trained one --resume",
            "merge one two --out merged",
        ],
    },
    Sentence {
        before: &["!spoil one/codebooks.safetensors"],
        typed: "merge one two --out merged",
        says: "remove it, then run this shard again with --resume",
        advised: &[
            "!rm one/codebooks.safetensors",
            "probe MODEL DATA SMALL --out one --shard 1/2 --resume",
            "merge one two --out merged",
        ],
    },
    Sentence {
        before: &[],
        typed: "merge one two --out merged --data folder:set",
        says: "give that one with --data",
        advised: &["merge one two --out merged DATA"],
    },
];

/// Sentences about settings, models and devices.
const SETTINGS: &[Sentence] = &[
    Sentence {
        before: &[],
        typed: "probe MODEL DATA --size 32 --steps 1 --layers 1 --facets key --limit-train 8 --batch 64 --out other",
        says: "choose --batch 8 or less",
        advised: &[
            "probe MODEL DATA --size 32 --steps 1 --layers 1 --facets key --limit-train 8 --batch 8 --limit-test 2 --shard 1/1 --out other",
        ],
    },
    Sentence {
        before: &[],
        typed: "attention MODEL DATA --size 32 --limit-test 2 --layers 9 --out other",
        says: "choose layers from 1 to 3",
        advised: &["attention MODEL DATA --size 32 --limit-test 2 --layers 1-3 --out other"],
    },
    Sentence {
        before: &[],
        typed: "probe MODEL DATA PART --out other --dtype f16",
        says: "use --dtype f32 on the CPU",
        advised: &["probe MODEL DATA PART --out other --dtype f32"],
    },
    Sentence {
        before: &[],
        typed: "report whole --label one --label two",
        says: "give it once for each",
        advised: &["report whole --label one"],
    },
    Sentence {
        before: &[],
        typed: "inspect dino-b15",
        says: "did you mean dino-b16",
        advised: &["models"],
    },
];

/// Sentences about folders of results and the user's own files.
const FOLDERS: &[Sentence] = &[
    Sentence {
        before: &[],
        typed: "extract MODEL DATA CUT --out mine",
        says: "no mark that vitscope extract made it: choose another --out",
        advised: &["extract MODEL DATA CUT --out other"],
    },
    Sentence {
        before: &[],
        typed: "extract MODEL --data folder:set CUT --out set/facets",
        says: "what is read is never written into: choose another --out",
        advised: &["extract MODEL --data folder:set CUT --out facets"],
    },
    Sentence {
        before: &[],
        typed: "compare whole --out whole",
        says: "choose another --out",
        advised: &["compare whole --out table"],
    },
    Sentence {
        before: &["compare whole --out table", "!rm table/.vitscope"],
        typed: "compare whole --out table",
        says: "choose another --out",
        advised: &["compare whole --out other"],
    },
    Sentence {
        before: &[],
        typed: "compare whole whole --out table",
        says: "give every run once",
        advised: &["compare whole --out table"],
    },
    Sentence {
        before: &["data check folder:set --draft set.toml"],
        typed: "data check folder:set --draft set.toml",
        says: "choose another file for --draft",
        advised: &[
            "data check folder:set --draft other.toml",
            "data check other.toml",
        ],
    },
    Sentence {
        before: &["!spoil set/images/test/a.png"],
        typed: "extract MODEL --data folder:set CUT --out facets",
        says: "or remove it",
        advised: &[
            "!rm set/images/test/a.png",
            "!rm set/masks/test/a.png",
            "extract MODEL --data folder:set CUT --out facets",
        ],
    },
    Sentence {
        before: &["!rm set/masks/test/a.png"],
        typed: "probe MODEL --data folder:set PART --out other",
        says: "add the mask, or remove the image from the set",
        advised: &[
            "!rm set/images/test/a.png",
            "probe MODEL --data folder:set PART --out other",
        ],
    },
    Sentence {
        before: &[],
        typed: "probe MODEL --data fold:set PART --out other",
        says: "fix the word before the colon, or give a directory or a .toml file",
        advised: &[
            "data check folder:set",
            "data check set",
            "data check folder:set --draft set.toml",
            "data check set.toml",
        ],
    },
];

/// The arguments that a word stands for.
fn expanded(word: &str) -> Vec<String> {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    match word {
        "MODEL" => words(&format!(
            "{} --heads 2 --family dino",
            checkpoint().display()
        )),
        "DATA" => words(&format!("--data {}", camvid())),
        "SMALL" => words(
            "--size 32 --limit-train 4 --limit-test 2 --layers 1 --facets key --steps 2 --batch 2 --pca-batches 2 --examples 1 --resamples 2 --save-every 0 --threads 1",
        ),
        "PART" => [expanded("SMALL"), words("--shard 1/1")].concat(),
        "CUT" => words("--size 32 --limit-train 2 --limit-test 2 --layers 1 --facets key"),
        other => vec![other.to_owned()],
    }
}

fn typed(room: &Path, line: &str, die_at: Option<u32>) -> Output {
    let mut command = command();
    command.current_dir(room).arg("--quiet");
    if let Some(change) = die_at {
        command.env("VITSCOPE_TEST_DIE_AT", change.to_string());
    }
    command.args(line.split(' ').flat_map(expanded));
    command.output().unwrap()
}

/// Does what a line says: by hand, or by a command that must succeed.
fn follow(room: &Path, line: &str) {
    match line.split_once(' ') {
        Some(("!rm", name)) if room.join(name).is_dir() => {
            std::fs::remove_dir_all(room.join(name)).unwrap();
        }
        Some(("!rm", name)) => std::fs::remove_file(room.join(name)).unwrap(),
        Some(("!spoil", name)) => {
            let path = room.join(name);
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.truncate(bytes.len() / 2);
            std::fs::write(&path, bytes).unwrap();
        }
        _ => {
            let output = typed(room, line, None);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{line}\n{stderr}");
        }
    }
}

/// Fills a folder with what the sentences are about.
fn furnish(room: &Path) {
    follow(room, "probe MODEL DATA SMALL --out whole");
    follow(room, "probe MODEL DATA SMALL --out one --shard 1/2");
    follow(
        room,
        "probe MODEL DATA SMALL --out two --shard 2/2 --trained one",
    );
    // While it counts: the training is stored, and the record says that it is not complete.
    let died = (10..).find(|&change| {
        let _ = std::fs::remove_dir_all(room.join("stopped"));
        let output = typed(room, STOPPED, Some(change));
        assert!(!output.status.success());
        room.join("stopped/state/training.safetensors").exists()
            && room.join("stopped/state/data.json").exists()
    });
    assert!(died.is_some());
    std::fs::create_dir(room.join("mine")).unwrap();
    std::fs::write(room.join("mine/notes.txt"), "mine").unwrap();
    for split in ["train", "test"] {
        for (kind, of) in [("images", ""), ("masks", "annot")] {
            let to = room.join("set").join(kind).join(split);
            std::fs::create_dir_all(&to).unwrap();
            for (index, name) in ["a", "b", "c", "d"].iter().enumerate() {
                let from = scenes::camvid().join(format!("{split}{of}/{split}-{index:04}.png"));
                std::fs::copy(from, to.join(format!("{name}.png"))).unwrap();
            }
        }
    }
}

/// Provokes every sentence in a room of its own, and does what it says.
fn heed(base: &Path, rooms: &Path, sentences: &[Sentence]) {
    for (index, sentence) in sentences.iter().enumerate() {
        let room = rooms.join(index.to_string());
        copy_folder(base, &room);
        sentence.before.iter().for_each(|line| follow(&room, line));
        let refused = typed(&room, sentence.typed, None);
        let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
        let said = stderr.lines().last().unwrap_or_default();
        assert!(
            said.starts_with("vitscope: ") && said.contains(sentence.says),
            "{}\nexpected: {}\n{stderr}",
            sentence.typed,
            sentence.says
        );
        assert!(!refused.status.success());
        for line in sentence.advised {
            follow(&room, line);
        }
    }
}

#[test]
fn what_sentences_advise_works() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    std::fs::create_dir(&base).unwrap();
    furnish(&base);
    std::thread::scope(|scope| {
        for (index, table) in [RUNS, SHARDS, SETTINGS, FOLDERS].iter().enumerate() {
            let rooms = dir.path().join(format!("table-{index}"));
            let base = &base;
            scope.spawn(move || heed(base, &rooms, table));
        }
    });
}
