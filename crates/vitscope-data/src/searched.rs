//! Where a description has files looked for, so that no output comes to lie there.

use std::collections::BTreeSet;
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

    /// The folder by way of which a file in the folder `out`, or below it or around it, could be found: this one, or one that
    /// a link leads to. `out` holds no links.
    pub fn reaches(&self, out: &Path) -> Option<PathBuf> {
        // What is not there was not searched.
        let folder = fs::canonicalize(&self.folder).ok()?;
        comes_by(&folder, &self.parts, out, &mut BTreeSet::new())
    }
}

/// Folders with how many parts of a path are looked for below them.
type Visited = BTreeSet<(PathBuf, usize)>;

/// [`Searched::reaches`] for parts of a path that are looked for below a folder, which holds no links either. What was
/// `visited` is not looked at again: links may lead in circles.
fn comes_by(folder: &Path, parts: &[String], out: &Path, visited: &mut Visited) -> Option<PathBuf> {
    if !visited.insert((folder.to_owned(), parts.len())) {
        return None;
    }
    if could_find(folder, parts, out, visited) {
        return Some(folder.to_owned());
    }
    let [first, rest @ ..] = parts else {
        return None;
    };
    // The last part is a file's.
    if rest.is_empty() {
        return None;
    }
    if first == ".." {
        return comes_by(folder.parent()?, rest, out, visited);
    }
    let is_any = first == "**";
    if is_any && let Some(found) = comes_by(folder, rest, out, visited) {
        return Some(found);
    }
    let behind = if is_any { parts } else { rest };
    let pattern = glob::Pattern::new(if is_any { "*" } else { first }).ok()?;
    for entry in fs::read_dir(folder).ok()?.flatten() {
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let may_lead_on = kind.is_dir() || kind.is_symlink();
        if !may_lead_on || !pattern.matches_with(&entry.file_name().to_string_lossy(), OPTIONS) {
            continue;
        }
        let below = match kind.is_symlink() {
            true => fs::canonicalize(entry.path()).ok().filter(|to| to.is_dir()),
            false => Some(entry.path()),
        };
        if let Some(found) = below.and_then(|below| comes_by(&below, behind, out, visited)) {
            return Some(found);
        }
    }
    None
}

/// Whether [`comes_by`] is so by folders that may not be there yet.
fn could_find(folder: &Path, parts: &[String], out: &Path, visited: &mut Visited) -> bool {
    let Ok(below) = out.strip_prefix(folder) else {
        return folder.starts_with(out);
    };
    let names: Vec<_> = below
        .components()
        .map(|name| name.as_os_str().to_string_lossy())
        .collect();
    for (at, part) in parts.iter().enumerate() {
        match (part.as_str(), names.get(at)) {
            ("..", _) => {
                let Some((_, above)) = names[..at].split_last() else {
                    return false;
                };
                let mut place = folder.to_owned();
                place.extend(above.iter().map(|name| &**name));
                return comes_by(&place, &parts[at + 1..], out, visited).is_some();
            }
            // The last part is a file's, and one before it leads on into the output.
            (_, None) => return true,
            ("**", Some(_)) => {
                let is_hidden = names[at..].iter().any(|name| name.starts_with('.'));
                return !is_hidden || parts[at..].iter().any(|part| part.starts_with('.'));
            }
            (part, Some(name)) => {
                let pattern = glob::Pattern::new(part);
                if !pattern.is_ok_and(|pattern| pattern.matches_with(name, OPTIONS)) {
                    return false;
                }
            }
        }
    }
    // Without parts, everything is taken.
    parts.is_empty()
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
            ("a/**/*.png", "a/.x", false),
            ("a/**/.x/*.png", "a/b/.x", true),
            ("../*/**/*.png", "runs", true),
            ("*/../masks/*.png", "runs", false),
            ("*/../masks/*.png", "masks", true),
            ("*/../runs/*.png", "runs", true),
        ] {
            let searched = Searched::by(root, pattern);
            let found = searched.reaches(&root.join(out));
            assert_eq!(found.is_some(), reaches, "{pattern} {out}");
        }
        let folder = Searched {
            folder: root.join("masks"),
            parts: Vec::new(),
        };
        assert!(folder.reaches(&root.join("masks/run")).is_some());
        assert!(folder.reaches(&root.join("run")).is_none());
    }
    #[test]
    #[cfg(unix)]
    fn what_lies_behind_a_link_is_looked_for_there() {
        let dir = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(dir.path()).unwrap();
        let (root, elsewhere) = (dir.join("set"), dir.join("elsewhere"));
        fs::create_dir_all(root.join("photos/deep")).unwrap();
        fs::create_dir_all(elsewhere.join("a")).unwrap();
        for (link, to) in [
            ("photos/deep/circle", &root.join("photos")),
            ("photos/link", &elsewhere),
            ("photos/deep/link", &elsewhere),
            ("up", &dir),
        ] {
            std::os::unix::fs::symlink(to, root.join(link)).unwrap();
        }
        for (pattern, out, by) in [
            ("photos/**/*.png", "elsewhere/run", Some("elsewhere")),
            ("photos/*/*.png", "elsewhere", Some("elsewhere")),
            ("photos/*/*.png", "elsewhere/run", None),
            ("photos/*/*/*.png", "elsewhere/run", Some("elsewhere")),
            ("photos/deep/li*/*.png", "elsewhere", Some("elsewhere")),
            ("photos/[xy]*/*.png", "elsewhere", None),
            ("photos/*.png", "elsewhere", None),
            ("photos/**/*.png", "beside", None),
            ("*/../../else*/*.png", "elsewhere", Some("")),
            ("*/../../else*/*/*.png", "elsewhere/run", Some("")),
            ("photos/*/../b*/*.png", "b", Some("")),
            ("up/*/*.png", "else", Some("")),
        ] {
            let found = Searched::by(&root, pattern).reaches(&dir.join(out));
            assert_eq!(found, by.map(|by| dir.join(by)), "{pattern} {out}");
        }
    }
}
