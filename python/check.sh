#!/usr/bin/env bash
# The Python package: its wheel is built, installed into a fresh environment, and tested there.
#
#   python/check.sh          what numpy is enough for, types and stubs; part of .ci/run
#   python/check.sh torch    with torch, timm, transformers and open_clip from PyPI (8 GB on disk): models of theirs
#                            beside the program's own forward pass
#
# Everything lies under the target directory. The wheel is one of cargo's profile `dev`, so that it shares what the tests
# have built: of the crates here, only its own is compiled then. In .ci/run that should be about 2 minutes; where all crates have to
# be built, 3.6 minutes of CPU time.
set -euo pipefail
cd "$(dirname "$0")"
target=${CARGO_TARGET_DIR:-$PWD/../target}
kind=${1:-numpy}
python=${PYTHON:-python3}
environment=$target/python-$kind
wheels=$target/wheels-$kind

"$python" -m venv --clear "$environment"
pip() { "$environment/bin/pip" install --quiet --disable-pip-version-check "$@"; }
pip "maturin==1.16.0" "pytest==9.2.0"
rm -rf "$wheels"
"$environment/bin/maturin" build --quiet --profile dev --locked --strip --out "$wheels"
pip "$wheels"/vitscope-*.whl
cd tests
case $kind in
numpy)
  pip "mypy==2.4.1" "pyarrow==26.0.1"
  "$environment/bin/python" -m pytest --quiet -p no:cacheprovider
  cd "$(mktemp -d)"
  "$environment/bin/mypy" --strict --package vitscope
  "$environment/bin/stubtest" vitscope._vitscope
  ;;
torch)
  pip torch timm transformers open_clip_torch safetensors tensorboard lightning torchmetrics accelerate polars pandas
  "$environment/bin/python" -m pytest --quiet -p no:cacheprovider
  ;;
*)
  echo "python/check.sh: expected nothing or torch, got $kind" >&2
  exit 2
  ;;
esac
