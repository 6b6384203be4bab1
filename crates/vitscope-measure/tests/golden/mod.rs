//! Made inputs (the twin of `tools/oracle/lcg.py`) and golden files.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The generator of `tools/oracle/lcg.py`.
pub struct Lcg(pub u64);

impl Lcg {
    fn bits(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 40
    }

    pub fn uniform(&mut self, count: usize) -> Vec<f32> {
        (0..count)
            .map(|_| self.bits() as f32 / 16_777_216.0 - 0.5)
            .collect()
    }

    pub fn below(&mut self, bound: u64, count: usize) -> Vec<u64> {
        (0..count).map(|_| (self.bits() * bound) >> 24).collect()
    }
}

/// The arrays of a golden file by name.
pub fn read(name: &str) -> BTreeMap<String, Vec<f64>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
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
