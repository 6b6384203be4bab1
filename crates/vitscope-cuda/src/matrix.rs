//! Matrices inside arrays on the card, told in row-major terms and checked to lie in them.

use std::marker::PhantomData;

use crate::buffer::Buffer;
use crate::element::Element;
use crate::factors::Factors;

/// Rows of factors of 16 bits should begin at multiples of so many numbers: other products are slow.
pub const ROW_UNIT: usize = 16;

/// A factor: a row-major matrix, or several of one shape, inside an array, which it borrows.
///
/// ```compile_fail,E0505
/// # fn multiply(gpu: &vitscope_cuda::Gpu, weights: vitscope_cuda::Factors) {
/// let matrix = vitscope_cuda::Matrix::factors(&weights, 0, 8);
/// drop(weights);
/// println!("{matrix:?}");
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    pub(crate) address: u64,
    pub(crate) room: usize,
    pub(crate) element: Element,
    pub(crate) stride: usize,
    pub(crate) transposed: bool,
    pub(crate) batch_stride: usize,
    array: PhantomData<&'a ()>,
}

impl<'a> Matrix<'a> {
    fn at(address: u64, room: usize, element: Element, offset: usize, stride: usize) -> Self {
        assert!(offset <= room, "the matrix begins beyond its array");
        Self {
            address: address + (offset * element.size()) as u64,
            room: room - offset,
            element,
            stride,
            transposed: false,
            batch_stride: 0,
            array: PhantomData,
        }
    }

    /// A matrix from element `offset` on, its rows `stride` elements apart.
    ///
    /// # Panics
    /// When it begins beyond its array.
    #[must_use]
    pub fn factors(factors: &'a Factors, offset: usize, stride: usize) -> Self {
        let address = factors.bytes.address();
        Self::at(address, factors.len(), factors.element, offset, stride)
    }

    /// The same of f32.
    ///
    /// # Panics
    /// When it begins beyond its array.
    #[must_use]
    pub fn floats(buffer: &'a Buffer<f32>, offset: usize, stride: usize) -> Self {
        Self::at(buffer.address(), buffer.len(), Element::F32, offset, stride)
    }

    /// What lies in the array is the transpose of what is multiplied.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            transposed: true,
            ..self
        }
    }

    /// The matrices of a batch are `stride` elements apart.
    #[must_use]
    pub fn batch(self, stride: usize) -> Self {
        Self {
            batch_stride: stride,
            ..self
        }
    }

    /// Every matrix lies inside the array, given the shape that is multiplied.
    pub(crate) fn check(&self, rows: usize, columns: usize, batch: usize) {
        let (rows, columns) = if self.transposed {
            (columns, rows)
        } else {
            (rows, columns)
        };
        assert!(columns <= self.stride, "rows overlap");
        let last = (batch - 1)
            .checked_mul(self.batch_stride)
            .zip((rows - 1).checked_mul(self.stride))
            .and_then(|(batch, row)| batch.checked_add(row)?.checked_add(columns));
        assert!(
            last.is_some_and(|last| last <= self.room),
            "a matrix leaves its array"
        );
    }
}

/// Where a product goes, row-major: f32, or numbers of the type of its factors.
#[derive(Debug)]
pub struct ProductTarget<'a> {
    pub(crate) matrix: Matrix<'a>,
    pub(crate) added: bool,
    /// The array is this target's alone while the product is queued.
    array: PhantomData<&'a mut ()>,
}

impl<'a> ProductTarget<'a> {
    /// The front of an array, rows `stride` elements apart.
    #[must_use]
    pub fn new(buffer: &'a mut Buffer<f32>, stride: usize) -> Self {
        Self {
            matrix: Matrix::floats(buffer, 0, stride),
            added: false,
            array: PhantomData,
        }
    }

    /// The front of an array of factors; the product is rounded to their type.
    #[must_use]
    pub fn factors(factors: &'a mut Factors, stride: usize) -> Self {
        Self {
            matrix: Matrix::factors(factors, 0, stride),
            added: false,
            array: PhantomData,
        }
    }

    /// The product begins at an element.
    ///
    /// # Panics
    /// When that is beyond the array.
    #[must_use]
    pub fn at(self, offset: usize) -> Self {
        let Matrix {
            address,
            room,
            element,
            stride,
            ..
        } = self.matrix;
        let matrix = Matrix {
            batch_stride: self.matrix.batch_stride,
            ..Matrix::at(address, room, element, offset, stride)
        };
        Self { matrix, ..self }
    }

    /// The matrices of a batch are `stride` elements apart.
    #[must_use]
    pub fn batch(self, stride: usize) -> Self {
        Self {
            matrix: self.matrix.batch(stride),
            ..self
        }
    }

    /// The product is added to what is there.
    #[must_use]
    pub fn added(self) -> Self {
        Self {
            added: true,
            ..self
        }
    }
}
