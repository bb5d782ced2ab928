#!/usr/bin/env bash
# Compiles fmam with CUDA on a machine without a GPU or a CUDA toolkit: nvcc and the headers come from PyPI's packages. It checks that
# everything compiles, candle's kernels included; nothing is linked or run. Minutes: candle's kernels take most of them.
#   bash xtask/check-cuda.sh [cuda|cudnn ...]
set -euo pipefail
cd "$(dirname "$0")/.."
features=("${@:-cuda}")
venv=target/cuda-check/venv
mkdir -p target/cuda-check
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install --quiet nvidia-cuda-nvcc nvidia-cuda-runtime nvidia-cuda-cccl nvidia-cublas nvidia-curand nvidia-cuda-nvrtc
home=$(echo "$PWD/$venv"/lib/python3.*/site-packages/nvidia/cu13)
[ -x "$home/bin/nvcc" ] || { echo "error: the packages have no nvcc at $home/bin"; exit 1; }
export PATH="$home/bin:$PATH" CUDA_HOME="$home" CUDA_PATH="$home"
# What candle asks a driver for: a compute capability, and the version of the toolkit's interface.
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80} CUDARC_CUDA_VERSION=${CUDARC_CUDA_VERSION:-13020}
for feature in "${features[@]}"; do
    echo "== cargo check --package fmam-cli --features $feature"
    cargo check --package fmam-cli --features "$feature" --target-dir target/cuda-check
done
