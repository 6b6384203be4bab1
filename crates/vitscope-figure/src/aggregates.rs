//! The figures `aggregate`, `aggregate-layers` and `soft-layers`: what each facet predicts where.

use vitscope_run::{Slot, Subject, names};

use crate::bands::Bands;
use crate::error::FigureError;
use crate::grid::photo_or_missing;
use crate::legend::legend;
use crate::members::Member;
use crate::pixels::Rgb;
use crate::run_view::{RunChoice, RunView};
use crate::sheet::{Plate, Sheet};
use crate::soft::{self, soft_aggregate};
use crate::svg::{Anchor, Lettering, Svg};
use crate::theme;
use crate::words;

/// The rows below the maps.
const SOFT: &str = "soft";
const INFORMED: &str = "by information";

const NONE_YET: &str = "The run has no aggregate maps yet.";

/// Ground truth and each facet at its chosen layer.
pub(crate) fn draw_best(member: &Member) -> Result<Plate, FigureError> {
    const GAP: f64 = 20.0;
    let run = &member.run;
    let heading = words::heading(run, "Aggregate maps");
    let mut sheet = Sheet::new("aggregate", heading, theme::FULL_WIDTH, &[member]);
    let mut maps = Vec::new();
    for slot in run.best() {
        maps.push((slot, run.aggregate(slot)?));
    }
    if maps.iter().all(|(_, map)| map.is_none()) {
        return Ok(sheet.absent(NONE_YET));
    }
    let count = maps.len() as f64;
    let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - (count - 1.0) * GAP;
    let side = (room / count).min(230.0).floor();
    for (index, (slot, map)) in maps.iter().enumerate() {
        let x = theme::MARGIN + index as f64 * (side + GAP);
        draw_map(&mut sheet.svg, run, *slot, map.as_ref(), [x, side])?;
    }
    let mut bottom = theme::MARGIN + 22.0 + side + 34.0;
    let mut soft_maps = Vec::new();
    for (subject, _) in &maps {
        soft_maps.push(match subject {
            Subject::Slot(slot) => soft_aggregate(run, *slot)?,
            _ => None,
        });
    }
    let informed: Vec<_> = maps.iter().map(|(slot, _)| run.informed(*slot)).collect();
    let rows = [
        (&soft_maps, SOFT, "soft aggregate map"),
        (
            &informed,
            INFORMED,
            "aggregate map, paler where the place says less",
        ),
    ];
    let rows = rows
        .into_iter()
        .filter(|row| row.0.iter().any(Option::is_some));
    for (row, name, label) in rows.clone() {
        sheet
            .svg
            .text([theme::MARGIN, bottom + 10.0], Lettering::HEAD, name);
        bottom += 20.0;
        for (index, (map, (slot, _))) in row.iter().zip(&maps).enumerate() {
            let x = theme::MARGIN + index as f64 * (side + GAP);
            if map.is_some() {
                let label = format!("{label}: {slot}");
                let place = [x, bottom, side, side];
                photo_or_missing(&mut sheet.svg, place, map.as_ref(), &label)?;
            }
        }
        bottom += side + 16.0;
    }
    let shown: Vec<&str> = rows.map(|row| row.1).collect();
    if run.labels_are_classes() {
        bottom = legend(&mut sheet.svg, run, bottom, None);
    }
    notes(
        &mut sheet,
        run,
        &[words::selection_note(run), words::NMI_NOTE],
    );
    if shown.contains(&SOFT) {
        sheet.note(soft::note(run));
    }
    if shown.contains(&INFORMED) {
        sheet.note("By information: on the patch grid, and paler the less a place says of what is predicted there (the mean of log P(c|p)/P(c) over H(C), from 0, pale, to 1).");
    }
    sheet.columns(&["layer", "facet", "file", "nmi", "miou"]);
    for (slot, map) in &maps {
        let file = map.as_ref().map(|_| format!("aggregate/{slot}.png"));
        let mut cells = words::subject_cells(*slot).to_vec();
        cells.push(file.unwrap_or_default());
        cells.extend(numbers(run, *slot).map(words::cell));
        sheet.row(member, cells);
    }
    sheet.finish(bottom + 2.0)
}

/// NMI and mIoU.
fn numbers(run: &RunView, subject: Subject) -> [Option<f64>; 2] {
    ["nmi", "miou"].map(|metric| run.get(subject, metric).value)
}

/// One map with its slot's name above and its numbers below.
fn draw_map(
    svg: &mut Svg,
    run: &RunView,
    subject: Subject,
    map: Option<&Rgb>,
    [x, side]: [f64; 2],
) -> Result<(), FigureError> {
    let top = theme::MARGIN + 22.0;
    let (name, layer) = words::subject_label(subject);
    let end = Lettering::LABEL.anchor(Anchor::End);
    svg.text([x, top - 9.0], Lettering::HEAD, name);
    svg.text([x + side, top - 9.0], end, &layer);
    let label = format!("aggregate map of {name} {layer}");
    photo_or_missing(svg, [x, top, side, side], map, &label)?;
    let [nmi, miou] = numbers(run, subject).map(words::number);
    let below = top + side + 18.0;
    if run.has("nmi") {
        svg.text([x, below], Lettering::LABEL, &format!("NMI {nmi}"));
    }
    if subject != Subject::GroundTruth && run.has("miou") {
        svg.text([x + side, below], end, &format!("mIoU {miou}"));
    }
    Ok(())
}

/// Which maps a figure of all layers shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapKind {
    /// The mean color of what is predicted at each pixel.
    Hard,
    /// The mean color at each patch, weighted by how probable each cluster is there.
    Soft,
}

impl MapKind {
    /// The figure's name, its heading, and what it says where there is no map.
    fn figure(self) -> [&'static str; 3] {
        match self {
            Self::Hard => ["aggregate-layers", "Aggregate maps of all layers", NONE_YET],
            Self::Soft => [
                "soft-layers",
                "Soft aggregate maps of all layers",
                "The run stored no soft maps.",
            ],
        }
    }

    fn of(self, run: &RunView, slot: Slot) -> Result<Option<Rgb>, FigureError> {
        match self {
            Self::Hard => run.aggregate(Subject::Slot(slot)),
            Self::Soft => soft_aggregate(run, slot),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Hard => "aggregate",
            Self::Soft => "soft aggregate",
        }
    }

    /// Where the run has it.
    fn file(self, slot: Slot) -> String {
        match self {
            Self::Hard => format!("aggregate/{slot}.png"),
            Self::Soft => names::SOFT.to_owned(),
        }
    }
}

/// Every facet, layer by layer.
pub(crate) fn draw_layers(member: &Member, maps: MapKind) -> Result<Plate, FigureError> {
    let run = &member.run;
    let [name, heading, none] = maps.figure();
    let mut sheet = Sheet::new(name, heading, theme::FULL_WIDTH, &[member]);
    let bands = Bands::new(run.layers(), 66.0, 150.0);
    let side = bands.side();
    sheet.columns(&["layer", "facet", "file", "nmi"]);
    let mut top = theme::MARGIN;
    for band in bands.iter() {
        top = bands.heads(&mut sheet.svg, band, top);
        for facet in run.facets() {
            bands.label(&mut sheet.svg, top + side / 2.0, facet.name(), "");
            for (column, &layer) in band.iter().enumerate() {
                let slot = Subject::slot(facet, layer);
                let place = bands.cell(column, top);
                let map = maps.of(run, Slot { facet, layer })?;
                let label = format!("{} map of {} layer {layer}", maps.word(), facet.name());
                photo_or_missing(&mut sheet.svg, place, map.as_ref(), &label)?;
                if let Some(used) = words::thin_label(run, slot) {
                    if run.is_collapsed(Slot { facet, layer }) {
                        sheet.svg.void(place);
                    }
                    let middle = [place[0] + side / 2.0, top + side - 6.0];
                    sheet.svg.tag(middle, used.trim_end_matches(" used"));
                }
                if map.is_some() {
                    let mut cells = words::subject_cells(slot).to_vec();
                    cells.push(maps.file(Slot { facet, layer }));
                    cells.push(words::cell(run.get(slot, "nmi").value));
                    sheet.row(member, cells);
                }
                if run.selection.contains(&Slot { facet, layer }) {
                    let frame = [place[0] - 1.0, top - 1.0, side + 2.0, side + 2.0];
                    sheet.svg.frame(frame, theme::INK, 2.5);
                }
            }
            top += bands.pitch();
        }
        top += 10.0;
    }
    if sheet.is_empty() {
        return Ok(sheet.absent(none));
    }
    let chosen = match run.choice {
        RunChoice::Best => "Framed: each facet's layer of highest mIoU.",
        RunChoice::Stored => "Framed: the layer that the run chose for each facet.",
        RunChoice::Last | RunChoice::BestPck => "Framed: each facet's last layer.",
    };
    let mut bottom = top - 4.0;
    if run.labels_are_classes() {
        bottom = legend(&mut sheet.svg, run, bottom, None);
    }
    match maps {
        MapKind::Hard => notes(&mut sheet, run, &[chosen]),
        MapKind::Soft => {
            sheet.note(soft::note(run));
            sheet.note(chosen);
        }
    }
    sheet.finish(bottom + 2.0)
}

fn notes(sheet: &mut Sheet, run: &RunView, more: &[&str]) {
    sheet.note(words::aggregate_note(run));
    sheet.notes(more.iter().copied());
    sheet.notes(words::cluster_note(run));
    sheet.notes(words::token_note(run));
}
