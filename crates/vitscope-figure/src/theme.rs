//! Colors, marks and sizes that all figures share.

use crate::run_dir::{Facet, Slot};

/// Size of ordinary text: seven points where a figure is as wide as a page of a paper.
pub(crate) const TEXT: f64 = 14.0;
/// Size of notes and tick labels.
pub(crate) const NOTE: f64 = 12.5;
/// Empty border of every figure.
pub(crate) const MARGIN: f64 = 10.0;
/// Width of a figure that fills a page.
pub(crate) const FULL_WIDTH: f64 = 1000.0;

/// A color with the name under which the page can replace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    pub(crate) name: &'static str,
    pub(crate) hex: &'static str,
}

pub(crate) const PAPER: Paint = Paint {
    name: "paper",
    hex: "#ffffff",
};
pub(crate) const INK: Paint = Paint {
    name: "ink",
    hex: "#16191d",
};
pub(crate) const MUTED: Paint = Paint {
    name: "muted",
    hex: "#59616b",
};
pub(crate) const RULE: Paint = Paint {
    name: "rule",
    hex: "#dde1e6",
};
pub(crate) const TRUTH: Paint = Paint {
    name: "truth",
    hex: "#3d444d",
};

/// The color of a facet: Okabe and Ito's set, which color-blind readers can tell apart.
pub(crate) fn facet(facet: Facet) -> Paint {
    match facet {
        Facet::Key => Paint {
            name: "key",
            hex: "#0072b2",
        },
        Facet::Query => Paint {
            name: "query",
            hex: "#d55e00",
        },
        Facet::Value => Paint {
            name: "value",
            hex: "#009e73",
        },
        Facet::Token => Paint {
            name: "token",
            hex: "#b5518f",
        },
    }
}

pub(crate) fn slot(slot: Slot) -> Paint {
    match slot {
        Slot::Truth => TRUTH,
        Slot::Probe(name, _) => facet(name),
    }
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
