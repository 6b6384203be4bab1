//! One stored tensor: what a container's index says about it, before it has a meaning.

use std::fmt;

use serde::{Serialize, Serializer};

/// How the elements of a tensor are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 64-bit float.
    F64,
    /// 32-bit float.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a 32-bit float.
    Bf16,
    /// An integer, boolean or other type that never holds weights; its name and size in bytes.
    Other(&'static str, usize),
}

impl Dtype {
    /// Size of one element in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Other(_, size) => size,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Other(name, _) => name,
        })
    }
}

impl Serialize for Dtype {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One tensor as its container describes it.
#[derive(Clone, Debug)]
pub(crate) struct StoredTensor {
    /// The root entry that holds it (`teacher`, `model`, ...); empty in flat files.
    pub group: String,
    /// Its name inside the group.
    pub name: String,
    /// Its extent along each axis.
    pub shape: Vec<usize>,
    /// Its element type.
    pub dtype: Dtype,
    /// Where its elements are.
    pub place: TensorPlace,
}

impl StoredTensor {
    /// Number of elements; readers have checked that the product does not overflow.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Size of the elements in bytes.
    pub fn bytes(&self) -> u64 {
        (self.elements() as u64).saturating_mul(self.dtype.size() as u64)
    }

    /// Group and name as shown to the user.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() {
            self.name.clone()
        } else {
            format!("{}/{}", self.group, self.name)
        }
    }
}

/// Where a tensor's elements are.
#[derive(Clone, Debug)]
pub(crate) enum TensorPlace {
    /// In row-major order from a byte offset of a file.
    Plain {
        /// Which of the container's files.
        file: usize,
        /// First byte.
        offset: u64,
    },
    /// With strides, in elements, from a byte offset of a file.
    Strided {
        /// Which of the container's files.
        file: usize,
        /// First byte.
        offset: u64,
        /// Distance between neighbors along each axis, in elements.
        strides: Vec<usize>,
    },
    /// Inside a deflated zip entry, after `skip` bytes of the inflated data.
    Deflated {
        /// Which of the container's files.
        file: usize,
        /// First compressed byte.
        offset: u64,
        /// Compressed bytes.
        compressed: u64,
        /// Inflated bytes before the first element.
        skip: u64,
        /// Strides in elements where the order is not row-major.
        strides: Option<Vec<usize>>,
    },
    /// Several tensors below each other, as a description of an own model joins those of the heads.
    Joined(Vec<StoredTensor>),
}

/// The number of elements of a shape, or `None` where it does not fit in memory's address range.
pub(crate) fn checked_elements(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, &extent| product.checked_mul(extent))
        .filter(|&count| isize::try_from(count).is_ok())
}

/// A shape as text: `[768, 3, 16, 16]`.
pub(crate) fn shape_text(shape: &[usize]) -> String {
    format!("{shape:?}")
}
