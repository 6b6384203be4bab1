//! The figure `pck-by-category`: PCK of every category at each facet's best layer, as a table whose
//! cells are shaded.

use vitscope_run::{Part, Slot, Subject};

use crate::error::FigureError;
use crate::members::Member;
use crate::run_view::RunView;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering, Svg};
use crate::theme;
use crate::words;

const NAME: &str = "pck-by-category";
const HEADING: &str = "Correct keypoints by category";
const LABEL_WIDTH: f64 = 110.0;
const ROW: f64 = 24.0;
const LEFT: f64 = theme::MARGIN + LABEL_WIDTH;
const TOP: f64 = theme::MARGIN + 38.0;

pub(crate) fn draw(member: &Member) -> Result<Plate, FigureError> {
    let run = &member.run;
    let slots = run.selection.as_slice();
    let categories: Vec<usize> = (0..run.classes.len())
        .filter(|&class| slots.iter().any(|&slot| value(run, slot, class).is_some()))
        .collect();
    if categories.is_empty() {
        let why = "The run has no PCK by category at the threshold 0.1.";
        return Ok(sheet::absent(NAME, HEADING, why));
    }
    let mut sheet = Sheet::new(NAME, HEADING, theme::COLUMN_WIDTH, &[member]);
    let svg = &mut sheet.svg;
    let width = (theme::COLUMN_WIDTH - theme::MARGIN - LEFT) / slots.len() as f64;
    draw_heads(svg, slots, width);
    for (row, &class) in categories.iter().enumerate() {
        let y = TOP + row as f64 * ROW;
        let style = Lettering::LABEL;
        let name = &run.classes[class].name;
        svg.fitted([theme::MARGIN, y + 16.0], style, LABEL_WIDTH - 8.0, name);
        for (column, &slot) in slots.iter().enumerate() {
            let x = LEFT + column as f64 * width;
            draw_cell(svg, [x, y, width], value(run, slot, class));
        }
    }
    let bottom = TOP + categories.len() as f64 * ROW;
    sheet.note("PCK@0.1 per point.");
    sheet.note(words::selection_note(run));
    sheet.columns(&["layer", "facet", "category", "pck"]);
    for &slot in slots {
        for &class in &categories {
            let name = run.classes[class].name.clone();
            let cells = [name, words::cell(value(run, slot, class))];
            sheet.row(
                member,
                words::subject_cells(Subject::Slot(slot))
                    .into_iter()
                    .chain(cells),
            );
        }
    }
    sheet.finish(bottom + 6.0)
}

fn value(run: &RunView, slot: Slot, class: usize) -> Option<f64> {
    run.part(Subject::Slot(slot), "pck", Part::Index(class))
        .value
}

fn draw_heads(svg: &mut Svg, slots: &[Slot], width: f64) {
    for (column, &slot) in slots.iter().enumerate() {
        let middle = LEFT + (column as f64 + 0.5) * width;
        let (name, layer) = words::subject_label(Subject::Slot(slot));
        let style = Lettering::HEAD.anchor(Anchor::Middle);
        svg.text([middle, theme::MARGIN + 12.0], style, name);
        let style = Lettering::NOTE.anchor(Anchor::Middle);
        svg.text([middle, theme::MARGIN + 28.0], style, &layer);
    }
}

/// A value on its shade. Dark cells take light numbers; the value itself says how dark a cell is.
fn draw_cell(svg: &mut Svg, [x, y, width]: [f64; 3], value: Option<f64>) {
    let style = Lettering::LABEL.anchor(Anchor::Middle);
    let place = [x + width / 2.0 - 1.0, y + 16.0];
    let Some(value) = value else {
        svg.text(place, style, "undefined");
        return;
    };
    svg.cell([x, y, width - 2.0, ROW - 2.0], theme::shade(value));
    let ink = if value < 0.55 { "#16191d" } else { "#ffffff" };
    svg.text_in(place, style, ink, &format!("{value:.2}"));
}
