#!/usr/bin/env bash
# Runs the tests of the crate that calls matrix products and writes its own for wide registers, the only `unsafe` on
# the CPU, under AddressSanitizer: what is read or written beyond an array, or after it is gone, ends the run.
#
# usage: tools/sanitize.sh [TEST-ARGUMENTS...]
#
# Needs the Rust toolchain alone: the sanitizer's runtime comes with it, and the variable below lets the stable compiler
# take the flag. Miri cannot run these tests (it knows neither the products' instructions nor assembly).
# Everything is compiled anew: about ten minutes on 2 cores. Leaks are not looked for: pools of threads live to the end.
# The test of memory is left out: the sanitizer's own is several times what it allows.
set -euo pipefail
cd "$(dirname "$0")/.."
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target, build scripts and macros are not instrumented.
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 \
  cargo test --locked --target "$host" --target-dir "${CARGO_TARGET_DIR:-target}/asan" \
  -p vitscope-vit --lib --test activations --test suite -- "$@"
