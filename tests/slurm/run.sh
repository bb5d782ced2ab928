#!/usr/bin/env bash
# Tries `cargo xtask reproduce --launcher slurm` on a Slurm of one node, which it starts on this machine. As root, on Debian with
# the packages slurm-wlm and munge:
#   bash tests/slurm/run.sh
# Eight runs of the demo, small ones, are done by a job array and by one process: the summaries of both reports must be equal. One
# task is requeued while it runs, and one fails at first: the same command must name it and submit that one only. So it must when a
# run is taken away. Daemons of its own, on ports of its own; where Slurm runs already it does nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(id -u)" = 0 ] || { echo "error: Slurm's daemons need root here"; exit 1; }
for program in slurmctld slurmd munged sbatch python3; do
    command -v "$program" > /dev/null || { echo "error: $program is missing; install slurm-wlm and munge"; exit 1; }
done

for daemon in slurmctld slurmd; do
    if pgrep -x "$daemon" > /dev/null; then echo "error: $daemon runs on this machine already; it is left alone"; exit 1; fi
done

work=$(mktemp -d)
host=$(hostname -s)
export SLURM_CONF="$work/slurm.conf"
finish() {
    for pid in "$work"/*.pid; do [ -f "$pid" ] && kill "$(cat "$pid")" 2> /dev/null; done
    [ -n "${KEEP:-}" ] || rm -rf "$work"
}
trap finish EXIT

pgrep -x munged > /dev/null || { mkdir -p /run/munge && chown munge: /run/munge && runuser -u munge -- /usr/sbin/munged; }
cat > "$SLURM_CONF" << CONF
ClusterName=one
SlurmctldHost=$host
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
SlurmUser=root
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=100000
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
NodeName=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
mkdir -p "$work/state" "$work/spool"
slurmctld
slurmd
for _ in $(seq 30); do sinfo --noheader --format=%t 2> /dev/null | grep -q idle && break; sleep 1; done
sinfo

cat > "$work/eight.toml" << TOML
dataset = "demo"
methods = ["nkd", "rkd+fmam"]
backbones = ["efficientnet-lite0"]
seeds = [0, 1]
image_size = 64
epochs = 2

[demo]
n_train = 8
n_test_normal = 4
n_test_per_defect = 1
categories = ["plain", "twill"]
TOML
local_out="$work/local" slurm_out="$work/it's 50% slurm"
wait_for_jobs() {
    local queue
    for _ in $(seq 900); do
        # Slurm that does not answer is no empty queue.
        if queue=$(squeue --noheader) && [ -z "$queue" ]; then return; fi
        sleep 1
    done
    echo "error: the jobs do not end"; squeue; exit 1
}
launch() { cargo xtask reproduce --preset "$work/eight.toml" --device cpu --launcher slurm --out "$slurm_out" --sbatch --time=10; }

cargo xtask reproduce --preset "$work/eight.toml" --device cpu --out "$local_out" --quiet > /dev/null
# Where task 3 writes lies a file: it fails.
mkdir -p "$slurm_out/shards" && touch "$slurm_out/shards/3"
launch | tee "$work/first"
grep -q "^8 of 8 runs submitted" "$work/first"
if launch 2> "$work/twice"; then echo "error: submitted twice"; exit 1; fi
grep -q "is not done yet" "$work/twice"
job=$(sed -n 's/.*submitted as job \([0-9]*\).*/\1/p' "$work/first")
for _ in $(seq 120); do
    running=$(squeue --noheader --array --states=RUNNING --format=%K --jobs "$job" | head -1)
    [ -n "$running" ] && break
    sleep 0.2
done
scontrol requeue "${job}_$running"
echo "task $running was requeued"
wait_for_jobs
[ "$(grep -c "^run $running: " "$slurm_out/slurm/${job}_$running.log")" = 2 ] || { echo "error: no second start"; exit 1; }
tail -3 "$slurm_out"/slurm/merge_*.log

rm "$slurm_out/shards/3"
launch | tee "$work/failed"
grep -q "^missing: .*; see .*${job}_3.log" "$work/failed"
grep -q "^1 of 8 runs submitted" "$work/failed"
wait_for_jobs

compare() {
    python3 - "$local_out/report.json" "$slurm_out/report.json" << 'PYTHON'
import json, sys
local, slurm = (json.load(open(path))["summary"] for path in sys.argv[1:])
for row in local + slurm:  # what a clock measured differs
    del row["fit_seconds"], row["score_images_per_second"]
assert len(local) == 2 and local == slurm, (local, slurm)
print("the summaries are equal")
PYTHON
}
compare

# One run is lost, with its shard: it alone is done again.
lost=$(find "$slurm_out/runs" -type d -name seed-1 | sort | head -1)
relative=${lost#"$slurm_out"/}
rm -r "$lost"
rm -r "$slurm_out"/shards/*/"$relative"
launch | tee "$work/again"
grep -q "^1 of 8 runs submitted" "$work/again"
wait_for_jobs
compare
launch | tee "$work/done"
grep -q "^all 8 runs are finished" "$work/done"
echo "Slurm: passed"
