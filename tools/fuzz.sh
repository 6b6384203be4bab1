#!/usr/bin/env bash
# Runs every fuzz target of the checkpoint readers for so many seconds each, and prints for each
# how often it ran, the coverage at the beginning and at the end, and what it found.
#
# usage: tools/fuzz.sh SECONDS [TARGET...]
#
# Needs a nightly toolchain and cargo-fuzz (cargo install cargo-fuzz). Seeds are the small
# checkpoints under tests/data and, where VITSCOPE_FIXTURES names a folder, those in it.
set -euo pipefail
seconds=${1:?usage: tools/fuzz.sh SECONDS [TARGET...]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/crates/vitscope-vit"
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | tail -n +2)

# A folder in memory, because each run writes a file.
TMPDIR=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
work=${CARGO_TARGET_DIR:-$root/target}/fuzz
mkdir -p "$work"
python3 fuzz/seeds.py "$work/corpus" tests/data ${VITSCOPE_FIXTURES:+"$VITSCOPE_FIXTURES"}

# Nothing here is unsafe, so no sanitizer is needed: panics, time and memory are what counts.
cargo +nightly fuzz build --sanitizer none --target-dir "$work/build"
bin=$(find "$work/build" -path '*release*' -name "${targets[0]}" -type f -perm -u+x | head -1)
failed=0
printf '%-12s %12s %8s %8s %8s  %s\n' target runs before after corpus found
for target in "${targets[@]}"; do
  mkdir -p "$work/corpus/$target" "$work/found/$target"
  log=$work/$target.log
  found=nothing
  "$(dirname "$bin")/$target" "$work/corpus/$target" -max_total_time="$seconds" -max_len=200000 \
    -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$work/found/$target/" \
    >"$log" 2>&1 || { found="see $log"; failed=1; }
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  before=$(sed -n 's/.*INITED *cov: \([0-9]*\).*/\1/p' "$log" | head -1)
  after=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$log" | tail -1)
  kept=$(find "$work/corpus/$target" -type f | wc -l)
  printf '%-12s %12s %8s %8s %8s  %s\n' "$target" "${runs:-?}" "${before:-?}" "${after:-?}" "$kept" "$found"
done
exit $failed
