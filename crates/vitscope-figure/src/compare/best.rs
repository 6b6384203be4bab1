//! The figure `best-miou`: each run's facets as grouped bars, with the layer on each bar.

use super::{Member, curves};
use crate::chart::{Frame, Scale};
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::run_dir::{Facet, Slot};
use crate::select::Select;
use crate::svg::{Anchor, Svg, Type};
use crate::text;
use crate::theme;

const NAME: &str = "best-miou";

pub(super) fn draw(members: &[&Member], select: Select) -> Result<Plate, FigureError> {
    const LEFT: f64 = 62.0;
    const TOP: f64 = 46.0;
    const HEIGHT: f64 = 230.0;
    let heading = match select {
        Select::BestMiou => "Best segmentation of each run".to_owned(),
        Select::Layer(layer) => format!("Segmentation of each run at layer {layer}"),
        Select::Last => "Segmentation of each run at its last layer".to_owned(),
    };
    let slots = |member: &Member| -> Vec<(Facet, u32)> {
        let facets = Facet::ALL.into_iter();
        facets
            .filter_map(|facet| Some((facet, select.layer(&member.run, facet)?)))
            .collect()
    };
    let value = |member: &Member, (facet, layer): (Facet, u32)| {
        let slot = Slot::Probe(facet, layer);
        member.run.metrics.get(slot, "miou")
    };
    let all = members.iter().flat_map(|member| {
        let measured = slots(member).into_iter().map(|slot| value(member, slot));
        measured.flat_map(|measured| measured.ends().into_iter().flatten())
    });
    let all: Vec<f64> = all.collect();
    if all.is_empty() {
        let why = "mIoU needs ground truth, and no run has it.";
        return Ok(figure::absent(NAME, heading, why));
    }
    // Few runs fill a column, more the page; bars stay bars.
    let page = if members.len() <= 3 {
        theme::COLUMN_WIDTH
    } else {
        theme::FULL_WIDTH
    };
    let group = (page - LEFT - theme::MARGIN) / members.len() as f64;
    let width = (group * 0.84 / 4.0).min(32.0);
    let frame = Frame {
        place: [LEFT, TOP, group * members.len() as f64, HEIGHT],
        x: Scale::Places(vec![String::new(); members.len()]),
        y: Scale::linear(all),
        x_name: "",
        y_name: "mIoU",
        labels: [false, true],
    };
    let mut svg = Svg::new(NAME, page);
    let mut at = LEFT;
    for facet in Facet::ALL {
        svg.rect([at, theme::MARGIN + 3.0, 12.0, 12.0], theme::facet(facet));
        svg.text([at + 17.0, theme::MARGIN + 14.0], Type::LABEL, facet.name());
        at += 32.0 + text::width(facet.name(), Type::LABEL.size, Type::LABEL.weight);
    }
    svg.text(
        [at, theme::MARGIN + 14.0],
        Type::NOTE,
        "number on a bar: its layer",
    );
    let chart = frame.open(&mut svg)?;
    let mut rows = Vec::new();
    for (index, member) in members.iter().enumerate() {
        for (place, facet) in Facet::ALL.into_iter().enumerate() {
            let Some(layer) = select.layer(&member.run, facet) else {
                continue;
            };
            let measured = value(member, (facet, layer));
            let height = measured.value.unwrap_or(0.0);
            let middle = index as f64 + (place as f64 - 1.5) * width / group;
            let half = (width / 2.0 - 1.0) / group;
            chart.bar(
                [(middle - half, 0.0), (middle + half, height)],
                theme::facet(facet),
            )?;
            chart.interval(middle, measured.interval(), theme::INK)?;
            let label = measured
                .value
                .map_or_else(|| "?".to_owned(), |_| layer.to_string());
            let top = (middle, measured.high.unwrap_or(height));
            let style = Type::NOTE.anchor(Anchor::Middle);
            chart.text(top, [0.0, -4.0], style, &label)?;
            let slot = Slot::Probe(facet, layer);
            let mut cells = vec![member.label.clone()];
            cells.extend(figure::slot_cells(slot));
            cells.extend(
                ["miou", "nmi"]
                    .map(|metric| figure::cell(member.run.metrics.get(slot, metric).value)),
            );
            rows.push(cells);
        }
    }
    drop(chart);
    let bottom = TOP + HEIGHT;
    let mut lowest: f64 = bottom;
    for (index, member) in members.iter().enumerate() {
        let middle = LEFT + (index as f64 + 0.5) * group;
        let lines = text::wrap_in(&member.label, group - 6.0, theme::NOTE, 4);
        for (line, name) in lines.iter().enumerate() {
            let y = bottom + 17.0 + line as f64 * 15.0;
            let style = Type::NOTE.anchor(Anchor::Middle).paint(theme::INK);
            svg.text([middle, y], style, name);
            lowest = lowest.max(y);
        }
    }
    let mut notes = vec![
        curves::data_note(members),
        "Bars stand in the order of the legend.".to_owned(),
        select.note(),
    ];
    if curves::has_intervals(members, "miou") {
        notes.push(figure::INTERVAL_NOTE.to_owned());
    }
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, lowest + 8.0, std::slice::from_ref(&caption));
    let csv = figure::table(&["run", "layer", "facet", "miou", "nmi"], rows)?;
    let drawing = svg.finish(height, heading.clone(), caption);
    Ok(figure::drawn(NAME, heading, drawing, csv))
}
