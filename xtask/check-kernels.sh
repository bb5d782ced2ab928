#!/usr/bin/env bash
# Compiles the CUDA kernels of fmam-ops on a machine without a GPU or a CUDA toolkit: nvcc comes from PyPI's packages, pinned to one
# version, since pip would mix them. Prints the registers of each kernel; a spill to memory is an error. Seconds after the download.
#   bash xtask/check-kernels.sh
set -euo pipefail
cd "$(dirname "$0")/.."
out=target/cuda-kernels
venv=$out/venv
mkdir -p "$out"
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
home=$(echo "$PWD/$venv"/lib/python3.*/site-packages/nvidia/cu13)
[ -x "$home/bin/nvcc" ] || { echo "error: the packages have no nvcc at $home/bin"; exit 1; }
ops=crates/ops/src/cuda
# The files in the order in which source.rs joins them.
mapfile -t files < <(grep -o 'kernels/[a-z_]*\.cuh\?' "$ops/source.rs" | sed "s|^|$ops/|")
for type in f32 bf16; do
    { [ $type = f32 ] || echo '#define FMAM_BF16'; cat "${files[@]}"; } > "$out/$type.cu"
    for arch in sm_80 sm_90; do
        echo "== $type, $arch"
        PATH="$home/bin:$PATH" nvcc -std=c++17 -Werror all-warnings -arch=$arch -cubin -Xptxas -v "$out/$type.cu" -o "$out/$type.cubin" \
            2>&1 | tee "$out/log" | sed -n "s/.*Compiling entry function '\([a-z_]*\)'.*/\1/p; s/.*Used \([0-9]* registers\).*/    \1/p; /error/p"
        [ -s "$out/$type.cubin" ] || { cat "$out/log"; exit 1; }
        if grep -E '[1-9][0-9]* bytes (stack frame|spill)' "$out/log"; then echo "error: a kernel spills registers"; exit 1; fi
    done
done
