//! The page `report.html`.
use crate::error::FigureError;
use crate::figure::Plate;
use crate::run_dir::Run;

pub(crate) fn render(_run: &Run, plates: &[Plate]) -> Result<String, FigureError> {
    Ok(plates
        .iter()
        .filter_map(|p| match p {
            Plate::Drawn(f) => Some(f.drawing.element()),
            Plate::Absent { .. } => None,
        })
        .collect())
}
