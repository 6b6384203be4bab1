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
const LEFT: f64 = theme::MARGIN + LABEL_WIDTH;
const BAR_WIDTH: f64 = 58.0;
const BAR_PANEL: f64 = BAR_WIDTH + 48.0;
const HEADER: f64 = 40.0;
/// Cells smaller than this show nothing, larger ones waste the page.
const CELL: std::ops::RangeInclusive<f64> = 92.0..=150.0;
const MOST_EXAMPLES: usize = 6;

/// Everything the figure shows, read from the run.
struct Content {
    images: Vec<Option<Rgb>>,
    rows: Vec<Row>,
    bars: Vec<Bars>,
}

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
    /// The value of the longest bar.
    largest: f64,
}

/// Where everything stands.
struct Layout {
    columns: usize,
    side: f64,
    aggregate: Option<f64>,
    bars: f64,
    width: f64,
}

pub(crate) fn draw(run: &Run) -> Result<Plate, FigureError> {
    let heading = figure::heading(run, "Examples");
    let content = Content::read(run)?;
    if content.is_empty() {
        let why = "The run stored no example pictures (see its setting save-labels).".to_owned();
        return Ok(Plate::Absent {
            name: "examples",
            heading,
            why,
        });
    }
    let layout = Layout::of(&content);
    let mut svg = Svg::new("examples", layout.width);
    let top = draw_images(&mut svg, run, &content, &layout)?;
    let bottom = draw_rows(&mut svg, run, &content, &layout, top)?;
    let seen = content.seen(run, layout.columns);
    let bottom = figure::legend(&mut svg, run, bottom + 14.0, Some(&seen));

    let mut notes = vec![
        figure::provenance(run),
        figure::selection_note(run).to_owned(),
    ];
    if run.metrics.has("nmi") {
        notes.push(figure::NMI_NOTE.to_owned());
    }
    if run.metrics.get(Slot::Truth, "nmi").value.is_some() {
        notes.push("Dashed line: ground truth.".to_owned());
    }
    notes.extend(figure::cluster_note(run).map(str::to_owned));
    notes.extend(figure::token_note(run));
    let notes = [notes.join(" ")];
    let height = svg.notes(theme::MARGIN, bottom + 2.0, &notes);

    let csv = table(run, &content, layout.columns)?;
    let title = format!("{heading}: {}", figure::provenance(run));
    let description = format!(
        "Test images with the segmentation that each facet gives, its aggregate map over all test images, and its numbers. {}",
        notes[0]
    );
    let drawing = svg.finish(height, title, description);
    Ok(Plate::Drawn(Box::new(Figure {
        name: "examples",
        heading,
        drawing,
        csv,
    })))
}

impl Content {
    fn read(run: &Run) -> Result<Self, FigureError> {
        let stems = &run.examples[..run.examples.len().min(MOST_EXAMPLES)];
        let images = stems
            .iter()
            .map(|stem| run.image(stem))
            .collect::<Result<_, _>>()?;
        let mut rows = Vec::new();
        for slot in run.best_slots() {
            let maps = stems.iter().map(|stem| run.labels(slot, stem));
            let maps = maps.collect::<Result<_, _>>()?;
            rows.push(Row {
                slot,
                maps,
                aggregate: run.aggregate(slot)?,
            });
        }
        let bars = [
            ("nmi", ["positional", "effect (NMI)"]),
            ("miou", ["", "mIoU"]),
        ];
        let bars = bars
            .into_iter()
            .filter(|(metric, _)| run.metrics.has(metric));
        let bars = bars.map(|(metric, title)| {
            let values = rows.iter().map(|row| run.metrics.get(row.slot, metric));
            let values = values
                .flat_map(|measured| [measured.value, measured.high])
                .flatten();
            let largest = values.fold(0.0, f64::max);
            Bars {
                metric,
                title,
                largest: if largest > 0.0 { largest } else { 1.0 },
            }
        });
        let bars = bars.collect();
        Ok(Self { images, rows, bars })
    }

    /// Whether there is not a single picture of an example.
    fn is_empty(&self) -> bool {
        let mut maps = self.rows.iter().flat_map(|row| &row.maps);
        self.images.iter().all(Option::is_none) && maps.all(Option::is_none)
    }

    /// Which indices of the legend occur in the label maps that are drawn.
    fn seen(&self, run: &Run, columns: usize) -> [bool; 256] {
        let mut seen = [false; 256];
        for row in &self.rows {
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
        seen
    }
}

impl Layout {
    /// As many columns as leave cells that can be read.
    fn of(content: &Content) -> Self {
        let has_aggregate = content.rows.iter().any(|row| row.aggregate.is_some());
        let bars_width = content.bars.len() as f64 * (BAR_PANEL + WIDE_GAP);
        let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - LABEL_WIDTH - bars_width;
        let side_of = |columns: usize| {
            let (maps, gaps) = (columns as f64, (columns - 1) as f64 * GAP);
            let aggregate = f64::from(u8::from(has_aggregate));
            ((room - gaps - aggregate * WIDE_GAP) / (maps + aggregate)).floor()
        };
        let mut counts = (1..=content.images.len()).rev();
        let columns = counts
            .find(|&columns| side_of(columns) >= *CELL.start())
            .unwrap_or(1);
        let side = side_of(columns).min(*CELL.end());
        let after = LEFT + columns as f64 * (side + GAP) - GAP + WIDE_GAP;
        let bars = if has_aggregate {
            after + side + WIDE_GAP
        } else {
            after
        };
        let width = bars + bars_width - WIDE_GAP + theme::MARGIN;
        Self {
            columns,
            side,
            aggregate: has_aggregate.then_some(after),
            bars,
            // Narrower than this, legend and notes would become a tall column.
            width: width.max(640.0),
        }
    }

    fn pitch(&self) -> f64 {
        self.side + GAP
    }

    fn cell(&self, column: usize, top: f64) -> [f64; 4] {
        [
            LEFT + column as f64 * self.pitch(),
            top,
            self.side,
            self.side,
        ]
    }

    /// The panels of bars with their left edges.
    fn panels<'a>(&self, content: &'a Content) -> impl Iterator<Item = (&'a Bars, f64)> {
        let left = self.bars;
        let panels = content.bars.iter().enumerate();
        panels.map(move |(index, bars)| (bars, left + index as f64 * (BAR_PANEL + WIDE_GAP)))
    }
}

impl Bars {
    fn length(&self, value: f64) -> f64 {
        BAR_WIDTH * value / self.largest
    }
}

/// The row of images and the heads of the other columns; gives the position below.
fn draw_images(
    svg: &mut Svg,
    run: &Run,
    content: &Content,
    layout: &Layout,
) -> Result<f64, FigureError> {
    let top = theme::MARGIN;
    let mut bottom = top + HEADER + GAP;
    if content.images.iter().any(Option::is_some) {
        svg.text(
            [theme::MARGIN, top + layout.side / 2.0 + 5.0],
            Type::HEAD,
            "image",
        );
        for (column, image) in content.images.iter().take(layout.columns).enumerate() {
            let label = format!("image {}", run.examples[column]);
            photo_or_missing(svg, layout.cell(column, top), image.as_ref(), &label)?;
        }
        bottom = top + layout.pitch();
    }
    if let Some(left) = layout.aggregate {
        let style = Type::LABEL.anchor(Anchor::Middle);
        svg.text(
            [left + layout.side / 2.0, bottom - 12.0],
            style,
            "aggregate",
        );
    }
    for (bars, left) in layout.panels(content) {
        svg.text([left, bottom - 29.0], Type::LABEL, bars.title[0]);
        svg.text([left, bottom - 12.0], Type::LABEL, bars.title[1]);
    }
    Ok(bottom)
}

/// The rows of label maps with their bars; gives the position below.
fn draw_rows(
    svg: &mut Svg,
    run: &Run,
    content: &Content,
    layout: &Layout,
    top: f64,
) -> Result<f64, FigureError> {
    let half = layout.side / 2.0;
    for (index, row) in content.rows.iter().enumerate() {
        let y = top + index as f64 * layout.pitch();
        draw_label(svg, row.slot, y + half);
        let (name, layer) = figure::slot_label(row.slot);
        for (column, map) in row.maps.iter().take(layout.columns).enumerate() {
            let place = layout.cell(column, y);
            match map {
                Some(map) => {
                    let label = format!("{name} {layer}, {}", run.examples[column]);
                    label_map(svg, place, map, &label)?;
                }
                None => missing(svg, place),
            }
        }
        if let Some(left) = layout.aggregate {
            let label = format!("aggregate map of {name} {layer}");
            let place = [left, y, layout.side, layout.side];
            photo_or_missing(svg, place, row.aggregate.as_ref(), &label)?;
        }
        for (bars, left) in layout.panels(content) {
            bar(svg, run, bars, row.slot, [left, y + half]);
        }
    }
    let bottom = top + content.rows.len() as f64 * layout.pitch() - GAP;
    for (bars, left) in layout.panels(content) {
        svg.line([left, top], [left, bottom], theme::MUTED, 1.0, "");
        if let Some(truth) = run.metrics.get(Slot::Truth, bars.metric).value {
            let x = left + bars.length(truth);
            svg.line([x, top + half + 9.0], [x, bottom], theme::TRUTH, 1.2, "4 3");
        }
    }
    Ok(bottom)
}

/// The name of a row, beside a stroke in the facet's color.
fn draw_label(svg: &mut Svg, slot: Slot, middle: f64) {
    svg.rect([theme::MARGIN, middle - 16.0, 3.0, 34.0], theme::slot(slot));
    let (name, layer) = figure::slot_label(slot);
    let (first, second, style) = match slot {
        Slot::Truth => ("ground", "truth", Type::HEAD),
        Slot::Probe(..) => (name, layer.as_str(), Type::LABEL),
    };
    let x = theme::MARGIN + 9.0;
    svg.text([x, middle - 3.0], Type::HEAD, first);
    svg.text([x, middle + 14.0], style, second);
}

fn bar(svg: &mut Svg, run: &Run, bars: &Bars, slot: Slot, [left, middle]: [f64; 2]) {
    let measured = run.metrics.get(slot, bars.metric);
    let Some(value) = measured.value else {
        // The ground truth's own mIoU is 1 by definition: nothing to show.
        if slot != Slot::Truth {
            svg.text([left + 6.0, middle + 5.0], Type::NOTE, "undefined");
        }
        return;
    };
    let mut end = left + bars.length(value);
    svg.rect([left, middle - 9.0, end - left, 18.0], theme::slot(slot));
    if let Some((low, high)) = measured.interval() {
        let ends = [low, high].map(|value| left + bars.length(value));
        svg.line([ends[0], middle], [ends[1], middle], theme::INK, 1.4, "");
        for x in ends {
            svg.line([x, middle - 4.0], [x, middle + 4.0], theme::INK, 1.4, "");
        }
        end = end.max(ends[1]);
    }
    let number = figure::number(Some(value));
    let width = text::width(&number, Type::LABEL.size, Weight::Regular);
    // The number must not stand on the ground truth's line.
    let truth = run
        .metrics
        .get(Slot::Truth, bars.metric)
        .value
        .map(|value| left + bars.length(value));
    if let (Slot::Probe(..), Some(truth)) = (slot, truth)
        && (end..=end + width + 10.0).contains(&truth)
    {
        end = truth;
    }
    svg.text([end + 6.0, middle + 5.0], Type::LABEL, &number);
}

fn table(run: &Run, content: &Content, columns: usize) -> Result<String, FigureError> {
    let header = [
        "layer",
        "facet",
        "examples",
        "nmi",
        "nmi_low",
        "nmi_high",
        "miou",
        "miou_low",
        "miou_high",
    ];
    let shown = run.examples[..columns.min(run.examples.len())].join(" ");
    let rows = content.rows.iter().map(|row| {
        let mut cells = figure::slot_cells(row.slot).to_vec();
        cells.push(shown.clone());
        for metric in ["nmi", "miou"] {
            let measured = run.metrics.get(row.slot, metric);
            cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
        }
        cells
    });
    figure::table(&header, rows)
}

/// A photograph or an aggregate map in its place, or the empty place.
pub(crate) fn photo_or_missing(
    svg: &mut Svg,
    place: [f64; 4],
    picture: Option<&Rgb>,
    label: &str,
) -> Result<(), FigureError> {
    match picture {
        Some(picture) => svg.picture(place, &photo(picture, place[2])?, label),
        None => missing(svg, place),
    }
    Ok(())
}

/// A photograph or an aggregate map, with no more pixels than print can show.
fn photo(picture: &Rgb, side: f64) -> Result<Embedded, FigureError> {
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
fn missing(svg: &mut Svg, [x, y, width, height]: [f64; 4]) {
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
