//! Every kernel is compiled by NVIDIA's own compiler, which needs no GPU.

/// Needs libnvrtc.so.12, for example of the PyPI package nvidia-cuda-nvrtc-cu12, in
/// LD_LIBRARY_PATH; without it the test says that it was not run, unless
/// `VITSCOPE_NVRTC_TESTS=required`. With `VITSCOPE_PTX` the PTX is left in that folder.
#[test]
fn every_kernel_is_accepted_by_nvrtc() {
    let required = std::env::var("VITSCOPE_NVRTC_TESTS").is_ok_and(|word| word == "required");
    if !vitscope_cuda::compiler_is_here() {
        assert!(!required, "libnvrtc.so.12 was not found");
        vitscope_testkit::left_out("kernels by NVIDIA's compiler", "libnvrtc was not found");
        return;
    }
    for architecture in [75, 80, 90, 120] {
        for (name, text, element) in vitscope_cuda::sources() {
            let ptx =
                vitscope_cuda::compile(name, text, element, &format!("compute_{architecture}"));
            let ptx = ptx.unwrap().to_src();
            if ptx.starts_with("STANDIN") {
                assert!(
                    !required,
                    "the stand-in was found in place of NVIDIA's compiler"
                );
                vitscope_testkit::left_out(
                    "kernels by NVIDIA's compiler",
                    "only the stand-in is here",
                );
                return;
            }
            assert!(ptx.contains(&format!(".target sm_{architecture}")));
            println!(
                "{name} for {element:?}, sm_{architecture}: {} bytes of PTX",
                ptx.len()
            );
            if let Some(folder) = std::env::var_os("VITSCOPE_PTX") {
                let file = format!("{name}-{element:?}-sm_{architecture}.ptx");
                std::fs::write(std::path::Path::new(&folder).join(file), ptx).unwrap();
            }
        }
    }
}
