//! The figure `similarity`: for one keypoint of each example pair, where its embedding finds its
//! like in the target, at each facet's best layer.

use vitscope_run::{Slot, Subject};

use super::heat::{Heat, SimilarityMaps};
use super::pairs::{KeypointOutcome, PointPair, judge, pairs, photograph, pixel};
use super::{Fitted, MATCH, TRUE_POINT};
use crate::error::FigureError;
use crate::grid::missing;
use crate::members::Member;
use crate::pixels::Rgb;
use crate::run_view::RunView;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::text;
use crate::theme;
use crate::words;

const NAME: &str = "similarity";
const HEADING: &str = "Similarity to a keypoint";
const MOST_PAIRS: usize = 5;

/// A pair's row in the figure.
struct PairRow<'a> {
    number: usize,
    pair: &'a PointPair,
    /// The keypoint that is shown.
    point: usize,
    source: Option<Rgb>,
    target: Option<Rgb>,
}

/// Columns of equal width: the source, then a target per facet.
struct Columns<'a> {
    slots: &'a [Slot],
    pitch: f64,
}

pub(crate) fn draw(member: &Member) -> Result<Plate, FigureError> {
    let run = &member.run;
    let listed = pairs(run)?;
    let (Some(mut maps), false) = (SimilarityMaps::of_run(run)?, listed.is_empty()) else {
        let why = "The run stored no example pairs.";
        return Ok(sheet::absent(NAME, HEADING, why));
    };
    let rows = rows(run, &listed)?;
    let count = (run.selection.len() + 1) as f64;
    let columns = Columns {
        slots: &run.selection,
        pitch: ((theme::FULL_WIDTH - 2.0 * theme::MARGIN + 6.0) / count).floor(),
    };
    let mut sheet = Sheet::new(NAME, HEADING, theme::FULL_WIDTH, &[member]);
    sheet.columns(&[
        "pair",
        "category",
        "point",
        "layer",
        "facet",
        "true_x",
        "true_y",
        "match_x",
        "match_y",
        "distance_px",
        "right",
    ]);
    let top = marks_key(&mut sheet.svg, theme::MARGIN, theme::MARGIN, true) + 4.0;
    let mut top = columns.draw_heads(&mut sheet.svg, top);
    for row in &rows {
        let height = row.height(columns.width());
        row.draw_source(&mut sheet.svg, columns.cell(0, top, height))?;
        for (column, &slot) in columns.slots.iter().enumerate() {
            let cell = columns.cell(column + 1, top, height);
            row.draw_target(&mut sheet, member, cell, slot, &mut maps)?;
        }
        let at = pixel(row.pair.source_points[row.point]);
        let note = format!("{}, point {} at {at}", row.pair.category, row.point + 1);
        let place = [columns.left(0), top + height + 14.0];
        sheet.svg.text(place, Lettering::NOTE, &note);
        top += height + 24.0;
    }
    sheet.note("The scale of similarity is each picture's own. Right: inside the dashed circle, a tenth of the longer side of the target's box (PCK@0.1). In brackets: pixels, column and row.");
    if let Some(slot) = judge(run) {
        sheet.note(format!(
            "Keypoints by turns: one that {} layer {} finds, one that it misses, where a pair has both.",
            slot.facet, slot.layer
        ));
    }
    sheet.note(words::selection_note(run));
    if rows
        .iter()
        .any(|row| row.source.is_none() || row.target.is_none())
    {
        sheet.note("A photograph is no longer where the run found it.");
    }
    sheet.finish(top - 2.0)
}

fn rows<'a>(run: &RunView, listed: &'a [PointPair]) -> Result<Vec<PairRow<'a>>, FigureError> {
    let mut rows = Vec::new();
    let judge = judge(run);
    for (number, pair) in listed.iter().take(MOST_PAIRS).enumerate() {
        let wanted = [KeypointOutcome::Found, KeypointOutcome::Missed][number % 2];
        if let Some(point) = pair.shown(judge, wanted) {
            rows.push(PairRow {
                number,
                pair,
                point,
                source: photograph(run, &pair.source)?,
                target: photograph(run, &pair.target)?,
            });
        }
    }
    Ok(rows)
}

impl Columns<'_> {
    fn left(&self, column: usize) -> f64 {
        theme::MARGIN + column as f64 * self.pitch
    }

    fn width(&self) -> f64 {
        self.pitch - 6.0
    }

    fn cell(&self, column: usize, top: f64, height: f64) -> [f64; 4] {
        [self.left(column), top, self.width(), height]
    }

    fn draw_heads(&self, svg: &mut Svg, top: f64) -> f64 {
        let style = Lettering::HEAD;
        svg.text([self.left(0), top + 13.0], style, "reference");
        for (column, slot) in self.slots.iter().enumerate() {
            let (left, name) = (self.left(column + 1), slot.facet.name());
            svg.text([left, top + 13.0], style, name);
            let after = left + text::width(name, style.size, style.weight) + 7.0;
            let layer = format!("layer {}", slot.layer);
            svg.text([after, top + 13.0], Lettering::LABEL, &layer);
        }
        top + 22.0
    }
}

impl PairRow<'_> {
    /// As high as the higher photograph needs, within reason.
    fn height(&self, width: f64) -> f64 {
        let photos = [&self.source, &self.target].into_iter().flatten();
        let heights = photos.map(|photo| width * photo.height as f64 / photo.width as f64);
        heights.fold(60.0, f64::max).min(width).ceil()
    }

    fn draw_source(&self, svg: &mut Svg, cell: [f64; 4]) -> Result<(), FigureError> {
        let Some(source) = &self.source else {
            missing(svg, cell);
            return Ok(());
        };
        let fitted = Fitted::new(cell, source);
        fitted.embed(svg, source, &format!("source of {}", self.pair.pair))?;
        let at = fitted.at(self.pair.source_points[self.point]);
        svg.ring(at, 6.0, TRUE_POINT);
        Ok(())
    }

    /// The target under a slot's similarity, with the true point and the match; adds the table's row.
    fn draw_target(
        &self,
        sheet: &mut Sheet,
        member: &Member,
        cell: [f64; 4],
        slot: Slot,
        maps: &mut SimilarityMaps,
    ) -> Result<(), FigureError> {
        let pair = self.pair;
        let found = pair.matches.get(&slot.to_string());
        let (Some(target), Some(found)) = (&self.target, found) else {
            missing(&mut sheet.svg, cell);
            return Ok(());
        };
        let map = maps.promised(self.number, slot, pair, self.point)?;
        let fitted = Fitted::new(cell, target);
        // No more pixels than are shown, so that heat is computed only there.
        let small = target.reduced(fitted.pixels());
        let heat = Heat::new(&map.values, map.grid, &small, member.run.is_padded());
        let picture = small.heated(|x, y| heat.at(x, y));
        let label = format!("{slot}, target of {}", pair.pair);
        fitted.embed(&mut sheet.svg, &picture, &label)?;
        let (truth, matched) = (pair.true_points[self.point], found[self.point]);
        let limit = pair.limit() * fitted.scale;
        sheet.svg.limit(fitted.at(truth), limit);
        sheet.svg.ring(fitted.at(truth), 6.0, TRUE_POINT);
        sheet.svg.cross(fitted.at(matched), 5.0, MATCH);
        let distance = pair.distance(self.point, matched);
        let is_right = pair.is_right(self.point, matched);
        let verdict = if is_right { "right" } else { "wrong" };
        let right = fitted.place[0] + fitted.place[2];
        let place = [right, cell[1] + cell[3] + 14.0];
        let note = format!("{verdict}: {}, {distance:.0} px off", pixel(matched));
        sheet
            .svg
            .text(place, Lettering::NOTE.anchor(Anchor::End), &note);
        let mut cells = vec![
            pair.pair.clone(),
            pair.category.clone(),
            self.point.to_string(),
        ];
        cells.extend(words::subject_cells(Subject::Slot(slot)));
        let values = [truth[0], truth[1], matched[0], matched[1], distance];
        cells.extend(values.map(|value| value.to_string()));
        cells.push(u8::from(is_right).to_string());
        sheet.row(member, cells);
        Ok(())
    }
}

/// What the marks in targets stand for, and the colors of similarity; gives the position below.
pub(super) fn marks_key(svg: &mut Svg, left: f64, top: f64, is_one_line: bool) -> f64 {
    const LINE: f64 = 22.0;
    const STEPS: usize = 24;
    const STEP: f64 = 5.0;
    let mut place = [left, top];
    let style = Lettering::LABEL;
    let width = |name: &str| text::width(name, style.size, style.weight);
    type DrawMark = fn(&mut Svg, [f64; 2]);
    let marks: [(DrawMark, &str); 3] = [
        (
            |svg, at| svg.ring(at, 5.0, TRUE_POINT),
            "the keypoint, in targets its true place",
        ),
        (|svg, at| svg.limit(at, 6.5), "right in here"),
        (|svg, at| svg.cross(at, 4.5, MATCH), "most similar pixel"),
    ];
    for (draw, name) in marks {
        draw(svg, [place[0] + 7.0, place[1] + 9.0]);
        svg.text([place[0] + 20.0, place[1] + 14.0], style, name);
        if is_one_line {
            place[0] += 20.0 + width(name) + 26.0;
        } else {
            place[1] += LINE;
        }
    }
    let [mut x, y] = place;
    let least = "cosine similarity: least";
    svg.text([x, y + 14.0], style, least);
    x += width(least) + 7.0;
    for step in 0..STEPS {
        let color = theme::heat((step as f64 + 0.5) / STEPS as f64);
        svg.cell([x + step as f64 * STEP, y + 3.0, STEP + 0.3, 12.0], color);
    }
    x += STEPS as f64 * STEP + 7.0;
    svg.text([x, y + 14.0], style, "most");
    place[1] + LINE
}
