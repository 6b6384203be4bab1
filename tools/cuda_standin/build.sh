#!/usr/bin/env bash
# Builds the stand-in for the NVIDIA driver, NVRTC and cuBLASLt into a folder (default:
# target/cuda_standin). Put that folder first in LD_LIBRARY_PATH, and `--device cuda` runs on the
# processor. Needs g++, also when it runs: kernels are compiled when they are asked for.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-"$here/../../target/cuda_standin"}
mkdir -p "$out"
rm -f "$out"/kernels-*
cp "$here/shim.h" "$out/shim.h"
g++ -std=c++17 -O3 -Wall -Wextra -fPIC -shared -o "$out/libstandin.so" "$here/standin.cpp" -ldl
# Every library under the names that a program looks for.
for name in libcuda.so libcuda.so.1 libnvrtc.so libnvrtc.so.12 libcublasLt.so libcublasLt.so.12; do
    ln -sf libstandin.so "$out/$name"
done
cd "$out" && pwd
