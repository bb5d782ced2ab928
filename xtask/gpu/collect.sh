# To be sourced at the root of the repository. `collect FOLDER FEATURES CARGO_OPTIONS...` builds fmam and the tests of its operators,
# losses and methods with the feature FEATURES of each (none where it is empty), and copies them to FOLDER: `fmam`, and
# `test-CRATE-TARGET` for each test program.
collect() {
    local folder=$1 feature=$2
    shift 2
    local cli=() tests=()
    [ -z "$feature" ] || cli=(--features "fmam-cli/$feature") tests=(--features "fmam-ops/$feature,fmam-losses/$feature,fmam-methods/$feature")
    rm -rf "$folder"
    mkdir -p "$folder"
    cargo build --locked --package fmam-cli "${cli[@]}" "$@" --message-format json-render-diagnostics | programs | copy "$folder"
    cargo test --locked --no-run --package fmam-ops --package fmam-losses --package fmam-methods --test suite --test conformance \
        "${tests[@]}" "$@" \
        --message-format json-render-diagnostics | programs | copy "$folder"
    # Tests read their fixtures below the folder that they were built in.
    pwd >"$folder/root"
}

# From cargo's messages the paths of programs and the names to carry them by.
programs() {
    python3 -c 'import json, pathlib, sys
for line in sys.stdin:
    built = json.loads(line)
    if built.get("executable"):
        crate = pathlib.Path(built["manifest_path"]).parent.name
        test = built["profile"]["test"]
        print(built["executable"], "test-" + crate + "-" + built["target"]["name"] if test else built["target"]["name"])'
}

copy() {
    local path name
    while read -r path name; do cp "$path" "$1/$name"; done
}
