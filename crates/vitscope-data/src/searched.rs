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

    /// Whether a file in the folder `out`, or below it, could be found. Its path holds no links.
    pub fn reaches(&self, out: &Path) -> bool {
        // What is not there was not searched.
        fs::canonicalize(&self.folder).is_ok_and(|folder| comes_by(&folder, &self.parts, out))
    }
}

/// Whether parts of a path, looked for below `folder`, could find a file in `out`, links of folders followed. Neither path
/// holds links.
fn comes_by(folder: &Path, parts: &[String], out: &Path) -> bool {
    if could_find(folder, parts, out) {
        return true;
    }
    let [first, rest @ ..] = parts else {
        return false;
    };
    // The last part is a file's.
    if rest.is_empty() {
        return false;
    }
    let is_any = first == "**";
    if is_any && comes_by(folder, rest, out) {
        return true;
    }
    let behind = if is_any { parts } else { rest };
    let pattern = glob::Pattern::new(if is_any { "*" } else { first });
    let (Ok(pattern), Ok(entries)) = (pattern, fs::read_dir(folder)) else {
        return false;
    };
    for entry in entries.flatten() {
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if pattern.matches_with(&entry.file_name().to_string_lossy(), OPTIONS)
            && entry.path().is_dir()
        {
            let below = match is_link {
                true => fs::canonicalize(entry.path()),
                false => Ok(entry.path()),
            };
            if below.is_ok_and(|below| comes_by(&below, behind, out)) {
                return true;
            }
        }
    }
    false
}

/// [`comes_by`] without links.
fn could_find(folder: &Path, parts: &[String], out: &Path) -> bool {
    let Ok(below) = out.strip_prefix(folder) else {
        return folder.starts_with(out);
    };
    let mut left = parts.iter();
    for name in below.components() {
        match left.next().map(String::as_str) {
            None => return parts.is_empty(),
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
    parts.is_empty() || left.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_lie_where_no_pattern_comes_by() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("set");
        for folder in ["a/b", "masks"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let root = &fs::canonicalize(root).unwrap();
        for (pattern, out, reaches) in [
            ("*.png", "", true),
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
    #[test]
    #[cfg(unix)]
    fn what_lies_behind_a_link_is_looked_for_there() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let (root, elsewhere) = (dir.join("set"), dir.join("elsewhere"));
        fs::create_dir_all(root.join("photos/deep")).unwrap();
        fs::create_dir_all(elsewhere.join("a")).unwrap();
        for link in ["photos/link", "photos/deep/link"] {
            std::os::unix::fs::symlink(&elsewhere, root.join(link)).unwrap();
        }
        for (pattern, out, reaches) in [
            ("photos/**/*.png", "elsewhere/run", true),
            ("photos/*/*.png", "elsewhere", true),
            ("photos/*/*.png", "elsewhere/run", false),
            ("photos/*/*/*.png", "elsewhere/run", true),
            ("photos/deep/li*/*.png", "elsewhere", true),
            ("photos/[xy]*/*.png", "elsewhere", false),
            ("photos/*.png", "elsewhere", false),
            ("photos/**/*.png", "beside", false),
        ] {
            let found = Searched::by(&root, pattern).reaches(&dir.join(out));
            assert_eq!(found, reaches, "{pattern} {out}");
        }
    }
}
