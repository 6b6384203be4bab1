//! The figures of a run's correspondences: `similarity` (where a key point's embedding finds its
//! like), `matches-by-layer` and `pck-by-category`.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use crate::attention::floats;
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::grid::missing;
use crate::pixels::Rgb;
use crate::run_dir::{Facet, Run, Slot, read_bytes_if_there, read_if_there};
use crate::svg::{Anchor, Embedded, Svg, Type};
use crate::text;
use crate::theme;

/// A match within this share of the target box's longer side is right.
const ALPHA: f64 = 0.1;
const MOST_PAIRS: usize = 5;
/// Colors of marks on photographs, which are edged in black.
const TRUE_POINT: &str = "#ffffff";
const MATCH: &str = "#4dd2ff";

/// A pair as `examples.json` lists it; points are x, y in the photograph's pixels.
#[derive(Debug, Deserialize)]
struct Pair {
    pair: String,
    category: String,
    source: String,
    target: String,
    source_points: Vec<[f64; 2]>,
    true_points: Vec<[f64; 2]>,
    target_box: [f64; 4],
    matches: BTreeMap<String, Vec<[f64; 2]>>,
}

impl Pair {
    /// The key point that is shown alone: the middle one.
    fn shown(&self) -> Option<usize> {
        self.source_points.len().checked_sub(1).map(|last| last / 2)
    }

    /// How far off a match may be.
    fn limit(&self) -> f64 {
        let [left, top, right, bottom] = self.target_box;
        ALPHA * (right - left).max(bottom - top)
    }
}

fn pairs(run: &Run) -> Result<Vec<Pair>, FigureError> {
    let path = run.root().join("examples.json");
    let Some(text) = read_if_there(&path)? else {
        return Ok(Vec::new());
    };
    let pairs: Vec<Pair> = serde_json::from_str(&text).map_err(|error| {
        FigureError::malformed(&path, format!("does not list pairs as expected ({error})"))
    })?;
    match pairs.iter().find(|pair| {
        let count = pair.true_points.len();
        pair.source_points.len() != count || pair.matches.values().any(|found| found.len() != count)
    }) {
        Some(pair) => Err(FigureError::malformed(
            &path,
            format!("lists {} with unequal numbers of points", pair.pair),
        )),
        None => Ok(pairs),
    }
}

/// A photograph in the run directory (or, of older runs, where the data set lay), or `None`.
fn photograph(run: &Run, path: &str) -> Result<Option<Rgb>, FigureError> {
    let path = run.root().join(path);
    read_bytes_if_there(&path)?
        .map(|bytes| Rgb::photograph(&path, &bytes))
        .transpose()
}

/// Where a picture lies within a cell, centered and in proportion, and its scale.
fn fitted([left, top, width, height]: [f64; 4], picture: &Rgb) -> ([f64; 4], f64) {
    let (w, h) = (picture.width as f64, picture.height as f64);
    let scale = (width / w).min(height / h);
    let (w, h) = (w * scale, h * scale);
    let place = [left + (width - w) / 2.0, top + (height - h) / 2.0, w, h];
    (place, scale)
}

fn embed(svg: &mut Svg, place: [f64; 4], picture: &Rgb, label: &str) -> Result<(), FigureError> {
    let bytes = picture
        .reduced((place[2].max(place[3]) * 2.5) as usize)
        .jpeg()?;
    let mime = "image/jpeg";
    svg.picture(place, &Embedded { mime, bytes }, label);
    Ok(())
}

/// The cosines of one key point with the target's patches, read at pixels.
struct Heat<'a> {
    values: &'a [f32],
    grid: [usize; 2],
    /// Left, top, width and height of the photograph within the network's square, as shares of it.
    inside: [f64; 4],
    size: [f64; 2],
    least: f64,
    range: f64,
}

impl<'a> Heat<'a> {
    fn new(values: &'a [f32], grid: [usize; 2], picture: &Rgb, padded: bool) -> Self {
        let size = [picture.width as f64, picture.height as f64];
        let longer = size[0].max(size[1]);
        let inside = if padded {
            let (w, h) = (size[0] / longer, size[1] / longer);
            [(1.0 - w) / 2.0, (1.0 - h) / 2.0, w, h]
        } else {
            [0.0, 0.0, 1.0, 1.0]
        };
        let bounds = values
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |ends, &value| {
                (ends.0.min(value.into()), ends.1.max(value.into()))
            });
        Self {
            values,
            grid,
            inside,
            size,
            least: bounds.0,
            range: (bounds.1 - bounds.0).max(1e-12),
        }
    }

    /// 0 for the least similar patch, 1 for the most; between patches bilinearly.
    fn at(&self, x: usize, y: usize) -> f64 {
        let [rows, columns] = self.grid;
        let place = |at: usize, axis: usize, count: usize| {
            let share = (at as f64 + 0.5) / self.size[axis];
            let share = self.inside[axis] + share * self.inside[axis + 2];
            (share * count as f64 - 0.5).clamp(0.0, count as f64 - 1.0)
        };
        let (across, down) = (place(x, 0, columns), place(y, 1, rows));
        let (x0, y0) = (across.floor() as usize, down.floor() as usize);
        let (x1, y1) = ((x0 + 1).min(columns - 1), (y0 + 1).min(rows - 1));
        let value = |row: usize, column: usize| f64::from(self.values[row * columns + column]);
        let mix = |a: f64, b: f64, part: f64| a * (1.0 - part) + b * part;
        let above = mix(value(y0, x0), value(y0, x1), across.fract());
        let below = mix(value(y1, x0), value(y1, x1), across.fract());
        (mix(above, below, down.fract()) - self.least) / self.range
    }
}

pub(crate) fn draw_similarity(run: &Run) -> Result<Plate, FigureError> {
    const NAME: &str = "similarity";
    const HEADING: &str = "Similarity to a key point";
    let listed = pairs(run)?;
    let path = run.root().join("examples.safetensors");
    let bytes = read_bytes_if_there(&path)?;
    let (Some(bytes), false) = (bytes, listed.is_empty()) else {
        let why = "The run stored no example pairs.";
        return Ok(figure::absent(NAME, HEADING, why));
    };
    let maps = Maps::new(&path, &bytes)?;
    let padded = run.is_padded();
    let slots = &run.selection;
    let columns = slots.len() + 1;
    let pitch = ((theme::FULL_WIDTH - 2.0 * theme::MARGIN + 6.0) / columns as f64).floor();
    let width = pitch - 6.0;
    let mut svg = Svg::new(NAME, theme::FULL_WIDTH);
    let left = |column: usize| theme::MARGIN + column as f64 * pitch;
    let heads = slots.iter().enumerate();
    let mut top = marks_key(&mut svg, theme::MARGIN, theme::MARGIN, true) + 4.0;
    svg.text([left(0), top + 13.0], Type::HEAD, "reference");
    for (column, (facet, layer)) in heads {
        let name = facet.name();
        let style = Type::HEAD;
        svg.text([left(column + 1), top + 13.0], style, name);
        let after = left(column + 1) + text::width(name, style.size, style.weight) + 7.0;
        svg.text([after, top + 13.0], Type::LABEL, &format!("layer {layer}"));
    }
    top += 22.0;
    let mut rows = Vec::new();
    let mut gone = false;
    for (number, pair) in listed.iter().take(MOST_PAIRS).enumerate() {
        let Some(point) = pair.shown() else {
            continue;
        };
        let (source, target) = (
            photograph(run, &pair.source)?,
            photograph(run, &pair.target)?,
        );
        gone |= source.is_none() || target.is_none();
        // As high as the higher photograph needs, within reason.
        let heights = [&source, &target].into_iter().flatten();
        let heights = heights.map(|photo| width * photo.height as f64 / photo.width as f64);
        let height = heights.fold(60.0, f64::max).min(width).ceil();
        let cell = |column: usize| [left(column), top, width, height];
        if let Some(source) = &source {
            let (place, scale) = fitted(cell(0), source);
            embed(&mut svg, place, source, &format!("source of {}", pair.pair))?;
            let [x, y] = pair.source_points[point];
            let at = [place[0] + (x + 0.5) * scale, place[1] + (y + 0.5) * scale];
            svg.ring(at, 6.0, TRUE_POINT);
        } else {
            missing(&mut svg, cell(0));
        }
        for (column, &(facet, layer)) in slots.iter().enumerate() {
            let slot = Slot::Probe(facet, layer);
            let found = pair.matches.get(&slot.to_string());
            let (Some(target), Some(found)) = (&target, found) else {
                missing(&mut svg, cell(column + 1));
                continue;
            };
            let (place, scale) = fitted(cell(column + 1), target);
            let Some(map) = maps.of(number, slot, pair, point)? else {
                let problem = format!("has no {number}.{slot}");
                return Err(FigureError::malformed(&path, problem));
            };
            // No more pixels than are shown, so that heat is computed only there.
            let small = target.reduced((place[2].max(place[3]) * 2.5) as usize);
            let heat = Heat::new(&map.values, map.grid, &small, padded);
            let picture = small.heated(|x, y| heat.at(x, y));
            embed(
                &mut svg,
                place,
                &picture,
                &format!("{slot}, target of {}", pair.pair),
            )?;
            let on =
                |[x, y]: [f64; 2]| [place[0] + (x + 0.5) * scale, place[1] + (y + 0.5) * scale];
            let (truth, matched) = (pair.true_points[point], found[point]);
            svg.ring(on(truth), 6.0, TRUE_POINT);
            svg.cross(on(matched), 5.0, MATCH);
            let distance = (truth[0] - matched[0]).hypot(truth[1] - matched[1]);
            let is_right = distance <= pair.limit();
            let verdict = if is_right { "right" } else { "wrong" };
            let style = Type::NOTE.anchor(Anchor::End);
            let note = format!("{verdict}, {distance:.0} px off");
            svg.text([place[0] + place[2], top + height + 14.0], style, &note);
            let mut cells = vec![pair.pair.clone(), pair.category.clone(), point.to_string()];
            cells.extend(figure::slot_cells(slot));
            cells.extend(
                [truth[0], truth[1], matched[0], matched[1], distance]
                    .map(|value| value.to_string()),
            );
            cells.push(u8::from(is_right).to_string());
            rows.push(cells);
        }
        let note = format!("{}, point {}", pair.category, point + 1);
        svg.text([left(0), top + height + 14.0], Type::NOTE, &note);
        top += height + 24.0;
    }
    let mut notes = vec![
        figure::provenance(run),
        "The scale of similarity is each picture's own. Right: within a tenth of the longer side of the target's box.".to_owned(),
        figure::selection_note(run).to_owned(),
    ];
    if gone {
        notes.push("A photograph is no longer where the run found it.".to_owned());
    }
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, top - 2.0, std::slice::from_ref(&caption));
    let header = [
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
    ];
    let csv = figure::table(&header, rows)?;
    let title = format!("{HEADING}: {}", figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}

/// What the marks in targets stand for, and the colors of similarity; gives the position below.
fn marks_key(svg: &mut Svg, left: f64, top: f64, is_one_line: bool) -> f64 {
    const LINE: f64 = 22.0;
    const STEPS: usize = 24;
    const STEP: f64 = 5.0;
    let mut place = [left, top];
    let width = |text: &str| text::width(text, Type::LABEL.size, Type::LABEL.weight);
    let next = |place: &mut [f64; 2], taken: f64| {
        if is_one_line {
            place[0] += taken + 26.0;
        } else {
            place[1] += LINE;
        }
    };
    for (is_ring, name) in [
        (true, "the key point, in targets where it truly is"),
        (false, "the most similar pixel"),
    ] {
        let at = [place[0] + 7.0, place[1] + 9.0];
        if is_ring {
            svg.ring(at, 5.0, TRUE_POINT);
        } else {
            svg.cross(at, 4.5, MATCH);
        }
        svg.text([place[0] + 20.0, place[1] + 14.0], Type::LABEL, name);
        next(&mut place, 20.0 + width(name));
    }
    let [mut x, y] = place;
    for (name, follows) in [("cosine similarity: least", true), ("most", false)] {
        svg.text([x, y + 14.0], Type::LABEL, name);
        x += width(name) + 7.0;
        if follows {
            for step in 0..STEPS {
                let color = theme::heat((step as f64 + 0.5) / STEPS as f64);
                svg.cell([x + step as f64 * STEP, y + 3.0, STEP + 0.3, 12.0], color);
            }
            x += STEPS as f64 * STEP + 7.0;
        }
    }
    place[1] + LINE
}

/// The source photograph of a pair with key points, for a figure of its targets; gives the places
/// right of it and below it.
fn reference(
    svg: &mut Svg,
    run: &Run,
    pair: &Pair,
    points: &[[f64; 2]],
) -> Result<[f64; 2], FigureError> {
    const ROOM: [f64; 2] = [190.0, 150.0];
    let cell = [theme::MARGIN, theme::MARGIN, ROOM[0], ROOM[1]];
    let Some(source) = photograph(run, &pair.source)? else {
        missing(svg, cell);
        return Ok([cell[0] + ROOM[0], cell[1] + ROOM[1]]);
    };
    let ([.., width, height], scale) = fitted(cell, &source);
    let place = [cell[0], cell[1], width, height];
    embed(svg, place, &source, &format!("source of {}", pair.pair))?;
    for [x, y] in points {
        let at = [place[0] + (x + 0.5) * scale, place[1] + (y + 0.5) * scale];
        svg.ring(at, 4.5, TRUE_POINT);
    }
    Ok([place[0] + width, place[1] + height])
}

/// A cell for every layer (across, in bands of at most twelve) and facet (down), as high as the target
/// needs. `paint` fills a cell and gives the note under it, or `None` where nothing is stored. Returns
/// where the cells end.
fn by_layer(
    svg: &mut Svg,
    mut top: f64,
    run: &Run,
    target: &Rgb,
    facets: &[Facet],
    mut paint: impl FnMut(&mut Svg, [f64; 4], Facet, u32) -> Result<Option<String>, FigureError>,
) -> Result<f64, FigureError> {
    const LABEL_WIDTH: f64 = 62.0;
    const PER_BAND: usize = 12;
    let layers = run.layers();
    let columns = layers.len().clamp(1, PER_BAND);
    let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - LABEL_WIDTH;
    let pitch = (room / columns as f64).min(230.0).floor();
    let width = pitch - 3.0;
    let height = (width * target.height as f64 / target.width as f64).min(width * 1.4);
    for band in layers.chunks(columns) {
        let left = |index: usize| theme::MARGIN + LABEL_WIDTH + index as f64 * pitch;
        svg.text([theme::MARGIN, top + 12.0], Type::LABEL, "layer");
        for (index, layer) in band.iter().enumerate() {
            let place = [left(index) + width / 2.0, top + 12.0];
            let style = Type::LABEL.anchor(Anchor::Middle);
            svg.text(place, style, &layer.to_string());
        }
        top += 20.0;
        for &facet in facets {
            let place = [theme::MARGIN, top + height / 2.0 + 5.0];
            svg.text(place, Type::HEAD, facet.name());
            for (index, &layer) in band.iter().enumerate() {
                let cell = [left(index), top, width, height];
                match paint(svg, cell, facet, layer)? {
                    Some(note) => {
                        let place = [left(index) + width / 2.0, top + height + 13.0];
                        svg.text(place, Type::NOTE.anchor(Anchor::Middle), &note);
                    }
                    None => missing(svg, cell),
                }
            }
            top += height + 20.0;
        }
        top += 6.0;
    }
    Ok(top)
}

/// The similarity of one key point of the first pair with its target, at every layer.
pub(crate) fn draw_similarity_by_layer(run: &Run) -> Result<Plate, FigureError> {
    const NAME: &str = "similarity-by-layer";
    const HEADING: &str = "Similarity to a key point by layer";
    let listed = pairs(run)?;
    let path = run.root().join("examples.safetensors");
    let (Some(bytes), Some(pair)) = (read_bytes_if_there(&path)?, listed.first()) else {
        let why = "The run stored no example pairs.";
        return Ok(figure::absent(NAME, HEADING, why));
    };
    let (Some(target), Some(point)) = (photograph(run, &pair.target)?, pair.shown()) else {
        let why = "The photographs are no longer where the run found them.";
        return Ok(figure::absent(NAME, HEADING, why));
    };
    let maps = Maps::new(&path, &bytes)?;
    let facets: Vec<Facet> = Facet::ALL
        .into_iter()
        .filter(|facet| run.probes().iter().any(|slot| slot.0 == *facet))
        .collect();
    let padded = run.is_padded();
    let mut svg = Svg::new(NAME, theme::FULL_WIDTH);
    let mut rows = Vec::new();
    let [right, below] = reference(&mut svg, run, pair, &pair.source_points[point..=point])?;
    let title = format!("{}, key point {}", pair.category, point + 1);
    svg.text([right + 16.0, theme::MARGIN + 14.0], Type::HEAD, &title);
    marks_key(&mut svg, right + 16.0, theme::MARGIN + 28.0, false);
    let top = by_layer(
        &mut svg,
        below + 14.0,
        run,
        &target,
        &facets,
        |svg, cell, facet, layer| {
            let slot = Slot::Probe(facet, layer);
            let found = pair.matches.get(&slot.to_string());
            let (Some(found), Some(map)) = (found, maps.of(0, slot, pair, point)?) else {
                return Ok(None);
            };
            let (place, scale) = fitted(cell, &target);
            let small = target.reduced((place[2].max(place[3]) * 2.5) as usize);
            let heat = Heat::new(&map.values, map.grid, &small, padded);
            let picture = small.heated(|x, y| heat.at(x, y));
            embed(
                svg,
                place,
                &picture,
                &format!("{slot}, target of {}", pair.pair),
            )?;
            let on =
                |[x, y]: [f64; 2]| [place[0] + (x + 0.5) * scale, place[1] + (y + 0.5) * scale];
            let (truth, matched) = (pair.true_points[point], found[point]);
            svg.ring(on(truth), 3.5, TRUE_POINT);
            svg.cross(on(matched), 3.0, MATCH);
            let distance = (truth[0] - matched[0]).hypot(truth[1] - matched[1]);
            let mut cells = figure::slot_cells(slot).to_vec();
            cells.extend([pair.pair.clone(), point.to_string(), distance.to_string()]);
            rows.push(cells);
            Ok(Some(format!("{distance:.0} px")))
        },
    )?;
    if rows.is_empty() {
        let why = "The run stored no similarity maps of all layers.";
        return Ok(figure::absent(NAME, HEADING, why));
    }
    let caption = [
        figure::provenance(run),
        format!(
            "Pair {}. Below each target: how far off the most similar pixel is. The scale of similarity is each picture's own.",
            pair.pair
        ),
    ]
    .join(" ");
    let height = svg.notes(theme::MARGIN, top - 8.0, std::slice::from_ref(&caption));
    let csv = figure::table(&["layer", "facet", "pair", "point", "distance_px"], rows)?;
    let title = format!("{HEADING}: {}", figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}

/// The cosines of one key point with the target's patches, and the rows and columns of those.
struct PatchMap {
    values: Vec<f32>,
    grid: [usize; 2],
}

/// The stored maps of the example pairs.
struct Maps<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl<'a> Maps<'a> {
    fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, FigureError> {
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| {
            FigureError::malformed(path, format!("is not a safetensors file ({error})"))
        })?;
        Ok(Self { path, tensors })
    }

    /// The map of a key point; `None` where the slot is not stored.
    fn of(
        &self,
        number: usize,
        slot: Slot,
        pair: &Pair,
        point: usize,
    ) -> Result<Option<PatchMap>, FigureError> {
        let bad = |problem| FigureError::malformed(self.path, problem);
        let name = format!("{number}.{slot}");
        let Ok(tensor) = self.tensors.tensor(&name) else {
            return Ok(None);
        };
        let (Dtype::F32, &[count, rows, columns]) = (tensor.dtype(), tensor.shape()) else {
            return Err(bad(format!(
                "has {name} of another type or shape than expected"
            )));
        };
        if count != pair.true_points.len() || rows * columns == 0 {
            return Err(bad(format!("has {name} of {count} points")));
        }
        let values = floats(tensor.data());
        let patches = rows * columns;
        let of_point = values[point * patches..(point + 1) * patches].to_vec();
        Ok(Some(PatchMap {
            values: of_point,
            grid: [rows, columns],
        }))
    }
}

/// All key points of one pair and what each layer takes them for.
pub(crate) fn draw_matches(run: &Run) -> Result<Plate, FigureError> {
    const NAME: &str = "matches-by-layer";
    const HEADING: &str = "Matches of one pair by layer";
    let none = || figure::absent(NAME, HEADING, "The run stored no matches of example pairs.");
    let listed = pairs(run)?;
    let (Some(pair), Some((row, matches))) = (listed.first(), stored_matches(run, &listed)?) else {
        return Ok(none());
    };
    let Some(target) = photograph(run, &pair.target)? else {
        let why = "The photographs are no longer where the run found them.";
        return Ok(figure::absent(NAME, HEADING, why));
    };
    let mut svg = Svg::new(NAME, theme::FULL_WIDTH);
    let mut rows = Vec::new();
    let [right, below] = reference(&mut svg, run, pair, &pair.source_points)?;
    let mut at = [right + 24.0, theme::MARGIN + 14.0];
    svg.text([at[0] - 8.0, at[1]], Type::HEAD, &pair.category);
    for (is_right, name) in [
        (
            true,
            "match within a tenth of the longer side of the target's box",
        ),
        (
            false,
            "match beyond it; the line leads from where the point truly is",
        ),
    ] {
        at[1] += 22.0;
        verdict(&mut svg, [at[0], at[1] - 5.0], is_right);
        svg.text([at[0] + 12.0, at[1]], Type::LABEL, name);
    }
    let faded = target.faded();
    let facets = Facet::ALL.into_iter();
    let facets: Vec<Facet> = facets
        .filter(|facet| matches.keys().any(|slot| slot.0 == *facet))
        .collect();
    let top = by_layer(
        &mut svg,
        below + 14.0,
        run,
        &target,
        &facets,
        |svg, cell, facet, layer| {
            let Some(found) = matches.get(&(facet, layer)) else {
                return Ok(None);
            };
            let (place, scale) = fitted(cell, &target);
            let slot = Slot::Probe(facet, layer);
            embed(
                svg,
                place,
                &faded,
                &format!("{slot}, target of {}", pair.pair),
            )?;
            let on =
                |[x, y]: [f64; 2]| [place[0] + (x + 0.5) * scale, place[1] + (y + 0.5) * scale];
            let mut right = 0;
            for (truth, matched) in pair.true_points.iter().zip(found) {
                let distance = (truth[0] - matched[0]).hypot(truth[1] - matched[1]);
                let is_right = distance <= pair.limit();
                right += usize::from(is_right);
                let paint = if is_right { RIGHT } else { WRONG };
                svg.line(on(*truth), on(*matched), paint, 1.6, "");
                verdict(svg, on(*matched), is_right);
            }
            let mut cells = figure::slot_cells(slot).to_vec();
            cells.extend([
                pair.pair.clone(),
                right.to_string(),
                found.len().to_string(),
            ]);
            rows.push(cells);
            Ok(Some(format!("{right}/{}", found.len())))
        },
    )?;
    let caption = [
        figure::provenance(run),
        format!(
            "Pair {}, row {row} of pairs.csv. Below each target: how many matches are right.",
            pair.pair
        ),
    ]
    .join(" ");
    let height = svg.notes(theme::MARGIN, top - 8.0, std::slice::from_ref(&caption));
    let csv = figure::table(&["layer", "facet", "pair", "right", "points"], rows)?;
    let title = format!("{HEADING}: {}", figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}

/// Colors on pale photographs, the same on every background.
const RIGHT: theme::Paint = theme::Paint {
    name: "right",
    hex: "#0072b2",
};
const WRONG: theme::Paint = theme::Paint {
    name: "wrong",
    hex: "#d55e00",
};

/// A match: a dot where it is right, a cross where it is wrong, so that gray print tells them apart.
fn verdict(svg: &mut Svg, at: [f64; 2], is_right: bool) {
    if is_right {
        svg.dot(at, 3.4, RIGHT);
    } else {
        svg.cross(at, 3.0, "#ff9d3c");
    }
}

type Matches = BTreeMap<(Facet, u32), Vec<[f64; 2]>>;

/// The matches of the first listed pair by slot, and its row in `pairs.csv`.
fn stored_matches(run: &Run, listed: &[Pair]) -> Result<Option<(usize, Matches)>, FigureError> {
    let table = run.root().join("pairs.csv");
    let path = run.root().join("pairs.safetensors");
    let (Some(text), Some(bytes), Some(pair)) = (
        read_if_there(&table)?,
        read_bytes_if_there(&path)?,
        listed.first(),
    ) else {
        return Ok(None);
    };
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Result<Vec<csv::StringRecord>, _> = reader.records().collect();
    let names = names
        .map_err(|error| FigureError::malformed(&table, format!("is not a table ({error})")))?;
    let row = names
        .iter()
        .position(|record| record.get(0) == Some(&pair.pair));
    let Some(row) = row else {
        return Err(FigureError::malformed(
            &table,
            format!("does not list {}, which examples.json does", pair.pair),
        ));
    };
    let bad = |problem| FigureError::malformed(&path, problem);
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| bad(format!("is not a safetensors file ({error})")))?;
    let index = tensors
        .tensor("pair")
        .map_err(|_| bad("has no pair".to_owned()))?;
    let of_pair = index.data().as_chunks().0.iter();
    let of_pair: Vec<bool> = of_pair
        .map(|&bytes| u32::from_le_bytes(bytes) as usize == row)
        .collect();
    let mut matches = Matches::new();
    for (facet, layer) in run.probes() {
        let name = format!("match.{}", Slot::Probe(facet, layer));
        let Ok(tensor) = tensors.tensor(&name) else {
            continue;
        };
        let numbers = tensor.data().as_chunks::<2>().0;
        let numbers = numbers
            .iter()
            .map(|&bytes| f64::from(u16::from_le_bytes(bytes)));
        let numbers: Vec<f64> = numbers.collect();
        let points = numbers.as_chunks::<2>().0;
        if tensor.dtype() != Dtype::U16 || points.len() != of_pair.len() {
            return Err(bad(format!(
                "has {name} of another type or length than expected"
            )));
        }
        let found: Vec<[f64; 2]> = points
            .iter()
            .zip(&of_pair)
            .filter(|(_, here)| **here)
            .map(|(point, _)| *point)
            .collect();
        if found.len() != pair.true_points.len() {
            return Err(bad(format!("has {} points of {}", found.len(), pair.pair)));
        }
        matches.insert((facet, layer), found);
    }
    Ok((!matches.is_empty()).then_some((row, matches)))
}

/// PCK of every category at each facet's best layer, as a table whose cells are shaded.
pub(crate) fn draw_categories(run: &Run) -> Result<Plate, FigureError> {
    const NAME: &str = "pck-by-category";
    const HEADING: &str = "Correct key points by category";
    const LABEL_WIDTH: f64 = 110.0;
    const ROW: f64 = 24.0;
    let value = |slot: Slot, class: usize| {
        let class = class.to_string();
        run.metrics.class(slot, "pck", &class).value
    };
    let slots: Vec<Slot> = run
        .selection
        .iter()
        .map(|&(facet, layer)| Slot::Probe(facet, layer))
        .collect();
    let categories: Vec<usize> = (0..run.classes.len())
        .filter(|&class| slots.iter().any(|&slot| value(slot, class).is_some()))
        .collect();
    if categories.is_empty() {
        let why = "The run has no PCK by category at the threshold 0.1.";
        return Ok(figure::absent(NAME, HEADING, why));
    }
    let mut svg = Svg::new(NAME, theme::COLUMN_WIDTH);
    let left = theme::MARGIN + LABEL_WIDTH;
    let width = (theme::COLUMN_WIDTH - theme::MARGIN - left) / slots.len() as f64;
    let top = theme::MARGIN + 38.0;
    for (column, &slot) in slots.iter().enumerate() {
        let middle = left + (column as f64 + 0.5) * width;
        let (name, layer) = figure::slot_label(slot);
        let style = Type::HEAD.anchor(Anchor::Middle);
        svg.text([middle, theme::MARGIN + 12.0], style, name);
        let style = Type::NOTE.anchor(Anchor::Middle);
        svg.text([middle, theme::MARGIN + 28.0], style, &layer);
    }
    for (row, &class) in categories.iter().enumerate() {
        let y = top + row as f64 * ROW;
        let name = text::fit(
            &run.classes[class].name,
            LABEL_WIDTH - 8.0,
            Type::LABEL.size,
            Type::LABEL.weight,
        );
        svg.text([theme::MARGIN, y + 16.0], Type::LABEL, &name);
        for (column, &slot) in slots.iter().enumerate() {
            let x = left + column as f64 * width;
            let value = value(slot, class);
            if let Some(value) = value {
                svg.cell([x, y, width - 2.0, ROW - 2.0], theme::shade(value));
            }
            // Dark cells take light figures; the value itself says how dark a cell is.
            let style = Type::LABEL.anchor(Anchor::Middle);
            let place = [x + width / 2.0 - 1.0, y + 16.0];
            match value {
                Some(value) if value < 0.55 => {
                    svg.text_in(place, style, "#16191d", &format!("{value:.2}"))
                }
                Some(value) => svg.text_in(place, style, "#ffffff", &format!("{value:.2}")),
                None => svg.text(place, style, "undefined"),
            }
        }
    }
    let bottom = top + categories.len() as f64 * ROW;
    let caption = [
        figure::provenance(run),
        "PCK@0.1 per point.".to_owned(),
        figure::selection_note(run).to_owned(),
    ]
    .join(" ");
    let height = svg.notes(theme::MARGIN, bottom + 6.0, std::slice::from_ref(&caption));
    let rows = slots.iter().flat_map(|&slot| {
        categories.iter().map(move |&class| {
            let mut cells = figure::slot_cells(slot).to_vec();
            cells.extend([
                run.classes[class].name.clone(),
                figure::cell(value(slot, class)),
            ]);
            cells
        })
    });
    let csv = figure::table(&["layer", "facet", "category", "pck"], rows)?;
    let title = format!("{HEADING}: {}", figure::provenance(run));
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn(NAME, HEADING.to_owned(), drawing, csv))
}
