//! The image files that a glob names.

use std::fs;
use std::path::{Path, PathBuf};

use crate::listing;
use crate::searched::OPTIONS;

/// What a glob below `root` matches under names of images, in bytewise order, or what is wrong with it.
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
    files.retain(|file| listing::is_image_name(file));
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
