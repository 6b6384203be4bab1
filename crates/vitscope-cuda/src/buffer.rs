//! Arrays in the GPU's memory.
#![expect(
    unsafe_code,
    reason = "memory is allocated without a value, and every kernel writes what it later reads"
)]

use std::sync::Arc;

use bytemuck::Pod;
use cudarc::driver::{
    CudaEvent, CudaSlice, CudaStream, DevicePtr, DeviceRepr, DriverError, PinnedHostSlice,
    ValidAsZeroBits, sys,
};

use crate::error::CudaError;
use crate::gpu::Gpu;
use crate::thread::know_card;

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

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        know_card(self.slice.stream());
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

/// Checks that an array has room.
///
/// # Panics
/// When it has not.
pub(crate) fn expect(what: &str, found: usize, needed: usize) {
    assert!(found >= needed, "{what}: room for {found}, {needed} needed");
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

/// Host memory from which the card copies by itself, so that nobody waits for a copy to the card. Of
/// two halves, one is filled while the other may still be on its way.
#[derive(Debug)]
pub struct Staging {
    halves: [Option<StagingHalf>; 2],
    turn: usize,
}

/// Memory, and what happens when the card has copied it. (cudarc's own event of the memory is recorded only where it
/// keeps several streams in order.)
#[derive(Debug)]
struct StagingHalf {
    copied: CudaEvent,
    memory: PinnedHostSlice<u8>,
}

impl StagingHalf {
    fn new(gpu: &Gpu, bytes: usize) -> Result<Self, DriverError> {
        // SAFETY: every byte is a number, and those that are sent are written first.
        let memory = unsafe { gpu.context().alloc_pinned_with_flags(bytes, 0) }?;
        Ok(Self {
            copied: gpu.context().new_event(None)?,
            memory,
        })
    }
}

impl Drop for StagingHalf {
    fn drop(&mut self) {
        // The card may still be copying. There is no one to tell of a failure.
        let _ = self.copied.synchronize();
    }
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
        self.turn = 1 - self.turn;
        let half = &mut self.halves[self.turn];
        let is_too_small = |half: &StagingHalf| half.memory.len() < bytes.len();
        if half.as_ref().is_some_and(is_too_small) {
            *half = None;
        }
        let mut copy = || {
            let half = match half {
                Some(half) => half,
                None => half.insert(StagingHalf::new(gpu, bytes.len())?),
            };
            // The copy before the last has to have left this half.
            half.copied.synchronize()?;
            let staged = &mut half.memory.as_mut_slice()?[..bytes.len()];
            staged.copy_from_slice(bytes);
            let mut front = to.slice.slice_mut(..bytes.len());
            gpu.stream().memcpy_htod(&*staged, &mut front)?;
            half.copied.record(gpu.stream())
        };
        copy().map_err(CudaError::driver("copy images to the card"))
    }
}

/// Pairs of numbers in the host's memory that the card writes, so that reading them takes no copy.
#[derive(Debug)]
pub(crate) struct Letters {
    stream: Arc<CudaStream>,
    memory: PinnedHostSlice<f64>,
}

impl Letters {
    /// So many pairs of zeros.
    ///
    /// # Errors
    /// When the driver refuses.
    pub(crate) fn new(gpu: &Gpu, pairs: usize) -> Result<Self, CudaError> {
        let failed = || CudaError::driver("share memory with the host");
        // The driver refuses to allocate nothing.
        let count = 2 * pairs.max(1);
        // SAFETY: the numbers are written below.
        let memory = unsafe {
            gpu.context()
                .alloc_pinned_with_flags(count, sys::CU_MEMHOSTALLOC_DEVICEMAP)
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
    pub(crate) fn read(&mut self) -> Result<&[[f64; 2]], CudaError> {
        self.stream
            .synchronize()
            .map_err(CudaError::driver("finish its work"))?;
        let written = self
            .memory
            .as_slice()
            .map_err(CudaError::driver("share memory with the host"))?;
        Ok(written.as_chunks().0)
    }

    /// Where it lies, for the card as for the host: both see one address space.
    pub(crate) fn address(&mut self) -> sys::CUdeviceptr {
        self.memory
            .as_mut_ptr()
            .map_or(0, |address| address as sys::CUdeviceptr)
    }
}

impl Drop for Letters {
    fn drop(&mut self) {
        // A kernel that is still queued may write here. There is no one to tell of a failure.
        let _ = self.stream.synchronize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody waits between the batches, of which some are smaller or larger: every one arrives as it was sent.
    #[test]
    fn bytes_arrive_as_they_were_sent() {
        let gpu = match Gpu::open() {
            Ok(gpu) => gpu,
            Err(error) => {
                println!("not run: {error}");
                return;
            }
        };
        let sizes = [3 << 20, 3 << 20, 3 << 20, 2 << 20, 4 << 20, 3 << 20, 1, 5];
        let batch = |index: usize| vec![index as u8 + 1; sizes[index]];
        let mut staging = Staging::default();
        let mut arrived: Vec<Buffer<u8>> = sizes
            .iter()
            .map(|&bytes| Buffer::new(&gpu, bytes).expect("it fits"))
            .collect();
        for (index, to) in arrived.iter_mut().enumerate() {
            staging.send(&gpu, &batch(index), to).expect("it works");
        }
        drop(staging);
        for (index, buffer) in arrived.iter().enumerate() {
            assert!(buffer.download(&gpu).expect("it works") == batch(index));
        }
    }
}
