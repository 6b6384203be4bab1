//! The classes with their colors, as a legend below pictures.

use crate::pixels::NONE;
use crate::run_view::RunView;
use crate::svg::{Lettering, Svg};
use crate::text::{self, Weight};
use crate::theme;

/// More classes than this make a legend that no reader can use: only those that are seen stay.
const MOST_CLASSES: usize = 40;

/// The classes with their colors, and the hatching of pixels without a label.
///
/// `seen` says which classes the figure's label maps show; a figure without label maps gives
/// `None` and, with very many classes, gets no legend. Gives the position below.
pub(crate) fn legend(svg: &mut Svg, run: &RunView, top: f64, seen: Option<&[bool; 256]>) -> f64 {
    const SIDE: f64 = 12.0;
    const GAP: f64 = 16.0;
    const LINE: f64 = 21.0;
    let all = run.classes.len() <= MOST_CLASSES;
    let is_shown = |index: usize| all || seen.is_some_and(|seen| seen.get(index) == Some(&true));
    let classes = run.classes.iter().enumerate();
    let classes = classes.filter(|(index, _)| is_shown(*index));
    let classes = classes.map(|(_, class)| (class.name.as_str(), Some(class.color)));
    let has_none = seen.is_some_and(|seen| seen[usize::from(NONE)]);
    let lines: Vec<_> = classes
        .chain(has_none.then_some(("no label", None)))
        .collect();
    if lines.is_empty() {
        return top;
    }
    let (left, right) = (theme::MARGIN, svg.width - theme::MARGIN);
    let room = right - left - SIDE - 6.0;
    let own = |name: &str| text::width(name, Lettering::LABEL.size, Weight::Regular);
    let width = |name: &str| SIDE + 6.0 + own(name).min(room);
    // Few names flow; many stand in columns, where an eye can run down.
    let widths = lines.iter().map(|(name, _)| width(name));
    let widest = widths.fold(0.0, f64::max);
    let column = (lines.len() > 16).then_some(widest + GAP);
    let mut place = [left, top];
    for (name, color) in lines {
        if place[0] + width(name) > right && place[0] > left {
            place = [left, place[1] + LINE];
        }
        let swatch = [place[0], place[1] + 3.0, SIDE, SIDE];
        match color {
            Some(color) => svg.swatch(swatch, color),
            None => {
                svg.hatched(swatch);
                svg.frame(swatch, theme::MUTED, 0.5);
            }
        }
        let at = [place[0] + SIDE + 6.0, place[1] + 14.0];
        svg.fitted(at, Lettering::LABEL, room, name);
        place[0] += column.unwrap_or(width(name) + GAP);
    }
    place[1] + LINE
}
