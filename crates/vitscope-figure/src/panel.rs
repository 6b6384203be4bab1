//! One panel of a chart: its scales, ticks and grid lines, and what is drawn by value rather than
//! by place. Charts that stand side by side are several panels of one drawing.

use crate::figure;
use crate::svg::{Anchor, Svg, Type};
use crate::text;
use crate::theme::{self, Mark, Paint};

/// How values become places along an axis.
#[derive(Clone, Debug)]
pub(crate) enum Scale {
    /// Equal steps are equal distances.
    Linear { low: f64, high: f64, step: f64 },
    /// Equal factors are equal distances; values are positive.
    Log { low: f64, high: f64 },
    /// Names or whole numbers, one place each.
    Places(Vec<String>),
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
        let (_, step) = figure::axis(largest - least);
        let room = 0.05 * (largest - least).max(step);
        let low = if least < 0.0 { least - room } else { 0.0 };
        let high = largest + room;
        Self::Linear { low, high, step }
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
            return Self::Log {
                low: 0.1,
                high: 1.0,
            };
        }
        // At least half a decade, so that there are ticks.
        let reach = (largest / least).max(3.2);
        let middle = (largest * least).sqrt();
        let half = reach.sqrt() * 1.08;
        Self::Log {
            low: middle / half,
            high: middle * half,
        }
    }

    /// The place of a value: 0 at the beginning of the axis, 1 at its end.
    pub(crate) fn share(&self, value: f64) -> f64 {
        match self {
            Self::Linear { low, high, .. } => (value - low) / (high - low),
            Self::Log { low, high } => (value / low).ln() / (high / low).ln(),
            Self::Places(names) => (value + 0.5) / names.len().max(1) as f64,
        }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self {
            Self::Linear { low, high, step } => {
                let first = (low / step - 1e-9).ceil() as i64;
                let last = (high / step + 1e-9).floor() as i64;
                let ticks = (first..=last).map(|index| index as f64 * step);
                ticks
                    .map(|value| (value, figure::tick(value, *step)))
                    .collect()
            }
            Self::Log { low, high } => {
                let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
                let ticks = decades
                    .flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
                ticks
                    .filter(|tick| (low..=high).contains(&tick))
                    .map(|tick| (tick, plain(tick)))
                    .collect()
            }
            Self::Places(names) => {
                // Labels never touch: every place up to 12, then every second, fourth, ...
                let stride = names.len().div_ceil(12).next_power_of_two();
                let shown = names.iter().enumerate();
                shown
                    .filter(|(index, _)| (index + 1) % stride == 0 || names.len() == 1)
                    .map(|(index, name)| (index as f64, name.clone()))
                    .collect()
            }
        }
    }
}

/// A tick of a logarithmic axis, without needless zeros.
fn plain(value: f64) -> String {
    let decimals = (-value.log10().floor()).max(0.0) as usize;
    format!("{value:.decimals$}")
}

/// A frame with its scales.
#[derive(Clone, Debug)]
pub(crate) struct Panel {
    /// Left, top, width and height of the plotted area.
    pub(crate) place: [f64; 4],
    pub(crate) x: Scale,
    pub(crate) y: Scale,
}

impl Panel {
    pub(crate) fn at(&self, x: f64, y: f64) -> [f64; 2] {
        let [left, top, width, height] = self.place;
        [
            left + width * self.x.share(x),
            top + height * (1.0 - self.y.share(y)),
        ]
    }

    /// Grid lines with labels at the left; `labels` is false in panels that share an axis.
    pub(crate) fn draw_y(&self, svg: &mut Svg, labels: bool) {
        let [left, _, width, _] = self.place;
        for (value, label) in self.y.ticks() {
            let y = self.at(0.0, value)[1];
            let is_zero = value == 0.0;
            let paint = if is_zero { theme::MUTED } else { theme::RULE };
            svg.line([left, y], [left + width, y], paint, 1.0, "");
            if labels {
                let style = Type::NOTE.anchor(Anchor::End);
                svg.text([left - 7.0, y + 4.5], style, &label);
            }
        }
    }

    /// Ticks and labels below.
    pub(crate) fn draw_x(&self, svg: &mut Svg) {
        let [left, top, width, height] = self.place;
        let bottom = top + height;
        svg.line(
            [left, bottom],
            [left + width, bottom],
            theme::MUTED,
            1.0,
            "",
        );
        for (value, label) in self.x.ticks() {
            let x = left + width * self.x.share(value);
            svg.line([x, bottom], [x, bottom + 4.0], theme::MUTED, 1.0, "");
            let style = Type::NOTE.anchor(Anchor::Middle);
            let room = match &self.x {
                Scale::Places(names) if names.len() <= 12 => width / names.len().max(1) as f64,
                _ => width,
            };
            let label = text::fit(&label, room.max(24.0), style.size, style.weight);
            svg.text([x, bottom + 18.0], style, &label);
        }
    }

    /// The names of the axes, below and upward at the left.
    pub(crate) fn name_axes(&self, svg: &mut Svg, x: &str, y: Option<&str>) {
        let [left, top, width, height] = self.place;
        let style = Type::LABEL.anchor(Anchor::Middle);
        svg.text([left + width / 2.0, top + height + 38.0], style, x);
        if let Some(name) = y {
            svg.text_upward([left - 44.0, top + height / 2.0], Type::LABEL, name);
        }
    }

    /// A line through points with their marks; a missing point breaks the line.
    pub(crate) fn draw_series(
        &self,
        svg: &mut Svg,
        points: &[Option<(f64, f64)>],
        mark: Mark,
        paint: Paint,
    ) {
        for stretch in points.split(Option::is_none) {
            let line: Vec<[f64; 2]> = stretch
                .iter()
                .flatten()
                .map(|&(x, y)| self.at(x, y))
                .collect();
            if line.len() > 1 {
                svg.polyline(&line, paint, 1.7);
            }
        }
        for &(x, y) in points.iter().flatten() {
            svg.mark(self.at(x, y), mark, paint);
        }
    }
}

/// Names with their marks in a line that breaks where it must; gives the position below.
pub(crate) fn key(svg: &mut Svg, left: f64, top: f64, names: &[(String, Mark, Paint)]) -> f64 {
    const GAP: f64 = 18.0;
    const LINE: f64 = 21.0;
    let mut place = [left, top];
    for (name, mark, paint) in names {
        let width = 18.0 + text::width(name, Type::LABEL.size, Type::LABEL.weight);
        if place[0] + width > svg.width - theme::MARGIN && place[0] > left {
            place = [left, place[1] + LINE];
        }
        svg.mark([place[0] + 6.0, place[1] + 9.5], *mark, *paint);
        svg.text([place[0] + 17.0, place[1] + 14.0], Type::LABEL, name);
        place[0] += width + GAP;
    }
    place[1] + LINE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithmic_axes_have_ticks_and_plain_numbers() {
        let scale = Scale::log([0.02, 0.31, 0.0]);
        let labels: Vec<String> = scale.ticks().into_iter().map(|tick| tick.1).collect();
        assert_eq!(labels, ["0.02", "0.05", "0.1", "0.2"]);
        assert!((scale.share(0.02) + scale.share(0.31) - 1.0).abs() < 1e-9);
        assert_eq!(plain(20.0), "20");
    }

    #[test]
    fn linear_axes_begin_at_zero_unless_values_lie_below() {
        let Scale::Linear { low, high, .. } = Scale::linear([0.2, 0.4]) else {
            panic!("a linear scale")
        };
        assert_eq!((low, (high - 0.42).abs() < 1e-9), (0.0, true));
        assert!(Scale::linear([-0.1, 0.1]).share(0.0) > 0.4);
    }
}
