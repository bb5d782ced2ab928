#!/usr/bin/env bash
# Builds the Python package and runs its tests: `bash xtask/check-python.sh [PYTEST_OPTION]..`.
#
# The wheel is built in the profile of the tests, whose packages it shares. The virtual environment is
# target/python. Without Python, or where no package can be installed, the check says so and is
# skipped; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
venv=$CARGO_TARGET_DIR/python
requirements=$PWD/crates/python/tests/requirements.txt

skip() {
    if [ "${CI:-}" = true ]; then
        echo "$1" >&2
        exit 1
    fi
    echo "== python skipped: $1" >&2
    exit 0
}

command -v python3 >/dev/null || skip "python3 is not installed"
python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 9))' ||
    skip "python3 is older than 3.9, or without venv"
if ! cmp -s "$requirements" "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" ||
        skip "pip cannot install the packages in $requirements"
    cp "$requirements" "$venv/requirements.txt"
fi

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
"$venv/bin/maturin" build --quiet --profile dev --features as-tests --compatibility linux \
    --manifest-path crates/python/Cargo.toml --out "$wheels"
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$wheels"/*.whl
# Without a display, and away from the sources: the package that was installed is tested.
export MPLBACKEND=agg
cd crates/python
"$venv/bin/python" -m pytest --quiet -p no:cacheprovider "$@"
