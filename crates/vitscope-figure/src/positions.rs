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

    /// At each place how much it says of what is predicted there: the mean of log P(c|p)/P(c), as a share
    /// of the entropy H(C). Its mean over places is the positional effect on the patch grid.
    pub(crate) fn information(&self) -> Vec<f64> {
        let totals = self.totals();
        let all: f64 = totals.iter().map(|&total| total as f64).sum();
        let mut information = vec![0.0; totals.len()];
        let mut entropy = 0.0;
        for counts in self.clusters() {
            let share = counts.iter().map(|&count| count as f64).sum::<f64>() / all;
            if share > 0.0 {
                entropy -= share * share.ln();
            }
            for (place, (&count, &total)) in counts.iter().zip(&totals).enumerate() {
                if count > 0 {
                    let here = count as f64 / total as f64;
                    information[place] += here * (here / share).ln();
                }
            }
        }
        let shares = information.into_iter();
        shares
            .map(|nats| if entropy > 0.0 { nats / entropy } else { 0.0 })
            .collect()
    }

    /// The mean color at each place, paler the less the place says of what is predicted there.
    pub(crate) fn informed(&self, color: impl Fn(usize) -> [u8; 3]) -> Rgb {
        const PALE: f64 = 238.0;
        let mut map = self.mixed(color);
        for (pixel, share) in map.pixels.iter_mut().zip(self.information()) {
            let share = share.clamp(0.0, 1.0);
            *pixel = pixel
                .map(|channel| (share * f64::from(channel) + (1.0 - share) * PALE).round() as u8);
        }
        map
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
    fn a_place_that_says_nothing_is_pale() {
        // Two clusters, half each: the outer places are sure of one, the middle ones of nothing.
        let positions = PositionMaps {
            grid: [1, 4],
            counts: vec![8, 4, 4, 0, 0, 4, 4, 8],
        };
        let information = positions.information();
        let close = |place: usize, wanted: f64| (information[place] - wanted).abs() < 1e-12;
        assert!(close(0, 1.0) && close(1, 0.0) && close(2, 0.0) && close(3, 1.0));
        let colors = [[200, 0, 0], [0, 0, 200]];
        let map = positions.informed(|cluster| colors[cluster]);
        assert_eq!(map.pixels, [[200, 0, 0], [238; 3], [238; 3], [0, 0, 200]]);
        // The mean over places is the mutual information over the entropy.
        assert!((information.iter().sum::<f64>() / 4.0 - 0.5).abs() < 1e-12);
    }

    #[test]
    fn pixel_counts_are_summed_over_patches() {
        let counts = [1, 2, 3, 4, 5, 6, 7, 8, 10, 0, 0, 0, 0, 0, 0, 20];
        let pooled = pool(&counts, [2, 4], [1, 2]);
        assert_eq!(pooled, Some(vec![1 + 2 + 5 + 6, 3 + 4 + 7 + 8, 10, 20]));
        assert_eq!(pool(&counts, [2, 4], [4, 4]), None);
        assert_eq!(pool(&counts, [2, 4], [0, 0]), None);
    }
}
