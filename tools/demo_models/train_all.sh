#!/usr/bin/env bash
# All trainings of a plan beside one another on one machine: train_all.sh PLAN SECS OUT SCENES COUNT
#   PLAN    lines of NAME OBJECTIVE and options of train.py, as in plan.txt
#   SECS    all is over so long from now, but for a last look
#   OUT     an empty folder: gets models.tar.gz with NAME.safetensors and NAME.log
#   SCENES  the program that draws scenes, target/release/examples/scenes
#   COUNT   how many it draws for training; 512 others for validation
set -eu
plan=$(realpath "$1") out=$(realpath "$3") scenes=$(realpath "$4") count=$5
until=$(($(date +%s) + $2))
cd "$(dirname "$0")"
data=$(mktemp -d) work=$(mktemp -d)
trap 'rm -rf "$data" "$work"' EXIT
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
names=() jobs=()
while read -r name objective options; do
    [[ -z $name || $name == \#* ]] && continue
    # shellcheck disable=SC2086 # options are words
    python3 train.py "$objective" "$data" "$work/$name.safetensors" --until "$until" $options \
        >"$work/$name.log" 2>&1 &
    names+=("$name") jobs+=($!)
done <"$plan"
# What hangs is ended; what it wrote last is there.
(sleep $(($2 + 20)); kill "${jobs[@]}") >/dev/null 2>&1 &
guard=$!
# The trainings load their libraries while scenes are drawn, and wait for the files' last names.
"$scenes" "$data/part.npy" validation 512
mv "$data/part.masks.npy" "$data/validation.masks.npy"
mv "$data/part.npy" "$data/validation.npy"
"$scenes" "$data/part.npy" train "$count"
mv "$data/part.npy" "$data/train.npy"
echo "scenes are there $((until - $(date +%s))) s before the end"
wait "${jobs[@]}" || true
kill "$guard" 2>/dev/null || true
tar -C "$work" -czf "$out/models.tar.gz" .
for name in "${names[@]}"; do
    echo "== $name"
    grep -v ' all ' "$work/$name.log" | tail -n 4 | cut -c 1-600
done
for name in "${names[@]}"; do
    grep -h ' s step ' "$work/$name.log" | tail -n 1 || echo "$name: nothing"
done
