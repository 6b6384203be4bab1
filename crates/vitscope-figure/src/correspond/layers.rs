//! The figures `similarity-by-layer` and `matches-by-layer`: one pair at every layer and facet, once
//! with the similarity to one keypoint and once with the matches of all.

use vitscope_run::{Facet, Slot, Subject};

use super::heat::{Heat, SimilarityMaps};
use super::pairs::{KeypointOutcome, PointPair, judge, pairs, photograph, pixel, stored_matches};
use super::similarity::marks_key;
use super::{Fitted, MATCH, TRUE_POINT};
use crate::bands::Bands;
use crate::error::FigureError;
use crate::grid::missing;
use crate::members::Member;
use crate::pixels::Rgb;
use crate::run_view::RunView;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Lettering, Svg};
use crate::theme::{self, Paint};
use crate::words;

const FRAMED: &str = "Framed: each facet's layer of the largest share of correct keypoints.";

const GONE: &str = "The photographs are no longer where the run found them.";

/// Colors on pale photographs, the same on every background.
const RIGHT: Paint = Paint {
    name: "right",
    hex: "#0072b2",
};
const WRONG: Paint = Paint {
    name: "wrong",
    hex: "#d55e00",
};

/// The similarity of one keypoint of the first pair with its target, at every layer.
pub(crate) fn draw_similarity(member: &Member) -> Result<Plate, FigureError> {
    const NAME: &str = "similarity-by-layer";
    const HEADING: &str = "Similarity to a keypoint by layer";
    let run = &member.run;
    let none = |why| Ok(sheet::absent(NAME, HEADING, why));
    let listed = pairs(run)?;
    let (Some(mut maps), Some(pair)) = (SimilarityMaps::of_run(run)?, listed.first()) else {
        return none("The run stored no example pairs.");
    };
    let (Some(target), Some(point)) = (
        photograph(run, &pair.target)?,
        pair.shown(judge(run), KeypointOutcome::Found),
    ) else {
        return none(GONE);
    };
    let mut sheet = Sheet::new(NAME, HEADING, theme::FULL_WIDTH, &[member]);
    sheet.columns(&["layer", "facet", "pair", "point", "distance_px"]);
    let shown = &pair.source_points[point..=point];
    let [right, below] = reference(&mut sheet.svg, run, pair, shown)?;
    let [from, to] = [pair.source_points[point], pair.true_points[point]].map(pixel);
    let title = format!(
        "{}, keypoint {} at {from}, in the target at {to}",
        pair.category,
        point + 1
    );
    let place = [right + 16.0, theme::MARGIN + 14.0];
    let room = theme::FULL_WIDTH - theme::MARGIN - place[0];
    sheet.svg.fitted(place, Lettering::HEAD, room, &title);
    marks_key(&mut sheet.svg, right + 16.0, theme::MARGIN + 28.0, false);
    let layers = EveryLayer {
        run,
        facets: run.facets(),
        target: &target,
    };
    let top = layers.draw(&mut sheet, below + 14.0, |sheet, fitted, slot| {
        let found = pair.matches.get(&slot.to_string());
        let (Some(found), Some(map)) = (found, maps.of(0, slot, pair, point)?) else {
            return Ok(None);
        };
        let small = target.reduced(fitted.pixels());
        let heat = Heat::new(&map.values, map.grid, &small, run.is_padded());
        let picture = small.heated(|x, y| heat.at(x, y));
        let label = format!("{slot}, target of {}", pair.pair);
        fitted.embed(&mut sheet.svg, &picture, &label)?;
        let (truth, matched) = (pair.true_points[point], found[point]);
        let limit = pair.limit() * fitted.scale;
        sheet.svg.limit(fitted.at(truth), limit);
        sheet.svg.ring(fitted.at(truth), 3.5, TRUE_POINT);
        sheet.svg.cross(fitted.at(matched), 3.0, MATCH);
        let distance = pair.distance(point, matched);
        let cells = [pair.pair.clone(), point.to_string(), distance.to_string()];
        sheet.row(
            member,
            words::subject_cells(Subject::Slot(slot))
                .into_iter()
                .chain(cells),
        );
        Ok(Some(format!("{distance:.0} px")))
    })?;
    if sheet.is_empty() {
        return Ok(sheet.absent("The run stored no similarity maps of all layers."));
    }
    sheet.note(format!(
        "Pair {}. Below each target: how far off the most similar pixel is. The scale of similarity is each picture's own. {FRAMED}",
        pair.pair
    ));
    sheet.finish(top - 8.0)
}

/// All keypoints of one pair and what each layer takes them for.
pub(crate) fn draw_matches(member: &Member) -> Result<Plate, FigureError> {
    const NAME: &str = "matches-by-layer";
    const HEADING: &str = "Matches of one pair by layer";
    let run = &member.run;
    let none = |why| Ok(sheet::absent(NAME, HEADING, why));
    let listed = pairs(run)?;
    let (Some(pair), Some((row, matches))) = (listed.first(), stored_matches(run, &listed)?) else {
        return none("The run stored no matches of example pairs.");
    };
    let Some(target) = photograph(run, &pair.target)? else {
        return none(GONE);
    };
    let mut sheet = Sheet::new(NAME, HEADING, theme::FULL_WIDTH, &[member]);
    sheet.columns(&["layer", "facet", "pair", "right", "points"]);
    let [right, below] = reference(&mut sheet.svg, run, pair, &pair.source_points)?;
    verdicts_key(&mut sheet.svg, right + 24.0, &pair.category);
    let faded = target.faded();
    let has = |facet: &Facet| matches.keys().any(|slot| slot.facet == *facet);
    let layers = EveryLayer {
        run,
        facets: Facet::ALL.into_iter().filter(has).collect(),
        target: &target,
    };
    let top = layers.draw(&mut sheet, below + 14.0, |sheet, fitted, slot| {
        let Some(found) = matches.get(&slot) else {
            return Ok(None);
        };
        let label = format!("{slot}, target of {}", pair.pair);
        fitted.embed(&mut sheet.svg, &faded, &label)?;
        let mut right = 0;
        let limit = pair.limit() * fitted.scale;
        for truth in &pair.true_points {
            sheet.svg.limit(fitted.at(*truth), limit);
        }
        for (point, (truth, matched)) in pair.true_points.iter().zip(found).enumerate() {
            let is_right = pair.is_right(point, *matched);
            right += usize::from(is_right);
            let paint = if is_right { RIGHT } else { WRONG };
            let [from, to] = [fitted.at(*truth), fitted.at(*matched)];
            sheet.svg.line(from, to, paint, 1.6, "");
            verdict(&mut sheet.svg, to, is_right);
        }
        let count = found.len();
        let cells = [pair.pair.clone(), right.to_string(), count.to_string()];
        sheet.row(
            member,
            words::subject_cells(Subject::Slot(slot))
                .into_iter()
                .chain(cells),
        );
        Ok(Some(format!("{right}/{count}")))
    })?;
    sheet.note(format!(
        "Pair {}, row {row} of pairs.csv. Below each target: how many matches are right. {FRAMED}",
        pair.pair
    ));
    sheet.finish(top - 8.0)
}

/// A cell for every layer (across, in bands) and facet (down), as high as the target needs.
struct EveryLayer<'a> {
    run: &'a RunView,
    facets: Vec<Facet>,
    target: &'a Rgb,
}

impl EveryLayer<'_> {
    /// `paint` fills a cell and gives the note under it, or `None` where nothing is stored. Gives
    /// where the cells end.
    fn draw(
        &self,
        sheet: &mut Sheet,
        mut top: f64,
        mut paint: impl FnMut(&mut Sheet, Fitted, Slot) -> Result<Option<String>, FigureError>,
    ) -> Result<f64, FigureError> {
        let bands = Bands::new(self.run.layers(), 62.0, 230.0);
        let width = bands.side();
        let shape = self.target.height as f64 / self.target.width as f64;
        let height = (width * shape).min(width * 1.4);
        for band in bands.iter() {
            top = bands.heads(&mut sheet.svg, band, top);
            for &facet in &self.facets {
                bands.label(&mut sheet.svg, top + height / 2.0, facet.name(), "");
                for (column, &layer) in band.iter().enumerate() {
                    let cell = [bands.left(column), top, width, height];
                    let fitted = Fitted::new(cell, self.target);
                    match paint(sheet, fitted, Slot { facet, layer })? {
                        Some(note) => bands.note(&mut sheet.svg, column, top + height, &note),
                        None => missing(&mut sheet.svg, cell),
                    }
                    if self.run.selection.contains(&Slot { facet, layer }) {
                        let [x, y, width, height] = cell;
                        let around = [x - 1.0, y - 1.0, width + 2.0, height + 2.0];
                        sheet.svg.frame(around, theme::INK, 2.5);
                    }
                }
                top += height + 20.0;
            }
            top += 6.0;
        }
        Ok(top)
    }
}

/// The source photograph of a pair with keypoints, for a figure of its targets; gives the places
/// right of it and below it.
fn reference(
    svg: &mut Svg,
    run: &RunView,
    pair: &PointPair,
    points: &[[f64; 2]],
) -> Result<[f64; 2], FigureError> {
    let mut cell = [theme::MARGIN, theme::MARGIN, 190.0, 150.0];
    let Some(source) = photograph(run, &pair.source)? else {
        missing(svg, cell);
        return Ok([cell[0] + cell[2], cell[1] + cell[3]]);
    };
    // In the cell's upper left corner.
    let [.., width, height] = Fitted::new(cell, &source).place;
    cell = [cell[0], cell[1], width, height];
    let fitted = Fitted::new(cell, &source);
    fitted.embed(svg, &source, &format!("source of {}", pair.pair))?;
    for &point in points {
        svg.ring(fitted.at(point), 4.5, TRUE_POINT);
    }
    Ok([cell[0] + width, cell[1] + height])
}

/// A match: a dot where it is right, a cross where it is wrong, so that gray print tells them apart.
fn verdict(svg: &mut Svg, at: [f64; 2], is_right: bool) {
    if is_right {
        svg.dot(at, 3.4, RIGHT);
    } else {
        svg.cross(at, 3.0, "#ff9d3c");
    }
}

fn verdicts_key(svg: &mut Svg, left: f64, category: &str) {
    let mut y = theme::MARGIN + 14.0;
    svg.text([left - 8.0, y], Lettering::HEAD, category);
    for (is_right, name) in [
        (
            true,
            "match inside the dashed circle, a tenth of the longer side of the target's box",
        ),
        (
            false,
            "match outside; the line leads from where the point truly is",
        ),
    ] {
        y += 22.0;
        verdict(svg, [left, y - 5.0], is_right);
        svg.text([left + 12.0, y], Lettering::LABEL, name);
    }
}
