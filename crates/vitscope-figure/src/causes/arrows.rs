//! The figure `causes`: for each slot arrows from the plain probe to the same with something taken out.

use vitscope_run::Slot;

use super::stored::{Causes, MOST, SeedMedian, StoredCause, point};
use crate::chart::{self, Chart, Frame};
use crate::error::FigureError;
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::text;
use crate::theme::{self, Mark, Paint};

const LEFT: f64 = 66.0;
const GAP: f64 = 30.0;
const HEIGHT: f64 = 230.0;
/// Panels beside one another.
const PER_BAND: usize = 3;

/// One panel for each slot: from the plain probe to every transform.
pub(super) fn draw(causes: &Causes) -> Result<Plate, FigureError> {
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
