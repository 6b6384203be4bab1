//! The figures of what taking position out does: `causes` (arrows), `cause-ranks` (how many directions it takes) and
//! `cause-maps` (what is predicted where, before and after).
//!
//! Everything is read from `causes.json` of the comparison, and from the runs' own maps.

mod maps;
mod ranks;

use std::borrow::Cow;
use std::path::Path;

use serde::Deserialize;
use vitscope_run::{Facet, Slot, files};

use crate::chart::{self, Chart, Frame};
use crate::error::FigureError;
use crate::members::Member;
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::text;
use crate::theme::{self, Mark, Paint};

const LEFT: f64 = 66.0;
const GAP: f64 = 30.0;
const HEIGHT: f64 = 230.0;
/// Panels beside one another, and in all.
const PER_BAND: usize = 3;
const MOST: usize = 12;

/// `causes.json`, as far as figures need it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Causes {
    rows: Vec<StoredCause>,
    said: Vec<Said>,
    #[serde(default)]
    gaps: Vec<Gap>,
}

/// What one run says of one slot.
#[derive(Debug, Deserialize)]
struct StoredCause {
    model: String,
    facet: Facet,
    layer: usize,
    transform: String,
    rank: Option<usize>,
    control: bool,
    seed: u64,
    miou: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    difference: Option<f64>,
    effect: Option<f64>,
    truth: Option<f64>,
    collapsed: bool,
}

/// What can be said of an edit in a slot.
#[derive(Debug, Deserialize)]
struct Said {
    model: String,
    facet: Facet,
    layer: usize,
    transform: String,
    cause: String,
    sentence: String,
}

/// A gap between two models.
#[derive(Debug, Deserialize)]
struct Gap {
    sentence: String,
}

impl Causes {
    /// Reads the file; `None` if there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, FigureError> {
        let Some(bytes) = files::read_if_there(path)? else {
            return Ok(None);
        };
        let causes: Self = serde_json::from_slice(&bytes).map_err(|error| {
            FigureError::compared(path, format!("is not as expected ({error})"))
        })?;
        Ok((!causes.rows.is_empty()).then_some(causes))
    }

    /// The slots of all models, those of the largest positional effect first chosen, then in order.
    fn slots(&self) -> Vec<(&str, Slot)> {
        let mut slots: Vec<(&str, Slot, f64)> = Vec::new();
        for row in &self.rows {
            let (facet, layer) = (row.facet, row.layer);
            let slot = Slot { facet, layer };
            let effect = match row.transform.as_str() {
                "none" => row.effect.unwrap_or(0.0),
                _ => 0.0,
            };
            let known = slots
                .iter_mut()
                .find(|known| (known.0, known.1) == (&row.model, slot));
            match known {
                Some(known) => known.2 = known.2.max(effect),
                None => slots.push((&row.model, slot, effect)),
            }
        }
        slots.sort_by(|a, b| b.2.total_cmp(&a.2));
        slots.truncate(MOST);
        slots.sort_by_key(|slot| (slot.0, slot.1.facet, slot.1.layer));
        slots.into_iter().map(|slot| (slot.0, slot.1)).collect()
    }

    fn of<'a>(&'a self, model: &'a str, slot: Slot) -> impl Iterator<Item = &'a StoredCause> {
        let own = move |row: &&StoredCause| {
            (row.model.as_str(), row.facet, row.layer) == (model, slot.facet, slot.layer)
        };
        self.rows.iter().filter(own)
    }

    /// All transforms but none, in the order in which they came; draws of random directions as one.
    fn transforms(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for row in self.rows.iter().filter(|row| row.transform != "none") {
            if !names
                .iter()
                .any(|name| undrawn(name) == undrawn(&row.transform))
            {
                names.push(&row.transform);
            }
        }
        names
    }

    /// Whether a transform takes out something else than position.
    fn is_control(&self, transform: &str) -> bool {
        let mut rows = self.rows.iter();
        let control = rows.any(|row| row.transform == transform && row.control);
        control || transform.starts_with("standardize")
    }

    /// The color of each edit; of controls gray.
    fn paint(&self, transform: &str) -> Paint {
        let edits = self
            .transforms()
            .into_iter()
            .filter(|name| !self.is_control(name));
        let place = edits.into_iter().position(|name| name == transform);
        place.map_or(theme::MUTED, theme::series)
    }
}

/// A transform's name without which draw of random directions it is.
fn undrawn(name: &str) -> Cow<'_, str> {
    match name.split_once('@').filter(|_| name.starts_with("random:")) {
        Some((head, draw)) => {
            let rest = draw.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{head}{rest}").into()
        }
        None => name.into(),
    }
}

/// The middle of some values; of an even number the mean of the two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// A transform of a slot over its seeds, and over draws of random directions.
struct SeedMedian {
    effect: f64,
    miou: f64,
    /// From the least to the most of seeds and draws.
    effect_range: (f64, f64),
    miou_range: (f64, f64),
    collapsed: bool,
}

fn point<'a>(rows: impl Iterator<Item = &'a StoredCause>, transform: &str) -> Option<SeedMedian> {
    let own = |row: &&StoredCause| undrawn(&row.transform) == undrawn(transform);
    let rows: Vec<&StoredCause> = rows.filter(own).collect();
    let values = |of: fn(&StoredCause) -> Option<f64>| {
        rows.iter().filter_map(|row| of(row)).collect::<Vec<f64>>()
    };
    let range = |values: &[f64]| {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (least, most)
    };
    let (effect, miou) = (values(|row| row.effect), values(|row| row.miou));
    Some(SeedMedian {
        effect_range: range(&effect),
        miou_range: range(&miou),
        effect: median(effect)?,
        miou: median(miou)?,
        collapsed: rows.iter().any(|row| row.collapsed),
    })
}

/// The figures; none where nothing was taken out.
pub(crate) fn draw(members: &[&Member], out: &Path) -> Result<Vec<Plate>, FigureError> {
    let Some(causes) = Causes::read(&out.join("causes.json"))? else {
        return Ok(Vec::new());
    };
    let mut plates = vec![arrows(&causes)?];
    plates.extend(ranks::draw(&causes)?);
    plates.extend(maps::draw(&causes, members)?);
    Ok(plates)
}

/// One panel for each slot: from the plain probe to every transform.
fn arrows(causes: &Causes) -> Result<Plate, FigureError> {
    const NAME: &str = "causes";
    const HEADING: &str = "What taking position out does";
    let slots = causes.slots();
    let all: Vec<&StoredCause> = causes.rows.iter().collect();
    if all
        .iter()
        .all(|row| row.effect.is_none() || row.miou.is_none())
    {
        let why = "No run has both mIoU and a positional effect beyond chance.";
        return Ok(sheet::absent(NAME, HEADING, why));
    }
    let columns = slots.len().clamp(1, PER_BAND);
    let page = if columns == 1 {
        theme::COLUMN_WIDTH
    } else {
        theme::FULL_WIDTH
    };
    let mut sheet = Sheet::new(NAME, HEADING, page, &[]);
    let mut top = key(&mut sheet.svg, causes) + 26.0;
    let width = (page - theme::MARGIN - LEFT - (columns as f64 - 1.0) * GAP) / columns as f64;
    let shown = |row: &&StoredCause| {
        slots.contains(&(
            row.model.as_str(),
            Slot {
                facet: row.facet,
                layer: row.layer,
            },
        ))
    };
    let shown: Vec<&StoredCause> = all.iter().copied().filter(shown).collect();
    let truths = shown.iter().filter_map(|row| row.truth);
    let x = Scale::linear(shown.iter().filter_map(|row| row.effect).chain(truths));
    let y = Scale::linear(shown.iter().filter_map(|row| row.miou));
    let models = causes.models();
    let of_models = slots.chunk_by(|one, other| one.0 == other.0);
    let bands = of_models.flat_map(|of_model| of_model.chunks(columns));
    for slots in bands {
        // A model's name is longer than a panel is wide: it stands above its band.
        if let (2.., Some((model, _))) = (models, slots.first()) {
            let room = theme::FULL_WIDTH - theme::MARGIN - LEFT;
            sheet.svg.panel([LEFT, top - 8.0], room, model);
            top += 22.0;
        }
        for (column, &(model, slot)) in slots.iter().enumerate() {
            let left = LEFT + column as f64 * (width + GAP);
            let title = format!("{} {}", slot.facet, slot.layer);
            sheet.svg.panel([left, top - 8.0], width, &title);
            let frame = Frame {
                place: [left, top, width, HEIGHT],
                x: x.clone(),
                y: y.clone(),
                x_name: "positional effect beyond chance",
                y_name: "mIoU",
                labels: [true, column == 0],
            };
            let mut chart = frame.open(&mut sheet.svg);
            draw_slot(&mut chart, causes, model, slot);
        }
        top += HEIGHT + 72.0;
    }
    sheet.note("Each arrow: from the plain probe (black) to the same with something taken out, medians over seeds; upright lines at their ends: all seeds and draws. Gray: controls, which take out something else than position. Dashed: the ground truth's own positional effect. Hollow: collapsed.");
    if slots.len() == MOST {
        sheet.note("The twelve slots with the largest positional effect.");
    }
    sheet.notes(causes.summary());
    let header = [
        "model",
        "layer",
        "facet",
        "transform",
        "seed",
        "miou",
        "nmi_excess",
        "difference",
        "low",
        "high",
        "says",
    ];
    sheet.table(&header, causes.rows.iter().map(|row| causes.cells(row)));
    sheet.finish(top - 26.0)
}

/// What each verdict is called in a caption, those that say most first.
const VERDICTS: [(&str, &str); 9] = [
    ("lowers", "Position lowers mIoU"),
    ("carries", "Taking it out lowers mIoU more than controls do"),
    ("rises-as-control", "mIoU rises, as under a control"),
    ("falls-as-control", "mIoU falls, as under a control"),
    ("no-difference", "No difference beyond the intervals"),
    (
        "nothing-to-take-out",
        "No positional effect beyond the ground truth's",
    ),
    (
        "still-there",
        "The edit did not take the positional effect out",
    ),
    ("collapsed", "Collapsed, so that nothing can be said"),
    ("unknown", "Nothing can be said"),
];

impl Causes {
    /// Everything that is said of edits and gaps, one sentence each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let said = self.said.iter().map(|said| said.sentence.clone());
        let gaps = self.gaps.iter().map(|gap| gap.sentence.clone());
        said.chain(gaps).collect()
    }

    /// The verdicts, each with its slots and edits.
    fn summary(&self) -> Vec<String> {
        let several = self.models() > 1;
        let mut lines = Vec::new();
        for (cause, words) in VERDICTS {
            let mut places: Vec<(String, Vec<&str>)> = Vec::new();
            for said in self.said.iter().filter(|said| said.cause == cause) {
                let mut place = format!("{} {}", said.facet, said.layer);
                if several {
                    place = format!("{}, {place}", said.model);
                }
                match places.last_mut() {
                    Some(last) if last.0 == place => last.1.push(&said.transform),
                    _ => places.push((place, vec![&said.transform])),
                }
            }
            let places = places
                .into_iter()
                .map(|(place, edits)| format!("{place} ({})", edits.join(", ")));
            let places: Vec<String> = places.collect();
            if !places.is_empty() {
                lines.push(format!("{words}: {}.", places.join("; ")));
            }
        }
        lines
    }

    fn models(&self) -> usize {
        let mut names: Vec<&str> = self.rows.iter().map(|row| row.model.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names.len()
    }

    fn cells(&self, row: &StoredCause) -> Vec<String> {
        let number = crate::words::cell;
        let own = |said: &&Said| {
            (&said.model, said.facet, said.layer, &said.transform)
                == (&row.model, row.facet, row.layer, &row.transform)
        };
        let said = self.said.iter().find(own);
        vec![
            row.model.clone(),
            row.layer.to_string(),
            row.facet.to_string(),
            row.transform.clone(),
            row.seed.to_string(),
            number(row.miou),
            number(row.effect),
            number(row.difference),
            number(row.low),
            number(row.high),
            said.map_or(String::new(), |said| said.cause.clone()),
        ]
    }
}

/// What colors mean.
fn key(svg: &mut Svg, causes: &Causes) -> f64 {
    let mut names = vec![("no transform".to_owned(), Mark::Circle, theme::INK)];
    let edits = causes
        .transforms()
        .into_iter()
        .filter(|name| !causes.is_control(name));
    names.extend(edits.map(|name| (name.to_owned(), Mark::Circle, causes.paint(name))));
    let controls = causes
        .transforms()
        .into_iter()
        .filter(|name| causes.is_control(name));
    let controls: Vec<&str> = controls.collect();
    if !controls.is_empty() {
        names.push((controls.join(", "), Mark::Circle, theme::MUTED));
    }
    chart::key(svg, LEFT, theme::MARGIN - 4.0, &names)
}

fn draw_slot(chart: &mut Chart<'_>, causes: &Causes, model: &str, slot: Slot) {
    let Some(from) = point(causes.of(model, slot), "none") else {
        // One label everywhere has no positional effect to begin an arrow at.
        let mut plain = causes.of(model, slot).filter(|row| row.transform == "none");
        let why = match plain.any(|row| row.collapsed) {
            true => "collapsed: nothing can be said",
            false => "no positional effect is known",
        };
        let [x, y] = chart.ends().map(|ends| (ends.start + ends.end) / 2.0);
        let style = Lettering::NOTE.anchor(Anchor::Middle);
        chart.text((x, y), [0.0, 0.0], style, why);
        return;
    };
    let truth = causes.of(model, slot).find_map(|row| row.truth);
    if let Some(truth) = truth {
        chart.upright(truth, theme::TRUTH, theme::DASHES);
    }
    // Controls first, so that what matters lies on top.
    let mut transforms = causes.transforms();
    transforms.sort_by_key(|name| !causes.is_control(name));
    for transform in transforms {
        let Some(to) = point(causes.of(model, slot), transform) else {
            continue;
        };
        let paint = causes.paint(transform);
        let control = causes.is_control(transform);
        let (low, high) = to.miou_range;
        chart.line(&[(to.effect, low), (to.effect, high)], paint, 1.2);
        arrow(chart, [&from, &to], paint, if control { 1.2 } else { 2.0 });
        if to.collapsed {
            let place = chart.at(to.effect, to.miou);
            chart.svg.mark(place, Mark::HollowDiamond, paint);
        }
        // Where arrows are short, names would lie on one another.
        let [a, b] = [&from, &to].map(|end| chart.at(end.effect, end.miou));
        if control && (a[0] - b[0]).hypot(a[1] - b[1]) > 34.0 {
            // At the right end of the chart there is no room beside the tip.
            let end = chart.at(chart.ends()[0].end, 0.0)[0];
            let style = Lettering::NOTE;
            let room = end - b[0] > text::width(transform, style.size, style.weight) + 8.0;
            let right = b[0] >= a[0] && room;
            let style = style.anchor(if right { Anchor::Start } else { Anchor::End });
            let (aside, down) = match (right, b[0] >= a[0]) {
                (true, _) => (6.0, 4.0),
                (false, true) => (4.0, 16.0),
                (false, false) => (-6.0, 4.0),
            };
            chart.text((to.effect, to.miou), [aside, down], style, transform);
        }
    }
    let (low, high) = from.miou_range;
    chart.line(&[(from.effect, low), (from.effect, high)], theme::INK, 1.2);
    let mark = if from.collapsed {
        Mark::HollowDiamond
    } else {
        Mark::Circle
    };
    let place = chart.at(from.effect, from.miou);
    chart.svg.mark(place, mark, theme::INK);
}

/// A line with a head at its second end.
fn arrow(chart: &mut Chart<'_>, [from, to]: [&SeedMedian; 2], paint: Paint, thickness: f64) {
    let (a, b) = (
        chart.at(from.effect, from.miou),
        chart.at(to.effect, to.miou),
    );
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let length = dx.hypot(dy);
    if length < 1.0 {
        return;
    }
    let (ux, uy) = (dx / length, dy / length);
    let head = (5.0 + 1.5 * thickness).min(length);
    let neck = [b[0] - head * ux, b[1] - head * uy];
    let half = head * 0.45;
    let corners = [
        b,
        [neck[0] - half * uy, neck[1] + half * ux],
        [neck[0] + half * uy, neck[1] - half * ux],
    ];
    chart.svg.line(a, neck, paint, thickness, "");
    chart.svg.area(&corners, paint, 1.0);
}
