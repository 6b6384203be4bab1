//! How patch vectors are spread: one common direction, a few strong channels, or neither (docs/protocol.md section 14).
//!
//! With `m` the mean of the vectors `x` and `e_d = E[x_d^2]` the energy of channel `d`,
//!
//! ```text
//! common direction = E[ x.m / (|x| |m|) ]        top k = the k largest e_d / sum e_d
//! participation    = (sum_d e_d)^2 / sum_d e_d^2
//! ```
//!
//! Where all vectors lie near one direction (a common direction near 1), or a few channels hold most of the
//! energy (a participation ratio of a few), cosines hardly differ and cosine k-means collapses into one cluster.

use crate::{Moments, Principal};

/// How the vectors of a slot are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// Mean cosine of the vectors to their mean, in `[-1, 1]`; a vector of length zero counts as 0. `None` where
    /// the mean is zero, and for moments that were summed on a device that does not tell.
    pub common_direction: Option<f64>,
    /// Share of the energy in the strongest channel, in `[1/D, 1]`.
    pub channel_top1: f64,
    /// Share of the energy in the three strongest channels.
    pub channel_top3: f64,
    /// Share of the energy in the ten strongest channels.
    pub channel_top10: f64,
    /// Channels that the energy is spread over, in `[1, D]`.
    pub participation: f64,
    /// [`Principal::effective_rank`].
    pub effective_rank: Option<f64>,
}

impl Moments {
    /// How the vectors are spread, whose principal directions are given; `None` where there are none, or all are zero.
    #[must_use]
    pub fn spread(&self, principal: &Principal) -> Option<Spread> {
        let mut energy = self.energy()?;
        let total: f64 = energy.iter().sum();
        if !(total.is_finite() && total > 0.0) {
            return None;
        }
        let squares: f64 = energy.iter().map(|e| e * e).sum();
        energy.sort_by(|a, b| b.total_cmp(a));
        let top = |channels: usize| energy.iter().take(channels).sum::<f64>() / total;
        Some(Spread {
            common_direction: self.common_direction(),
            channel_top1: top(1),
            channel_top3: top(3),
            channel_top10: top(10),
            participation: total * total / squares,
            effective_rank: principal.effective_rank(),
        })
    }
}
