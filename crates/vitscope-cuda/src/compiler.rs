//! NVRTC, which compiles kernels and needs no GPU.
#![expect(unsafe_code, reason = "the library is looked for by loading it")]

use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

use crate::element::Element;
use crate::error::CudaError;

/// Whether it can be loaded.
#[must_use]
pub fn compiler_is_here() -> bool {
    // SAFETY: loading NVIDIA's library runs its initializers, which is what is asked for.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}

/// Compiles a program to PTX for an architecture such as `compute_80`.
///
/// # Errors
/// When NVRTC refuses; the first line of its log is told.
pub fn compile(
    name: &'static str,
    text: &str,
    element: Element,
    architecture: &str,
) -> Result<Ptx, CudaError> {
    let options = CompileOptions {
        name: Some(format!("{name}.cu")),
        options: vec![
            format!("--gpu-architecture={architecture}"),
            format!("-DVITSCOPE_ELEMENT={}", element.number()),
            "--std=c++14".to_owned(),
        ],
        ..CompileOptions::default()
    };
    compile_ptx_with_opts(text, options).map_err(|error| {
        let log = match &error {
            CompileError::CompileError { log, .. } => {
                let log = log.to_string_lossy();
                let first = log.lines().find(|line| line.contains("error"));
                first.unwrap_or("no log").to_owned()
            }
            other => other.to_string(),
        };
        CudaError::Compile { program: name, log }
    })
}
