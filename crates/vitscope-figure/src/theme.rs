//! Colors, marks and sizes that all figures share.

use vitscope_run::{Facet, Subject};

/// Size of ordinary text: seven points where a figure is as wide as a page of a paper.
pub(crate) const TEXT: f64 = 14.0;
/// Size of notes and tick labels: six points where a column is 8.4 cm wide.
pub(crate) const NOTE: f64 = 12.7;
/// Empty border of every figure.
pub(crate) const MARGIN: f64 = 10.0;
/// Width of a figure that fills a page.
pub(crate) const FULL_WIDTH: f64 = 1000.0;
/// Width of a figure that fills a column of a paper with two.
pub(crate) const COLUMN_WIDTH: f64 = 500.0;
/// Points of a PDF per unit: a column is 250 points (3.47 inches) wide, a page 500.
pub(crate) const POINTS: f64 = 0.5;

/// A color with the name under which the page can replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    pub(crate) name: &'static str,
    pub(crate) hex: &'static str,
}

pub(crate) const PAPER: Paint = paint("paper", "#ffffff");
pub(crate) const INK: Paint = paint("ink", "#16191d");
pub(crate) const MUTED: Paint = paint("muted", "#59616b");
pub(crate) const RULE: Paint = paint("rule", "#dde1e6");
pub(crate) const TRUTH: Paint = paint("truth", "#3d444d");

const KEY: Paint = paint("key", "#0072b2");
const QUERY: Paint = paint("query", "#d55e00");
const VALUE: Paint = paint("value", "#009e73");
const TOKEN: Paint = paint("token", "#b5518f");
/// Runs beyond the fourth.
const FURTHER: [Paint; 3] = [
    paint("series5", "#8a6d00"),
    paint("series6", "#3a96c8"),
    paint("series7", "#4d4d4d"),
];

/// Dashes of a line that is a reference, not a measured course.
pub(crate) const DASHES: &str = "6 4";
/// Dots of a second such line.
pub(crate) const DOTS: &str = "2 4";

/// The color of a facet: Okabe and Ito's set, which color-blind readers can tell apart.
pub(crate) fn facet(facet: Facet) -> Paint {
    match facet {
        Facet::Key => KEY,
        Facet::Query => QUERY,
        Facet::Value => VALUE,
        Facet::Token => TOKEN,
    }
}

pub(crate) fn subject(subject: Subject) -> Paint {
    match subject {
        Subject::GroundTruth | Subject::Layer(_) => TRUTH,
        Subject::Slot(slot) => facet(slot.facet),
    }
}

/// How many runs have a color of their own.
pub(crate) const SERIES_COLORS: usize = 7;

/// The color of a run among several: Okabe and Ito's set, darkest first, repeated where runs are
/// many. Their marks differ in period, so that color and mark together tell 28 runs apart.
pub(crate) fn series(index: usize) -> Paint {
    let [fifth, sixth, seventh] = FURTHER;
    [KEY, QUERY, VALUE, TOKEN, fifth, sixth, seventh][index % SERIES_COLORS]
}

const fn paint(name: &'static str, hex: &'static str) -> Paint {
    Paint { name, hex }
}

/// A color for a share of 0 to 1, from black over red and orange to pale yellow: its lightness
/// rises all the way, so that it reads the same in gray print.
pub(crate) fn heat(share: f64) -> [u8; 3] {
    const STOPS: [[f64; 3]; 6] = [
        [0.0, 0.0, 4.0],
        [66.0, 10.0, 104.0],
        [147.0, 38.0, 103.0],
        [221.0, 81.0, 58.0],
        [252.0, 165.0, 10.0],
        [252.0, 255.0, 164.0],
    ];
    let place = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let index = (place.floor() as usize).min(STOPS.len() - 2);
    let part = place - index as f64;
    std::array::from_fn(|channel| {
        (STOPS[index][channel] * (1.0 - part) + STOPS[index + 1][channel] * part).round() as u8
    })
}

/// The color of a cluster that has not earned its class's name: the class's, mostly gray.
pub(crate) fn muted(color: [u8; 3]) -> [u8; 3] {
    color.map(|channel| (0.4 * f64::from(channel) + 0.6 * 150.0).round() as u8)
}

/// The stripes over such a color.
pub(crate) fn stripe(muted: [u8; 3]) -> [u8; 3] {
    muted.map(|channel| (0.45 * f64::from(channel) + 0.55 * 235.0).round() as u8)
}

/// A color for a share of 0 to 1 behind a number, from white to a blue on which white can be read.
pub(crate) fn shade(share: f64) -> [u8; 3] {
    const DEEPEST: [f64; 3] = [0.0, 82.0, 147.0];
    let part = share.clamp(0.0, 1.0);
    DEEPEST.map(|channel| (255.0 * (1.0 - part) + channel * part).round() as u8)
}

/// Colors for clusters that have no class: hues a golden angle apart, in three lightnesses, so
/// that neighbors in number are far apart in color.
pub(crate) fn cluster(index: usize) -> [u8; 3] {
    const GOLDEN_ANGLE: f64 = 137.507_764;
    let hue = (index as f64 * GOLDEN_ANGLE + 20.0) % 360.0;
    let (saturation, lightness) = [(0.68, 0.52), (0.85, 0.34), (0.55, 0.72)][index % 3];
    let chroma = (1.0 - (2.0 * lightness - 1.0_f64).abs()) * saturation;
    let channel = |offset: f64| {
        let k = (offset + hue / 30.0) % 12.0;
        let value = lightness - chroma / 2.0 * (k - 3.0).min(9.0 - k).clamp(-1.0, 1.0);
        (value * 255.0).round() as u8
    };
    [channel(0.0), channel(8.0), channel(4.0)]
}

/// The mark of a facet, so that curves stay apart in gray print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    Circle,
    HollowSquare,
    Triangle,
    HollowDiamond,
}

impl Mark {
    /// The mark of a run among several.
    pub(crate) fn series(index: usize) -> Self {
        [
            Self::Circle,
            Self::HollowSquare,
            Self::Triangle,
            Self::HollowDiamond,
        ][index % 4]
    }

    pub(crate) fn of(facet: Facet) -> Self {
        match facet {
            Facet::Key => Self::Circle,
            Facet::Query => Self::HollowSquare,
            Facet::Value => Self::Triangle,
            Facet::Token => Self::HollowDiamond,
        }
    }

    pub(crate) fn is_hollow(self) -> bool {
        matches!(self, Self::HollowSquare | Self::HollowDiamond)
    }

    /// Corners around the mark's point; a circle has none.
    pub(crate) fn corners(self) -> Option<&'static [[f64; 2]]> {
        match self {
            Self::Circle => None,
            Self::HollowSquare => Some(&[[-3.7, -3.7], [3.7, -3.7], [3.7, 3.7], [-3.7, 3.7]]),
            Self::Triangle => Some(&[[0.0, -4.8], [4.6, 3.4], [-4.6, 3.4]]),
            Self::HollowDiamond => Some(&[[0.0, -5.2], [5.2, 0.0], [0.0, 5.2], [-5.2, 0.0]]),
        }
    }
}
