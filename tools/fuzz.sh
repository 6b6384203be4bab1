#!/usr/bin/env bash
# Runs every fuzz target for so many seconds each, and prints for each how often it ran, the coverage
# at the beginning and at the end, and what it found. A finding ends it with exit code 1.
#
# usage: tools/fuzz.sh SECONDS [TARGET...]
#
# Needs a C++ compiler (libFuzzer is built from source) and the ordinary Rust toolchain: coverage comes
# from the compiler's own pass, no nightly and no cargo-fuzz. Seeds are the small checkpoints under
# crates/vitscope-vit/tests/data and what the folders in VITSCOPE_SEEDS hold (separated by blanks).
set -euo pipefail
seconds=${1:?usage: tools/fuzz.sh SECONDS [TARGET...]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/fuzz"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' Cargo.toml | tail -n +2)
work=${CARGO_TARGET_DIR:-$root/target}/fuzz
mkdir -p "$work"

# These bring most of the program along, and are built where they are asked for.
features=()
for target in "${targets[@]}"; do
  case $target in run | features | plan) features=(--features results) ;; esac
done

# With --target, build scripts and macros are not instrumented. Nothing but the matrix product is
# unsafe here, so no sanitizer is needed: panics, time and memory are what counts.
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares" \
  cargo build --quiet --release --locked "${features[@]}" --target "$host" --target-dir "$work/build"
bin=$work/build/$host/release

# A folder in memory, because each run of a checkpoint target writes a file.
TMPDIR=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
read -ra folders <<<"${VITSCOPE_SEEDS:-}"
python3 seeds.py "$work/corpus" "$root/crates/vitscope-vit/tests/data" "${folders[@]}"

failed=0
printf '%-12s %12s %8s %8s %8s  %s\n' target runs before after corpus found
for target in "${targets[@]}"; do
  mkdir -p "$work/corpus/$target" "$work/found/$target"
  log=$work/$target.log
  found=nothing
  "$bin/$target" "$work/corpus/$target" -max_total_time="$seconds" -max_len=200000 \
    -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$work/found/$target/" \
    >"$log" 2>&1 || { found="see $log"; failed=1; }
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  before=$(sed -n 's/.*INITED *cov: \([0-9]*\).*/\1/p' "$log" | head -1)
  after=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -1)
  kept=$(find "$work/corpus/$target" -type f | wc -l)
  printf '%-12s %12s %8s %8s %8s  %s\n' "$target" "${runs:-?}" "${before:-?}" "${after:-?}" "$kept" "$found"
done
exit $failed
