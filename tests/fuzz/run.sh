#!/usr/bin/env bash
# A campaign of the fuzz targets: `tests/fuzz/run.sh [MINUTES] [TARGET..]`, minutes for each target
# (5 without a number), every target where none is named. It needs a nightly compiler, cargo-fuzz
# and a C++ compiler.
#
# Each target goes on from the committed corpus and from `work/TARGET`, which git ignores. At the
# end the committed corpus becomes the smallest files with the same coverage, within 100 files of
# 4 KiB; files that a person named `found-..` stay. A find stops its target and stays in
# `artifacts/TARGET`: give its file a name beginning with `found-`, move it into the corpus, and
# mend the cause.
set -u
cd "$(dirname "$0")" || exit
minutes=5
case ${1:-} in
[0-9]*) minutes=$1; shift ;;
esac
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cd fuzz_targets && ls | sed 's/\.rs$//')

# The versions of the workspace, so that the same code is tried.
cp ../../Cargo.lock Cargo.lock
# Overflows and debug assertions are found beside the faults of memory.
if [ -z "${FUZZ_BUILT:-}" ]; then
    cargo +nightly fuzz build --fuzz-dir . -O -a || exit
fi
programs=target/$(rustc +nightly -vV | sed -n 's/^host: //p')/release

TMPDIR=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
export TMPDIR RAYON_NUM_THREADS=1
trap 'rm -rf "$TMPDIR"' EXIT
# Leaks are looked for at the end of a process only; the server of `serve` is never dropped.
export ASAN_OPTIONS=detect_leaks=0

# A valid input of the largest seed, and what an input may take.
limits=(-timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 -max_len=16384)
finds=0
echo '| target | executions | seconds | edges | finds |'
echo '| --- | ---: | ---: | ---: | ---: |'
for target in "${targets[@]}"; do
    mkdir -p "work/$target" "artifacts/$target" "corpus/$target"
    # A run of no input writes the seeds.
    rm -f "corpus/$target"/seed-*
    FMAM_FUZZ_SEEDS=corpus/$target "$programs/$target" -runs=0 >"work/$target.log" 2>&1
    before=$(find "artifacts/$target" -type f | wc -l)
    log=work/$target.log
    "$programs/$target" "work/$target" "corpus/$target" "${limits[@]}" -max_total_time=$((60 * minutes)) \
        -artifact_prefix="artifacts/$target/" -print_final_stats=1 >"$log" 2>&1
    found=$(($(find "artifacts/$target" -type f | wc -l) - before))
    finds=$((finds + found))
    edges=$(grep -o 'cov: [0-9]*' "$log" | tail -1 | cut -d' ' -f2)
    executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    executions=${executions:-$(grep -o '^#[0-9]*' "$log" | tail -1 | tr -d '#')}
    seconds=$(sed -n 's/^Done [0-9]* runs in \([0-9]*\) second.*/\1/p' "$log")
    echo "| $target | $executions | ${seconds:--} | $edges | $found |"

    # The smallest inputs with this coverage.
    rm -rf "work/$target.small"
    mkdir "work/$target.small"
    find "work/$target" "corpus/$target" -type f -size -5k -exec cp -n {} "work/$target.small/" \;
    mkdir -p "work/$target.merged"
    rm -f "work/$target.merged"/*
    "$programs/$target" -merge=1 "${limits[@]}" "work/$target.merged" "work/$target.small" >>"$log" 2>&1
    find "corpus/$target" -type f ! -name 'found-*' ! -name 'seed-*' -delete
    find "work/$target.merged" -type f -size -5k -printf '%s %p\n' | sort -n | head -80 | cut -d' ' -f2- |
        while read -r file; do
            name=$(basename "$file")
            case $name in found-* | seed-*) ;; *) cp "$file" "corpus/$target/${name:0:12}" ;; esac
        done
    rm -rf "work/$target.small" "work/$target.merged"
done
[ "$finds" -eq 0 ]
