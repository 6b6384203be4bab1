//! Clusters that are tied to position: how tightly, and to which part of the picture. Rules over
//! stored counts; nothing is drawn here.

use vitscope_run::{Part, Subject};

use crate::run_view::RunView;

/// Clusters of one slot by how much they know of position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Locked {
    pub(crate) cluster: usize,
    /// The class that it was matched with, and that class's IoU.
    pub(crate) class: Option<(usize, Option<f64>)>,
    /// Its part of the mutual information with position, in nats, over places of the patch grid.
    pub(crate) information: f64,
    /// Its share of all pixels.
    pub(crate) share: f64,
    /// How much of the information that a cluster of its size could have it does have: 0 to 1.
    pub(crate) lock: f64,
    pub(crate) shape: ClusterShape,
    /// At each place of the patch grid the share of pixels that are of this cluster.
    pub(crate) map: Vec<f64>,
}

/// A cluster whose `lock` reaches this, and that of every class of the ground truth, is locked.
const LOCK: f64 = 0.5;
/// So much of a cluster must lie in a zone for the zone to name its shape.
const MOST: f64 = 0.6;

/// Where a cluster lies, by the first of these rules that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ClusterShape {
    /// At least 60 % of it within a fifth of two edges.
    Corner,
    /// At least 60 % of it within a tenth of an edge, along the middle of three sides or four.
    Border,
    /// At least 60 % of it in the middle half of the height and width.
    Center,
    /// At least 60 % of it within one third of the height or width, over both halves of the other.
    Band,
    /// At least half of it on every second, third or fourth row and column.
    Grid,
    /// Anywhere else.
    Spot,
}

impl ClusterShape {
    /// "holds ..." as a sentence says it.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Corner => "corners",
            Self::Border => "border",
            Self::Band => "band",
            Self::Center => "center",
            Self::Grid => "grid",
            Self::Spot => "one place",
        }
    }

    /// The shape of `weights` over a grid of rows and columns.
    pub(crate) fn of(weights: &[f64], [rows, columns]: [usize; 2]) -> Self {
        let total: f64 = weights.iter().sum();
        let share = |is_in: &dyn Fn(usize, usize) -> bool| {
            let inside = weights.iter().enumerate();
            let inside = inside.filter(|(place, _)| is_in(place / columns, place % columns));
            inside.map(|(_, weight)| weight).sum::<f64>() / total.max(f64::MIN_POSITIVE)
        };
        // The middle of a row or column as a share of the side, and how far it is from the edge.
        let at = |index: usize, count: usize| (index as f64 + 0.5) / count as f64;
        let edge = |index: usize, count: usize| at(index, count).min(1.0 - at(index, count));
        let near = |index: usize, count: usize, reach: f64| {
            edge(index, count) < reach.max(0.75 / count as f64)
        };
        let corner = |y: usize, x: usize| near(y, rows, 0.2) && near(x, columns, 0.2);
        if share(&corner) >= MOST {
            return Self::Corner;
        }
        let border = |y: usize, x: usize| near(y, rows, 0.1) || near(x, columns, 0.1);
        // Only the middle half of a side: what lies in a corner lies on two.
        let middle = |index: usize, count: usize| edge(index, count) >= 0.25;
        let top = |y: usize, x: usize| near(y, rows, 0.1) && 2 * y < rows && middle(x, columns);
        let bottom = |y: usize, x: usize| near(y, rows, 0.1) && 2 * y >= rows && middle(x, columns);
        let left = |y: usize, x: usize| near(x, columns, 0.1) && 2 * x < columns && middle(y, rows);
        let right =
            |y: usize, x: usize| near(x, columns, 0.1) && 2 * x >= columns && middle(y, rows);
        let sides = [share(&top), share(&bottom), share(&left), share(&right)];
        let sides = sides.iter().filter(|side| **side >= 0.08).count();
        if share(&border) >= MOST && sides >= 3 {
            return Self::Border;
        }
        let across = |half: f64| (0.25..=0.75).contains(&half);
        let center = |y: usize, x: usize| edge(y, rows) >= 0.25 && edge(x, columns) >= 0.25;
        if share(&center) >= MOST {
            return Self::Center;
        }
        let is_band = (0..3).any(|third| {
            let third = f64::from(third) / 3.0..f64::from(third + 1) / 3.0;
            let level = share(&|y, _| third.contains(&at(y, rows)));
            let upright = share(&|_, x| third.contains(&at(x, columns)));
            (level >= MOST && across(share(&|_, x| 2 * x < columns)))
                || (upright >= MOST && across(share(&|y, _| 2 * y < rows)))
        });
        if is_band {
            return Self::Band;
        }
        let is_grid = (2..=4).any(|period| {
            (0..period * period).any(|phase| {
                share(&|y, x| y % period == phase / period && x % period == phase % period) >= 0.5
            })
        });
        if is_grid { Self::Grid } else { Self::Spot }
    }
}

/// The clusters of a slot (or classes of the ground truth), those that know most of position first.
pub(crate) fn by_position(run: &RunView, subject: Subject) -> Vec<Locked> {
    let Some(positions) = run.positions(subject) else {
        return Vec::new();
    };
    let totals = positions.totals();
    let all: f64 = totals.iter().map(|&total| total as f64).sum();
    let mut found = Vec::new();
    for (cluster, counts) in positions.clusters().enumerate() {
        let count: f64 = counts.iter().map(|&count| count as f64).sum();
        let share = count / all;
        if count == 0.0 || share >= 1.0 {
            continue;
        }
        let term = |(&count, &total): (&u64, &u64)| {
            let (joint, place) = (count as f64 / all, total as f64 / all);
            if count == 0 {
                0.0
            } else {
                joint * (joint / (place * share)).ln()
            }
        };
        let information: f64 = counts.iter().zip(&totals).map(term).sum();
        let class = match subject {
            Subject::Slot(slot) => run.class_of(slot, cluster),
            _ => Some(cluster),
        };
        let iou = |class: usize| run.part(subject, "iou", Part::Index(class)).value;
        let weights: Vec<f64> = counts.iter().map(|&count| count as f64).collect();
        found.push(Locked {
            cluster,
            class: class.map(|class| (class, iou(class))),
            information,
            share,
            lock: information / -(share * share.ln()),
            shape: ClusterShape::of(&weights, positions.grid()),
            map: counts
                .iter()
                .zip(&totals)
                .map(|(&count, &total)| count as f64 / total.max(1) as f64)
                .collect(),
        });
    }
    found.sort_by(|a, b| b.information.total_cmp(&a.information));
    found
}

/// Whether a cluster is tied to position: it has at least half of the information that one of its size
/// could have, and more of it than any class of the ground truth.
pub(crate) fn is_locked(cluster: &Locked, truth: &[Locked]) -> bool {
    let most = truth.iter().map(|class| class.lock).fold(0.0, f64::max);
    cluster.lock >= LOCK && cluster.lock > most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(is_in: impl Fn(usize, usize) -> bool) -> ClusterShape {
        let weights: Vec<f64> = (0..400)
            .map(|place| f64::from(u8::from(is_in(place / 20, place % 20))))
            .collect();
        ClusterShape::of(&weights, [20, 20])
    }

    #[test]
    fn shapes_have_their_names() {
        let edge = |at: usize| at.min(19 - at);
        assert_eq!(
            shape(|y, x| edge(y) < 2 && edge(x) < 2),
            ClusterShape::Corner
        );
        assert_eq!(
            shape(|y, x| edge(y) < 1 || edge(x) < 1),
            ClusterShape::Border
        );
        // Two corners lie on four sides, and are no border.
        let corner = |y: usize, x: usize| y + x < 7 || y + x > 31;
        assert_eq!(shape(corner), ClusterShape::Spot);
        assert_eq!(shape(|y, x| edge(x) < 1 || y == 19), ClusterShape::Border);
        assert_eq!(shape(|y, _| y > 16), ClusterShape::Band);
        assert_eq!(shape(|_, x| (8..12).contains(&x)), ClusterShape::Band);
        assert_eq!(
            shape(|y, x| y.abs_diff(10) < 4 && x.abs_diff(10) < 4),
            ClusterShape::Center
        );
        assert_eq!(shape(|y, x| y % 2 == 1 && x % 2 == 0), ClusterShape::Grid);
        assert_eq!(
            shape(|y, x| y.abs_diff(5) < 3 && x.abs_diff(15) < 3),
            ClusterShape::Spot
        );
    }
}
