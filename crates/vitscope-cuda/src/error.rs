//! What can go wrong between here and the GPU.

/// Why CUDA cannot be used, or gave up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// A library is not installed.
    #[error(
        "{what} was not found ({library}): install {package}, put its folder into LD_LIBRARY_PATH, \
         or use `device` cpu"
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
    #[error("the NVIDIA driver offers no GPU ({status}): check nvidia-smi, or use `device` cpu")]
    NoDevice {
        /// The driver's answer.
        status: String,
    },
    /// The driver is older than CUDA 12.
    #[error(
        "the NVIDIA driver knows CUDA {}.{} and nothing newer, where 12.0 is needed: update the \
         driver (525 or newer), or use `device` cpu", version / 1000, version % 1000 / 10
    )]
    OldDriver {
        /// The newest CUDA that it knows: 11040 is 11.4.
        version: i32,
    },
    /// The card has no products of bf16.
    #[error(
        "{card} has no products in bf16, which came with Ampere: use `dtype` f16 or f32, or a newer card"
    )]
    NoBf16 {
        /// What the card is called.
        card: String,
    },
    /// The card stopped working in the middle.
    #[error(
        "the GPU was lost when it was to {action} ({status}): look at nvidia-smi, then go on where the \
         run stopped with `resume`"
    )]
    Lost {
        /// What was tried.
        action: &'static str,
        /// The driver's answer.
        status: String,
    },
    /// The card's memory is full.
    #[error(
        "the GPU has no room for another {bytes} bytes: use a smaller `size`, fewer `layers` or \
         `facets`, or a card with more memory"
    )]
    Memory {
        /// What was asked for.
        bytes: usize,
    },
    /// The driver refused something.
    #[error("the GPU failed to {action} ({status}): check nvidia-smi, or use `device` cpu")]
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
