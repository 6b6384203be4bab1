#!/usr/bin/env bash
# What a card can say about vitscope, in two stages of under two minutes each:
#
#   measure.sh right    is it right: every recorded layout in f32, bf16 and f16, the probes, a run against
#                       the CPU, the same bytes twice
#   measure.sh fast     how fast is it, beside PyTorch in the same minutes, and where the time goes
#
# bundle.sh puts this beside the binaries it runs. Every step has its own time limit, so that one that fails
# costs no other. OUT (a folder) takes the full log; a table is printed last.
set -u
here=$(cd "$(dirname "$0")" && pwd)
stage=${1:?right or fast}
OUT=${OUT:-$(mktemp -d)}
WORK=${WORK:-$here/work}
mkdir -p "$OUT" "$WORK"
[ -d "$WORK/bin" ] || tar -xzf "$here/bundle.tar.gz" -C "$WORK"
BIN=$WORK/bin
log=$OUT/$stage.log
table=$WORK/$stage-table.txt
: > "$log"
: > "$table"
begun=$(date +%s)
export VITSCOPE_CUDA_TESTS=required PYTHONUNBUFFERED=1
say() { echo "[$(($(date +%s) - begun)) s] $*" | tee -a "$log"; }
row() { echo "$*" | tee -a "$table" >> "$log"; }
# try NAME LIMIT LINES COMMAND...: all of its output into the log, the last lines into the table.
try() {
    local name=$1 limit=$2 lines=$3 rc line
    shift 3
    say "$name"
    timeout "$limit" "$@" > "$WORK/step.txt" 2>&1
    rc=$?
    cat "$WORK/step.txt" >> "$log"
    [ $rc = 0 ] || row "$name: FAILED ($rc)"
    tail -n "$lines" "$WORK/step.txt" | cut -c1-180 | while read -r line; do row "$name: $line"; done
}
# job NAME DTYPE: a whole run, and where its time went.
job() {
    local name=$1 dtype=$2
    rm -rf "$WORK/$name"
    try "job $name" 60 1 "$BIN/vitscope" probe "$WORK/vitb.safetensors" --family supervised --format timm --heads 12 \
        --data "folder:$WORK/photos" --steps 100 --pca-batches 24 --batch 24 --device cuda --dtype "$dtype" --out "$WORK/$name"
    row "job $name: $(python3 -c "import json; print(json.dumps(json.load(open('$WORK/$name/run.json'))['times']))" 2>&1 | tail -1)"
}
# locality NAME DTYPE: the attention of every layer, to be held against the forward pass of the same precision.
locality() {
    local name=$1 dtype=$2
    rm -rf "$WORK/$name"
    try "$name" 60 1 "$BIN/vitscope" attention "$WORK/vitb.safetensors" --family supervised --format timm --heads 12 \
        --data "folder:$WORK/photos" --split train --device cuda --dtype "$dtype" --out "$WORK/$name"
    row "$name: $(python3 -c "
import json
times = json.load(open('$WORK/$name/run.json'))['times']
images = times['attention_images']
print(f\"{images / times['attention_secs']:.0f} images/s, {1000 * times['attention_secs'] / images:.2f} ms an image; aim: half of the forward pass's images/s\")
print(json.dumps(times))" 2>&1 | tr '\n' ' ')"
}
# keypoints NAME DTYPE: the search for keypoints in every slot, to be held against the forward pass of the same precision.
keypoints() {
    local name=$1 dtype=$2
    rm -rf "$WORK/$name"
    try "$name" 60 1 "$BIN/vitscope" correspond "$WORK/vitb.safetensors" --family supervised --format timm --heads 12 \
        --data "spair71k:$WORK/pairs" --device cuda --dtype "$dtype" --examples 0 --out "$WORK/$name"
    row "$name: $(python3 -c "
import json
times = json.load(open('$WORK/$name/run.json'))['times']
images, whole = times['correspond_images'], times['correspond_secs']
waited = whole - times['correspond_load_secs']
print(f\"{images / whole:.0f} images/s, {1000 * whole / images:.2f} ms an image, {1000 * waited / images:.2f} but for decoding; aim: half of the forward pass's images/s\")
print(json.dumps(times))" 2>&1 | tr '\n' ' ')"
}
prepare() {
    [ -e "$WORK/vitb.safetensors" ] || python3 "$here/model.py" "$WORK/vitb.safetensors" >> "$log" 2>&1 &
    [ -e "$WORK/photos" ] || python3 "$here/photos.py" "$WORK/photos" "${TRAIN:-600}" "${TEST:-256}" >> "$log" 2>&1 &
}

row "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2> /dev/null), $(nproc) cores"
# Test binaries look for fixtures and for the program where they were compiled.
compiled=$(cat "$WORK/compiled-at" 2> /dev/null)
if [ -n "$compiled" ] && [ ! -e "$compiled" ]; then
    mkdir -p "$compiled/crates" "$compiled/target/debug"
    for crate in vitscope vitscope-vit vitscope-probe vitscope-cuda; do mkdir -p "$compiled/crates/$crate"; done
    ln -sfn "$WORK/vitscope-testkit" "$compiled/crates/vitscope-testkit"
    ln -sfn "$BIN/vitscope" "$compiled/target/debug/vitscope"
fi

if [ "$stage" = right ]; then
    prepare
    try "heads of 64" 40 5 "$BIN/activations" --nocapture heads_of_64
    try "layouts" 60 1 "$BIN/activations" --nocapture every_fixture_is_reproduced_on_a_gpu
    row "layouts: worst $(grep -E "expected" "$WORK/step.txt" | awk '{print $(NF-1)}' | sort -g | tail -1) of $(grep -c expected "$WORK/step.txt") comparisons"
    try "probes" 40 9 "$BIN/probe-cuda" --nocapture
    try "attention weights" 40 17 "$BIN/weights-cuda" --nocapture
    try "algorithms and copies" 40 3 "$BIN/kernels"
    try "run against the CPU" 120 12 "$BIN/cli-cuda" --nocapture
    wait
    job once bf16
    job twice bf16
    for file in metrics.csv; do
        if cmp "$WORK/once/$file" "$WORK/twice/$file" >> "$log" 2>&1; then row "twice: $file has the same bytes"; else row "twice: $file DIFFERS"; fi
    done
else
    prepare
    wait
    for dtype in bf16 f16; do try "forward $dtype" 40 13 "$BIN/forward" 8 320 12 $dtype cuda 8,32,64,128; done
    try "forward f32" 40 7 "$BIN/forward" 8 320 12 f32 cuda 8,64
    try "PyTorch" 40 9 python3 "$here/peer.py"
    job bf16 bf16
    job f32 f32
    locality "attention bf16" bf16
    locality "attention f32" f32
    python3 "$here/pairs.py" "$WORK/photos" "$WORK/pairs" >> "$log" 2>&1
    keypoints "correspond bf16" bf16
    keypoints "correspond f32" f32
    for batch in 64 8; do
        say "kernels, bf16, batch $batch"
        timeout 40 ncu --clock-control none --csv --metrics gpu__time_duration.sum --log-file "$WORK/kernels-$batch.csv" \
            --launch-skip 100 --launch-count 110 "$BIN/forward" $batch 320 12 bf16 cuda once >> "$log" 2>&1
        python3 "$here/kernels.py" "$WORK/kernels-$batch.csv" >> "$log" 2>&1
        python3 "$here/kernels.py" "$WORK/kernels-$batch.csv" 2>&1 | head -9 | while read -r line; do row "kernels $batch: $line"; done
    done
    say "kernels of attention"
    timeout 60 ncu --clock-control none --csv --metrics gpu__time_duration.sum --log-file "$WORK/kernels-attention.csv" \
        --kernel-name "regex:weights|information|attend" --launch-count 200 \
        "$BIN/vitscope" attention "$WORK/vitb.safetensors" --family supervised --format timm --heads 12 --data "folder:$WORK/photos" \
        --split train --limit-train 256 --device cuda --dtype bf16 --out "$WORK/ncu-attention" >> "$log" 2>&1
    python3 "$here/kernels.py" "$WORK/kernels-attention.csv" 2>&1 | tee -a "$log" | head -6 | while read -r line; do row "kernels of attention: $line"; done
    say "kernels of correspond"
    timeout 60 ncu --clock-control none --csv --metrics gpu__time_duration.sum --log-file "$WORK/kernels-correspond.csv" \
        --kernel-name "regex:sample_points|hold_rows|neighbor_products|cell_ratios|point_products|find_matches" --launch-count 600 \
        "$BIN/vitscope" correspond "$WORK/vitb.safetensors" --family supervised --format timm --heads 12 --data "spair71k:$WORK/pairs" \
        --limit-pairs 680 --device cuda --dtype bf16 --examples 0 --out "$WORK/ncu-correspond" >> "$log" 2>&1
    python3 "$here/kernels.py" "$WORK/kernels-correspond.csv" 2>&1 | tee -a "$log" | head -8 | while read -r line; do row "kernels of correspond: $line"; done
    say "kernels of a job"
    timeout 60 ncu --clock-control none --csv --metrics gpu__time_duration.sum --log-file "$WORK/kernels-job.csv" \
        --kernel-name "regex:rows|images|adam|products|pixels|labels|resample" --launch-count 2500 \
        "$BIN/vitscope" probe "$WORK/vitb.safetensors" --family supervised --format timm --heads 12 --data "folder:$WORK/photos" \
        --steps 3 --pca-batches 3 --batch 24 --limit-test 64 --device cuda --dtype bf16 --out "$WORK/ncu" >> "$log" 2>&1
    python3 "$here/kernels.py" "$WORK/kernels-job.csv" >> "$log" 2>&1
    python3 "$here/kernels.py" "$WORK/kernels-job.csv" 2>&1 | head -12 | while read -r line; do row "kernels of a job: $line"; done
fi
say "done"
echo "---- $stage ----"
cat "$table" | tee -a "$log"
