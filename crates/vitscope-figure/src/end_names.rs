//! The names of lines, written beside their ends.

use crate::svg::{Lettering, Svg};
use crate::theme::{self, Mark, Paint};

/// The name of a line, wanted at the height of its last point.
pub(crate) struct EndName {
    pub(crate) y: f64,
    pub(crate) name: &'static str,
    pub(crate) paint: Paint,
    /// The mark of a curve; a reference has dashes.
    pub(crate) mark: Option<Mark>,
    pub(crate) dashes: &'static str,
}

/// Writes names beside the ends of their lines, moved apart where they would overlap.
pub(crate) fn write(svg: &mut Svg, mut names: Vec<EndName>, [left, top, width, height]: [f64; 4]) {
    const LEADING: f64 = 19.0;
    let x = left + width + 14.0;
    names.sort_by(|a, b| a.y.total_cmp(&b.y));
    // Names that would overlap become a block, centered on where they are wanted: of each block,
    // how many names it has and the sum of where its first one would then stand.
    let mut blocks: Vec<(usize, f64)> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let mut block = (1, name.y - LEADING * index as f64);
        while let Some(&(count, sum)) = blocks.last()
            && sum / count as f64 >= block.1 / block.0 as f64
        {
            block = (block.0 + count, block.1 + sum);
            blocks.pop();
        }
        blocks.push(block);
    }
    let firsts = blocks
        .iter()
        .flat_map(|&(count, sum)| std::iter::repeat_n(sum / count as f64, count));
    let last = LEADING * names.len().saturating_sub(1) as f64;
    let places: Vec<f64> = firsts
        .enumerate()
        .map(|(index, first)| first.min(top + height - last).max(top) + LEADING * index as f64)
        .collect();
    for (&y, name) in places.iter().zip(&names) {
        if (y - name.y).abs() > 3.0 {
            svg.line([x - 18.0, name.y], [x + 1.0, y], theme::MUTED, 0.7, "");
        }
        match name.mark {
            Some(mark) => svg.mark([x + 9.0, y], mark, name.paint),
            None => svg.line([x + 1.0, y], [x + 17.0, y], name.paint, 1.6, name.dashes),
        }
        let room = svg.width - theme::MARGIN - (x + 22.0);
        svg.fitted([x + 22.0, y + 5.0], Lettering::HEAD, room, name.name);
    }
}
