//! Whether tests of the CUDA path can run.

/// Whether there is a GPU, or `tools/cuda_standin` in its place. Without either the tests of the
/// CUDA path pass and say that they were not run, unless `VITSCOPE_CUDA_TESTS=required`.
pub fn is_here() -> bool {
    match vitscope_cuda::Gpu::open() {
        Ok(gpu) => {
            println!("on {}", gpu.name());
            true
        }
        Err(error) => {
            let required =
                std::env::var("VITSCOPE_CUDA_TESTS").is_ok_and(|word| word == "required");
            assert!(!required, "{error}");
            vitscope_testkit::left_out("recorded models on a GPU", &error.to_string());
            false
        }
    }
}
