#!/usr/bin/env bash
# The checks that need what cannot be in the repository: real photographs, and trained weights with recorded
# activations.
#
# usage: tools/shared_checks.sh [FOLDER [CARGO TEST OPTIONS]]
#
# FOLDER (../shared) holds data/ and weights/; where it is not there, one line says so. The trained
# DINOv2-shaped ViT-S/14 comes from PyPI with FOLDER/tools/dinov2_like_weights.py (90 MB, needs Python).
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-../shared}
shift || true
if [ ! -d "$folder/data" ] || [ ! -d "$folder/weights" ]; then
  line="photographs and trained weights: $folder is not here"
  echo "left out: $line"
  [ -z "${VITSCOPE_LEFT_OUT:-}" ] || echo "$line" >>"$VITSCOPE_LEFT_OUT"
  exit 0
fi
VITSCOPE_SHARED=$(cd "$folder" && pwd)
export VITSCOPE_SHARED

echo "-- tests on photographs"
cargo test --workspace --locked "$@" -- --ignored

echo "-- trained weights against their recorded activations"
verify() { cargo run --quiet --locked -p vitscope "$@"; }
verify -- verify "$VITSCOPE_SHARED/weights/vit-tiny-augreg" \
  --against "$VITSCOPE_SHARED/weights/vit-tiny-augreg/activations.safetensors"
verify -- verify "$VITSCOPE_SHARED/weights/vit-cifar10/visiontriad.toml" \
  --against "$VITSCOPE_SHARED/weights/vit-cifar10/activations.safetensors"
