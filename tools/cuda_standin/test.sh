#!/usr/bin/env bash
# Tests the CUDA path where there is no GPU: the program is built and linked with the feature, starts
# without a driver, runs on the stand-in, and NVIDIA's own compiler (of PyPI) accepts every kernel.
# Needs g++ and Python's venv. Arguments go to every cargo call (`--locked`, say).
set -euo pipefail
cd "$(dirname "$0")/../.."
# The whole workspace, so that nothing that its other tests have built is built again.
tests() {
    local path=$1
    shift
    LD_LIBRARY_PATH="$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" cargo test --workspace \
        --features vitscope/cuda,vitscope-vit/cuda,vitscope-probe/cuda "$@"
}

standin=$(tools/cuda_standin/build.sh)
echo "-- on the stand-in"
VITSCOPE_CUDA_TESTS=required tests "$standin" "$@" --lib --test activations --test cuda

echo "-- with the threads and blocks of every kernel in the opposite order"
VITSCOPE_CUDA_TESTS=required VITSCOPE_STANDIN_BACKWARD=1 \
    tests "$standin" "$@" --test activations --test cuda -- --skip a_run_on

echo "-- without anything of CUDA (on a machine with a GPU: on that)"
tests /nowhere "$@" --test cuda

echo "-- by NVIDIA's compiler, for sm_80 and sm_90"
python3 -m venv target/nvrtc
if target/nvrtc/bin/pip install --quiet --disable-pip-version-check nvidia-cuda-nvrtc-cu12==12.9.86; then
    nvrtc=$(dirname "$(find "$PWD/target/nvrtc" -name libnvrtc.so.12 | head -1)")
    VITSCOPE_NVRTC_TESTS=required tests "$nvrtc" "$@" --test compile
else
    echo "left out: nvidia-cuda-nvrtc-cu12 could not be fetched"
fi
