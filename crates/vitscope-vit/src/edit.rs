//! What a forward pass can be given in place of a model's own positions, to see what they cause.
//!
//! Weights stay as they are. [`Vit::workspace_edited`](crate::Vit::workspace_edited) makes a workspace whose passes are
//! edited.

/// Which position code each patch is given.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Codes {
    /// That of its own place.
    #[default]
    Own,
    /// That of another place: patch `p` is given the code of place `Of(places)[p]`.
    Of(Vec<usize>),
    /// The same for all patches: the mean of the table's rows, and the middle of the image as every patch's rotary
    /// coordinate.
    Mean,
    /// That of its own place with so many patches added to all rotary coordinates, rows and columns. A position table,
    /// which has no coordinates, is left alone.
    Moved([f64; 2]),
}

/// What patches are given of the class token and the registers by attention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FromPrefix {
    /// What each attends to.
    #[default]
    Own,
    /// Nothing: a patch's weights are a softmax over patches alone.
    Cut,
    /// The same for all patches of an image and head: their mean weights to these tokens; the rest is shared out
    /// as a softmax over patches alone.
    Mean,
}

/// An edited forward pass.
///
/// ```
/// use ndarray::{Array4, s};
/// use vitscope_vit::Vit;
/// use vitscope_vit::edit::{Codes, Edit};
/// use vitscope_vit::error::DeviceError;
/// use vitscope_vit::facet::{TapKind, Taps};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use vitscope_vit::{checkpoint::Checkpoint, config::Precision, identify::{Family, Settle}};
/// # let file = vitscope_testkit::fixture("dino-timm/model.safetensors");
/// # let settle = Settle { family: Some(Family::Dino), heads: Some(2), ..Settle::default() };
/// # let checkpoint = Checkpoint::open(&file, &settle)?;
/// let vit = Vit::new(checkpoint.config().clone(), checkpoint.params()?, Precision::F32)?;
/// let mut taps = Taps::new();
/// taps.add(3, TapKind::Token);
/// // A gray image, whose patches differ by their places alone, and not at all with one code for all.
/// let gray = Array4::from_elem((1, 3, 64, 64), 0.5_f32);
/// for (codes, alike) in [(Codes::Own, false), (Codes::Mean, true)] {
///     let edit = Edit { codes, ..Edit::default() };
///     let mut work = vit.workspace_edited([64, 64], &edit)?;
///     vit.forward(gray.view(), &taps, &mut work, |tapped| {
///         if let Some((_, rows)) = tapped.patches() {
///             let rows = rows.host()?;
///             let first = rows.slice(s![.., ..1, ..]);
///             assert_eq!((&rows - &first).iter().all(|difference| difference.abs() < 1e-5), alike);
///         }
///         Ok::<(), DeviceError>(())
///     })?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edit {
    /// Position codes.
    pub codes: Codes,
    /// Attention to class token and registers.
    pub from_prefix: FromPrefix,
}

impl Codes {
    /// Rows, one of each place, as patches are given them.
    pub(crate) fn assign(&self, rows: Vec<f32>, width: usize) -> Vec<f32> {
        if rows.is_empty() {
            return rows;
        }
        match self {
            Self::Own | Self::Moved(_) => rows,
            Self::Of(places) => {
                let row = |&place: &usize| &rows[place * width..][..width];
                places.iter().flat_map(row).copied().collect()
            }
            Self::Mean => {
                let count = rows.len() / width;
                let mut mean = vec![0.0_f64; width];
                for row in rows.chunks_exact(width) {
                    for (sum, &value) in mean.iter_mut().zip(row) {
                        *sum += f64::from(value);
                    }
                }
                let mean: Vec<f32> = mean.iter().map(|sum| (sum / count as f64) as f32).collect();
                mean.repeat(count)
            }
        }
    }
}
