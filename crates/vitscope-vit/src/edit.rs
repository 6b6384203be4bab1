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
