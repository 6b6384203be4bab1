//! How often each cluster (or class of the ground truth) stands at each place of the patch grid.

use safetensors::Dtype;
use vitscope_run::tensors::Stored;

use crate::pixels::Rgb;

/// Counts of `[clusters, rows, columns]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PositionMaps {
    /// Rows and columns, neither of them 0.
    grid: [usize; 2],
    counts: Vec<u64>,
}

impl PositionMaps {
    /// A stored tensor on the patch grid: runs that keep counts at every pixel have them summed over
    /// its cells. `None` where it is no such tensor.
    pub(crate) fn pooled(tensor: &Stored, grid: [usize; 2]) -> Option<Self> {
        let (Dtype::U32, &[_, rows, columns]) = (tensor.dtype, tensor.shape.as_slice()) else {
            return None;
        };
        let counts = pool(&tensor.u32s(), [rows, columns], grid)?;
        Some(Self { grid, counts })
    }

    /// Rows and columns.
    pub(crate) fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// The counts of each cluster, row by row.
    pub(crate) fn clusters(&self) -> impl ExactSizeIterator<Item = &[u64]> {
        self.counts.chunks_exact(self.grid[0] * self.grid[1])
    }

    /// At each place the count of all clusters together.
    pub(crate) fn totals(&self) -> Vec<u64> {
        let mut totals = vec![0; self.grid[0] * self.grid[1]];
        for counts in self.clusters() {
            for (total, count) in totals.iter_mut().zip(counts) {
                *total += count;
            }
        }
        totals
    }

    /// The mean color at each place (docs/protocol.md section 7, Eq. 2), gray where nothing was counted.
    pub(crate) fn mixed(&self, color: impl Fn(usize) -> [u8; 3]) -> Rgb {
        let [rows, columns] = self.grid;
        let mut sums = vec![[0_u64; 4]; rows * columns];
        for (cluster, counts) in self.clusters().enumerate() {
            let color = color(cluster);
            for (sum, &count) in sums.iter_mut().zip(counts) {
                for (sum, channel) in sum.iter_mut().zip(color) {
                    *sum += count * u64::from(channel);
                }
                sum[3] += count;
            }
        }
        let pixel = |&[red, green, blue, total]: &[u64; 4]| {
            if total == 0 {
                return [128; 3];
            }
            // Rounded; a mean of bytes is a byte.
            [red, green, blue].map(|sum| ((2 * sum + total) / (2 * total)).min(255) as u8)
        };
        Rgb {
            width: columns,
            height: rows,
            pixels: sums.iter().map(pixel).collect(),
        }
    }
}

/// Sums counts of `[clusters, rows, columns]` over the cells of a coarser grid.
fn pool(
    counts: &[u32],
    [rows, columns]: [usize; 2],
    [grid_rows, grid_columns]: [usize; 2],
) -> Option<Vec<u64>> {
    let (fine, coarse) = (rows * columns, grid_rows * grid_columns);
    if coarse == 0 || rows < grid_rows || columns < grid_columns {
        return None;
    }
    let mut sums = vec![0; counts.len() / fine * coarse];
    for (index, &count) in counts.iter().enumerate() {
        let (cluster, y, x) = (index / fine, index % fine / columns, index % columns);
        let place = y * grid_rows / rows * grid_columns + x * grid_columns / columns;
        sums[cluster * coarse + place] += u64::from(count);
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixel_counts_are_summed_over_patches() {
        let counts = [1, 2, 3, 4, 5, 6, 7, 8, 10, 0, 0, 0, 0, 0, 0, 20];
        let pooled = pool(&counts, [2, 4], [1, 2]);
        assert_eq!(pooled, Some(vec![1 + 2 + 5 + 6, 3 + 4 + 7 + 8, 10, 20]));
        assert_eq!(pool(&counts, [2, 4], [4, 4]), None);
        assert_eq!(pool(&counts, [2, 4], [0, 0]), None);
    }
}
