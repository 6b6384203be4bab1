#!/usr/bin/env bash
# Tests the CUDA path where there is no GPU: the program is built and linked with the feature, starts
# without a driver, runs on the stand-in, and NVIDIA's own compiler (of PyPI) accepts every kernel.
# Needs g++ and Python's venv. Arguments go to every cargo call (`--locked`, say).
set -euo pipefail
cd "$(dirname "$0")/../.."
features=vitscope/cuda,vitscope-vit/cuda,vitscope-probe/cuda

echo "-- on the stand-in"
standin=$(tools/cuda_standin/build.sh)
LD_LIBRARY_PATH="$standin${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" VITSCOPE_CUDA_TESTS=required \
    cargo test "$@" -p vitscope -p vitscope-vit -p vitscope-probe --features "$features" \
    --lib --test activations --test cuda

echo "-- with the threads and blocks of every kernel in the opposite order"
LD_LIBRARY_PATH="$standin${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" VITSCOPE_CUDA_TESTS=required \
    VITSCOPE_STANDIN_BACKWARD=1 \
    cargo test "$@" -p vitscope-vit -p vitscope-probe --features vitscope-vit/cuda,vitscope-probe/cuda \
    --test activations --test cuda

echo "-- without anything of CUDA (on a machine with a GPU: on that)"
cargo test "$@" -p vitscope -p vitscope-vit -p vitscope-probe --features "$features" --test cuda

echo "-- by NVIDIA's compiler, for sm_80 and sm_90"
python3 -m venv target/nvrtc
if target/nvrtc/bin/pip install --quiet --disable-pip-version-check nvidia-cuda-nvrtc-cu12==12.9.86; then
    nvrtc=$(dirname "$(find "$PWD/target/nvrtc" -name libnvrtc.so.12 | head -1)")
    LD_LIBRARY_PATH="$nvrtc${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" VITSCOPE_NVRTC_TESTS=required \
        cargo test "$@" -p vitscope-cuda --test compile
else
    echo "left out: nvidia-cuda-nvrtc-cu12 could not be fetched"
fi
