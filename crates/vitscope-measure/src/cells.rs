//! What one label map holds in each patch.

use crate::error::check;
use crate::{IGNORED, MeasureError};

/// Pixels per patch and cluster of one image, zeros left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellCounts {
    pub(crate) entries: Vec<Entry>,
}

/// Pixels of one cluster in one patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) cluster: u8,
    pub(crate) row: u16,
    pub(crate) col: u16,
    pub(crate) pixels: u32,
}

impl CellCounts {
    /// Counts one image's label map; 255 is left out.
    ///
    /// # Shapes
    ///
    /// `labels`: `H * W` pixels of `grid` (rows, columns) patches of `patch x patch` pixels.
    ///
    /// # Errors
    ///
    /// [`MeasureError::Shape`].
    pub fn new(labels: &[u8], grid: (usize, usize), patch: usize) -> Result<Self, MeasureError> {
        check(
            "number of labels",
            grid.0 * grid.1 * patch * patch,
            labels.len(),
        )?;
        for side in [grid.0, grid.1] {
            if side > usize::from(u16::MAX) {
                return Err(MeasureError::Shape {
                    what: "patches along an image",
                    expected: usize::from(u16::MAX),
                    got: side,
                });
            }
        }
        let width = grid.1 * patch;
        let mut entries = Vec::with_capacity(2 * grid.0 * grid.1);
        let mut counts = [0_u32; 256];
        for row in 0..grid.0 {
            for col in 0..grid.1 {
                let lines = (0..patch).map(|y| {
                    let start = (row * patch + y) * width + col * patch;
                    &labels[start..start + patch]
                });
                let entry = |cluster: u8, pixels: u32| Entry {
                    cluster,
                    row: row as u16,
                    col: col as u16,
                    pixels,
                };
                let first = labels[row * patch * width + col * patch];
                let same = |line: &[u8]| {
                    line.iter()
                        .fold(true, |same, &label| same & (label == first))
                };
                if lines.clone().all(same) {
                    if first != IGNORED {
                        entries.push(entry(first, (patch * patch) as u32));
                    }
                    continue;
                }
                let mut seen = Vec::new();
                for &label in lines.flatten() {
                    if counts[usize::from(label)] == 0 {
                        seen.push(label);
                    }
                    counts[usize::from(label)] += 1;
                }
                for label in seen {
                    let pixels = std::mem::take(&mut counts[usize::from(label)]);
                    if label != IGNORED {
                        entries.push(entry(label, pixels));
                    }
                }
            }
        }
        Ok(Self { entries })
    }

    /// As plain numbers, for storing: cluster, row, column and pixels of every entry.
    pub fn to_rows(&self) -> impl Iterator<Item = [u32; 4]> {
        let entries = self.entries.iter();
        entries.map(|e| [e.cluster.into(), e.row.into(), e.col.into(), e.pixels])
    }

    /// The inverse of [`to_rows`](Self::to_rows).
    ///
    /// # Errors
    ///
    /// [`MeasureError::Value`] for a cluster or a place that no map has.
    pub fn from_rows(rows: impl IntoIterator<Item = [u32; 4]>) -> Result<Self, MeasureError> {
        let entry = |[cluster, row, col, pixels]: [u32; 4]| {
            Some(Entry {
                cluster: u8::try_from(cluster).ok().filter(|&k| k != IGNORED)?,
                row: u16::try_from(row).ok()?,
                col: u16::try_from(col).ok()?,
                pixels,
            })
        };
        let entries: Option<Vec<Entry>> = rows.into_iter().map(entry).collect();
        let what = "stored counts of patches";
        Ok(Self {
            entries: entries.ok_or(MeasureError::Value { what })?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_the_same_again() {
        let labels: Vec<u8> = (0..36)
            .map(|pixel| [0, 3, IGNORED][pixel % 7 % 3])
            .collect();
        let cells = CellCounts::new(&labels, (2, 2), 3).unwrap();
        let rows: Vec<_> = cells.to_rows().collect();
        assert_eq!(CellCounts::from_rows(rows).unwrap(), cells);
        assert!(CellCounts::from_rows([[255, 0, 0, 1]]).is_err());
        assert!(CellCounts::from_rows([[0, 70_000, 0, 1]]).is_err());
    }
}
