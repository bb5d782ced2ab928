#!/usr/bin/env bash
# Builds fmam and the tests of its operators, losses and methods for CUDA on a machine without a GPU or a toolkit, to be carried to one
# that has a GPU: see check.sh. Twenty minutes on two cores. Ends with OUT/fmam-gpu.tar.xz, and with what the program needs there.
#   bash xtask/gpu/build.sh [OUT]        (target/gpu)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/gpu}
start=$SECONDS
source xtask/gpu/toolkit.sh "$out"
source xtask/gpu/collect.sh
cargo fetch --locked --target x86_64-unknown-linux-gnu
cudarc=$(cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu --features fmam-cli/cuda |
    python3 -c 'import json, os, sys
print(*{os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"})')
python3 xtask/gpu/stubs.py "$cudarc/src" "$CUDA_HOME/lib/stubs"
# The runtime comes from its package, under the name that the linker looks for.
ln -sf ../libcudart.so.13 "$CUDA_HOME/lib/stubs/libcudart.so"

export CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=0
collect "$out/carried" cuda --release --target-dir "$out/target"

ptx=$(sed -n '/^\.version/{p;q}' "$out"/target/release/build/candle-kernels-*/out/unary.ptx)
echo "== PTX of candle's kernels: $ptx (driver 580 reads up to 9.0)"
readelf -d "$out/carried/fmam" | sed -n 's/.*NEEDED.*\[\(.*\)\]/   needs \1/p'
# Every program has candle's kernels: a dictionary as large as all of them keeps one copy.
tar -C "$out" -cf - carried | xz --lzma2=preset=6,dict=384MiB >"$out/fmam-gpu.tar.xz"
(cd "$out" && du --apparent-size -B 100000 carried/* fmam-gpu.tar.xz) | awk '{ printf "%8.1f MB  %s\n", $1 / 10, $2 }'
[ "$(stat -c %s "$out/fmam-gpu.tar.xz")" -lt 50000000 ] || { echo "error: the archive is over 50 MB"; exit 1; }
echo "$(((SECONDS - start) / 60)) minutes"
