//! Where a description has files looked for, so that no output comes to lie there.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// What `*` and `?` match: never a `/`, nor the dot of a hidden name.
pub(crate) const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Where files are looked for: below a folder, under names that match these parts of a path, the file's last; without
/// parts, everything in the folder is taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Searched {
    pub folder: PathBuf,
    pub parts: Vec<String>,
}

impl Searched {
    /// For a glob below `root`: the folder is its path as far as it holds no wildcard.
    pub fn by(root: &Path, pattern: &str) -> Self {
        let parts: Vec<_> = Path::new(pattern).components().collect();
        let folders = &parts[..parts.len().saturating_sub(1)];
        let is_plain = |part: &&Component<'_>| {
            let part = part.as_os_str().to_string_lossy();
            !part.contains(['*', '?', '['])
        };
        let plain = folders.iter().take_while(is_plain).count();
        let text = |part: &Component<'_>| part.as_os_str().to_string_lossy().into_owned();
        Self {
            folder: root.join(parts[..plain].iter().collect::<PathBuf>()),
            parts: parts[plain..].iter().map(text).collect(),
        }
    }

    /// Whether a file in the folder `out`, or below it, could be found.
    pub fn reaches(&self, out: &Path) -> bool {
        let (folder, out) = (existing(&self.folder), existing(out));
        let Ok(below) = out.strip_prefix(&folder) else {
            return folder.starts_with(&out);
        };
        let mut parts = self.parts.iter();
        for name in below.components() {
            match parts.next().map(String::as_str) {
                None => return self.parts.is_empty(),
                Some("**" | "..") => return true,
                Some(part) => {
                    let name = name.as_os_str().to_string_lossy();
                    let pattern = glob::Pattern::new(part);
                    if !pattern.is_ok_and(|pattern| pattern.matches_with(&name, OPTIONS)) {
                        return false;
                    }
                }
            }
        }
        // The last part is a file's.
        self.parts.is_empty() || parts.next().is_some()
    }
}

/// A path without links as far as it exists.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let ancestors = absolute.ancestors();
    let found = ancestors
        .filter_map(|above| Some((fs::canonicalize(above).ok()?, above)))
        .next();
    match found {
        Some((found, above)) => {
            let rest = absolute.strip_prefix(above).unwrap_or(Path::new(""));
            found.join(rest)
        }
        None => absolute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_lie_where_no_pattern_comes_by() {
        let dir = tempfile::tempdir().unwrap();
        let root = &dir.path().join("set");
        fs::create_dir(root).unwrap();
        for (pattern, out, reaches) in [
            ("*.png", ".", true),
            ("*.png", "runs", false),
            ("a/b/*.png", "a/b", true),
            ("a/b/*.png", "a/b/run", false),
            ("a/b/*.png", "a", true),
            ("a/[bc]/d/*.png", "a/b/d", true),
            ("a/[bc]/d/*.png", "a/b/run", false),
            ("ph*/a/*.png", "photos/a", true),
            ("ph*/a/*.png", "photos/a/run", false),
            ("ph*/a/*.png", "runs/x", false),
            ("a/**/*.png", "a/x/y/z", true),
            ("a/**/*.png", "b/x", false),
            ("../*/**/*.png", "runs", true),
        ] {
            let searched = Searched::by(root, pattern);
            let found = searched.reaches(&root.join(out));
            assert_eq!(found, reaches, "{pattern} {out}");
        }
        let folder = Searched {
            folder: root.join("masks"),
            parts: Vec::new(),
        };
        assert!(folder.reaches(&root.join("masks/run")) && !folder.reaches(&root.join("run")));
    }
}
