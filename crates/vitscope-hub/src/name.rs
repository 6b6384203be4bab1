//! What a name may mean, and which known names are near to one that means nothing.

use vitscope_vit::files::is_weights;
use vitscope_vit::known::{KnownModel, models};

/// A Hugging Face id as typed: `owner/name`, then `@revision` and `:file` where they are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    /// `owner/name`.
    pub id: String,
    /// Branch, tag or commit; `main` unless given.
    pub revision: String,
    /// A file of the repository.
    pub file: Option<String>,
}

impl HubName {
    /// Reads `owner/name[@revision][:file]`; `None` where the text has another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (text, file) = match text.split_once(':') {
            Some((text, file)) => (text, Some(file)),
            None => (text, None),
        };
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = id.split_once('/')?;
        let fits = is_word(owner)
            && is_word(name)
            && is_relative(revision)
            && file.is_none_or(is_relative);
        fits.then(|| Self {
            id: id.to_owned(),
            revision: revision.to_owned(),
            file: file.map(str::to_owned),
        })
    }
}

/// A part of an id, by the hub's rules.
fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 96
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        && !text.starts_with(['.', '-'])
        && !text.ends_with(['.', '-'])
        && !text.contains("..")
        && !text.contains("--")
}

/// Whether a name from elsewhere stays below the folder that it is put in.
pub(crate) fn is_relative(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 1024
        && !text.contains(['\\', ':'])
        && !text.chars().any(char::is_control)
        && text
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Endings that only a file has, so that `weights/model.pth` is not taken for an id.
pub(crate) fn has_file_ending(text: &str) -> bool {
    let lower = text.to_lowercase();
    is_weights(text) || lower.ends_with(".json") || lower.ends_with(".toml")
}

/// The model with this short name.
#[must_use]
pub fn short_name(text: &str) -> Option<&'static KnownModel> {
    models().iter().find(|model| model.name == text)
}

/// At most three known names that are spelled much like `text`, nearest first. Names in which
/// `text` occurs, or which differ only in case or owner, count as near.
#[must_use]
pub fn near(text: &str, ids_only: bool) -> Vec<String> {
    const SHOWN: usize = 3;
    let wanted = text.to_lowercase();
    let letters = wanted.chars().count();
    let allowed = 2.max(letters / 5);
    let mut found: Vec<(usize, &str)> = Vec::new();
    for model in models() {
        for name in model.names().filter(|name| !ids_only || name.contains('/')) {
            let lower = name.to_lowercase();
            // The letters that are too many alone make it far, however long a text was typed.
            if letters > lower.chars().count() + allowed {
                continue;
            }
            let last = lower.rsplit('/').next().unwrap_or(&lower);
            let mut distance = edits(&wanted, &lower).min(edits(&wanted, last));
            if wanted.len() >= 4 && lower.contains(&wanted) {
                distance = distance.min(2);
            }
            if distance <= allowed {
                found.push((distance, name));
            }
        }
    }
    found.sort_by_key(|&(distance, _)| distance);
    found.dedup_by_key(|&mut (_, name)| name);
    found
        .into_iter()
        .take(SHOWN)
        .map(|(_, name)| name.to_owned())
        .collect()
}

/// Letters to insert, remove or replace to get from one text to the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let best = (before + usize::from(x != y))
                .min(row[j] + 1)
                .min(row[j + 1] + 1);
            before = row[j + 1];
            row[j + 1] = best;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_carry_revision_and_file() {
        let name = HubName::parse("zhoupans/Mugs@v1.0:pretrained models/a b.pth").unwrap();
        assert_eq!(name.id, "zhoupans/Mugs");
        assert_eq!(name.revision, "v1.0");
        assert_eq!(name.file.as_deref(), Some("pretrained models/a b.pth"));
        assert_eq!(HubName::parse("timm/x").unwrap().revision, "main");
        let pull = HubName::parse("timm/x@refs/pr/3").unwrap();
        assert_eq!(pull.revision, "refs/pr/3");
        for wrong in [
            "dino",
            "/x",
            "a/",
            "a/b/c",
            "../b",
            "a/..",
            "a/b@",
            "a/b:",
            "a/b:/etc/passwd",
            "a/b:../c",
            "a/b@../../x",
            "a b/c",
            "a/b:x\\..\\y",
            "a/b:x\ny",
            "a--b/c",
        ] {
            assert_eq!(HubName::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn distances_count_letters() {
        assert_eq!(edits("dino-b16", "dino-b16"), 0);
        assert_eq!(edits("dino-b16", "dino-s16"), 1);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("kitten", "sitting"), 3);
    }

    #[test]
    fn near_names_are_offered() {
        assert_eq!(near("dino-b15", false)[0], "dino-b16");
        assert_eq!(near("DINO-B16", false)[0], "dino-b16");
        assert_eq!(
            near("vit_base_patch16_224.dino", false)[0],
            "timm/vit_base_patch16_224.dino"
        );
        assert_eq!(near("facebook/dinov2-bas", true)[0], "facebook/dinov2-base");
        assert!(near("nothing like any of them", false).is_empty());
        // Letter by letter this took minutes.
        assert!(near(&"a".repeat(1_000_000), false).is_empty());
    }
}
