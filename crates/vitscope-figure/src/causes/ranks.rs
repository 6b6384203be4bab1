//! The figure `cause-ranks`: mIoU and positional effect over the number of directions that are taken out.

use vitscope_run::Slot;

use super::stored::{Causes, SeedMedian, StoredCause, point, undrawn};
use crate::chart::{self, Frame};
use crate::error::FigureError;
use crate::scale::Scale;
use crate::sheet::{Plate, Sheet};
use crate::theme::{self, Mark, Paint};

const LEFT: f64 = 66.0;
const GAP: f64 = 30.0;
const HEIGHT: f64 = 150.0;
const PER_BAND: usize = 3;

/// What is taken out in several numbers, with its color and mark; controls are gray.
const FAMILIES: [(&str, usize, Mark, bool); 6] = [
    ("svd", 0, Mark::Circle, false),
    ("blank", 1, Mark::HollowSquare, false),
    ("leace", 2, Mark::Triangle, false),
    ("rasa", 3, Mark::HollowDiamond, false),
    ("random", 0, Mark::HollowSquare, true),
    ("content", 0, Mark::Triangle, true),
];

fn paint(index: usize, control: bool) -> Paint {
    if control {
        theme::MUTED
    } else {
        theme::series(index)
    }
}

/// The transforms of a family by rank.
fn ranks<'a>(causes: &'a Causes, family: &str) -> Vec<(usize, &'a str)> {
    let mut ranks: Vec<(usize, &str)> = Vec::new();
    for row in &causes.rows {
        let own = row.transform.split(':').next() == Some(family);
        if let (true, Some(rank)) = (own, row.rank)
            && !ranks
                .iter()
                .any(|&(own, name)| own == rank && undrawn(name) == undrawn(&row.transform))
        {
            ranks.push((rank, &row.transform));
        }
    }
    ranks.sort_unstable();
    ranks
}

/// The figure; none where no family has two numbers.
pub(super) fn draw(causes: &Causes) -> Result<Option<Plate>, FigureError> {
    let families = FAMILIES
        .iter()
        .filter(|family| !ranks(causes, family.0).is_empty());
    let families: Vec<_> = families.collect();
    if families
        .iter()
        .all(|family| ranks(causes, family.0).len() < 2)
    {
        return Ok(None);
    }
    let slots = causes.slots();
    let columns = slots.len().clamp(1, PER_BAND);
    let page = if columns == 1 {
        theme::COLUMN_WIDTH
    } else {
        theme::FULL_WIDTH
    };
    let heading = "How many directions it takes";
    let mut sheet = Sheet::new("cause-ranks", heading, page, &[]);
    let names = families
        .iter()
        .map(|&&(name, index, mark, control)| (name.to_owned(), mark, paint(index, control)));
    let names: Vec<_> = names.collect();
    let mut top = chart::key(&mut sheet.svg, LEFT, theme::MARGIN - 4.0, &names) + 24.0;
    let width = (page - theme::MARGIN - LEFT - (columns as f64 - 1.0) * GAP) / columns as f64;
    let all = families.iter().flat_map(|family| ranks(causes, family.0));
    let x = Scale::log(all.map(|(rank, _)| rank as f64));
    let mut rows = Vec::new();
    for band in slots.chunks(columns) {
        for (column, &(model, slot)) in band.iter().enumerate() {
            let left = LEFT + column as f64 * (width + GAP);
            let title = format!("{} {}", slot.facet, slot.layer);
            sheet.svg.panel([left, top - 8.0], width, &title);
            for (line, name) in ["mIoU", "beyond chance"].into_iter().enumerate() {
                let value = |point: &SeedMedian| match line {
                    0 => (point.miou, point.miou_range),
                    _ => (point.effect, point.effect_range),
                };
                let metric = |row: &StoredCause| if line == 0 { row.miou } else { row.effect };
                let y = Scale::linear(causes.rows.iter().filter_map(metric));
                let frame = Frame {
                    place: [left, top + line as f64 * (HEIGHT + 16.0), width, HEIGHT],
                    x: x.clone(),
                    y,
                    x_name: "directions",
                    y_name: name,
                    labels: [line == 1, column == 0],
                };
                let mut chart = frame.open(&mut sheet.svg);
                if let Some(plain) = point(causes.of(model, slot), "none") {
                    chart.across(value(&plain).0, theme::INK, theme::DOTS);
                }
                let truth = causes.of(model, slot).find_map(|row| row.truth);
                if let Some(truth) = truth.filter(|_| line == 1) {
                    chart.across(truth, theme::TRUTH, theme::DASHES);
                }
                for &&(family, index, mark, control) in &families {
                    let points = ranks(causes, family).into_iter().map(|(rank, transform)| {
                        let point = point(causes.of(model, slot), transform)?;
                        Some((rank as f64, value(&point)))
                    });
                    let points: Vec<_> = points.collect();
                    let ranges = points.iter().map(|point| {
                        let (rank, (_, range)) = (*point)?;
                        (range.0 < range.1).then_some((rank, range))
                    });
                    chart.bands(&ranges.collect::<Vec<_>>(), paint(index, control));
                    let medians = points.iter().map(|point| {
                        let (rank, (median, _)) = (*point)?;
                        Some((rank, median))
                    });
                    chart.series(&medians.collect::<Vec<_>>(), mark, paint(index, control));
                }
            }
            rows.extend(table(causes, model, slot, &families));
        }
        top += 2.0 * HEIGHT + 88.0;
    }
    sheet.note("mIoU and positional effect beyond chance over the number of directions that are taken out, medians and ranges over seeds and draws. Dotted: nothing taken out. Dashed: the ground truth's own. Gray: controls.");
    sheet.notes(smallest(causes));
    let header = [
        "model",
        "layer",
        "facet",
        "family",
        "directions",
        "miou",
        "miou_least",
        "miou_most",
        "nmi_excess",
        "nmi_excess_least",
        "nmi_excess_most",
    ];
    sheet.table(&header, rows);
    Ok(Some(sheet.finish(top - 26.0)?))
}

/// For each slot the smallest number of directions of `svd` whose positional effect is within 0.01 of the ground truth's.
fn smallest(causes: &Causes) -> Vec<String> {
    let found = causes.slots().into_iter().filter_map(|(model, slot)| {
        let truth = causes.of(model, slot).find_map(|row| row.truth)?;
        let fits = |&(_, transform): &(usize, &str)| {
            point(causes.of(model, slot), transform).is_some_and(|p| p.effect <= truth + 0.01)
        };
        // Where there is nothing beyond the ground truth's, no number of directions brings it there.
        point(causes.of(model, slot), "none").filter(|plain| plain.effect > truth + 0.01)?;
        let (rank, _) = ranks(causes, "svd").into_iter().find(fits)?;
        let words = match rank {
            1 => "1 direction of svd brings".to_owned(),
            _ => format!("{rank} directions of svd bring"),
        };
        Some(format!(
            "{} {}: {words} the positional effect to the ground truth's or below, within 0.01.",
            slot.facet, slot.layer
        ))
    });
    found.collect()
}

fn table(
    causes: &Causes,
    model: &str,
    slot: Slot,
    families: &[&(&str, usize, Mark, bool)],
) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for &&(family, ..) in families {
        for (rank, transform) in ranks(causes, family) {
            if let Some(point) = point(causes.of(model, slot), transform) {
                let mut row = vec![
                    model.to_owned(),
                    slot.layer.to_string(),
                    slot.facet.to_string(),
                    family.to_owned(),
                    rank.to_string(),
                ];
                let (miou, effect) = (point.miou_range, point.effect_range);
                let numbers = [point.miou, miou.0, miou.1, point.effect, effect.0, effect.1];
                row.extend(numbers.map(|number| number.to_string()));
                rows.push(row);
            }
        }
    }
    rows
}
