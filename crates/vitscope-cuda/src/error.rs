//! What can go wrong between here and the GPU.

/// Why CUDA cannot be used, or gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// A library is not installed.
    #[error(
        "{what} was not found ({library}): install {package}, put its folder into LD_LIBRARY_PATH, \
         or use --device cpu"
    )]
    Missing {
        /// What the library is.
        what: &'static str,
        /// Its file.
        library: &'static str,
        /// Where it comes from.
        package: &'static str,
    },
    /// The driver is there, a card is not.
    #[error("the NVIDIA driver offers no GPU ({status}): check nvidia-smi, or use --device cpu")]
    NoDevice {
        /// The driver's answer.
        status: String,
    },
    /// The card's memory is full.
    #[error(
        "the GPU has no room for another {bytes} bytes: use a smaller --size, fewer --layers or \
         --facets, or a card with more memory"
    )]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The driver refused something.
    #[error("the GPU failed to {action} ({status}): check nvidia-smi, or use --device cpu")]
    Driver {
        /// What was tried.
        action: &'static str,
        /// The driver's answer.
        status: String,
    },
    /// The card's compiler refused a kernel.
    #[error(
        "NVRTC could not compile the kernels of {program} ({log}): a newer CUDA runtime may know \
         this card"
    )]
    Compile {
        /// Which of the programs.
        program: &'static str,
        /// The first line of the compiler's log.
        log: String,
    },
    /// cuBLASLt refused a product.
    #[error("cuBLASLt has no product for {shape} ({status}): a newer CUDA runtime may have one")]
    Product {
        /// Rows, inputs, outputs and types.
        shape: String,
        /// The library's answer.
        status: String,
    },
}
