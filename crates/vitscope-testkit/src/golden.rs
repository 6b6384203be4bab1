//! Recordings of the oracles in `tools/oracle`: one line on the versions that made them, then for every
//! array a line `name count` and a line of numbers.

use std::collections::BTreeMap;
use std::path::Path;

/// The arrays of a recording by name.
///
/// # Panics
/// When there is no such file, or it is no recording.
pub fn read(path: impl AsRef<Path>) -> BTreeMap<String, Vec<f64>> {
    let path = path.as_ref();
    let text =
        std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut lines = text.lines().skip(1);
    let mut arrays = BTreeMap::new();
    while let (Some(head), Some(body)) = (lines.next(), lines.next()) {
        let (name, count) = head.split_once(' ').unwrap();
        let values: Vec<f64> = body
            .split_whitespace()
            .map(|number| number.parse().unwrap())
            .collect();
        assert_eq!(values.len(), count.parse::<usize>().unwrap(), "{name}");
        arrays.insert(name.to_owned(), values);
    }
    arrays
}
