//! Arrays in the GPU's memory.
#![expect(
    unsafe_code,
    reason = "memory is allocated without a value, and every kernel writes what it later reads"
)]

use cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr, DriverError, ValidAsZeroBits, sys};

use crate::error::CudaError;
use crate::gpu::Gpu;

/// An array in the GPU's memory.
#[derive(Debug)]
pub struct Buffer<T> {
    slice: CudaSlice<T>,
    len: usize,
}

impl<T: DeviceRepr + ValidAsZeroBits> Buffer<T> {
    /// Room for `len` numbers, whose values are not defined.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu, len: usize) -> Result<Self, CudaError> {
        // The driver refuses to allocate nothing.
        // SAFETY: any bits are a number of these types.
        let slice = unsafe { gpu.stream().alloc::<T>(len.max(1)) }
            .map_err(|error| failed::<T>(error, len))?;
        Ok(Self { slice, len })
    }

    /// `len` zeros.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn zeros(gpu: &Gpu, len: usize) -> Result<Self, CudaError> {
        let mut buffer = Self::new(gpu, len)?;
        buffer.clear(gpu)?;
        Ok(buffer)
    }

    /// Sets every number to zero.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn clear(&mut self, gpu: &Gpu) -> Result<(), CudaError> {
        gpu.stream()
            .memset_zeros(&mut self.slice)
            .map_err(CudaError::driver("clear memory"))
    }

    /// A copy of some numbers.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn upload(gpu: &Gpu, values: &[T]) -> Result<Self, CudaError> {
        let mut buffer = Self::new(gpu, values.len())?;
        buffer.write(gpu, values)?;
        Ok(buffer)
    }

    /// Copies numbers to the front of the array.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When there are more numbers than room.
    pub fn write(&mut self, gpu: &Gpu, values: &[T]) -> Result<(), CudaError> {
        assert!(values.len() <= self.len, "more numbers than room");
        if values.is_empty() {
            return Ok(());
        }
        gpu.stream()
            .memcpy_htod(values, &mut self.slice)
            .map_err(CudaError::driver("copy numbers to the card"))
    }

    /// Makes room for `len` numbers; what was there is lost when it grows.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn reserve(&mut self, gpu: &Gpu, len: usize) -> Result<(), CudaError> {
        if len > self.len {
            // The old array goes first, so that both need not fit together.
            *self = Self::new(gpu, 0)?;
            *self = Self::new(gpu, len)?;
        }
        Ok(())
    }
}

impl<T: DeviceRepr + Clone + Default> Buffer<T> {
    /// The first numbers of the array, once everything that was queued is done.
    ///
    /// # Errors
    /// When the driver refuses, or earlier work failed.
    ///
    /// # Panics
    /// When `out` is longer than the array.
    pub fn read(&self, gpu: &Gpu, out: &mut [T]) -> Result<(), CudaError> {
        assert!(out.len() <= self.len, "fewer numbers than asked for");
        if !out.is_empty() {
            let front = self.slice.slice(..out.len());
            gpu.stream()
                .memcpy_dtoh(&front, out)
                .map_err(CudaError::driver("copy numbers from the card"))?;
        }
        gpu.synchronize()
    }

    /// All numbers of the array, as [`Self::read`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn download(&self, gpu: &Gpu) -> Result<Vec<T>, CudaError> {
        let mut out = vec![T::default(); self.len];
        self.read(gpu, &mut out)?;
        Ok(out)
    }
}

impl<T> Buffer<T> {
    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the array lies. Everything here runs on one stream, so no use has to wait for another.
    pub(crate) fn address(&self) -> sys::CUdeviceptr {
        let (address, _in_order) = self.slice.device_ptr(self.slice.stream());
        address
    }
}

/// A failed allocation; a full card is told apart.
fn failed<T>(error: DriverError, len: usize) -> CudaError {
    if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return CudaError::Memory {
            bytes: len * size_of::<T>(),
        };
    }
    CudaError::driver("allocate memory")(error)
}
