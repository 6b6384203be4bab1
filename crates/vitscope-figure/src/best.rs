//! The figure `best-miou`: each run's facets as grouped bars, with the layer on each bar.

use vitscope_run::{Facet, Measured, Select, Subject};

use crate::chart::{Chart, Frame};
use crate::error::FigureError;
use crate::members::Member;
use crate::scale::Scale;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::text;
use crate::theme;
use crate::words;

const NAME: &str = "best-miou";
const LEFT: f64 = 62.0;
const TOP: f64 = 46.0;
const HEIGHT: f64 = 230.0;

/// A facet of a run at the layer that stands for it.
struct Bar<'a> {
    member: &'a Member,
    /// The run's place among the groups, and the facet's within its group.
    group: usize,
    place: usize,
    facet: Facet,
    layer: usize,
    miou: Measured,
}

impl Bar<'_> {
    fn subject(&self) -> Subject {
        Subject::slot(self.facet, self.layer)
    }
}

pub(crate) fn draw(members: &[&Member], select: Select) -> Result<Plate, FigureError> {
    let heading = match select {
        Select::BestMiou => "Best segmentation of each run".to_owned(),
        Select::Layer(layer) => format!("Segmentation of each run at layer {layer}"),
        Select::Last => "Segmentation of each run at its last layer".to_owned(),
    };
    let bars = bars(members, select);
    let values = bars.iter().flat_map(|bar| words::ends(bar.miou));
    let values: Vec<f64> = values.collect();
    if values.is_empty() {
        let why = "mIoU needs ground truth, and no run has it.";
        return Ok(sheet::absent(NAME, heading, why));
    }
    // Few runs fill a column, more the page; bars stay bars.
    let page = if members.len() <= 3 {
        theme::COLUMN_WIDTH
    } else {
        theme::FULL_WIDTH
    };
    let group = (page - LEFT - theme::MARGIN) / members.len() as f64;
    let mut sheet = Sheet::new(NAME, heading, page, members);
    draw_key(&mut sheet.svg);
    let frame = Frame {
        place: [LEFT, TOP, group * members.len() as f64, HEIGHT],
        x: Scale::Places(vec![String::new(); members.len()]),
        y: Scale::linear(values),
        x_name: "",
        y_name: "mIoU",
        labels: [false, true],
    };
    let mut chart = frame.open(&mut sheet.svg);
    for bar in &bars {
        draw_bar(&mut chart, bar, group);
    }
    let bottom = draw_names(&mut sheet.svg, members, group);
    sheet.note(words::data_note(members));
    sheet.note("Bars stand in the order of the legend.");
    sheet.note(words::select_note(select));
    if bars.iter().any(|bar| bar.miou.interval.is_some()) {
        sheet.note(words::INTERVAL_NOTE);
    }
    sheet.columns(&["layer", "facet", "miou", "nmi"]);
    for bar in &bars {
        let run = &bar.member.run;
        let values = ["miou", "nmi"].map(|metric| run.get(bar.subject(), metric).value);
        let cells = words::subject_cells(bar.subject()).into_iter();
        sheet.row(bar.member, cells.chain(values.map(words::cell)));
    }
    sheet.finish(bottom + 8.0)
}

fn bars<'a>(members: &[&'a Member], select: Select) -> Vec<Bar<'a>> {
    let mut bars = Vec::new();
    for (group, &member) in members.iter().enumerate() {
        for (place, facet) in Facet::ALL.into_iter().enumerate() {
            if let Some(layer) = member.run.selected(facet, select) {
                let slot = Subject::slot(facet, layer);
                bars.push(Bar {
                    member,
                    group,
                    place,
                    facet,
                    layer,
                    miou: member.run.get(slot, "miou"),
                });
            }
        }
    }
    bars
}

fn draw_key(svg: &mut Svg) {
    let mut at = LEFT;
    let style = Lettering::LABEL;
    for facet in Facet::ALL {
        svg.rect([at, theme::MARGIN + 3.0, 12.0, 12.0], theme::facet(facet));
        svg.text([at + 17.0, theme::MARGIN + 14.0], style, facet.name());
        at += 32.0 + text::width(facet.name(), style.size, style.weight);
    }
    let place = [at, theme::MARGIN + 14.0];
    svg.text(place, Lettering::NOTE, "number on a bar: its layer");
}

fn draw_bar(chart: &mut Chart<'_>, bar: &Bar<'_>, group: f64) {
    let width = (group * 0.84 / 4.0).min(32.0);
    let height = bar.miou.value.unwrap_or(0.0);
    let middle = bar.group as f64 + (bar.place as f64 - 1.5) * width / group;
    let half = (width / 2.0 - 1.0) / group;
    let corners = [(middle - half, 0.0), (middle + half, height)];
    chart.bar(corners, theme::facet(bar.facet));
    chart.interval(middle, bar.miou.interval, theme::INK);
    let label = match bar.miou.value {
        Some(_) => bar.layer.to_string(),
        None => "?".to_owned(),
    };
    let high = bar.miou.interval.map(|interval| interval.1);
    let top = (middle, high.unwrap_or(height));
    let style = Lettering::NOTE.anchor(Anchor::Middle);
    chart.text(top, [0.0, -4.0], style, &label);
}

/// The runs' names below their groups; gives the position of the lowest line.
fn draw_names(svg: &mut Svg, members: &[&Member], group: f64) -> f64 {
    let bottom = TOP + HEIGHT;
    let mut lowest: f64 = bottom;
    for (index, member) in members.iter().enumerate() {
        let middle = LEFT + (index as f64 + 0.5) * group;
        let lines = text::wrap_in(&member.label, group - 6.0, theme::NOTE, 4);
        for (line, name) in lines.iter().enumerate() {
            let y = bottom + 17.0 + line as f64 * 15.0;
            let style = Lettering::NOTE.anchor(Anchor::Middle).paint(theme::INK);
            svg.text([middle, y], style, name);
            lowest = lowest.max(y);
        }
    }
    lowest
}
