//! The figure `examples`: pictures, ground truth and each facet's segmentation, side by side.

use crate::error::FigureError;
use crate::figure::{self, Figure, Plate};
use crate::pixels::{LabelMap, NONE, Rgb};
use crate::run_dir::{Run, Slot};
use crate::svg::{Anchor, Embedded, Svg, Type};
use crate::text::{self, Weight};
use crate::theme;

const GAP: f64 = 4.0;
const WIDE_GAP: f64 = 16.0;
const LABEL_WIDTH: f64 = 98.0;
const BAR_WIDTH: f64 = 58.0;
const BAR_PANEL: f64 = BAR_WIDTH + 48.0;
const HEADER: f64 = 40.0;
/// Cells smaller than this show nothing, larger ones waste the page.
const CELL: std::ops::RangeInclusive<f64> = 92.0..=150.0;
const MOST_EXAMPLES: usize = 6;

/// One row of label maps.
struct Row {
    slot: Slot,
    maps: Vec<Option<LabelMap>>,
    aggregate: Option<Rgb>,
}

/// A column of horizontal bars.
struct Bars {
    metric: &'static str,
    title: [&'static str; 2],
    largest: f64,
    left: f64,
}

pub(crate) fn draw(run: &Run) -> Result<Plate, FigureError> {
    let heading = figure::heading(run, "Examples");
    let title = format!("{heading}: {}", figure::provenance(run));
    let slots = run.best_slots();
    let mut rows = Vec::new();
    for &slot in &slots {
        let maps = run
            .examples
            .iter()
            .take(MOST_EXAMPLES)
            .map(|stem| run.labels(slot, stem))
            .collect::<Result<Vec<_>, _>>()?;
        rows.push(Row {
            slot,
            maps,
            aggregate: run.aggregate(slot)?,
        });
    }
    let images = run
        .examples
        .iter()
        .take(MOST_EXAMPLES)
        .map(|stem| run.image(stem))
        .collect::<Result<Vec<_>, _>>()?;
    let has_images = images.iter().any(Option::is_some);
    let has_maps = rows.iter().any(|row| row.maps.iter().any(Option::is_some));
    if !has_images && !has_maps {
        let why = "The run stored no example pictures (see its setting save-labels).".to_owned();
        return Ok(Plate::Absent {
            name: "examples",
            heading,
            why,
        });
    }

    let has_aggregate = rows.iter().any(|row| row.aggregate.is_some());
    let mut bars = vec![
        Bars {
            metric: "nmi",
            title: ["positional", "effect (NMI)"],
            largest: 0.0,
            left: 0.0,
        },
        Bars {
            metric: "miou",
            title: ["", "mIoU"],
            largest: 0.0,
            left: 0.0,
        },
    ];
    for panel in &mut bars {
        let values = slots
            .iter()
            .map(|&slot| run.metrics.get(slot, panel.metric));
        panel.largest = values
            .flat_map(|measured| [measured.value, measured.high])
            .flatten()
            .fold(0.0, f64::max);
    }
    bars.retain(|panel| panel.largest > 0.0);

    // As many columns as leave cells that can be read.
    let bars_width = bars.len() as f64 * (BAR_PANEL + WIDE_GAP);
    let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - LABEL_WIDTH - bars_width;
    let side_for = |columns: usize| {
        let maps = columns as f64 + f64::from(u8::from(has_aggregate));
        let gaps = (columns - 1) as f64 * GAP + if has_aggregate { WIDE_GAP } else { 0.0 };
        ((room - gaps) / maps).floor()
    };
    let columns = (1..=images.len())
        .rev()
        .find(|&columns| side_for(columns) >= *CELL.start())
        .unwrap_or(1);
    let side = side_for(columns).min(*CELL.end());
    let pitch = side + GAP;

    let left = theme::MARGIN + LABEL_WIDTH;
    let aggregate_left = left + columns as f64 * pitch - GAP + WIDE_GAP;
    let bars_left = if has_aggregate {
        aggregate_left + side + WIDE_GAP
    } else {
        aggregate_left
    };
    for (index, panel) in bars.iter_mut().enumerate() {
        panel.left = bars_left + index as f64 * (BAR_PANEL + WIDE_GAP);
    }
    let width = bars
        .last()
        .map_or(bars_left - WIDE_GAP, |panel| panel.left + BAR_PANEL)
        + theme::MARGIN;
    let mut svg = Svg::new("examples", width.max(640.0));

    let mut top = theme::MARGIN;
    if has_images {
        svg.text([theme::MARGIN, top + side / 2.0 + 5.0], Type::HEAD, "image");
        for (index, image) in images.iter().take(columns).enumerate() {
            let place = [left + index as f64 * pitch, top, side, side];
            match image {
                Some(image) => svg.picture(
                    place,
                    &photo(image, side)?,
                    &format!("image {}", run.examples[index]),
                ),
                None => missing(&mut svg, place),
            }
        }
        top += pitch;
    } else {
        top += HEADER + GAP;
    }
    if has_aggregate {
        svg.text(
            [aggregate_left + side / 2.0, top - 12.0],
            Type::LABEL.anchor(Anchor::Middle),
            "aggregate",
        );
    }
    for panel in &bars {
        svg.text([panel.left, top - 29.0], Type::LABEL, panel.title[0]);
        svg.text([panel.left, top - 12.0], Type::LABEL, panel.title[1]);
    }

    let bars_top = top;
    for row in &rows {
        let middle = top + side / 2.0;
        let (name, layer) = figure::slot_label(row.slot);
        let paint = theme::slot(row.slot);
        svg.rect([theme::MARGIN, top + side / 2.0 - 16.0, 3.0, 34.0], paint);
        if layer.is_empty() {
            svg.text([theme::MARGIN + 9.0, middle - 3.0], Type::HEAD, "ground");
            svg.text([theme::MARGIN + 9.0, middle + 14.0], Type::HEAD, "truth");
        } else {
            svg.text([theme::MARGIN + 9.0, middle - 3.0], Type::HEAD, name);
            svg.text([theme::MARGIN + 9.0, middle + 14.0], Type::LABEL, &layer);
        }
        for (index, map) in row.maps.iter().take(columns).enumerate() {
            let place = [left + index as f64 * pitch, top, side, side];
            match map {
                Some(map) => label_map(
                    &mut svg,
                    place,
                    map,
                    &format!("{name} {layer}, {}", run.examples[index]),
                )?,
                None => missing(&mut svg, place),
            }
        }
        if has_aggregate {
            let place = [aggregate_left, top, side, side];
            match &row.aggregate {
                Some(map) => svg.picture(
                    place,
                    &photo(map, side)?,
                    &format!("aggregate map of {name} {layer}"),
                ),
                None => missing(&mut svg, place),
            }
        }
        for panel in &bars {
            bar(&mut svg, run, panel, row.slot, middle);
        }
        top += pitch;
    }
    let bottom = top - GAP;
    for panel in &bars {
        svg.line(
            [panel.left, bars_top],
            [panel.left, bottom],
            theme::MUTED,
            1.0,
            "",
        );
        if let Some(truth) = run.metrics.get(Slot::Truth, panel.metric).value {
            let x = panel.left + BAR_WIDTH * truth / panel.largest;
            svg.line(
                [x, bars_top + side / 2.0 + 9.0],
                [x, bottom],
                theme::TRUTH,
                1.2,
                "4 3",
            );
        }
    }

    let mut seen = [false; 256];
    for row in &rows {
        // Where clusters are not classes, only the ground truth's colors are the legend's.
        let has_classes = row.slot == Slot::Truth || run.labels_are_classes();
        for map in row.maps.iter().take(columns).flatten() {
            let indices = map
                .indices
                .iter()
                .filter(|&&index| has_classes || index == NONE);
            indices.for_each(|&index| seen[usize::from(index)] = true);
        }
    }
    let bottom = figure::legend(&mut svg, run, bottom + 14.0, Some(&seen));
    let mut notes = vec![format!(
        "{} {}",
        figure::provenance(run),
        figure::selection_note(run)
    )];
    if bars.iter().any(|panel| panel.metric == "nmi") {
        let dashed = if run.data.has_truth {
            " Dashed line: ground truth."
        } else {
            ""
        };
        notes.push(format!("{}{dashed}", figure::NMI_NOTE));
    }
    notes.extend(figure::cluster_note(run).map(str::to_owned));
    notes.extend(figure::token_note(run));
    let notes = [notes.join(" ")];
    let height = svg.notes(theme::MARGIN, bottom + 2.0, &notes);

    let csv = figure::table(
        &[
            "layer",
            "facet",
            "examples",
            "nmi",
            "nmi_low",
            "nmi_high",
            "miou",
            "miou_low",
            "miou_high",
        ],
        slots.iter().map(|&slot| {
            let mut cells = figure::slot_cells(slot).to_vec();
            cells.push(run.examples[..columns.min(run.examples.len())].join(" "));
            for metric in ["nmi", "miou"] {
                let measured = run.metrics.get(slot, metric);
                cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
            }
            cells
        }),
    )?;
    let caption = format!(
        "Test images with the segmentation that each facet gives, its aggregate map over all test images, and its numbers. {}",
        notes[0]
    );
    let drawing = svg.finish(height, title, caption);
    Ok(Plate::Drawn(Box::new(Figure {
        name: "examples",
        heading,
        drawing,
        csv,
    })))
}

fn bar(svg: &mut Svg, run: &Run, panel: &Bars, slot: Slot, middle: f64) {
    let measured = run.metrics.get(slot, panel.metric);
    // The ground truth's own mIoU is 1 by definition: nothing to show.
    if slot == Slot::Truth && measured.value.is_none() {
        return;
    }
    let x = |value: f64| panel.left + BAR_WIDTH * value / panel.largest;
    let Some(value) = measured.value else {
        svg.text([panel.left + 6.0, middle + 5.0], Type::NOTE, "undefined");
        return;
    };
    svg.rect(
        [panel.left, middle - 9.0, x(value) - panel.left, 18.0],
        theme::slot(slot),
    );
    let mut end = x(value);
    if let Some((low, high)) = measured.interval() {
        svg.line([x(low), middle], [x(high), middle], theme::INK, 1.4, "");
        for at in [low, high] {
            svg.line(
                [x(at), middle - 4.0],
                [x(at), middle + 4.0],
                theme::INK,
                1.4,
                "",
            );
        }
        end = end.max(x(high));
    }
    let number = figure::number(Some(value));
    let width = text::width(&number, Type::LABEL.size, Weight::Regular);
    // The number must not stand on the ground truth's line.
    if let (Slot::Probe(..), Some(truth)) = (slot, run.metrics.get(Slot::Truth, panel.metric).value)
        && (end..=end + width + 10.0).contains(&x(truth))
    {
        end = x(truth);
    }
    svg.text([end + 6.0, middle + 5.0], Type::LABEL, &number);
}

/// A photograph or an aggregate map, with no more pixels than print can show.
pub(crate) fn photo(picture: &Rgb, side: f64) -> Result<Embedded, FigureError> {
    let bytes = picture.reduced((side * 2.5) as usize).jpeg()?;
    Ok(Embedded {
        mime: "image/jpeg",
        bytes,
    })
}

fn label_map(
    svg: &mut Svg,
    place: [f64; 4],
    map: &LabelMap,
    label: &str,
) -> Result<(), FigureError> {
    if map.indices.contains(&NONE) {
        svg.hatched(place);
    }
    svg.picture(
        place,
        &Embedded {
            mime: "image/png",
            bytes: map.png()?,
        },
        label,
    );
    Ok(())
}

/// The place of a picture that the run does not have.
pub(crate) fn missing(svg: &mut Svg, [x, y, width, height]: [f64; 4]) {
    svg.frame(
        [x + 0.5, y + 0.5, width - 1.0, height - 1.0],
        theme::RULE,
        1.0,
    );
    let style = Type::NOTE.anchor(Anchor::Middle);
    svg.text(
        [x + width / 2.0, y + height / 2.0 + 4.0],
        style,
        if width > 70.0 { "not stored" } else { "–" },
    );
}
