//! What `run.json` says of a data set.

use std::path::Path;

use sha2::{Digest, Sha256};
use vitscope_data::DataSet;
use vitscope_data::pairs::{CATEGORIES, Pair};
pub use vitscope_run::Record;
use vitscope_run::{ClassRecord, DataRecord, files};

/// Describes a data set of which so many images are used.
#[must_use]
pub fn of_data(data: &DataSet, train: usize, test: usize) -> DataRecord {
    let class = |c: &vitscope_data::Class| ClassRecord {
        name: c.name.clone(),
        color: c.color,
    };
    DataRecord {
        kind: data.kind.name().to_owned(),
        root: data.root.display().to_string(),
        train,
        test,
        list_hash: data.list_hash(),
        contents: String::new(),
        classes: data.classes.iter().map(class).collect(),
        has_truth: data.has_truth(),
    }
}

/// Describes pairs of SPair-71k: `test` counts pairs, the classes are the categories.
#[must_use]
pub fn of_pairs(root: &Path, pairs: &[Pair]) -> DataRecord {
    let mut hash = Sha256::new();
    for pair in pairs {
        hash.update(&pair.name);
        hash.update("\n");
    }
    let colors = vitscope_data::palette(CATEGORIES.len());
    let class = |(&name, color): (&&str, [u8; 3])| ClassRecord {
        name: name.to_owned(),
        color,
    };
    DataRecord {
        kind: "spair71k".to_owned(),
        root: root.display().to_string(),
        train: 0,
        test: pairs.len(),
        list_hash: files::hex(&hash.finalize()),
        contents: String::new(),
        classes: CATEGORIES.iter().zip(colors).map(class).collect(),
        has_truth: true,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use vitscope_data::pairs::PairImage;

    use super::*;

    #[test]
    fn pairs_are_hashed_by_name_in_their_order() {
        let image = || PairImage {
            image: PathBuf::from("a.jpg"),
            size: (1, 1),
            bbox: [0.0; 4],
            points: Vec::new(),
        };
        let pair = |name: &str| Pair {
            name: name.to_owned(),
            category: 0,
            source: image(),
            target: image(),
            point_ids: Vec::new(),
        };
        let of = |names: &[&str]| {
            let pairs: Vec<Pair> = names.iter().map(|name| pair(name)).collect();
            of_pairs(Path::new("root"), &pairs)
        };
        let record = of(&["1", "23"]);
        assert_eq!((record.train, record.test, record.has_truth), (0, 2, true));
        assert_eq!(record.classes.len(), CATEGORIES.len());
        assert_ne!(record.list_hash, of(&["23", "1"]).list_hash);
        assert_ne!(record.list_hash, of(&["12", "3"]).list_hash);
        assert_eq!(record.list_hash, of(&["1", "23"]).list_hash);
    }
}
