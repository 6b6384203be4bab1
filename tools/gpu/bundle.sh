#!/usr/bin/env bash
# Puts what measure.sh needs into a folder that can be carried to a machine with a GPU and nothing else:
# bundle.sh FOLDER. Cargo builds with --features cuda first; no CUDA toolkit is needed for that.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$1
mkdir -p "$out/bin" "$out/vitscope-testkit"
cd "$root"
build() {
    cargo test --no-run --message-format=json --workspace \
        --features vitscope/cuda,vitscope-vit/cuda,vitscope-probe/cuda "$@"
}
build --lib --test activations --test cuda --bench forward > "$out/built.json"
python3 - "$out" << 'PY'
import json
import shutil
import sys

out = sys.argv[1]
names = {}
for line in open(f"{out}/built.json"):
    message = json.loads(line)
    if message.get("reason") != "compiler-artifact" or not message.get("executable"):
        continue
    target, package = message["target"]["name"], message["package_id"]
    # The tests of a library have its name, which is the program's, too.
    if target == "vitscope" and message["profile"]["test"]:
        continue
    name = target
    if target == "cuda":
        crates = {"vitscope-probe": "probe-cuda", "vitscope-cuda": "weights-cuda"}
        name = next((name for crate, name in crates.items() if crate in package), "cli-cuda")
    if target == "vitscope_cuda":
        name = "kernels"
    if target in ("activations", "cuda", "forward", "vitscope", "vitscope_cuda"):
        names[name] = message["executable"]
for name, path in names.items():
    shutil.copy(path, f"{out}/bin/{name}")
print(sorted(names))
PY
rm "$out/built.json"
strip "$out"/bin/*
rm -rf "$out/vitscope-testkit/fixtures"
cp -r crates/vitscope-testkit/fixtures "$out/vitscope-testkit/fixtures"
echo "$root" > "$out/compiled-at"
tar -czf "$out/bundle.tar.gz" -C "$out" bin vitscope-testkit compiled-at
rm -r "$out/bin" "$out/vitscope-testkit" "$out/compiled-at"
cp "$here/measure.sh" "$here"/*.py "$out/"
du -sh "$out"
