//! Which of a repository's files hold the weights, and which others tell what they are.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use vitscope_run::files::read_up_to;
use vitscope_vit::files::{SHARD_LIMIT, SIDECARS, WEIGHTS, can_be, is_weights};
use vitscope_vit::identify::Format;

use crate::error::{listed, printable};
use crate::name::is_relative;

/// No file of JSON that is read is longer: what the reader of checkpoints takes.
pub(crate) const JSON_LIMIT: u64 = 16 << 20;

/// What is wanted of a repository.
#[derive(Clone, Copy, Debug)]
pub(crate) enum WantedFiles<'a> {
    /// Its weights.
    Weights,
    /// The weights in one of its folders.
    Folder(&'a str),
    /// One file.
    File(&'a str),
}

/// Why no file was chosen.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undecided {
    /// The wanted file, or every file of weights, is missing; what there is instead, if anything is.
    Missing(Option<String>),
    /// Several would do.
    Several(Vec<String>),
}

/// The file to open. `has_all` says whether everything that an index lists is there too.
pub(crate) fn choose(
    files: &[String],
    wanted: WantedFiles<'_>,
    format: Option<Format>,
    has_all: impl Fn(&str) -> bool,
) -> Result<String, Undecided> {
    let prefix = match wanted {
        WantedFiles::File(file) => {
            return if files.iter().any(|name| name == file) && has_all(file) {
                Ok(file.to_owned())
            } else {
                Err(Undecided::Missing(instead(files)))
            };
        }
        WantedFiles::Folder(folder) => format!("{folder}/"),
        WantedFiles::Weights => String::new(),
    };
    let here: Vec<&str> = files
        .iter()
        .filter_map(|name| name.strip_prefix(prefix.as_str()))
        .filter(|name| !name.contains('/'))
        .collect();
    let fits = |name: &str| can_be(name, format);
    let full = |name: &str| format!("{prefix}{name}");
    if let Some(name) = WEIGHTS
        .iter()
        .find(|&&name| here.contains(&name) && fits(name) && has_all(&full(name)))
    {
        return Ok(full(name));
    }
    let of_weights = |name: &&str| is_weights(name) && !is_shard(name);
    let candidates: Vec<&str> = here
        .iter()
        .copied()
        .filter(|name| !WEIGHTS.contains(name) && fits(name))
        .filter(of_weights)
        .collect();
    // Authors who publish the bare backbone beside the whole training state say so in its name.
    let bare: Vec<&str> = candidates
        .iter()
        .copied()
        .filter(|name| name.contains("backbone"))
        .collect();
    match (candidates.as_slice(), bare.as_slice()) {
        ([one], _) | (_, [one]) => Ok(full(one)),
        ([], _) => Err(Undecided::Missing(instead(files))),
        (several, _) => Err(Undecided::Several(
            several.iter().map(|name| full(name)).collect(),
        )),
    }
}

/// `model-00001-of-00004.safetensors`: opened through its index alone.
fn is_shard(name: &str) -> bool {
    let Some((stem, _)) = name.rsplit_once('.') else {
        return false;
    };
    let mut parts = stem.rsplit('-');
    let number = |part: Option<&str>| {
        part.is_some_and(|part| part.len() == 5 && part.bytes().all(|b| b.is_ascii_digit()))
    };
    number(parts.next()) && parts.next() == Some("of") && number(parts.next())
}

fn instead(files: &[String]) -> Option<String> {
    let shown: Vec<String> = files
        .iter()
        .filter(|name| !name.starts_with('.'))
        .map(|name| printable(name))
        .collect();
    (!shown.is_empty()).then(|| format!("it holds {}", listed(&shown, " and ")))
}

/// The files that tell what the weights in `main` are, among `files`.
pub(crate) fn sidecars(main: &str) -> impl Iterator<Item = String> {
    let folder = folder_of(main).to_owned();
    SIDECARS.iter().map(move |name| format!("{folder}{name}"))
}

/// The folder of a file, with a slash at its end, or nothing.
fn folder_of(file: &str) -> &str {
    file.rfind('/').map_or("", |slash| &file[..=slash])
}

/// The shards that an index lists, as files of the repository; `None` where it is no index.
pub(crate) fn shards(index: &str, text: &[u8]) -> Option<Vec<String>> {
    let json: Value = serde_json::from_slice(text).ok()?;
    let map = json.get("weight_map")?.as_object()?;
    let mut names = BTreeSet::new();
    for name in map.values() {
        let name = name.as_str()?;
        if !is_relative(name) || name.contains('/') {
            return None;
        }
        names.insert(format!("{}{name}", folder_of(index)));
    }
    (!names.is_empty() && names.len() <= SHARD_LIMIT).then(|| names.into_iter().collect())
}

/// Whether a file lists shards rather than holding weights.
pub(crate) fn is_index(file: &str) -> bool {
    file.ends_with(".index.json")
}

/// Whether every shard of an index lies in a folder, where `file` is an index.
pub(crate) fn is_complete(snapshot: &Path, file: &str) -> bool {
    !is_index(file)
        || read_up_to(&snapshot.join(file), JSON_LIMIT)
            .ok()
            .flatten()
            .and_then(|text| shards(file, &text))
            .is_some_and(|names| names.iter().all(|name| snapshot.join(name).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(
        files: &[&str],
        wanted: WantedFiles<'_>,
        format: Option<Format>,
    ) -> Result<String, Undecided> {
        let files: Vec<String> = files.iter().map(|&name| name.to_owned()).collect();
        choose(&files, wanted, format, |_| true)
    }

    #[test]
    fn the_best_container_wins() {
        let laion = [
            "README.md",
            "config.json",
            "model.safetensors",
            "open_clip_config.json",
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.bin",
            "pytorch_model.bin",
        ];
        assert_eq!(
            pick(&laion, WantedFiles::Weights, None).unwrap(),
            "model.safetensors"
        );
        assert_eq!(
            pick(&laion, WantedFiles::Weights, Some(Format::OpenClip)).unwrap(),
            "open_clip_model.safetensors"
        );
        let old = ["pytorch_model.bin", "tf_model.h5", "config.json"];
        assert_eq!(
            pick(&old, WantedFiles::Weights, None).unwrap(),
            "pytorch_model.bin"
        );
        let sharded = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
        ];
        assert_eq!(
            pick(&sharded, WantedFiles::Weights, None).unwrap(),
            "model.safetensors.index.json"
        );
        assert!(matches!(
            pick(&sharded[..2], WantedFiles::Weights, None),
            Err(Undecided::Missing(_))
        ));
    }

    #[test]
    fn official_files_are_found_or_asked_for() {
        let mugs = [
            "a/args.txt",
            "a/vit_small_backbone.pth",
            "a/vit_small.pth",
            "b/x.pth",
        ];
        assert_eq!(
            pick(&mugs, WantedFiles::Folder("a"), None).unwrap(),
            "a/vit_small_backbone.pth"
        );
        assert_eq!(
            pick(&mugs, WantedFiles::Folder("b"), None).unwrap(),
            "b/x.pth"
        );
        assert_eq!(
            pick(&mugs, WantedFiles::File("a/vit_small.pth"), None).unwrap(),
            "a/vit_small.pth"
        );
        assert!(matches!(
            pick(&mugs, WantedFiles::File("c"), None),
            Err(Undecided::Missing(_))
        ));
        assert_eq!(
            pick(&["x.pth", "y.pth"], WantedFiles::Weights, None),
            Err(Undecided::Several(vec![
                "x.pth".to_owned(),
                "y.pth".to_owned()
            ]))
        );
    }

    #[test]
    fn an_index_cannot_lead_out_of_its_folder() {
        let good = br#"{"weight_map": {"a": "s-1.safetensors", "b": "s-2.safetensors", "c": "s-1.safetensors"}}"#;
        assert_eq!(
            shards("f/model.safetensors.index.json", good).unwrap(),
            ["f/s-1.safetensors", "f/s-2.safetensors"]
        );
        for bad in [
            &br#"{"weight_map": {"a": "../s"}}"#[..],
            br#"{"weight_map": {"a": "/s"}}"#,
            br#"{"weight_map": {"a": 3}}"#,
            br#"{"weight_map": {}}"#,
            b"<html>",
        ] {
            assert_eq!(shards("model.safetensors.index.json", bad), None);
        }
    }
}
