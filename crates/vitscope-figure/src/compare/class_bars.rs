//! The figures `class-mi-key` and so on: runs side by side, such as the sizes of one model, each
//! with its aggregate map and the classes that carry its positional effect (the paper's Figure 6).

use super::Member;
use crate::chart::{Frame, Scale};
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::grid::photo_or_missing;
use crate::metrics::Measured;
use crate::pixels::Rgb;
use crate::run_dir::{Facet, Slot};
use crate::select::Select;
use crate::svg::{Anchor, Svg, Type};
use crate::text;
use crate::theme::{self, Paint};

const MOST_LABEL_WIDTH: f64 = 190.0;
const HEAD_LINES: usize = 4;
const MOST_CLASSES: usize = 10;
/// Panels beside one another, the ground truth's among them.
const MOST_PANELS: usize = 7;
const ROW: f64 = 22.0;
const GAP: f64 = 26.0;

struct Column<'a> {
    name: String,
    slot: Slot,
    member: &'a Member,
    paint: Paint,
    aggregate: Option<Rgb>,
}

impl Column<'_> {
    fn class_mi(&self, class: usize) -> Measured {
        let metrics = &self.member.run.metrics;
        metrics.class(self.slot, "class_mi", &class.to_string())
    }

    fn metric(&self, metric: &str) -> Option<f64> {
        self.member.run.metrics.get(self.slot, metric).value
    }
}

pub(super) fn draw(
    members: &[&Member],
    facet: Facet,
    select: Select,
) -> Result<Option<Plate>, FigureError> {
    let name = format!("class-mi-{}", facet.name());
    let heading = format!("Positional information of classes: {}", facet.name());
    // Classes have one meaning only within one data set.
    let with_truth = members.iter().filter(|member| member.run.data.has_truth);
    let with_truth: Vec<&&Member> = with_truth.collect();
    let Some(first) = with_truth.first() else {
        let why = "Class-wise figures need ground truth, and no run has it.";
        return Ok(Some(figure::absent(&name, heading, why)));
    };
    let names = |member: &Member| -> Vec<String> {
        let classes = member.run.classes.iter();
        classes.map(|class| class.name.clone()).collect()
    };
    let mut columns = vec![Column {
        name: "ground truth".to_owned(),
        slot: Slot::Truth,
        member: first,
        paint: theme::TRUTH,
        aggregate: first.run.aggregate(Slot::Truth)?,
    }];
    let mut left_out = 0;
    for member in &with_truth {
        let Some(layer) = select.layer(&member.run, facet) else {
            continue;
        };
        if names(member) != names(first) || columns.len() == MOST_PANELS {
            left_out += 1;
            continue;
        }
        let slot = Slot::Probe(facet, layer);
        columns.push(Column {
            name: member.label.clone(),
            slot,
            member,
            paint: member.paint(),
            aggregate: member.run.aggregate(slot)?,
        });
    }
    if columns.len() == 1 {
        return Ok(None);
    }
    let largest = |class: usize| {
        let values = columns
            .iter()
            .filter_map(|column| column.class_mi(class).value);
        values.reduce(f64::max)
    };
    let mut classes: Vec<(usize, f64)> = (0..first.run.classes.len())
        .filter_map(|class| Some((class, largest(class)?)))
        .collect();
    if classes.is_empty() {
        let why = "The runs have no class-wise mutual information.";
        return Ok(Some(figure::absent(&name, heading, why)));
    }
    classes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let all = classes.len();
    classes.truncate(MOST_CLASSES);
    let truth = |class: usize| {
        columns[0]
            .class_mi(class)
            .value
            .unwrap_or(f64::NEG_INFINITY)
    };
    classes.sort_by(|a, b| truth(b.0).total_cmp(&truth(a.0)));

    let ends = classes.iter().flat_map(|&(class, _)| {
        let measured = columns.iter().map(move |column| column.class_mi(class));
        measured.flat_map(|measured| measured.ends().into_iter().flatten())
    });
    let scale = Scale::linear(ends);
    let mut svg = Svg::new(&name, theme::FULL_WIDTH);
    let names = classes
        .iter()
        .map(|&(class, _)| first.run.classes[class].name.as_str());
    let label_width = 32.0 + text::widest(names, Type::LABEL.size, MOST_LABEL_WIDTH).max(60.0);
    let left = theme::MARGIN + label_width;
    let count = columns.len() as f64;
    let room = theme::FULL_WIDTH - theme::MARGIN - left - (count - 1.0) * GAP;
    let width = (room / count).min(330.0);
    let head = columns
        .iter()
        .map(|column| text::wrap_in(&column.name, width, Type::LABEL.size, HEAD_LINES).len());
    let head = head.max().unwrap_or(1) as f64 * 17.0;
    let top = theme::MARGIN + head + 8.0;
    let side = width.min(180.0);
    let bars = top + side + 44.0;
    let bottom = bars + classes.len() as f64 * ROW;
    svg.text(
        [theme::MARGIN, top + side / 2.0 + 5.0],
        Type::LABEL,
        "aggregate",
    );
    svg.text([theme::MARGIN, top + side + 16.0], Type::NOTE, "NMI");
    svg.text([theme::MARGIN, top + side + 31.0], Type::NOTE, "mIoU");
    for (row, &(class, _)) in classes.iter().enumerate() {
        let y = bars + (row as f64 + 0.5) * ROW;
        let class = &first.run.classes[class];
        svg.swatch([theme::MARGIN, y - 6.0, 12.0, 12.0], class.color);
        let style = Type::LABEL;
        let name = text::fit(&class.name, label_width - 30.0, style.size, style.weight);
        svg.text([theme::MARGIN + 18.0, y + 5.0], style, &name);
    }
    for (index, column) in columns.iter().enumerate() {
        let start = left + index as f64 * (width + GAP);
        let lines = text::wrap_in(&column.name, width, Type::LABEL.size, HEAD_LINES);
        for (line, name) in lines.iter().enumerate() {
            let style = Type::LABEL;
            let y = theme::MARGIN + 12.0 + 17.0 * line as f64;
            svg.text([start, y], style, name);
        }
        let label = format!("aggregate map of {}", column.name);
        photo_or_missing(
            &mut svg,
            [start, top, side, side],
            column.aggregate.as_ref(),
            &label,
        )?;
        for (line, metric) in ["nmi", "miou"].into_iter().enumerate() {
            if let Some(value) = column.metric(metric) {
                let place = [start, top + side + 16.0 + 15.0 * line as f64];
                svg.text(place, Type::NOTE, &format!("{value:.3}"));
            }
        }
        if let Slot::Probe(_, layer) = column.slot {
            let place = [start + side, top + side + 16.0];
            let style = Type::NOTE.anchor(Anchor::End);
            svg.text(place, style, &format!("layer {layer}"));
        }
        let frame = Frame {
            place: [start, bars, width, bottom - bars],
            x: scale.clone(),
            y: Scale::Rows(classes.len()),
            x_name: "",
            y_name: "",
            labels: [true, false],
        };
        let chart = frame.open(&mut svg)?;
        for (row, &(class, _)) in classes.iter().enumerate() {
            let truth = columns[0].class_mi(class).value.filter(|_| index > 0);
            chart.class_bar(row, class, column.class_mi(class), truth, column.paint)?;
        }
    }
    svg.text(
        [left, bottom + 36.0],
        Type::LABEL,
        "class-wise mutual information with position (nats)",
    );
    let mut notes = vec![
        format!("On {}. {}", first.run.data.name(), select.note()),
        "Upright line: ground truth.".to_owned(),
    ];
    if all > classes.len() {
        notes.push(format!("The {} highest of {all} classes.", classes.len()));
    }
    if left_out > 0 {
        notes.push(format!(
            "{left_out} more runs are not shown: their classes differ, or there is no room."
        ));
    }
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, bottom + 44.0, std::slice::from_ref(&caption));
    let rows = columns.iter().flat_map(|column| {
        classes.iter().map(move |&(class, _)| {
            let mut cells = vec![column.name.clone()];
            cells.extend(figure::slot_cells(column.slot));
            cells.extend([
                class.to_string(),
                column.member.run.classes[class].name.clone(),
            ]);
            cells.push(figure::cell(column.class_mi(class).value));
            cells
        })
    });
    let header = ["run", "layer", "facet", "class", "name", "class_mi"];
    let csv = figure::table(&header, rows)?;
    let drawing = svg.finish(height, heading.clone(), caption);
    Ok(Some(figure::drawn(&name, heading, drawing, csv)))
}
