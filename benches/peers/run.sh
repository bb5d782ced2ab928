#!/usr/bin/env bash
# Times the networks of `cargo xtask bench` in PyTorch, ONNX Runtime and OpenVINO and in fmam, alternately, on this
# machine; prints one JSON line a measurement. The Python environment is made in target/peers on the first run.
#
#   bash benches/peers/run.sh [forward|score|train]
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=${FMAM_PEERS_VENV:-target/peers}
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch torchvision onnx onnxruntime openvino
fi
cargo build --release --package fmam-cli
exec "$venv/bin/python" benches/peers/peers.py "$@" --fmam "${CARGO_TARGET_DIR:-target}/release/fmam"
