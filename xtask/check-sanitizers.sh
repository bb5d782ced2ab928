#!/usr/bin/env bash
# Runs tests under a sanitizer of LLVM, which finds what a test does not see: reads beyond the end, use after free, races.
#   bash xtask/check-sanitizers.sh address|thread [PACKAGE ...]
# Needs the toolchain `nightly`; without its component rust-src the standard library is not instrumented, see
# CONTRIBUTING.md for what that means. A first run compiles the dependencies anew: minutes. The target folder is
# target/sanitizer-NAME. Under `thread` the default is the tests of fmam-ops and fmam-core.
set -euo pipefail
cd "$(dirname "$0")/.."
sanitizer=${1:?address or thread}
shift
case $sanitizer in
    address) packages=(fmam-ops fmam-datasets fmam-core fmam-files) ;;
    thread) packages=(fmam-ops fmam-core) ;;
    *) echo "error: address or thread, not $sanitizer" >&2; exit 2 ;;
esac
[ $# = 0 ] || packages=("$@")
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
sysroot=$(rustc +nightly --print sysroot)
# Mixing with a standard library that is not instrumented is an error of the compiler unless it is asked for.
export RUSTFLAGS="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer ${RUSTFLAGS:-}"
export CARGO_TARGET_DIR=target/sanitizer-$sanitizer CARGO_INCREMENTAL=0
build_std=()
if [ -d "$sysroot/lib/rustlib/src/rust/library" ]; then
    build_std=(-Zbuild-std)
    RUSTFLAGS="-Zsanitizer=$sanitizer"
else
    echo "note: the component rust-src is missing, so the standard library is not instrumented"
fi
# Memory that lives until the end of the process is no fault here: the threads of rayon, tables made once.
export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=1:strict_string_checks=1
# An interceptor or a fence of an uninstrumented library would be taken for a race.
export TSAN_OPTIONS=suppressions=$PWD/xtask/tsan.supp:ignore_noninstrumented_modules=1:halt_on_error=0
list=()
for package in "${packages[@]}"; do list+=(-p "$package"); done
exec cargo +nightly test --target "$host" "${build_std[@]}" "${list[@]}" --lib --tests ${CARGO_TEST_OPTIONS:-}
