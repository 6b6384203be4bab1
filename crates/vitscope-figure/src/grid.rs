//! Rows of label maps under their images, each with its aggregate map and its numbers as bars: the
//! layout of the paper's overview, shared by every figure that compares segmentations.

use vitscope_run::{Measured, Subject};

use crate::error::FigureError;
use crate::pixels::{LabelMap, NONE, Rgb};
use crate::run_view::RunView;
use crate::scale::Scale;
use crate::svg::{Anchor, Embedded, Lettering, Svg};
use crate::text::{self, Weight};
use crate::theme::{self, Paint};
use crate::words;

const GAP: f64 = 4.0;
const WIDE_GAP: f64 = 16.0;
const BAR_WIDTH: f64 = 58.0;
const BAR_PANEL: f64 = BAR_WIDTH + 48.0;
const HEADER: f64 = 40.0;
/// Cells smaller than this show nothing, larger ones waste the page.
const CELL: std::ops::RangeInclusive<f64> = 92.0..=180.0;
/// The most columns of images; with fewer, cells are larger.
pub(crate) const MOST_COLUMNS: usize = 6;

/// What a grid shows.
pub(crate) struct MapGrid {
    /// Name and photograph of each example.
    pub(crate) images: Vec<(String, Option<Rgb>)>,
    pub(crate) rows: Vec<GridRow>,
    bars: Vec<RowBars>,
    label_width: f64,
}

/// One row of label maps.
pub(crate) struct GridRow {
    /// Its name, in one or more lines.
    pub(crate) name: Vec<String>,
    /// What is told of it where it is pointed at: its name, where the lines do not show all of it.
    pub(crate) told: Option<String>,
    pub(crate) paint: Paint,
    pub(crate) is_truth: bool,
    pub(crate) maps: Vec<Option<LabelMap>>,
    pub(crate) aggregate: Option<Rgb>,
    pub(crate) nmi: Measured,
    pub(crate) miou: Measured,
}

/// A column of horizontal bars.
struct RowBars {
    of: fn(&GridRow) -> Measured,
    title: [&'static str; 2],
    scale: Scale,
    /// A value that all rows stand against: the ground truth's own, or what place alone gives.
    line: Option<f64>,
}

/// Where everything stands.
struct GridLayout {
    left: f64,
    columns: usize,
    side: f64,
    aggregate: Option<f64>,
    bars: f64,
}

impl MapGrid {
    /// `place_alone` is the mIoU of knowing the place alone, where it is known.
    pub(crate) fn new(
        images: Vec<(String, Option<Rgb>)>,
        rows: Vec<GridRow>,
        label_width: f64,
        place_alone: Option<f64>,
    ) -> Self {
        let values = |of: fn(&GridRow) -> Measured| rows.iter().map(of).flat_map(words::ends);
        let truth = rows.iter().find(|row| row.is_truth);
        let mut bars = Vec::new();
        if values(|row| row.nmi).next().is_some() {
            bars.push(RowBars {
                of: |row| row.nmi,
                title: ["positional", "effect (NMI)"],
                scale: Scale::Linear(0.0..1.0),
                line: truth.and_then(|row| row.nmi.value),
            });
        }
        if values(|row| row.miou).next().is_some() {
            bars.push(RowBars {
                of: |row| row.miou,
                title: ["", "mIoU"],
                scale: Scale::linear(values(|row| row.miou).chain(place_alone)),
                line: place_alone,
            });
        }
        Self {
            images,
            rows,
            bars,
            label_width,
        }
    }

    /// Whether there is not a single picture of an example.
    pub(crate) fn is_empty(&self) -> bool {
        let mut maps = self.rows.iter().flat_map(|row| &row.maps);
        self.images.iter().all(|image| image.1.is_none()) && maps.all(Option::is_none)
    }

    /// How many of the images are shown.
    pub(crate) fn columns(&self) -> usize {
        GridLayout::of(self).columns
    }

    /// Which indices occur in the label maps that are drawn, of the rows for which `counts` holds.
    pub(crate) fn seen(&self, counts: impl Fn(&GridRow) -> bool) -> [bool; 256] {
        let columns = self.columns();
        let mut seen = [false; 256];
        for row in &self.rows {
            let is_class = counts(row);
            for map in row.maps.iter().take(columns).flatten() {
                let indices = map
                    .indices
                    .iter()
                    .filter(|&&index| is_class || index == NONE);
                indices.for_each(|&index| seen[usize::from(index)] = true);
            }
        }
        seen
    }

    /// Draws everything from `top`; gives the position below.
    pub(crate) fn draw(&self, svg: &mut Svg, top: f64) -> Result<f64, FigureError> {
        let layout = GridLayout::of(self);
        let top = self.draw_images(svg, &layout, top)?;
        self.draw_rows(svg, &layout, top)
    }

    fn panels(&self, layout: &GridLayout) -> impl Iterator<Item = (&RowBars, f64)> {
        let left = layout.bars;
        let panels = self.bars.iter().enumerate();
        panels.map(move |(index, bars)| (bars, left + index as f64 * (BAR_PANEL + WIDE_GAP)))
    }

    /// The row of images and the heads of the other columns; gives the position below.
    fn draw_images(
        &self,
        svg: &mut Svg,
        layout: &GridLayout,
        top: f64,
    ) -> Result<f64, FigureError> {
        let mut bottom = top + HEADER + GAP;
        if self.images.iter().any(|image| image.1.is_some()) {
            svg.text(
                [theme::MARGIN, top + layout.side / 2.0 + 5.0],
                Lettering::HEAD,
                "image",
            );
            for (column, (stem, image)) in self.images.iter().take(layout.columns).enumerate() {
                let label = format!("image {stem}");
                photo_or_missing(svg, layout.cell(column, top), image.as_ref(), &label)?;
            }
            bottom = top + layout.side + GAP;
        }
        if let Some(left) = layout.aggregate {
            let style = Lettering::LABEL.anchor(Anchor::Middle);
            svg.text(
                [left + layout.side / 2.0, bottom - 12.0],
                style,
                "aggregate",
            );
        }
        for (bars, left) in self.panels(layout) {
            svg.text([left, bottom - 29.0], Lettering::LABEL, bars.title[0]);
            svg.text([left, bottom - 12.0], Lettering::LABEL, bars.title[1]);
        }
        Ok(bottom)
    }

    /// The rows of label maps with their bars; gives the position below.
    fn draw_rows(&self, svg: &mut Svg, layout: &GridLayout, top: f64) -> Result<f64, FigureError> {
        let half = layout.side / 2.0;
        let pitch = layout.side + GAP;
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + index as f64 * pitch;
            self.draw_label(svg, row, y + half);
            let name = row.name.join(" ");
            for (column, map) in row.maps.iter().take(layout.columns).enumerate() {
                let place = layout.cell(column, y);
                match map {
                    Some(map) => {
                        let label = format!("{name}, {}", self.images[column].0);
                        label_map(svg, place, map, &label)?;
                    }
                    None => missing(svg, place),
                }
            }
            if let Some(left) = layout.aggregate {
                let label = format!("aggregate map of {name}");
                let place = [left, y, layout.side, layout.side];
                photo_or_missing(svg, place, row.aggregate.as_ref(), &label)?;
            }
            for (bars, left) in self.panels(layout) {
                self.draw_bar(svg, bars, row, [left, y + half]);
            }
        }
        let bottom = top + self.rows.len() as f64 * pitch - GAP;
        for (bars, left) in self.panels(layout) {
            svg.line([left, top], [left, bottom], theme::MUTED, 1.0, "");
            if let Some(line) = bars.line {
                let x = left + bars.length(line);
                // The ground truth's own bar ends at its line.
                let top = if self.rows.iter().any(|row| row.is_truth) {
                    top + half + 9.0
                } else {
                    top
                };
                svg.line([x, top], [x, bottom], theme::TRUTH, 1.2, "4 3");
            }
            for (value, label) in bars.scale.ticks(3) {
                let x = left + bars.length(value);
                svg.line([x, bottom], [x, bottom + 3.5], theme::MUTED, 1.0, "");
                let style = Lettering::NOTE.anchor(Anchor::Middle);
                svg.text([x, bottom + 15.0], style, &label);
            }
        }
        let ticks = if self.bars.is_empty() { 0.0 } else { 12.0 };
        Ok(bottom + ticks)
    }

    /// The name of a row, beside a stroke in its color.
    fn draw_label(&self, svg: &mut Svg, row: &GridRow, middle: f64) {
        const LEADING: f64 = 17.0;
        let room = self.label_width - 14.0;
        let height = row.name.len() as f64 * LEADING;
        svg.rect(
            [theme::MARGIN, middle - height / 2.0, 3.0, height],
            row.paint,
        );
        let lines = |svg: &mut Svg| {
            for (index, line) in row.name.iter().enumerate() {
                let style = if index == 0 || row.is_truth {
                    Lettering::HEAD
                } else {
                    Lettering::LABEL
                };
                let y = middle - height / 2.0 + (index as f64 + 0.78) * LEADING;
                svg.fitted([theme::MARGIN + 9.0, y], style, room, line);
            }
        };
        match &row.told {
            Some(told) => svg.telling(told, lines),
            None => lines(svg),
        }
    }

    fn draw_bar(&self, svg: &mut Svg, bars: &RowBars, row: &GridRow, [left, middle]: [f64; 2]) {
        let measured = (bars.of)(row);
        let Some(value) = measured.value else {
            // The ground truth's own mIoU is 1 by definition: nothing to show.
            if !row.is_truth {
                svg.text([left + 6.0, middle + 5.0], Lettering::NOTE, "undefined");
            }
            return;
        };
        let mut end = left + bars.length(value);
        svg.rect([left, middle - 9.0, end - left, 18.0], row.paint);
        if let Some((low, high)) = measured.interval {
            let ends = [low, high].map(|value| left + bars.length(value));
            svg.line([ends[0], middle], [ends[1], middle], theme::INK, 1.4, "");
            for x in ends {
                svg.line([x, middle - 4.0], [x, middle + 4.0], theme::INK, 1.4, "");
            }
            end = end.max(ends[1]);
        }
        let number = words::number(Some(value));
        let width = text::width(&number, Lettering::LABEL.size, Weight::Regular);
        // The number must not stand on the line.
        let line = bars.line.map(|value| left + bars.length(value));
        if let (false, Some(line)) = (row.is_truth, line)
            && (end..=end + width + 10.0).contains(&line)
        {
            end = line;
        }
        svg.text([end + 6.0, middle + 5.0], Lettering::LABEL, &number);
    }
}

impl GridRow {
    /// A slot's label maps of these examples, its aggregate map and its numbers, without a name.
    pub(crate) fn of(
        run: &RunView,
        subject: Subject,
        stems: &[String],
    ) -> Result<Self, FigureError> {
        let maps = stems.iter().map(|stem| run.labels(subject, stem));
        Ok(Self {
            name: Vec::new(),
            told: None,
            paint: theme::TRUTH,
            is_truth: subject == Subject::GroundTruth,
            maps: maps.collect::<Result<_, _>>()?,
            aggregate: run.aggregate(subject)?,
            nmi: run.get(subject, "nmi"),
            miou: run.get(subject, "miou"),
        })
    }

    /// Gives the label maps other colors.
    pub(crate) fn recolor(&mut self, color: impl Fn(usize) -> [u8; 3]) {
        for map in self.maps.iter_mut().flatten() {
            map.palette = (0..256).map(&color).collect();
            map.muted.clear();
        }
    }
}

impl GridLayout {
    /// As many columns as leave cells that can be read.
    fn of(grid: &MapGrid) -> Self {
        let has_aggregate = grid.rows.iter().any(|row| row.aggregate.is_some());
        let left = theme::MARGIN + grid.label_width;
        let bars_width = grid.bars.len() as f64 * (BAR_PANEL + WIDE_GAP);
        let room = theme::FULL_WIDTH - theme::MARGIN - left - bars_width;
        let side_of = |columns: usize| {
            let (maps, gaps) = (columns as f64, (columns - 1) as f64 * GAP);
            let aggregate = f64::from(u8::from(has_aggregate));
            ((room - gaps - aggregate * WIDE_GAP) / (maps + aggregate)).floor()
        };
        let mut counts = (1..=grid.images.len().min(MOST_COLUMNS)).rev();
        let columns = counts
            .find(|&columns| side_of(columns) >= *CELL.start())
            .unwrap_or(1);
        let side = side_of(columns).min(*CELL.end());
        let after = left + columns as f64 * (side + GAP) - GAP + WIDE_GAP;
        let bars = if has_aggregate {
            after + side + WIDE_GAP
        } else {
            after
        };
        Self {
            left,
            columns,
            side,
            aggregate: has_aggregate.then_some(after),
            bars,
        }
    }

    fn cell(&self, column: usize, top: f64) -> [f64; 4] {
        let x = self.left + column as f64 * (self.side + GAP);
        [x, top, self.side, self.side]
    }
}

impl RowBars {
    fn length(&self, value: f64) -> f64 {
        BAR_WIDTH * self.scale.share(value).clamp(0.0, 1.0)
    }
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

/// A label map in its place, its pixels without a label hatched.
pub(crate) fn label_map(
    svg: &mut Svg,
    place: [f64; 4],
    map: &LabelMap,
    label: &str,
) -> Result<(), FigureError> {
    if map.indices.contains(&NONE) {
        svg.hatched(place);
    }
    let bytes = map.reduced((place[2] * 2.5) as usize).png()?;
    let mime = "image/png";
    svg.picture(place, &Embedded { mime, bytes }, label);
    Ok(())
}

/// The place of a picture that the run does not have.
pub(crate) fn missing(svg: &mut Svg, [x, y, width, height]: [f64; 4]) {
    svg.frame(
        [x + 0.5, y + 0.5, width - 1.0, height - 1.0],
        theme::RULE,
        1.0,
    );
    let style = Lettering::NOTE.anchor(Anchor::Middle);
    svg.text(
        [x + width / 2.0, y + height / 2.0 + 4.0],
        style,
        if width > 70.0 { "not stored" } else { "–" },
    );
}
