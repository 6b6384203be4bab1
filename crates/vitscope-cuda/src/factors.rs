//! Arrays of the numbers that a product multiplies.

use half::{bf16, f16};

use crate::buffer::Buffer;
use crate::element::Element;
use crate::error::CudaError;
use crate::gpu::Gpu;

/// Factors of products on the GPU.
#[derive(Debug)]
pub struct Factors {
    pub(crate) bytes: Buffer<u8>,
    pub(crate) element: Element,
}

impl Factors {
    /// Room for `len` numbers, whose values are not defined.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu, element: Element, len: usize) -> Result<Self, CudaError> {
        Ok(Self {
            bytes: Buffer::new(gpu, len * element.size())?,
            element,
        })
    }

    /// Rounds numbers to the nearest of a type (ties to even) and uploads them.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn upload(gpu: &Gpu, element: Element, values: &[f32]) -> Result<Self, CudaError> {
        let bytes = match element {
            Element::F32 => Buffer::upload(gpu, bytemuck::cast_slice(values)),
            Element::Bf16 => {
                let rounded: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
                Buffer::upload(gpu, bytemuck::cast_slice(&rounded))
            }
            Element::F16 => {
                let rounded: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
                Buffer::upload(gpu, bytemuck::cast_slice(&rounded))
            }
        }?;
        Ok(Self { bytes, element })
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element.size()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes room for `len` numbers; what was there is lost when it grows.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn reserve(&mut self, gpu: &Gpu, len: usize) -> Result<(), CudaError> {
        self.bytes.reserve(gpu, len * self.element.size())
    }
}
