//! What a desk answers.

use serde::Serialize;
use vitscope_data::{RgbCrop, palette};
use vitscope_run::{EARNED, Part, Subject, plain};

use crate::error::ViewError;
use crate::pane::{Pane, SlotReading};

/// What the page knows of a model.
#[derive(Debug, Serialize)]
pub struct AboutPane {
    pub(crate) label: String,
    /// The run's folder, for a run.
    pub(crate) run: Option<String>,
    pub(crate) depth: usize,
    pub(crate) size: usize,
    pub(crate) grid: [usize; 2],
    pub(crate) is_rotary: bool,
    pub(crate) has_clusters: bool,
    pub(crate) transform: Option<String>,
    pub(crate) facet: &'static str,
    pub(crate) layer: usize,
    pub(crate) token_norm: &'static str,
    pub(crate) rope: &'static str,
}

impl AboutPane {
    pub(crate) fn of(pane: &Pane) -> Self {
        Self {
            label: plain::line(&pane.label).into_owned(),
            run: pane.run.as_ref().map(|run| {
                let root = run.root.display().to_string();
                plain::line(&root).into_owned()
            }),
            depth: pane.opened.record.depth,
            size: pane.opened.geometry.size,
            grid: pane.opened.grid,
            is_rotary: pane.is_rotary(),
            has_clusters: pane.run.as_ref().is_some_and(|run| run.record.clusters > 0),
            transform: pane.transform().filter(|transform| transform != "none"),
            facet: pane.start.slot.facet.name(),
            layer: pane.start.slot.layer,
            token_norm: pane.start.token_norm.word(),
            rope: pane.start.rope.word(),
        }
    }
}

/// A picture by its number and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AboutPicture {
    /// What it is asked for by.
    pub id: usize,
    /// What it is called.
    pub name: String,
}

/// What the page knows of the desk.
#[derive(Debug, Serialize)]
pub struct AboutDesk {
    pub(crate) panes: Vec<AboutPane>,
    pub(crate) pictures: Vec<AboutPicture>,
    /// Names of the data set's images that can be picked.
    pub(crate) names: Vec<String>,
    pub(crate) no_data: Option<String>,
    pub(crate) rule: &'static str,
}

/// Cosines of one patch with every patch of a picture, row by row; none where undefined.
#[derive(Debug, Serialize)]
pub struct CosineMap {
    /// The picture.
    pub picture: usize,
    /// `[Hp * Wp]`
    pub values: Vec<Option<f32>>,
}

/// Colors of every patch of a picture.
#[derive(Debug, Serialize)]
pub struct ColorMap {
    /// The picture.
    pub picture: usize,
    /// `[Hp * Wp, 3]`
    pub colors: Vec<[u8; 3]>,
}

/// Colors of principal components.
#[derive(Debug, Serialize)]
pub struct Colors {
    /// One map a picture.
    pub maps: Vec<ColorMap>,
    /// The share of variance of each component.
    pub shares: Vec<f64>,
    /// What they were fitted on.
    pub fitted: String,
}

/// Clusters of every pixel of a picture, row by row.
#[derive(Debug)]
pub struct ClusterMap {
    /// The picture.
    pub picture: usize,
    /// `[size * size]`
    pub labels: Vec<u8>,
}

/// A line of the clusters' legend.
#[derive(Debug, Serialize)]
pub struct ClusterLine {
    /// "k3 road", with a question mark where the class's IoU is below [`EARNED`].
    pub name: String,
    /// Red, green, blue.
    pub color: [u8; 3],
    /// The IoU of its class in the run.
    pub iou: Option<f64>,
}

pub(crate) fn legend(
    pane: &Pane,
    look: &SlotReading,
    classes: &[Option<usize>],
) -> Vec<ClusterLine> {
    let others = palette(classes.len());
    let run = pane.run.as_ref();
    let lines = classes.iter().enumerate().map(|(cluster, class)| {
        let known = class.and_then(|class| Some((class, run?.record.data.classes.get(class)?)));
        match known {
            Some((class, about)) => {
                let subject = Subject::Slot(look.slot);
                let iou =
                    run.and_then(|run| run.metrics.part(subject, "iou", Part::Index(class))?.value);
                let doubt = if iou.is_some_and(|iou| iou < EARNED) {
                    "?"
                } else {
                    ""
                };
                ClusterLine {
                    name: format!("k{cluster} {}{doubt}", about.name),
                    color: about.color,
                    iou,
                }
            }
            None => ClusterLine {
                name: format!("k{cluster}"),
                color: others[cluster],
                iou: None,
            },
        }
    });
    lines.collect()
}

/// A crop as a PNG file.
///
/// # Errors
/// When the encoder contradicts itself.
pub fn png_of(crop: &RgbCrop) -> Result<Vec<u8>, ViewError> {
    let mut bytes = Vec::new();
    let side = crop.size as u32;
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(&crop.pixels)?;
        writer.finish()
    });
    written.map_err(|error| ViewError::Internal(error.to_string()))?;
    Ok(bytes)
}
