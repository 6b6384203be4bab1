//! Arrays in the GPU's memory.
#![expect(
    unsafe_code,
    reason = "memory is allocated without a value, and every kernel writes what it later reads"
)]

use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::{
    CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, PinnedHostSlice, ValidAsZeroBits,
    sys,
};

use crate::error::CudaError;
use crate::gpu::Gpu;

/// An array in the GPU's memory, of numbers whose every bit pattern is one.
///
/// ```compile_fail,E0277
/// # fn room(gpu: &vitscope_cuda::Gpu) {
/// let flags = vitscope_cuda::Buffer::<bool>::new(gpu, 8);
/// # }
/// ```
#[derive(Debug)]
pub struct Buffer<T> {
    slice: CudaSlice<T>,
    len: usize,
}

impl<T: DeviceRepr + ValidAsZeroBits + Pod> Buffer<T> {
    /// Room for `len` numbers, whose values are not defined.
    ///
    /// # Errors
    /// When the memory does not suffice.
    pub fn new(gpu: &Gpu, len: usize) -> Result<Self, CudaError> {
        // The driver refuses to allocate nothing.
        // SAFETY: `Pod`: any bits are a number of these types.
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

impl<T: DeviceRepr + Pod> Buffer<T> {
    /// The first numbers of the array, once everything that was queued is done.
    ///
    /// # Errors
    /// When the driver refuses, or earlier work failed.
    ///
    /// # Panics
    /// When `out` is longer than the array.
    pub fn read(&self, gpu: &Gpu, out: &mut [T]) -> Result<(), CudaError> {
        self.read_at(gpu, 0, out)
    }

    /// The numbers from a place on, as [`Self::read`].
    ///
    /// # Errors
    /// As [`Self::read`].
    ///
    /// # Panics
    /// When the array ends before `out` does.
    pub fn read_at(&self, gpu: &Gpu, first: usize, out: &mut [T]) -> Result<(), CudaError> {
        assert!(
            first <= self.len && out.len() <= self.len - first,
            "fewer numbers than asked for"
        );
        if !out.is_empty() {
            let front = self.slice.slice(first..first + out.len());
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
        let mut out = vec![T::zeroed(); self.len];
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
/// Checks that an array has room.
///
/// # Panics
/// When it has not.
pub(crate) fn expect(what: &str, found: usize, needed: usize) {
    assert!(found >= needed, "{what}: room for {found}, {needed} needed");
}

fn failed<T>(error: DriverError, len: usize) -> CudaError {
    if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return CudaError::Memory {
            bytes: len * size_of::<T>(),
        };
    }
    CudaError::driver("allocate memory")(error)
}

/// Host memory from which the card copies by itself, so that nobody waits for a copy to the card. Of
/// two halves, one is filled while the other may still be on its way.
#[derive(Debug)]
pub struct Staging {
    halves: [Option<PinnedHostSlice<u8>>; 2],
    turn: usize,
}

impl Default for Staging {
    /// Nothing is allocated until it is needed.
    fn default() -> Self {
        Self {
            halves: [None, None],
            turn: 0,
        }
    }
}

impl Staging {
    /// Queues a copy of bytes to the front of an array; the bytes can be used again at once.
    ///
    /// # Errors
    /// When the driver refuses.
    ///
    /// # Panics
    /// When there are more bytes than room.
    pub fn send(&mut self, gpu: &Gpu, bytes: &[u8], to: &mut Buffer<u8>) -> Result<(), CudaError> {
        assert!(bytes.len() <= to.len, "more bytes than room");
        if bytes.is_empty() {
            return Ok(());
        }
        let failed = || CudaError::driver("copy images to the card");
        self.turn = 1 - self.turn;
        let half = &mut self.halves[self.turn];
        // A half is copied as a whole.
        if half.as_ref().is_none_or(|half| half.len() != bytes.len()) {
            *half = None;
            // SAFETY: every byte is a number, and those that are sent are written first.
            let memory = unsafe { gpu.context().alloc_pinned_with_flags(bytes.len(), 0) };
            *half = Some(memory.map_err(failed())?);
        }
        let Some(half) = half else { return Ok(()) };
        // Waits until the copy before the last has left this half.
        half.as_mut_slice().map_err(failed())?[..bytes.len()].copy_from_slice(bytes);
        let mut front = to.slice.slice_mut(..bytes.len());
        gpu.stream().memcpy_htod(half, &mut front).map_err(failed())
    }
}

/// Two numbers in the host's memory that the card writes, so that reading them takes no copy.
#[derive(Debug)]
pub struct Letter {
    stream: Arc<CudaStream>,
    memory: PinnedHostSlice<f64>,
}

impl Letter {
    /// Two zeros.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn new(gpu: &Gpu) -> Result<Self, CudaError> {
        let failed = || CudaError::driver("share memory with the host");
        // SAFETY: the two numbers are written below.
        let memory = unsafe {
            gpu.context()
                .alloc_pinned_with_flags(2, sys::CU_MEMHOSTALLOC_DEVICEMAP)
        };
        let mut memory = memory.map_err(failed())?;
        memory.as_mut_slice().map_err(failed())?.fill(0.0);
        Ok(Self {
            stream: Arc::clone(gpu.stream()),
            memory,
        })
    }

    /// What the card wrote last, once everything that was queued is done.
    ///
    /// # Errors
    /// When any of it failed.
    pub fn read(&mut self) -> Result<[f64; 2], CudaError> {
        self.stream
            .synchronize()
            .map_err(CudaError::driver("finish its work"))?;
        let written = self
            .memory
            .as_slice()
            .map_err(CudaError::driver("share memory with the host"))?;
        Ok([written[0], written[1]])
    }

    /// Where it lies, for the card as for the host: both see one address space.
    pub(crate) fn address(&mut self) -> sys::CUdeviceptr {
        self.memory
            .as_mut_ptr()
            .map_or(0, |address| address as sys::CUdeviceptr)
    }
}

impl Drop for Letter {
    fn drop(&mut self) {
        // A kernel that is still queued may write here. There is no one to tell of a failure.
        let _ = self.stream.synchronize();
    }
}
