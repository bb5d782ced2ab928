#!/usr/bin/env bash
# Compiles fmam and its tests with CUDA on a machine without a GPU or a CUDA toolkit, candle's kernels included; nothing is linked or
# run. Minutes: candle's kernels take most of them. `xtask/gpu/build.sh` goes on from what this has compiled, and links.
#   bash xtask/check-cuda.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source xtask/gpu/toolkit.sh target/gpu
export CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=0
cargo check --release --locked --package fmam-cli --features cuda --target-dir target/gpu/target
cargo check --release --locked --tests --target-dir target/gpu/target \
    --package fmam-ops --package fmam-losses --package fmam-methods --features fmam-ops/cuda,fmam-losses/cuda,fmam-methods/cuda
