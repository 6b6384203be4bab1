//! Labels by cells: clusters that cannot win anywhere in a cell are left out.

use super::geometry::{LANES, LabelGrid, PixelCell, mix};

/// The lead that a cluster of higher index needs, relative to the largest score (see the text of
/// [`labels`](super)).
const LEAD: f32 = 8.0 * f32::EPSILON;

/// Buffers that are used again from one image to the next.
#[derive(Debug, Clone, Default)]
pub(super) struct Pruning {
    patches: Vec<Summary>,
    low: Vec<f32>,
    high: Vec<f32>,
    rivals: Vec<usize>,
}

/// What one patch's scores say on their own.
#[derive(Debug, Clone, Copy)]
struct Summary {
    /// The cluster of the largest score, the lowest on ties.
    best: usize,
    /// Lead of `best` over the clusters of lower index (infinite if there are none).
    lead: f32,
    /// Largest magnitude among the scores.
    peak: f32,
}

/// Labels by cells; `scores` is row-major `[N, K]` and finite.
#[inline(always)]
pub(super) fn pruned_labels(
    scores: &[f32],
    clusters: usize,
    geometry: &LabelGrid,
    pruning: &mut Pruning,
    out: &mut [u8],
) {
    let width = geometry.grid.1 * geometry.patch;
    let Pruning {
        patches,
        low,
        high,
        rivals,
    } = pruning;
    patches.clear();
    patches.extend(scores.chunks_exact(clusters).map(summarize));
    low.resize(clusters, 0.0);
    high.resize(clusters, 0.0);

    for &rows in &geometry.rows {
        for &cols in &geometry.cols {
            if rows.start == rows.end || cols.start == cols.end {
                continue;
            }
            let corners = [
                rows.low * geometry.grid.1 + cols.low,
                rows.low * geometry.grid.1 + cols.high,
                rows.high * geometry.grid.1 + cols.low,
                rows.high * geometry.grid.1 + cols.high,
            ];
            let summaries = corners.map(|patch| patches[patch]);
            let peak = summaries
                .iter()
                .fold(0.0_f32, |peak, summary| peak.max(summary.peak));
            // The last term covers roundings among numbers too small for a relative error.
            let margin = LEAD * peak + f32::MIN_POSITIVE;
            let best = summaries[0].best;
            if summaries
                .iter()
                .all(|summary| summary.best == best && summary.lead > margin)
            {
                fill(out, width, rows, cols, best as u8);
                continue;
            }
            let corners = corners.map(|patch| &scores[patch * clusters..(patch + 1) * clusters]);
            find_rivals(corners, &summaries, margin, low, high, rivals);
            if let [only] = rivals[..] {
                fill(out, width, rows, cols, only as u8);
            } else {
                compete(corners, rivals, geometry, rows, cols, width, out);
            }
        }
    }
}

#[inline(always)]
fn summarize(scores: &[f32]) -> Summary {
    let (mut best, mut peak) = (0, 0.0_f32);
    let mut top = f32::NEG_INFINITY;
    // The largest score among clusters of a lower index than the best one's.
    let mut before = f32::NEG_INFINITY;
    for (k, &score) in scores.iter().enumerate() {
        peak = peak.max(score.abs());
        if score > top {
            before = top;
            top = score;
            best = k;
        }
    }
    Summary {
        best,
        lead: top - before,
        peak,
    }
}

#[inline(always)]
fn fill(out: &mut [u8], width: usize, rows: PixelCell, cols: PixelCell, label: u8) {
    for y in rows.start..rows.end {
        out[y * width + cols.start..y * width + cols.end].fill(label);
    }
}

/// The clusters that no other one is known to beat throughout the cell, by rising index.
#[inline(always)]
fn find_rivals(
    corners: [&[f32]; 4],
    summaries: &[Summary; 4],
    margin: f32,
    low: &mut [f32],
    high: &mut [f32],
    rivals: &mut Vec<usize>,
) {
    // The largest of the smallest corner scores: its cluster has at least this much everywhere.
    let clusters = low.len();
    let [a, b, c, d] = corners.map(|corner| &corner[..clusters]);
    for k in 0..clusters {
        low[k] = a[k].min(b[k]).min(c[k].min(d[k]));
        high[k] = a[k].max(b[k]).max(c[k].max(d[k]));
    }
    let mut steady = 0;
    for k in 1..clusters {
        if low[k] > low[steady] {
            steady = k;
        }
    }
    let floor = low[steady];
    let leaders = [
        summaries[0].best,
        summaries[1].best,
        summaries[2].best,
        summaries[3].best,
        steady,
    ];
    rivals.clear();
    for k in 0..clusters {
        if floor - high[k] > margin {
            continue;
        }
        let beaten = leaders.iter().any(|&j| {
            let lead = |corner: &[f32]| corner[j] - corner[k];
            match j.cmp(&k) {
                std::cmp::Ordering::Less => {
                    a[j] >= a[k] && b[j] >= b[k] && c[j] >= c[k] && d[j] >= d[k]
                }
                std::cmp::Ordering::Equal => false,
                std::cmp::Ordering::Greater => {
                    lead(a) > margin && lead(b) > margin && lead(c) > margin && lead(d) > margin
                }
            }
        });
        if !beaten {
            rivals.push(k);
        }
    }
}

/// Labels a cell pixel by pixel among its rivals, which are sorted by rising index.
#[inline(always)]
fn compete(
    corners: [&[f32]; 4],
    rivals: &[usize],
    geometry: &LabelGrid,
    rows: PixelCell,
    cols: PixelCell,
    width: usize,
    out: &mut [u8],
) {
    let (wy0, wy1) = geometry.weights(rows);
    let (wx0, wx1) = geometry.weights(cols);
    let (wx0, _) = wx0.as_chunks::<LANES>();
    let (wx1, _) = wx1.as_chunks::<LANES>();
    for y in rows.start..rows.end {
        let (wy0, wy1) = (wy0[y - rows.start], wy1[y - rows.start]);
        let line = &mut out[y * width + cols.start..y * width + cols.end];
        for ((line, wx0), wx1) in line.chunks_mut(LANES).zip(wx0).zip(wx1) {
            let mut top = [f32::NEG_INFINITY; LANES];
            let mut label = [0_u32; LANES];
            for &k in rivals {
                let left = mix(wy0, corners[0][k], wy1, corners[2][k]);
                let right = mix(wy0, corners[1][k], wy1, corners[3][k]);
                for lane in 0..LANES {
                    let score = mix(wx0[lane], left, wx1[lane], right);
                    let wins = score > top[lane];
                    top[lane] = if wins { score } else { top[lane] };
                    label[lane] = if wins { k as u32 } else { label[lane] };
                }
            }
            for (to, &from) in line.iter_mut().zip(&label) {
                *to = from as u8;
            }
        }
    }
}
