//! The image files that a glob names.

use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::listing;

/// What `*` and `?` match: never a `/`, nor the dot of a hidden name.
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
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

/// The image files that a glob below `root` matches, in bytewise order, or what is wrong with it.
pub(crate) fn images_of(root: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let Some(root) = root.to_str() else {
        return Err(format!(
            "the glob '{pattern}' needs a root whose name is UTF-8, expected plain paths"
        ));
    };
    // Only the pattern may hold wildcards; an absolute one stands alone.
    let full = if Path::new(pattern).is_absolute() {
        pattern.to_owned()
    } else {
        format!("{}/{pattern}", glob::Pattern::escape(root))
    };
    let matches = |full: &str| -> Result<Vec<PathBuf>, String> {
        glob::glob_with(full, OPTIONS)
            .map_err(|error| format!("'{pattern}' is no path and no glob ({})", error.msg))?
            .collect::<Result<_, _>>()
            .map_err(|error| format!("'{pattern}' cannot be searched ({error})"))
    };
    // The crate follows links, so that an image behind one that leads back would be there forty times, and behind two
    // of them for ever.
    if let Some((above, _)) = full.split_once("/**") {
        for folder in matches(above)? {
            if let Some(link) = circle(&folder, &mut Vec::new()) {
                return Err(format!(
                    "'{pattern}' goes in circles, since {} leads back to a folder above it; name the folders that \
                     are meant, or take that link away",
                    link.display()
                ));
            }
        }
    }
    let mut files = matches(&full)?;
    files.retain(|file| listing::is_image_name(file) && file.is_file());
    listing::sort(&mut files);
    Ok(files)
}

/// A folder in this one that is one of those `above` it again. Hidden ones are not entered, as `**` does not.
fn circle(folder: &Path, above: &mut Vec<PathBuf>) -> Option<PathBuf> {
    let real = fs::canonicalize(folder).ok()?;
    if above.contains(&real) {
        return Some(folder.to_path_buf());
    }
    above.push(real);
    // What cannot be read is told when it is searched.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let folder = entry.file_type().is_ok_and(|kind| !kind.is_file()) && entry.path().is_dir();
        if folder && !hidden {
            let found = circle(&entry.path(), above);
            if found.is_some() {
                return found;
            }
        }
    }
    above.pop();
    None
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

    #[test]
    #[cfg(unix)]
    fn links_that_lead_back_are_refused_and_others_followed() {
        use std::os::unix::fs::symlink;

        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for folder in ["images/a", "elsewhere"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("0.png"), "").unwrap();
        }
        symlink("../elsewhere", root.join("images/b")).unwrap();
        symlink("..", root.join("images/.hidden")).unwrap();
        let found = images_of(root, "images/**/*.png").unwrap();
        let names = ["images/a/0.png", "images/b/0.png"].map(|name| root.join(name));
        assert_eq!(found, names);
        symlink("..", root.join("images/a/back")).unwrap();
        let refused = images_of(root, "im*/**/*.png").unwrap_err();
        assert!(refused.contains("goes in circles, since"), "{refused}");
        assert!(refused.contains("images/a/back leads back"), "{refused}");
        // It is in nobody's way where no pattern comes by.
        assert_eq!(images_of(root, "images/*/*.png").unwrap(), names);
    }
}
