//! The figure `matrix`: one number of every run of a large comparison, rows and columns by what varies.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use vitscope_run::{Facet, Measured, Record, Select, Slot, Subject, Varying, in_order};

use crate::error::FigureError;
use crate::members::Member;
use crate::sheet::{self, Plate, Sheet};
use crate::svg::{Anchor, Lettering};
use crate::text;
use crate::theme;
use crate::words;

const NAME: &str = "matrix";
const HEADING: &str = "Every run";
const ROW: f64 = 22.0;
/// Room for the names of rows.
const MOST_NAME: f64 = 420.0;
const CELL: f64 = 44.0;
/// The share of the highest from which white is read better on a cell than black.
const DEEP: f64 = 0.78;

/// A run at its best facet.
struct Cell<'a> {
    member: &'a Member,
    slot: Slot,
    miou: Measured,
    row: usize,
    column: usize,
}

/// Rows and columns with their names, and a cell for every run.
struct RunMatrix<'a> {
    rows: Vec<Vec<String>>,
    columns: Vec<String>,
    /// What the columns are values of.
    across: Option<String>,
    /// What the parts of a row's name are values of.
    down: Vec<String>,
    cells: Vec<Cell<'a>>,
}

/// Every run's best facet at its shown layer.
pub(crate) fn draw(members: &[&Member], select: Select) -> Result<Plate, FigureError> {
    let Some(matrix) = RunMatrix::of(members, select) else {
        let why = "mIoU needs ground truth, and no run has it.";
        return Ok(sheet::absent(NAME, HEADING, why));
    };
    let mut sheet = Sheet::new(NAME, HEADING, theme::FULL_WIDTH, members);
    let names: Vec<String> = matrix.rows.iter().map(|row| row.join(", ")).collect();
    let style = Lettering::NOTE;
    let left = theme::MARGIN
        + text::widest(names.iter().map(String::as_str), style.size, MOST_NAME)
        + 12.0;
    let room = theme::FULL_WIDTH - theme::MARGIN - left;
    let width = (room / matrix.columns.len() as f64).min(CELL);
    let across = matrix.across.as_deref().unwrap_or("mIoU");
    let top = theme::MARGIN + 40.0;
    let svg = &mut sheet.svg;
    svg.text([left, theme::MARGIN + 12.0], Lettering::LABEL, across);
    for (column, name) in matrix.columns.iter().enumerate() {
        let middle = left + (column as f64 + 0.5) * width;
        let place = [middle, top - 8.0];
        svg.fitted(place, style.anchor(Anchor::Middle), width - 2.0, name);
    }
    for (row, name) in names.iter().enumerate() {
        let y = top + row as f64 * ROW + 15.0;
        let room = left - theme::MARGIN - 12.0;
        svg.fitted([theme::MARGIN, y], style.paint(theme::INK), room, name);
    }
    let largest = matrix.cells.iter().filter_map(|cell| cell.miou.value);
    let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
    let leaders = matrix.leaders();
    for (cell, leads) in matrix.cells.iter().zip(&leaders) {
        let place = [
            left + cell.column as f64 * width,
            top + cell.row as f64 * ROW,
            width - 1.0,
            ROW - 1.0,
        ];
        draw_cell(svg, cell, place, largest, *leads);
    }
    sheet.note(format!(
        "mIoU of every run, at the facet where it is highest; darker is higher. Rows: {}.",
        matrix.down.join(", ")
    ));
    sheet.note("Framed: the highest on its data set, and every run whose 95 % interval overlaps that one's: these are not ranked.");
    sheet.note(words::select_note(select));
    let left_out = members.len() - matrix.cells.len();
    if left_out > 0 {
        sheet.note(format!(
            "{left_out} of the runs have no slot at that layer, and no cell."
        ));
    }
    matrix.table(&mut sheet, &leaders);
    sheet.finish(top + matrix.rows.len() as f64 * ROW + 10.0)
}

fn draw_cell(
    svg: &mut crate::svg::Svg,
    cell: &Cell<'_>,
    place: [f64; 4],
    largest: f64,
    leads: bool,
) {
    let [x, y, width, height] = place;
    let share = cell.miou.value.unwrap_or(0.0) / largest;
    let printed = words::number(cell.miou.value);
    let (facet, layer) = words::subject_label(Subject::Slot(cell.slot));
    let interval = cell
        .miou
        .interval
        .map_or_else(String::new, |(low, high)| format!(" [{low:.3}, {high:.3}]"));
    let (attribute, name) = cell.member.opens(cell.slot);
    svg.begin(attribute, &name);
    svg.title(&format!(
        "{}: {facet}, {layer}: mIoU {printed}{interval}",
        cell.member.label
    ));
    svg.cell(place, theme::shade(share));
    // Two digits are what fits; the title and the table have the rest.
    let value = cell.miou.value.map_or_else(
        || "–".to_owned(),
        |value| format!("{value:.2}").trim_start_matches('0').to_owned(),
    );
    let color = if share > DEEP { "#fff" } else { "#111" };
    let style = Lettering::NOTE.anchor(Anchor::Middle);
    if text::width(&value, style.size, style.weight) < width {
        svg.text_in([x + width / 2.0, y + height - 6.0], style, color, &value);
    }
    if leads {
        svg.frame(
            [x + 1.0, y + 1.0, width - 2.0, height - 2.0],
            theme::INK,
            2.0,
        );
    }
    svg.end();
}

impl<'a> RunMatrix<'a> {
    /// Columns are the values of the seed, or else of what has most values; the rest are rows. Runs that
    /// differ in nothing follow one another in rows of the same name.
    fn of(members: &[&'a Member], select: Select) -> Option<Self> {
        let runs: Vec<&Record> = members.iter().map(|member| &member.run.record).collect();
        let Varying { names, values, .. } = Varying::of(&runs);
        let count = |place: usize| {
            let mut all: Vec<&String> = values.iter().map(|own| &own[place]).collect();
            all.sort_unstable();
            all.dedup();
            all.len()
        };
        let column = names.iter().position(|name| name == "seed");
        let column = column.or_else(|| (0..names.len()).max_by_key(|&place| (count(place), place)));
        let mut columns: Vec<String> = column.map_or_else(Vec::new, |column| {
            values.iter().map(|own| own[column].clone()).collect()
        });
        columns.sort_by(|a, b| in_order(a, b));
        columns.dedup();
        if columns.is_empty() {
            columns.push(String::new());
        }
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut taken = BTreeSet::new();
        let mut cells = Vec::new();
        let mut order: Vec<usize> = (0..members.len()).collect();
        order.sort_by(|&a, &b| {
            let parts = values[a].iter().zip(&values[b]);
            let order = parts.map(|(a, b)| in_order(a, b));
            order.fold(Ordering::Equal, Ordering::then)
        });
        for (&member, own) in order.iter().map(|&at| (&members[at], &values[at])) {
            let Some((slot, miou)) = best(member, select) else {
                continue;
            };
            let mine = column.map_or("", |column| own[column].as_str());
            let at = columns.iter().position(|name| name == mine).unwrap_or(0);
            let row: Vec<String> = own
                .iter()
                .enumerate()
                .filter(|(place, _)| Some(*place) != column)
                .map(|(_, value)| value.clone())
                .collect();
            let same =
                (0..rows.len()).find(|&index| rows[index] == row && !taken.contains(&(index, at)));
            let index = same.unwrap_or_else(|| {
                rows.push(row);
                rows.len() - 1
            });
            taken.insert((index, at));
            cells.push(Cell {
                member,
                slot,
                miou,
                row: index,
                column: at,
            });
        }
        let down = names
            .iter()
            .enumerate()
            .filter(|(place, _)| Some(*place) != column);
        Some(Self {
            rows,
            columns,
            across: column.map(|column| names[column].replace('_', " ")),
            down: down.map(|(_, name)| name.replace('_', " ")).collect(),
            cells,
        })
        .filter(|matrix| matrix.cells.iter().any(|cell| cell.miou.value.is_some()))
    }

    /// Which cells are the highest on their data set, or overlap it.
    fn leaders(&self) -> Vec<bool> {
        let low = |cell: &Cell<'_>| {
            cell.miou
                .interval
                .map(|interval| interval.0)
                .or(cell.miou.value)
        };
        let high = |cell: &Cell<'_>| {
            cell.miou
                .interval
                .map(|interval| interval.1)
                .or(cell.miou.value)
        };
        let leads = |cell: &Cell<'_>| {
            let data = &cell.member.run.record.data;
            let rivals = self
                .cells
                .iter()
                .filter(|other| other.member.run.record.data.is_of(data));
            let top = rivals
                .filter(|other| other.miou.value.is_some())
                .max_by(|a, b| {
                    a.miou
                        .value
                        .partial_cmp(&b.miou.value)
                        .unwrap_or(Ordering::Equal)
                });
            top.and_then(low)
                .zip(high(cell))
                .is_some_and(|(low, high)| high >= low)
        };
        self.cells.iter().map(leads).collect()
    }

    fn table(&self, sheet: &mut Sheet, leaders: &[bool]) {
        sheet.columns(&[
            "layer",
            "facet",
            "miou",
            "miou_low",
            "miou_high",
            "overlaps_highest",
        ]);
        for (cell, leads) in self.cells.iter().zip(leaders) {
            let mut cells = words::subject_cells(Subject::Slot(cell.slot)).to_vec();
            cells.extend(words::measured_cells(cell.miou));
            cells.push(leads.to_string());
            sheet.row(cell.member, cells);
        }
    }
}

/// The facet of a run where mIoU is highest, at its shown layer.
fn best(member: &Member, select: Select) -> Option<(Slot, Measured)> {
    let run = &member.run;
    let slots = Facet::ALL.into_iter().filter_map(|facet| {
        let layer = run.selected(facet, select)?;
        let slot = Slot { facet, layer };
        Some((slot, run.get(Subject::Slot(slot), "miou")))
    });
    slots.reduce(|best, other| {
        if other.1.value > best.1.value {
            other
        } else {
            best
        }
    })
}
