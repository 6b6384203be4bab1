//! What a forward pass hands out.

#[cfg(feature = "cuda")]
use ndarray::{Array3, Array4};
use ndarray::{ArrayView3, ArrayView4, CowArray, Ix3, Ix4, s};

use crate::error::DeviceError;
use crate::facet::TapKind;

/// Rows that a forward pass hands out: on the host, or where they were computed.
#[derive(Clone, Debug)]
pub enum Rows<'a> {
    /// In the host's memory, `[batch, rows, D]`.
    Host(ArrayView3<'a, f32>),
    /// On the card, `[batch, rows, D]`.
    #[cfg(feature = "cuda")]
    Cuda(vitscope_cuda::RowsView<'a>),
}

impl Rows<'_> {
    /// Images, rows of each, and their width.
    #[must_use]
    pub fn dim(&self) -> (usize, usize, usize) {
        match self {
            Self::Host(rows) => rows.dim(),
            #[cfg(feature = "cuda")]
            Self::Cuda(rows) => rows.shape().into(),
        }
    }

    /// Those of one image, `[1, rows, D]`.
    ///
    /// # Panics
    /// When there is no such image.
    #[must_use]
    pub fn image(&self, image: usize) -> Rows<'_> {
        match self {
            Self::Host(rows) => Rows::Host(rows.slice(s![image..=image, .., ..])),
            #[cfg(feature = "cuda")]
            Self::Cuda(rows) => Rows::Cuda(rows.images(image..image + 1)),
        }
    }

    /// The rows in the host's memory, `[batch, rows, D]`: copied there if they lie elsewhere.
    ///
    /// # Errors
    /// When the device fails.
    pub fn host(&self) -> Result<CowArray<'_, f32, Ix3>, DeviceError> {
        match self {
            Self::Host(rows) => Ok(rows.view().into()),
            #[cfg(feature = "cuda")]
            Self::Cuda(rows) => {
                let copy = Array3::from_shape_vec(rows.shape(), rows.download()?);
                Ok(copy.expect("every row was copied").into())
            }
        }
    }
}

/// The attention weights of a layer that a forward pass hands out: on the host, or as what they are made
/// of where they were computed. Rows are queries; class and registers come first.
#[derive(Clone, Debug)]
pub enum AttentionWeights<'a> {
    /// In the host's memory, `[batch, heads, tokens, tokens]`.
    Host(ArrayView4<'a, f32>),
    /// On the card, where they are never written as a whole.
    #[cfg(feature = "cuda")]
    Cuda(vitscope_cuda::AttentionView<'a>),
}

impl AttentionWeights<'_> {
    /// Images, heads, queries and keys.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        match self {
            Self::Host(weights) => weights.dim().into(),
            #[cfg(feature = "cuda")]
            Self::Cuda(weights) => weights.shape(),
        }
    }

    /// All weights in the host's memory, `[batch, heads, tokens, tokens]`: made and copied there if they
    /// are not.
    ///
    /// # Errors
    /// When the device fails.
    pub fn host(&self) -> Result<CowArray<'_, f32, Ix4>, DeviceError> {
        match self {
            Self::Host(weights) => Ok(weights.view().into()),
            #[cfg(feature = "cuda")]
            Self::Cuda(weights) => {
                let copy = Array4::from_shape_vec(weights.shape(), weights.download()?);
                Ok(copy.expect("every weight was copied").into())
            }
        }
    }
}

/// A tensor handed out by [`Vit::forward`](crate::Vit::forward).
#[derive(Debug)]
pub enum Tapped<'a> {
    /// Rows of one kind from one layer (1 is the first block).
    Rows {
        /// Layer, from 1; 0 for the patch projection and the embedding.
        layer: usize,
        /// Which tensor.
        kind: TapKind,
        /// `[batch, 1 + registers, D]`; of the patch projection `[batch, 0, D]`.
        prefix: Rows<'a>,
        /// `[batch, patches, D]`, patches row by row.
        patches: Rows<'a>,
    },
    /// Attention weights of one layer.
    Attention {
        /// Layer, from 1.
        layer: usize,
        /// `[batch, heads, tokens, tokens]`.
        weights: AttentionWeights<'a>,
    },
}

impl<'a> Tapped<'a> {
    /// Layer and kind of rows with those of the patches, `[batch, patches, D]`; `None` of attention weights.
    #[must_use]
    pub fn patches(&self) -> Option<((usize, TapKind), &Rows<'a>)> {
        match self {
            Self::Rows {
                layer,
                kind,
                patches,
                ..
            } => Some(((*layer, *kind), patches)),
            Self::Attention { .. } => None,
        }
    }
}
