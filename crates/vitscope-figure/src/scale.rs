//! How values become places along an axis, and where its ticks stand.

use std::ops::Range;

/// As many ticks as an axis of values has at most.
pub(crate) const MOST_TICKS: usize = 6;
/// Names that stand beside one another without touching.
pub(crate) const MOST_NAMES: usize = 12;

/// How values become places along an axis.
#[derive(Clone, Debug)]
pub(crate) enum Scale {
    /// Equal steps are equal distances.
    Linear(Range<f64>),
    /// Equal factors are equal distances; values are positive.
    Log(Range<f64>),
    /// Names or whole numbers, one place each, counted from 0.
    Places(Vec<String>),
    /// That many rows, the first at the top, counted from 0; their names are the caller's.
    Rows(usize),
}

impl Scale {
    /// From 0 (or below, if a value is) to a little beyond the largest value.
    pub(crate) fn linear(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, largest) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((0.0_f64, 0.0_f64), |(least, largest), value| {
                (least.min(value), largest.max(value))
            });
        // Less than any number that is printed is 0.
        if largest - least < 1e-9 {
            return Self::Linear(0.0..1.0);
        }
        let room = 0.06 * (largest - least);
        Self::Linear(if least < 0.0 { least - room } else { 0.0 }..largest + room)
    }

    /// From a little below the least positive value to a little above the largest.
    pub(crate) fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let (least, largest) = values
            .into_iter()
            .filter(|&value| value > 0.0 && value.is_finite())
            .fold((f64::INFINITY, 0.0_f64), |(least, largest), value| {
                (least.min(value), largest.max(value))
            });
        if largest <= 0.0 {
            return Self::Log(0.1..1.0);
        }
        // What is less than a trillionth of the largest is below the axis.
        let least = least.max(largest * 1e-12);
        // At least half a decade, so that there are ticks.
        let reach = (largest / least).max(3.2);
        let middle = (largest * least).sqrt();
        let half = reach.sqrt() * 1.08;
        Self::Log(middle / half..middle * half)
    }

    /// Where the axis begins (at the left, or below) and ends.
    pub(crate) fn ends(&self) -> Range<f64> {
        match self {
            Self::Linear(range) | Self::Log(range) => range.clone(),
            Self::Places(names) => -0.5..names.len().max(1) as f64 - 0.5,
            Self::Rows(rows) => (*rows).max(1) as f64 - 0.5..-0.5,
        }
    }

    /// Where the line stands from which values are read: at 0, or where the axis begins.
    pub(crate) fn base(&self) -> Option<f64> {
        match self {
            Self::Linear(range) => Some(range.start.max(0.0)),
            Self::Log(range) => Some(range.start),
            Self::Places(_) | Self::Rows(_) => None,
        }
    }

    /// How far along the axis a value lies: 0 at its beginning, 1 at its end.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let Range { start, end } = self.ends();
        match self {
            Self::Log(_) => (value / start).ln() / (end / start).ln(),
            _ => (value - start) / (end - start),
        }
    }

    /// The ticks with their labels, at most `most` of them on a linear axis.
    pub(crate) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        match self {
            Self::Linear(range) => {
                let step = step(range, most);
                let first = (range.start / step - 1e-9).ceil() as i64;
                let last = (range.end / step + 1e-9).floor() as i64;
                let ticks = (first..=last).map(|tick| tick as f64 * step);
                ticks.map(|tick| (tick, rounded(tick, step))).collect()
            }
            Self::Log(range) => {
                let few = decades(range, &[1.0, 2.0, 5.0]);
                let ticks = if few.len() > 2 {
                    few
                } else {
                    decades(range, &[1.0, 1.5, 2.0, 3.0, 5.0, 7.0])
                };
                let ticks = ticks.into_iter();
                ticks.map(|tick| (tick, rounded(tick, tick))).collect()
            }
            // Labels never touch: every place up to 12, then every second, fourth, ...
            Self::Places(names) => {
                let stride = names.len().div_ceil(MOST_NAMES).next_power_of_two();
                let shown = names.iter().enumerate();
                let shown =
                    shown.filter(|(index, _)| (index + 1) % stride == 0 || names.len() == 1);
                shown
                    .map(|(index, name)| (index as f64, name.clone()))
                    .collect()
            }
            Self::Rows(_) => Vec::new(),
        }
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that gives at most `most` ticks.
fn step(range: &Range<f64>, most: usize) -> f64 {
    let ticks = |step: f64| {
        let (first, last) = (range.start / step - 1e-9, range.end / step + 1e-9);
        last.floor() - first.ceil() + 1.0
    };
    let power = (range.end - range.start).log10().floor() as i32;
    let steps = (power - 2..=power + 1)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
    let mut fitting = steps.filter(|&step| ticks(step) <= most as f64);
    fitting.next().unwrap_or(range.end - range.start)
}

/// These digits times powers of ten, as far as they lie within the range.
fn decades(range: &Range<f64>, digits: &[f64]) -> Vec<f64> {
    let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let all = powers.flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)));
    all.filter(|tick| range.contains(tick)).collect()
}

/// A tick's label with the decimals that its axis needs.
fn rounded(value: f64, step: f64) -> String {
    let decimals = (0..6).find(|&decimals| {
        let scaled = step * 10_f64.powi(decimals);
        (scaled - scaled.round()).abs() < 1e-6
    });
    format!("{value:.*}", decimals.unwrap_or(6) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(scale: &Scale) -> Vec<String> {
        let ticks = scale.ticks(MOST_TICKS).into_iter();
        ticks.map(|tick| tick.1).collect()
    }

    #[test]
    fn logarithmic_axes_have_ticks_and_plain_numbers() {
        assert_eq!(
            labels(&Scale::log([0.02, 0.31, 0.0])),
            ["0.02", "0.05", "0.1", "0.2"]
        );
        assert_eq!(
            labels(&Scale::log([0.06, 0.23])),
            ["0.07", "0.1", "0.15", "0.2"]
        );
    }

    #[test]
    fn linear_axes_begin_at_zero_unless_values_lie_below() {
        assert_eq!(
            labels(&Scale::linear([0.2, 0.4])),
            ["0.0", "0.1", "0.2", "0.3", "0.4"]
        );
        assert_eq!(
            labels(&Scale::linear([-0.1, 0.1])),
            ["-0.10", "-0.05", "0.00", "0.05", "0.10"]
        );
        let flat = labels(&Scale::linear([f64::NAN, 1e-17]));
        assert_eq!(
            (flat.first().map(String::as_str), flat.len()),
            (Some("0.0"), 6)
        );
    }

    #[test]
    fn many_places_are_named_in_part() {
        let names = (1..=24).map(|layer: usize| layer.to_string()).collect();
        assert_eq!(labels(&Scale::Places(names))[..3], ["2", "4", "6"]);
    }

    #[test]
    fn shares_run_from_end_to_end() {
        assert_eq!(Scale::Linear(-1.0..3.0).share(0.0), 0.25);
        assert_eq!(Scale::Log(1.0..100.0).share(10.0), 0.5);
        // Rows count from the top, shares from below.
        assert_eq!(Scale::Rows(4).share(0.0), 0.875);
    }
}
