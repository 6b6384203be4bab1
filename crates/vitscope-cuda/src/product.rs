//! Matrix products by cuBLASLt, told in row-major terms.
#![expect(
    unsafe_code,
    reason = "cuBLASLt takes addresses; every matrix is checked against its array first"
)]

use std::sync::PoisonError;

use cudarc::cublaslt::result::CublasError;

use crate::blas::{Product, ProductKey, ProductPlaces};
use crate::element::Element;
use crate::error::CudaError;
use crate::factors::Factors;
use crate::gpu::Gpu;
use crate::matrix::{Matrix, ProductTarget};

impl ProductKey {
    /// The key of a product of matrices that lie in their arrays.
    ///
    /// # Panics
    /// When one of them does not, or their types do not go together.
    fn checked(
        product: Product,
        left: Matrix<'_>,
        right: Matrix<'_>,
        out: Matrix<'_>,
        bias: Option<&Factors>,
        added: bool,
    ) -> Self {
        let Product {
            rows,
            inputs,
            outputs,
            batch,
        } = product;
        assert!(inputs > 0, "there is nothing to sum over");
        assert_eq!(left.element, right.element, "factors of one type");
        left.check(rows, inputs, batch);
        right.check(inputs, outputs, batch);
        assert!(
            out.element == Element::F32 || out.element == left.element,
            "a target of the factors' type, or of f32"
        );
        out.check(rows, outputs, batch);
        assert!(
            bias.is_none_or(|bias| bias.len() >= outputs && bias.element == out.element),
            "a bias per output, of its type"
        );
        Self {
            product,
            element: left.element,
            target: out.element,
            transposed: [left.transposed, right.transposed],
            strides: [left.stride, right.stride, out.stride],
            batch_strides: [left.batch_stride, right.batch_stride, out.batch_stride],
            alignments: [left, right, out].map(|matrix| alignment(matrix.address)),
            bias: bias.is_some(),
            added,
        }
    }
}

impl Gpu {
    /// `target = left x right + bias`, or this added to it; sums in f32. The bias is one number per
    /// output, of the target's type. Both factors have one type, and the target that or f32.
    ///
    /// # Errors
    /// When cuBLASLt has no such product.
    ///
    /// # Panics
    /// When a matrix leaves its array.
    pub fn product(
        &self,
        product: Product,
        left: Matrix<'_>,
        right: Matrix<'_>,
        target: ProductTarget<'_>,
        bias: Option<&Factors>,
    ) -> Result<(), CudaError> {
        if product.rows == 0 || product.outputs == 0 || product.batch == 0 {
            return Ok(());
        }
        let out = target.matrix;
        let key = ProductKey::checked(product, left, right, out, bias, target.added);
        let refused = |error: CublasError| CudaError::Product {
            shape: format!("{key:?}"),
            status: format!("{:?}", error.0),
        };
        // cuBLASLt works in the context of the calling thread.
        self.context()
            .bind_to_thread()
            .map_err(CudaError::driver("follow to another thread"))?;
        let mut blas = self.blas().lock().unwrap_or_else(PoisonError::into_inner);
        let places = ProductPlaces {
            factors: [left.address, right.address],
            out: out.address,
            bias: bias.map(|bias| bias.bytes.address()),
        };
        // SAFETY: every matrix was checked to lie in its array, and everything here runs on one stream.
        let uses = unsafe { blas.multiply(self.stream(), &key, places) }.map_err(refused)?;
        if self.trial_rules().is_due(uses, &product) {
            // SAFETY: as above; both factors and the bias are borrowed until this returns.
            unsafe { self.try_algorithms(&mut blas, &key, places) }?;
        }
        Ok(())
    }
}

/// The largest power of two, up to 256, that divides an address.
fn alignment(address: u64) -> u32 {
    1 << address.trailing_zeros().min(8)
}
