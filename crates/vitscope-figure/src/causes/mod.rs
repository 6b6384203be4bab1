//! The figures of what taking position out does: `causes` (arrows), `cause-ranks` (how many directions it takes) and
//! `cause-maps` (what is predicted where, before and after).
//!
//! Everything is read from `causes.json` of the comparison, and from the runs' own maps.

mod arrows;
mod maps;
mod ranks;
mod stored;

use std::path::Path;

use crate::error::FigureError;
use crate::members::Member;
use crate::sheet::Plate;

pub(crate) use stored::Causes;

/// The figures; none where nothing was taken out.
pub(crate) fn draw(members: &[&Member], out: &Path) -> Result<Vec<Plate>, FigureError> {
    let Some(causes) = Causes::read(&out.join("causes.json"))? else {
        return Ok(Vec::new());
    };
    let mut plates = vec![arrows::draw(&causes)?];
    plates.extend(ranks::draw(&causes)?);
    plates.extend(maps::draw(&causes, members)?);
    Ok(plates)
}
