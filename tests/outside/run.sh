#!/usr/bin/env bash
# Builds and runs programs that use crates of this workspace from outside of it, as another
# repository would: `bash tests/outside/run.sh [CARGO_OPTION]..`. With `packages` as first argument
# it checks instead that every crate is complete in its package.
set -euo pipefail
cd "$(dirname "$0")"
root=$(cd ../.. && pwd)
# The folder and the profile of the tests, so that third-party packages are not compiled again. The
# crates of this workspace are compiled once more; they run for seconds and need no optimisation.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
mkdir -p "$CARGO_TARGET_DIR"
profiles=$CARGO_TARGET_DIR/outside-profiles.toml
sed -n '/^\[profile/,$p' "$root/Cargo.toml" | sed -E '/^(fmam|xtask)[a-z-]* = /d' >"$profiles"

programs() {
    for program in metrics synthesis operators library; do
        # The versions of third-party packages are those of the workspace.
        cp "$root/Cargo.lock" "$program/Cargo.lock"
        echo "== $program"
        cargo run --quiet --config "$profiles" --manifest-path "$program/Cargo.toml" "$@"
    done
    echo "== laboratory"
    local laboratory=$root/examples/laboratory
    cp "$root/Cargo.lock" "$laboratory/Cargo.lock"
    cargo build --quiet --config "$profiles" --manifest-path "$laboratory/Cargo.toml" "$@"
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    "$CARGO_TARGET_DIR/debug/laboratory" list | grep -E '^  (deviation|narrow) '
    "$CARGO_TARGET_DIR/debug/laboratory" reproduce --quiet --preset laboratory.toml --out "$out/runs"
    # A detector of the own method on the own backbone is loaded again.
    "$CARGO_TARGET_DIR/debug/laboratory" fit --quiet --dataset demo --category plain --image-size 64 \
        --method deviation --backbone narrow --out "$out/model"
    "$CARGO_TARGET_DIR/debug/laboratory" eval --quiet --dataset demo --category plain --model "$out/model"
}

packages() {
    # `publish = false` keeps cargo from resolving the packages among one another: no lock file.
    rm -rf "$CARGO_TARGET_DIR/package"
    cargo package --quiet --workspace --exclude fmam-tests --exclude xtask --no-verify --allow-dirty \
        --exclude-lockfile --manifest-path "$root/Cargo.toml" "$@"
    local unpacked=$CARGO_TARGET_DIR/unpacked package folder file
    rm -rf "$unpacked"
    mkdir -p "$unpacked"
    {
        echo '[workspace]'
        echo 'resolver = "3"'
        echo 'members = ["*"]'
        echo '[patch.crates-io]'
    } >"$unpacked/Cargo.toml"
    for package in "$CARGO_TARGET_DIR"/package/*.crate; do
        folder=$(basename "$package" .crate)
        tar -xzf "$package" -C "$unpacked"
        for file in README.md LICENSE-MIT LICENSE-APACHE; do
            [ -f "$unpacked/$folder/$file" ] || { echo "$folder lacks $file" >&2; exit 1; }
        done
        echo "${folder%-*} = { path = \"$folder\" }" >>"$unpacked/Cargo.toml"
    done
    cp "$root/Cargo.lock" "$unpacked/Cargo.lock"
    cargo check --quiet --workspace --lib --bins --manifest-path "$unpacked/Cargo.toml" "$@"
    echo "every package compiles"
}

if [ "${1:-}" = packages ]; then
    packages "${@:2}"
else
    programs "$@"
fi
