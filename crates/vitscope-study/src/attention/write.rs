//! What a run of `attention` leaves: rows of a table, mean matrices, pictures.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::Array2;
use safetensors::tensor::Dtype;
use vitscope_data::DataSet;
use vitscope_measure::quantile;
use vitscope_run::tensors::{self, Lazy};
use vitscope_run::{Measured, Part, Record, Subject, Table, files, names};

use super::localities::{LayerSummary, Localities};
use super::settings::{AttentionSettings, PatchQuery};
use crate::error::StudyError;
use crate::model::Opened;
use crate::picture;
use crate::settings::Settings;

/// The quantile above which a mean weight is shown in the binary picture.
const SHOWN: f64 = 0.95;

/// Kept rows, by name.
pub(super) type KeptRows = BTreeMap<String, Vec<f32>>;

/// What `probe --attention` leaves in its run directory: the rows of a table, the mean matrices and
/// their pictures, as a run of this module has them.
pub(crate) fn write_beside(
    run: &Path,
    settings: &Settings,
    localities: &Localities,
    grid: [usize; 2],
    table: &mut Table,
) -> Result<(), StudyError> {
    let resamples = match settings.resamples {
        0 => 0,
        _ => AttentionSettings::default().resamples,
    };
    add_rows(table, &localities.finish(resamples, settings.seed));
    write_tensors(run, localities, &KeptRows::new(), grid)?;
    draw_means(run, localities)
}

pub(super) fn write_metrics(
    run: &Path,
    record: &Record,
    summaries: &[LayerSummary],
) -> Result<(), StudyError> {
    let model = &record.model;
    let mut table = Table::new(&model.name, &model.family, &model.size);
    add_rows(&mut table, summaries);
    Ok(table.write(&run.join(names::METRICS))?)
}

fn add_rows(table: &mut Table, summaries: &[LayerSummary]) {
    for summary in summaries {
        let subject = Subject::Layer(summary.layer);
        let mut add = |metric: &str, part: Part, measured: Measured| {
            table.add(subject, metric, part, measured.value, measured.interval);
        };
        add("locality", Part::Whole, summary.whole);
        for (head, &measured) in summary.heads.iter().enumerate() {
            add("locality_head", Part::Index(head), measured);
        }
    }
}

pub(super) fn write_tensors(
    run: &Path,
    localities: &Localities,
    rows: &KeptRows,
    grid: [usize; 2],
) -> Result<(), StudyError> {
    let n = localities.patches();
    let means = localities.means().map(|(layer, mean)| {
        let bytes: Vec<u8> = mean
            .iter()
            .flat_map(|&weight| (weight as f32).to_le_bytes())
            .collect();
        let tensor = Lazy::of(Dtype::F32, vec![n, n], bytes);
        (format!("mean.{layer}"), tensor)
    });
    let rows = rows.iter().map(|(name, row)| {
        let bytes: &[u8] = bytemuck::cast_slice(row);
        (name.clone(), Lazy::of(Dtype::F32, grid.to_vec(), bytes))
    });
    let path = run.join(names::ATTENTION);
    Ok(tensors::write_lazily(
        &path,
        means.chain(rows).collect(),
        None,
    )?)
}

/// The folder of the pictures.
const PICTURES: &str = "attention";

/// A picture per layer.
fn draw_means(run: &Path, localities: &Localities) -> Result<(), StudyError> {
    let folder = run.join(PICTURES);
    files::make_dir(&folder)?;
    for (layer, mean) in localities.means() {
        let size = [mean.nrows(), mean.ncols()];
        picture::write_indices(
            &folder.join(format!("mean.{layer}.png")),
            size,
            &binary(&mean),
            &[[0; 3], [255; 3]],
        )?;
    }
    Ok(())
}

/// A picture per layer and per kept query.
pub(super) fn draw(
    run: &Path,
    localities: &Localities,
    rows: &KeptRows,
    opened: &Opened,
    data: &DataSet,
    settings: &AttentionSettings,
) -> Result<(), StudyError> {
    draw_means(run, localities)?;
    let folder = run.join(PICTURES);
    for query in &settings.queries {
        let Some(item) = data
            .split(settings.split)
            .iter()
            .find(|item| item.name == query.image)
        else {
            continue;
        };
        let crop = data.image(item, &opened.geometry)?;
        for layer in localities.layers() {
            let name = query.name(layer);
            if let Some(row) = rows.get(&name) {
                let pixels = spotlight(&crop.pixels, crop.size, row, opened.grid, query);
                // A name may hold any character that its image's file name holds, and no other.
                let path = folder.join(format!("{name}.png"));
                picture::write_rgb(&path, [crop.size; 2], &pixels)?;
            }
        }
    }
    Ok(())
}

/// 1 where a weight lies above the 95 % quantile of its matrix, else 0.
fn binary(mean: &Array2<f64>) -> Vec<u8> {
    let mut sorted: Vec<f64> = mean.iter().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let threshold = quantile(&sorted, SHOWN).unwrap_or(f64::INFINITY);
    mean.iter().map(|&w| u8::from(w > threshold)).collect()
}

/// An image in gray, lit by the attention of one query from black over red and yellow to white (the
/// largest weight), with the query's patch framed in cyan.
fn spotlight(
    rgb: &[u8],
    side: usize,
    row: &[f32],
    grid: [usize; 2],
    query: &PatchQuery,
) -> Vec<u8> {
    let patch = side / grid[0];
    let largest = row.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let mut out = Vec::with_capacity(rgb.len());
    let (rgb, _) = rgb.as_chunks::<3>();
    for (index, &[r, g, b]) in rgb.iter().enumerate() {
        let (y, x) = (index / side, index % side);
        let (cell_y, cell_x) = (y / patch, x / patch);
        let own = (cell_y, cell_x) == (query.row, query.column);
        let edge = [y % patch, x % patch]
            .iter()
            .any(|&at| at == 0 || at + 1 == patch);
        if own && edge {
            out.extend([0, 220, 255]);
            continue;
        }
        let gray = 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
        let heat = row[cell_y * grid[1] + cell_x] / largest;
        for channel in 0..3 {
            let lit = (3.0 * heat - channel as f32).clamp(0.0, 1.0) * 255.0;
            out.push((0.4 * gray + 0.6 * lit).round() as u8);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asked_patch_is_framed_and_the_rest_lit_by_its_weight() {
        // Two by two patches of three pixels; the asked one is the second.
        let (side, grid) = (6, [2, 2]);
        let query = PatchQuery {
            image: "a".to_owned(),
            row: 0,
            column: 1,
        };
        let rgb = vec![100; 3 * side * side];
        let lit = spotlight(&rgb, side, &[0.0, 0.1, 0.4, 0.8], grid, &query);
        let pixel = |row: usize, column: usize| &lit[3 * (row * side + column)..][..3];
        assert_eq!(lit.len(), rgb.len());
        assert_eq!(pixel(0, 3), [0, 220, 255]);
        // Its middle is no edge: three eighths of the red, over the gray image.
        assert_eq!(
            pixel(1, 4),
            [(40.0_f64 + 0.6 * 0.375 * 255.0).round() as u8, 40, 40]
        );
        assert_eq!(pixel(1, 1), [40, 40, 40]);
        // Half of the largest is all red and half of the green.
        assert_eq!(pixel(4, 1), [193, 117, 40]);
        assert_eq!(pixel(4, 4), [193, 193, 193]);
    }
}
