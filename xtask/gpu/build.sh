#!/usr/bin/env bash
# Builds fmam and the tests of its operators, losses and methods for CUDA on a machine without a GPU or a toolkit, to be carried to one
# that has a GPU. Half an hour on two cores. Ends with OUT/fmam-gpu.tar.xz, and with what the program needs there.
#   bash xtask/gpu/build.sh [OUT]        (target/gpu)
set -euo pipefail
cd "$(dirname "$0")/../.."
out=${1:-target/gpu}
start=$SECONDS
source xtask/gpu/toolkit.sh "$out"
cargo fetch --locked --target x86_64-unknown-linux-gnu
cudarc=$(cargo metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-gnu --features fmam-cli/cuda |
    python3 -c 'import json, os, sys
print(*{os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "cudarc"})')
python3 xtask/gpu/stubs.py "$cudarc/src" "$CUDA_HOME/lib/stubs"
# The runtime comes from its package, under the name that the linker looks for.
ln -sf ../libcudart.so.13 "$CUDA_HOME/lib/stubs/libcudart.so"

export CARGO_PROFILE_RELEASE_STRIP=symbols CARGO_PROFILE_RELEASE_DEBUG=0
cargo build --release --locked -p fmam-cli --features cuda --target-dir "$out/target"
# Test programs as cargo names them, each under the name of its crate and target.
rm -rf "$out/carried"
mkdir -p "$out/carried"
cp "$out/target/release/fmam" "$out/carried/"
cargo test --release --locked --no-run --message-format json --target-dir "$out/target" \
    -p fmam-ops -p fmam-losses -p fmam-methods --lib --test '*' --features fmam-ops/cuda,fmam-losses/cuda,fmam-methods/cuda |
    python3 -c 'import json, sys
for line in sys.stdin:
    built = json.loads(line)
    if built.get("executable") and built["profile"]["test"]:
        print(built["executable"], built["package_id"].split("/")[-1].split("#")[0] + "-" + built["target"]["name"])' |
    while read -r path name; do cp "$path" "$out/carried/test-$name"; done

echo "== $(grep -m1 '^.version' "$out"/target/release/build/candle-kernels-*/out/unary.ptx | tail -1) (driver 580 reads up to 9.0)"
readelf -d "$out/carried/fmam" | sed -n 's/.*NEEDED.*\[\(.*\)\]/   needs \1/p'
tar -C "$out" -cJf "$out/fmam-gpu.tar.xz" carried
for file in "$out"/carried/* "$out/fmam-gpu.tar.xz"; do
    printf '%8.1f MB  %s\n' "$(($(stat -c %s "$file") / 100000))e-1" "${file#"$out"/}"
done
[ "$(stat -c %s "$out/fmam-gpu.tar.xz")" -lt 50000000 ] || { echo "error: the archive is over 50 MB"; exit 1; }
echo "$(((SECONDS - start) / 60)) minutes"
