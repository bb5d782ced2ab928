#!/usr/bin/env bash
# Compiles the CUDA kernels of fmam-ops on a machine without a GPU or a CUDA toolkit. Prints the registers of each kernel; a spill to
# memory is an error. Seconds after the download of nvcc.
#   bash xtask/check-kernels.sh
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/cuda-kernels
source xtask/gpu/toolkit.sh target/gpu
mkdir -p "$out"
ops=crates/ops/src/cuda
# The files in the order in which source.rs joins them.
mapfile -t files < <(grep -o 'kernels/[a-z_]*\.cuh\?' "$ops/source.rs" | sed "s|^|$ops/|")
for type in f32 tf32 bf16; do
    {
        [ $type = f32 ] || echo '#define FMAM_TENSOR'
        [ $type != bf16 ] || echo '#define FMAM_BF16'
        cat "${files[@]}"
    } > "$out/$type.cu"
    for arch in sm_80 sm_90; do
        echo "== $type, $arch"
        nvcc -std=c++17 -Werror all-warnings -arch=$arch -cubin -Xptxas -v "$out/$type.cu" -o "$out/$type.cubin" \
            2>&1 | tee "$out/log" | sed -n "s/.*Compiling entry function '\([a-z0-9_]*\)'.*/\1/p; s/.*Used \([0-9]* registers\).*/    \1/p; /error/p"
        [ -s "$out/$type.cubin" ] || { cat "$out/log"; exit 1; }
        if grep -E '[1-9][0-9]* bytes (stack frame|spill)' "$out/log"; then echo "error: a kernel spills registers"; exit 1; fi
    done
done
