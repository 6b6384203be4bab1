//! Kernels, compiled at run time.
#![expect(
    unsafe_code,
    reason = "launching a kernel is unsafe; who calls for it has checked every size"
)]

use std::collections::BTreeMap;

use cudarc::driver::{CudaFunction, LaunchConfig, PushKernelArg};

use crate::buffer::Buffer;
use crate::compiler::compile;
use crate::element::Element;
use crate::error::CudaError;
use crate::factors::Factors;
use crate::gpu::Gpu;

/// Threads of a block: four warps. The kernels that work with whole warps rely on it.
pub(crate) const THREADS: u32 = 128;

/// Threads of a warp.
pub(crate) const WARP: u32 = 32;

/// A source file with its name in messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KernelSource {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) kernels: &'static [&'static str],
    /// Kernels that for factors of 16 bits exist since Ampere (compute capability 8.0).
    pub(crate) ampere: &'static [&'static str],
}

/// A compiled program.
#[derive(Debug)]
pub(crate) struct CompiledProgram {
    functions: BTreeMap<&'static str, CudaFunction>,
}

impl CompiledProgram {
    /// Compiles a source for the card that is there.
    pub(crate) fn load(
        gpu: &Gpu,
        source: KernelSource,
        element: Element,
    ) -> Result<Self, CudaError> {
        let (major, minor) = gpu.capability();
        let architecture = format!("compute_{major}{minor}");
        let ptx = compile(source.name, source.text, element, &architecture)?;
        let module = gpu
            .context()
            .load_module(ptx)
            .map_err(CudaError::driver("load the kernels"))?;
        let ampere: &[&str] = match element == Element::F32 || major >= 8 {
            true => source.ampere,
            false => &[],
        };
        let functions = source.kernels.iter().chain(ampere).map(|&name| {
            let function = module
                .load_function(name)
                .map_err(CudaError::driver("find a kernel"))?;
            Ok((name, function))
        });
        Ok(Self {
            functions: functions.collect::<Result<_, CudaError>>()?,
        })
    }

    /// Whether this card has a kernel.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// Queues a kernel whose threads each take one of `items`.
    ///
    /// # Safety
    /// The arguments are the kernel's, in its order and of its types, and with them and this grid
    /// every access lies inside its array.
    pub(crate) unsafe fn each(
        &self,
        gpu: &Gpu,
        name: &'static str,
        items: usize,
        args: &[Arg],
    ) -> Result<(), CudaError> {
        // SAFETY: the caller's promise.
        unsafe { self.launch(gpu, name, [items.div_ceil(THREADS as usize), 1, 1], args) }
    }

    /// Queues a kernel whose blocks each take one of `rows`.
    ///
    /// # Safety
    /// The arguments are the kernel's, in its order and of its types, and with them and this grid
    /// every access lies inside its array.
    pub(crate) unsafe fn rows(
        &self,
        gpu: &Gpu,
        name: &'static str,
        rows: usize,
        args: &[Arg],
    ) -> Result<(), CudaError> {
        // SAFETY: the caller's promise.
        unsafe { self.launch(gpu, name, [rows, 1, 1], args) }
    }

    /// Queues a kernel whose warps each take one of `rows`.
    ///
    /// # Safety
    /// The arguments are the kernel's, in its order and of its types, and with them and this grid
    /// every access lies inside its array.
    pub(crate) unsafe fn warps(
        &self,
        gpu: &Gpu,
        name: &'static str,
        rows: usize,
        args: &[Arg],
    ) -> Result<(), CudaError> {
        let warps = (THREADS / WARP) as usize;
        // SAFETY: the caller's promise.
        unsafe { self.launch(gpu, name, [rows.div_ceil(warps), 1, 1], args) }
    }

    /// Queues a kernel with a grid of its own; no grid, no work.
    ///
    /// # Safety
    /// The arguments are the kernel's, in its order and of its types, and with them and this grid
    /// every access lies inside its array.
    pub(crate) unsafe fn launch(
        &self,
        gpu: &Gpu,
        name: &'static str,
        grid: [usize; 3],
        args: &[Arg],
    ) -> Result<(), CudaError> {
        if grid.contains(&0) {
            return Ok(());
        }
        let too_large = |_| CudaError::Driver {
            action: "take so large a batch",
            status: format!("{name}: a grid of {grid:?} blocks"),
        };
        let [x, y, z] = grid.map(u32::try_from);
        let config = LaunchConfig {
            grid_dim: (
                x.map_err(too_large)?,
                y.map_err(too_large)?,
                z.map_err(too_large)?,
            ),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let function = self.functions.get(name).ok_or(CudaError::Driver {
            action: "find a kernel",
            status: name.to_owned(),
        })?;
        let mut launch = gpu.stream().launch_builder(function);
        for arg in args {
            launch.arg(&arg.0);
        }
        // SAFETY: the caller's promise; little-endian hosts keep a narrow value in a word's first bytes, which
        // is where the driver reads it.
        unsafe { launch.launch(config) }
            .map(drop)
            .map_err(CudaError::driver("start a kernel"))
    }
}

/// One argument of a kernel, its bits in the low end of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arg(u64);

impl Arg {
    /// A null pointer, for an array that may be absent.
    pub(crate) const NONE: Self = Self(0);

    /// An array that is present or not.
    pub(crate) fn maybe<T>(buffer: Option<&Buffer<T>>) -> Self {
        buffer.map_or(Self::NONE, Self::from)
    }

    /// An array from some element on.
    pub(crate) fn at<T>(buffer: &Buffer<T>, offset: usize) -> Self {
        Self(buffer.address() + (offset * size_of::<T>()) as u64)
    }
}

impl Arg {
    /// An address.
    pub(crate) fn to(address: u64) -> Self {
        Self(address)
    }
}

impl<T> From<&Buffer<T>> for Arg {
    fn from(buffer: &Buffer<T>) -> Self {
        Self::at(buffer, 0)
    }
}

impl From<&Factors> for Arg {
    fn from(factors: &Factors) -> Self {
        Self::from(&factors.bytes)
    }
}

impl From<usize> for Arg {
    /// A 64-bit count.
    fn from(value: usize) -> Self {
        Self(value as u64)
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self(u64::from(value))
    }
}

impl From<f32> for Arg {
    fn from(value: f32) -> Self {
        Self(u64::from(value.to_bits()))
    }
}

impl From<f64> for Arg {
    fn from(value: f64) -> Self {
        Self(value.to_bits())
    }
}

/// The arguments of a kernel.
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        &[$($crate::program::Arg::from($arg)),*]
    };
}
pub(crate) use args;
