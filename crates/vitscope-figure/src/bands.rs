//! Layers beside one another, in bands of at most twelve, so that long models go on below.

use crate::svg::{Anchor, Lettering, Svg};
use crate::theme;

/// Layers of one band.
const PER_BAND: usize = 12;
const GAP: f64 = 4.0;

/// The columns of a figure that has one per layer.
pub(crate) struct Bands {
    layers: Vec<usize>,
    columns: usize,
    left: f64,
    pitch: f64,
}

impl Bands {
    /// Columns right of labels that take `label_width`, each at most `most` wide.
    pub(crate) fn new(layers: Vec<usize>, label_width: f64, most: f64) -> Self {
        let columns = layers.len().clamp(1, PER_BAND);
        let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - label_width + GAP;
        Self {
            layers,
            columns,
            left: theme::MARGIN + label_width,
            pitch: (room / columns as f64).min(most).floor(),
        }
    }

    /// The width of a cell.
    pub(crate) fn side(&self) -> f64 {
        self.pitch - GAP
    }

    /// From one row of square cells to the next.
    pub(crate) fn pitch(&self) -> f64 {
        self.pitch
    }

    /// The layers of each band.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[usize]> {
        self.layers.chunks(self.columns)
    }

    /// Where the cells of a band's column begin.
    pub(crate) fn left(&self, column: usize) -> f64 {
        self.left + column as f64 * self.pitch
    }

    /// A square cell.
    pub(crate) fn cell(&self, column: usize, top: f64) -> [f64; 4] {
        [self.left(column), top, self.side(), self.side()]
    }

    /// The layers' numbers above a band; gives the position below.
    pub(crate) fn heads(&self, svg: &mut Svg, band: &[usize], top: f64) -> f64 {
        let y = top + 12.0;
        svg.text([theme::MARGIN, y], Lettering::LABEL, "layer");
        for (column, layer) in band.iter().enumerate() {
            let place = [self.left(column) + self.side() / 2.0, y];
            let style = Lettering::LABEL.anchor(Anchor::Middle);
            svg.text(place, style, &layer.to_string());
        }
        top + 20.0
    }

    /// A note below a cell whose lower edge is `bottom`.
    pub(crate) fn note(&self, svg: &mut Svg, column: usize, bottom: f64, note: &str) {
        let place = [self.left(column) + self.side() / 2.0, bottom + 14.0];
        svg.text(place, Lettering::NOTE.anchor(Anchor::Middle), note);
    }

    /// The name of a row, and a second line of it, left of cells with this middle.
    pub(crate) fn label(&self, svg: &mut Svg, middle: f64, first: &str, second: &str) {
        let shift = if second.is_empty() { 5.0 } else { -2.0 };
        let lines = [(first, Lettering::HEAD), (second, Lettering::NOTE)];
        for (line, (name, style)) in lines.into_iter().enumerate() {
            let room = self.left - theme::MARGIN - 6.0;
            if !name.is_empty() {
                let y = middle + shift + 16.0 * line as f64;
                svg.fitted([theme::MARGIN, y], style, room, name);
            }
        }
    }
}
