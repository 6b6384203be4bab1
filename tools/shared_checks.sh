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
# The program that the tests have just built.
verify() { "${CARGO_TARGET_DIR:-target}/debug/vitscope" "$@"; }
verify verify "$VITSCOPE_SHARED/weights/vit-tiny-augreg" \
  --against "$VITSCOPE_SHARED/weights/vit-tiny-augreg/activations.safetensors"
verify verify "$VITSCOPE_SHARED/weights/vit-cifar10/visiontriad.toml" \
  --against "$VITSCOPE_SHARED/weights/vit-cifar10/activations.safetensors"

echo "-- a trained ViT-S/14 shaped like DINOv2, in the names of transformers and of timm, against NumPy"
work=${CARGO_TARGET_DIR:-$PWD/target}/vit-s14
python=$work/python/bin/python
if [ ! -s "$work/recorded.safetensors" ]; then
  mkdir -p "$work"
  {
    python3 -m venv "$work/python" &&
      "$python" -m pip install --quiet --disable-pip-version-check numpy==2.4.6 safetensors==0.8.0 onnx &&
      "$python" "$VITSCOPE_SHARED/tools/dinov2_like_weights.py" "$work" &&
      "$python" tools/checkpoints/record_vit_s14.py "$work/transformers.safetensors" "$work/recorded.safetensors"
  } || rm -f "$work/recorded.safetensors"
fi
if [ -s "$work/recorded.safetensors" ]; then
  for layout in transformers timm; do
    verify verify "$work/$layout.safetensors" --family dinov2 --heads 6 --layout "$layout" \
      --against "$work/recorded.safetensors"
  done
else
  line="a trained ViT-S/14: its package could not be fetched"
  echo "left out: $line"
  [ -z "${VITSCOPE_LEFT_OUT:-}" ] || echo "$line" >>"$VITSCOPE_LEFT_OUT"
fi
