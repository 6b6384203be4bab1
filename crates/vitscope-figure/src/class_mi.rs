//! The figure `class-mi`: which classes carry the positional effect.

use crate::chart::{Frame, Scale};
use crate::error::FigureError;
use crate::figure::{self, Plate};
use crate::run_dir::{Run, Slot};
use crate::svg::{Svg, Type};
use crate::text::{self, Weight};
use crate::theme;

const MOST_CLASSES: usize = 12;
const ROW: f64 = 24.0;
const MOST_LABEL_WIDTH: f64 = 210.0;
const GAP: f64 = 22.0;

pub(crate) fn draw(run: &Run) -> Result<Plate, FigureError> {
    let heading = figure::heading(run, "Class-wise positional information");
    let title = format!("{heading}: {}", figure::provenance(run));
    let slots = run.best_slots();
    let value = |slot: Slot, class: usize| run.metrics.class(slot, "class_mi", &class.to_string());
    let largest_of = |class: usize| {
        slots
            .iter()
            .filter_map(|&slot| value(slot, class).value)
            .reduce(f64::max)
    };
    let mut classes: Vec<(usize, f64)> = (0..run.classes.len())
        .filter_map(|class| Some((class, largest_of(class)?)))
        .collect();
    if classes.is_empty() {
        let why = if run.data.has_truth {
            "The run has no class-wise mutual information yet."
        } else {
            "Class-wise figures need ground truth: clusters of different facets have no names in common."
        };
        return Ok(figure::absent("class-mi", heading, why));
    }
    let all = classes.len();
    classes.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    classes.truncate(MOST_CLASSES);
    // The highest are chosen over all panels; the ground truth, if any, orders them.
    let truth = |class: usize| value(Slot::Truth, class).value.unwrap_or(f64::NEG_INFINITY);
    classes.sort_by(|a, b| truth(b.0).total_cmp(&truth(a.0)));
    let highest = slots
        .iter()
        .flat_map(|&slot| classes.iter().map(move |&(class, _)| (slot, class)));
    let highest =
        highest.flat_map(|(slot, class)| [value(slot, class).value, value(slot, class).high]);
    let scale = Scale::linear(highest.flatten());

    let mut svg = Svg::new("class-mi", theme::FULL_WIDTH);
    let names = classes
        .iter()
        .map(|&(class, _)| run.classes[class].name.as_str());
    let label_width = 32.0 + text::widest(names, Type::LABEL.size, MOST_LABEL_WIDTH);
    let left = theme::MARGIN + label_width;
    let count = slots.len() as f64;
    let panel = (theme::FULL_WIDTH - theme::MARGIN - left - (count - 1.0) * GAP) / count;
    let top = theme::MARGIN + 26.0;
    let bottom = top + classes.len() as f64 * ROW;
    for (row, &(class, _)) in classes.iter().enumerate() {
        let y = top + (row as f64 + 0.5) * ROW;
        let class = &run.classes[class];
        svg.swatch([theme::MARGIN, y - 6.0, 12.0, 12.0], class.color);
        let name = text::fit(
            &class.name,
            label_width - 30.0,
            Type::LABEL.size,
            Weight::Regular,
        );
        svg.text([theme::MARGIN + 18.0, y + 5.0], Type::LABEL, &name);
    }
    for (column, &slot) in slots.iter().enumerate() {
        let start = left + column as f64 * (panel + GAP);
        let (name, layer) = figure::slot_label(slot);
        svg.text([start, theme::MARGIN + 13.0], Type::HEAD, name);
        let after = start + text::width(name, Type::HEAD.size, Weight::SemiBold) + 7.0;
        svg.text([after, theme::MARGIN + 13.0], Type::LABEL, &layer);
        let frame = Frame {
            place: [start, top, panel, bottom - top],
            x: scale.clone(),
            y: Scale::Rows(classes.len()),
            x_name: "",
            y_name: "",
            labels: [true, false],
        };
        let chart = frame.open(&mut svg)?;
        for (row, &(class, _)) in classes.iter().enumerate() {
            let truth = value(Slot::Truth, class).value;
            let truth = truth.filter(|_| slot != Slot::Truth);
            chart.class_bar(row, class, value(slot, class), truth, theme::slot(slot))?;
        }
    }
    svg.text(
        [left, bottom + 36.0],
        Type::LABEL,
        "class-wise mutual information with position (nats)",
    );

    let mut notes = vec![figure::provenance(run)];
    if run.data.has_truth {
        notes.push("Upright line: ground truth.".to_owned());
    }
    if all > classes.len() {
        notes.push(format!("The {} highest of {all} classes.", classes.len()));
    }
    notes.push("I_c is class c's share of I(P;C), natural logarithm.".to_owned());
    notes.extend(figure::token_note(run));
    let caption = notes.join(" ");
    let height = svg.notes(theme::MARGIN, bottom + 46.0, std::slice::from_ref(&caption));

    let rows = slots.iter().flat_map(|&slot| {
        classes.iter().map(move |&(class, _)| {
            let measured = value(slot, class);
            let mut cells = figure::slot_cells(slot).to_vec();
            cells.extend([class.to_string(), run.classes[class].name.clone()]);
            cells.extend([measured.value, measured.low, measured.high].map(figure::cell));
            cells
        })
    });
    let csv = figure::table(
        &["layer", "facet", "class", "name", "class_mi", "low", "high"],
        rows,
    )?;
    let drawing = svg.finish(height, title, caption);
    Ok(figure::drawn("class-mi", heading, drawing, csv))
}
