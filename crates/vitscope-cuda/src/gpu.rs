//! The card, its stream, and the libraries that drive it.
#![expect(
    unsafe_code,
    reason = "the libraries are looked for by loading them, and one stream needs no events"
)]

use std::fmt;
use std::sync::{Arc, Mutex};

use cudarc::driver::{CudaContext, CudaStream, DriverError, sys};

use crate::blas::Blas;
use crate::compiler::compiler_is_here;
use crate::error::CudaError;
use crate::trial_rules::TrialRules;

/// The first GPU of this machine. All work on it is queued in one order.
pub struct Gpu {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    blas: Mutex<Blas>,
    trial_rules: TrialRules,
    name: String,
    capability: (i32, i32),
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu")
            .field("name", &self.name)
            .field("capability", &self.capability)
            .finish_non_exhaustive()
    }
}

impl Gpu {
    /// Loads the driver, NVRTC and cuBLASLt, and takes the first GPU (the one that
    /// `CUDA_VISIBLE_DEVICES` names first).
    ///
    /// # Errors
    /// One sentence for what is missing.
    pub fn open() -> Result<Arc<Self>, CudaError> {
        Self::open_with(TrialRules::default())
    }

    /// As [`Self::open`]; `trial_rules` says when algorithms are tried.
    pub(crate) fn open_with(trial_rules: TrialRules) -> Result<Arc<Self>, CudaError> {
        crate::libraries::prepare();
        // SAFETY: loading NVIDIA's libraries runs their initializers, which is what is asked for.
        let (driver, nvrtc, blas) = unsafe {
            (
                sys::is_culib_present(),
                compiler_is_here(),
                cudarc::cublaslt::sys::is_culib_present(),
            )
        };
        let runtime = "a CUDA 12 or 13 runtime (for example nvidia-cuda-nvrtc-cu12 and \
                       nvidia-cublas-cu12 of PyPI, or PyTorch)";
        for (present, what, library, package) in [
            (
                driver,
                "the NVIDIA driver",
                "libcuda.so.1",
                "the driver of your card",
            ),
            (
                nvrtc,
                "the compiler NVRTC",
                "libnvrtc.so.12 or .13",
                runtime,
            ),
            (
                blas,
                "the library cuBLASLt",
                "libcublasLt.so.12 or .13",
                runtime,
            ),
        ] {
            if !present {
                return Err(CudaError::Missing {
                    what,
                    library,
                    package,
                });
            }
        }
        if let Some(version) = crate::libraries::driver()
            && crate::libraries::too_old(version)
        {
            return Err(CudaError::OldDriver { version });
        }
        let context = CudaContext::new(0).map_err(|error| CudaError::NoDevice {
            status: status(error),
        })?;
        // SAFETY: all work goes through the one stream made below, so its order is the order of
        // the calls and events have nothing to add.
        unsafe { context.disable_event_tracking() };
        let stream = context.default_stream();
        let name = context.name().map_err(CudaError::driver("tell its name"))?;
        let capability = context
            .compute_capability()
            .map_err(CudaError::driver("tell what it can do"))?;
        let blas = Mutex::new(Blas::new(&stream, capability)?);
        Ok(Arc::new(Self {
            context,
            stream,
            blas,
            trial_rules,
            name,
            capability,
        }))
    }

    /// What the card is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits until everything that was queued is done.
    ///
    /// # Errors
    /// When any of it failed.
    pub fn synchronize(&self) -> Result<(), CudaError> {
        self.stream
            .synchronize()
            .map_err(CudaError::driver("finish its work"))
    }

    /// Bytes of its memory that nobody has taken.
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn free_memory(&self) -> Result<usize, CudaError> {
        let told = self.context.mem_get_info();
        let (free, _total) = told.map_err(CudaError::driver("tell how much memory is free"))?;
        Ok(free)
    }

    pub(crate) fn context(&self) -> &Arc<CudaContext> {
        &self.context
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub(crate) fn blas(&self) -> &Mutex<Blas> {
        &self.blas
    }

    /// When algorithms are tried.
    pub(crate) fn trial_rules(&self) -> TrialRules {
        self.trial_rules
    }

    /// Major and minor compute capability.
    pub(crate) fn capability(&self) -> (i32, i32) {
        self.capability
    }
}

/// The driver's word for an error.
fn status(error: DriverError) -> String {
    format!("{:?}", error.0)
}

impl CudaError {
    /// What the driver refused, for `map_err`.
    pub(crate) fn driver(action: &'static str) -> impl FnOnce(DriverError) -> Self {
        use cudarc::driver::sys::CUresult as Answer;
        move |error| {
            let status = status(error);
            match error.0 {
                Answer::CUDA_ERROR_DEVICE_UNAVAILABLE
                | Answer::CUDA_ERROR_ECC_UNCORRECTABLE
                | Answer::CUDA_ERROR_HARDWARE_STACK_ERROR
                | Answer::CUDA_ERROR_NVLINK_UNCORRECTABLE
                | Answer::CUDA_ERROR_LAUNCH_FAILED
                | Answer::CUDA_ERROR_LAUNCH_TIMEOUT
                | Answer::CUDA_ERROR_CONTEXT_IS_DESTROYED
                | Answer::CUDA_ERROR_UNKNOWN => Self::Lost { action, status },
                _ => Self::Driver { action, status },
            }
        }
    }
}
