//! The figure `cause-maps`: what a slot predicts where, as it is and with position taken out, and what was taken out.

use safetensors::Dtype;
use vitscope_run::tensors::TensorFile;
use vitscope_run::{Slot, Subject, decimals, names};

use super::stored::Causes;
use crate::error::FigureError;
use crate::grid::photo_or_missing;
use crate::legend::legend;
use crate::members::Member;
use crate::pixels::Rgb;
use crate::sheet::{Plate, Sheet};
use crate::svg::Lettering;
use crate::theme;
use crate::words;

const LABEL_WIDTH: f64 = 76.0;
const GAP: f64 = 12.0;
/// Maps beside one another, and slots.
const MOST: usize = 6;
const ROWS: usize = 6;
/// Pixels of a place of the patch grid.
const ZOOM: usize = 8;

/// The runs of the first seed: the plain one, then each transform; the last column says what the first edit takes out.
pub(super) fn draw(causes: &Causes, members: &[&Member]) -> Result<Option<Plate>, FigureError> {
    let Some(seed) = causes.rows.iter().map(|row| row.seed).min() else {
        return Ok(None);
    };
    let mut transforms = vec!["none"];
    let (controls, edits): (Vec<&str>, Vec<&str>) = causes
        .transforms()
        .into_iter()
        .partition(|name| causes.is_control(name));
    transforms.extend(edits.iter().take(3));
    transforms.extend(controls);
    transforms.truncate(MOST);
    let mut slots = causes.slots();
    slots.truncate(ROWS);
    let mut sheet = Sheet::new("cause-maps", "Before and after", theme::FULL_WIDTH, &[]);
    let columns = transforms.len() + 1;
    let room = theme::FULL_WIDTH - 2.0 * theme::MARGIN - LABEL_WIDTH - (columns as f64 - 1.0) * GAP;
    let side = (room / columns as f64).min(170.0).floor();
    let left = |column: usize| theme::MARGIN + LABEL_WIDTH + column as f64 * (side + GAP);
    for (column, transform) in transforms.iter().enumerate() {
        let name = if *transform == "none" {
            "no transform"
        } else {
            transform
        };
        sheet
            .svg
            .text([left(column), theme::MARGIN + 12.0], Lettering::HEAD, name);
    }
    let taken = format!("taken by {}", edits.first().copied().unwrap_or("it"));
    sheet.svg.text(
        [left(transforms.len()), theme::MARGIN + 12.0],
        Lettering::HEAD,
        &taken,
    );
    let mut top = theme::MARGIN + 24.0;
    let mut any = None;
    for (model, slot) in slots {
        let subject = Subject::Slot(slot);
        let middle = top + side / 2.0;
        sheet.svg.text(
            [theme::MARGIN, middle - 4.0],
            Lettering::HEAD,
            slot.facet.name(),
        );
        sheet.svg.text(
            [theme::MARGIN, middle + 13.0],
            Lettering::LABEL,
            &format!("layer {}", slot.layer),
        );
        for (column, transform) in transforms.iter().enumerate() {
            let member = find(members, model, transform, seed);
            let map = member
                .map(|member| member.run.aggregate(subject))
                .transpose()?
                .flatten();
            let place = [left(column), top, side, side];
            let label = format!("aggregate map of {subject} with {transform}");
            photo_or_missing(&mut sheet.svg, place, map.as_ref(), &label)?;
            if member.is_some_and(|member| member.run.is_collapsed(slot)) {
                sheet.svg.void(place);
            }
            if let Some(member) = member {
                any = any.or(Some(member));
                let below = top + side + 14.0;
                sheet.svg.text(
                    [left(column), below],
                    Lettering::NOTE,
                    &numbers(member, subject),
                );
            }
        }
        let edit = edits
            .first()
            .and_then(|edit| find(members, model, edit, seed));
        let removed = edit
            .map(|member| removed(member, slot))
            .transpose()?
            .flatten();
        let place = [left(transforms.len()), top, side, side];
        let label = format!("what is taken out of {subject} at each place");
        photo_or_missing(&mut sheet.svg, place, removed.as_ref(), &label)?;
        top += side + 28.0;
    }
    let Some(member) = any else {
        return Ok(None);
    };
    let mut bottom = top - 4.0;
    if member.run.labels_are_classes() {
        bottom = legend(&mut sheet.svg, &member.run, bottom, None);
    }
    sheet.note(words::aggregate_note(&member.run));
    sheet.note(format!(
        "Below each map: mIoU and positional effect beyond chance. Runs of seed {seed}. Last column: how much of the mean vector of a place the first edit takes out, from nothing (black) to the most of the slot (yellow)."
    ));
    Ok(Some(sheet.finish(bottom + 2.0)?))
}

/// What stands below a map.
fn numbers(member: &Member, subject: Subject) -> String {
    let number = |metric| match member.run.get(subject, metric).value {
        Some(value) => decimals(value, 3),
        None => "–".to_owned(),
    };
    format!("mIoU {}, {}", number("miou"), number("nmi_excess"))
}

/// The run of a transform and a seed.
fn find<'a>(members: &[&'a Member], model: &str, transform: &str, seed: u64) -> Option<&'a Member> {
    let own = |member: &&&Member| {
        let record = &member.run.record;
        let setting = |name: &str| record.settings.get(name).and_then(|value| value.as_str());
        let own = setting("transform").unwrap_or("none");
        let fit = setting("transform_fit").unwrap_or("train");
        let named = own == transform || format!("{own} {fit}") == transform;
        named && record.seed == seed && record.model.name == model
    };
    members.iter().find(own).copied()
}

/// How much of the mean map is taken out at each place, as heat.
fn removed(member: &Member, slot: Slot) -> Result<Option<Rgb>, FigureError> {
    let path = member.run.root.join(names::TRANSFORMS);
    let damaged = |problem: &dyn std::fmt::Display| {
        FigureError::malformed(&path, format!("is damaged ({problem})"))
    };
    let Some(mut file) = TensorFile::open(&path, damaged)? else {
        return Ok(None);
    };
    let [rows, columns] = member.run.record.grid;
    let most = size_of::<f32>() * rows * columns;
    let Some(stored) = file.read_up_to(&names::removed(slot), most)? else {
        return Ok(None);
    };
    let [rows, columns] = stored.shape[..] else {
        return Err(damaged(&"a map has an odd shape"));
    };
    let values = stored.f32s();
    if stored.dtype != Dtype::F32 || values.len() != rows * columns {
        return Err(damaged(&"a map is of another type"));
    }
    let most = values.iter().copied().fold(0.0_f32, f32::max);
    let (width, height) = (columns * ZOOM, rows * ZOOM);
    let pixels = (0..width * height).map(|pixel| {
        let place = pixel / width / ZOOM * columns + pixel % width / ZOOM;
        let share = if most > 0.0 {
            values[place] / most
        } else {
            0.0
        };
        theme::heat(f64::from(share))
    });
    Ok(Some(Rgb {
        width,
        height,
        pixels: pixels.collect(),
    }))
}
