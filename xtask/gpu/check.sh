#!/usr/bin/env bash
# Checks and measures what build.sh built, on a machine with a GPU, its driver, PyTorch, and nothing else: every operator, loss and
# method against the CPU's values; the same bits for one seed twice; the demo grid; training steps and scoring beside PyTorch on the same
# card. At most eight minutes. Results are JSON lines in OUT/check.jsonl; the rest is in OUT/log.
#   bash xtask/gpu/check.sh [--dry-run] [ARCHIVE [OUT]]        (target/gpu/fmam-gpu.tar.xz, target/gpu/check)
# With --dry-run it builds the same programs without CUDA and runs them on the CPU, as little as shows that each step works.
set -uo pipefail
cd "$(dirname "$0")/../.."
dry=0
[ "${1:-}" != --dry-run ] || { dry=1; shift; }
archive=${1:-target/gpu/fmam-gpu.tar.xz} out=${2:-target/gpu/check}
mkdir -p "$out"
out=$(cd "$out" && pwd)
lines=$out/check.jsonl log=$out/log failed=0 start=$SECONDS
: >"$lines"
: >"$log"

line() { printf '%s\n' "$1" | tee -a "$lines"; }
# step NAME SECONDS COMMAND...: runs it and writes how it ended.
step() {
    local name=$1 limit=$2 began=$SECONDS rc=0
    shift 2
    echo "== $name" >>"$log"
    timeout "$limit" "$@" >>"$log" 2>&1 || rc=$?
    [ $rc = 0 ] || failed=1
    line "{\"step\": \"$name\", \"ok\": $([ $rc = 0 ] && echo true || echo false), \"seconds\": $((SECONDS - began))}"
}

if [ $dry = 1 ]; then
    source xtask/gpu/collect.sh
    collect "$out/carried" "" 2>>"$log" || { tail "$log"; exit 1; }
    carried=$out/carried device=cpu
else
    mkdir -p "$out/unpacked"
    tar -xJf "$archive" -C "$out/unpacked" || exit 1
    carried=$out/unpacked/carried device=cuda
    # The libraries of the toolkit come with PyTorch, the driver's from where containers have them.
    torch=$(python3 -c 'import nvidia; print(":".join(p + "/cu13/lib" for p in nvidia.__path__))' 2>>"$log" || true)
    export LD_LIBRARY_PATH=$torch:/usr/local/nvidia/lib64:/usr/local/cuda/lib64:${LD_LIBRARY_PATH:-}
    if ldd "$carried/fmam" | grep 'not found'; then
        line '{"step": "libraries", "ok": false}'
        exit 1
    fi
    line "{\"gpu\": \"$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1)\"}"
    # Tests read their fixtures below the folder that they were built in.
    root=$(cat "$carried/root")
    [ -e "$root" ] || { mkdir -p "$(dirname "$root")" && ln -s "$PWD" "$root"; }
fi
export FMAM_TEST_DEVICE=$device
fmam=$carried/fmam

for program in "$carried"/test-*; do
    step "$(basename "$program")" 150 "$program" --test-threads 4
done

# One seed twice: the same weights, bit for bit.
reproduce=("$fmam" reproduce --dataset demo --methods rkd+fmam --epochs $((dry ? 1 : 3)) --seeds 0 --device "$device" --quiet)
for turn in first second; do
    rm -rf "$out/$turn"
    step "seed-0-$turn" 90 "${reproduce[@]}" --out "$out/$turn"
done
digests() { (cd "$1" 2>>"$log" && find . -name '*.safetensors' -exec sha256sum {} + | sort -k 2); }
step same-bits 10 bash -c "[ -n \"\$1\" ] && [ \"\$1\" = \"\$2\" ]" _ "$(digests "$out/first")" "$(digests "$out/second")"

rm -rf "$out/demo"
demo=("$fmam" reproduce --preset demo --device "$device" --quiet --out "$out/demo")
[ $dry = 0 ] || demo+=(--epochs 1 --seeds 0 --methods nkd,padim)
step demo 150 "${demo[@]}"

# Nsight Compute counts the launches of one step, where it may.
if [ $dry = 0 ] && command -v ncu >/dev/null; then
    for backbone in resnet18 efficientnet-lite0; do
        launches=$(timeout 60 ncu --metrics gpu__time_duration.sum "$fmam" bench train-step --method nkd --backbone $backbone --batch 16 \
            --iters 1 --device cuda 2>>"$log" | grep -c 'gpu__time_duration.sum' || true)
        # Two steps that are not measured come before.
        line "{\"what\": \"launches\", \"method\": \"nkd\", \"backbone\": \"$backbone\", \"of_three_steps\": $launches}"
    done
fi

backbones="resnet18 wide-resnet50-2 efficientnet-lite0" batches=8,16,32 numbers=f32,tf32,bf16 iters=20
[ $dry = 0 ] || backbones=resnet18 batches=1 numbers=f32 iters=1
for backbone in $backbones; do
    for method in nkd rkd; do
        for what in train-step score; do
            timeout 60 "$fmam" bench $what --method $method --backbone "$backbone" --batch $batches --numbers $numbers --iters $iters \
                --device $device 2>>"$log" | sed "s/^{/{\"what\": \"$what\", /" | tee -a "$lines"
            [ "${PIPESTATUS[0]}" = 0 ] || { failed=1; line "{\"step\": \"bench $what $method $backbone\", \"ok\": false}"; }
        done
    done
done
peers=(python3 xtask/gpu/peers.py --device $device --batch $batches --iters $iters --numbers $numbers --backbones "${backbones// /,}")
[ $dry = 0 ] || peers+=(--no-compile)
if python3 -c 'import torch' 2>>"$log"; then
    timeout 300 "${peers[@]}" 2>>"$log" | tee -a "$lines"
else
    line '{"step": "peers", "ok": null, "skipped": "no PyTorch"}'
fi
line "{\"seconds\": $((SECONDS - start)), \"ok\": $([ $failed = 0 ] && echo true || echo false)}"
exit $failed
