"""Measuring several candidates in turn on a shared machine, for the scripts beside this one; needs the standard library only.

The candidates of one row run one after the other, five times and more (FMAM_PEERS_TURNS), so that a moment in which the machine was busy
does not decide. The figure of a candidate is the median of its turns; the least and the largest stand beside it. A turn during which
other processes computed is taken again, FMAM_PEERS_TRIES times in all (1 by default); the least disturbed try counts.
"""

import json
import os
import platform
import resource
import subprocess
import time
from importlib import metadata

THREADS = len(os.sched_getaffinity(0))
TURNS = int(os.environ.get("FMAM_PEERS_TURNS", "5"))
TRIES = int(os.environ.get("FMAM_PEERS_TRIES", "1"))
# Cores that others may use on average during a turn.
UNDISTURBED = 0.08


def cpu():
    """The processor's name and the vector instructions that decide which kernels run."""
    text = open("/proc/cpuinfo").read()
    field = lambda name: next((l.split(":", 1)[1].strip() for l in text.splitlines() if l.startswith(name)), "?")
    wanted = ("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile")
    features = set(field("flags").split())
    model = f"family {field('cpu family')}, model {field('model')}".replace("\t", "")
    return {"cpu": field("model name"), "model": model, "features": [f for f in wanted if f in features], "threads": THREADS}


def print_machine(*packages):
    """The machine and the versions of Python and of `packages`, as a line of JSON."""
    versions = {package: metadata.version(package) for package in packages}
    print(json.dumps({**cpu(), "python": platform.python_version(), **versions}), flush=True)


def median_ms(work, iters):
    """The median of `iters` runs in milliseconds, after two that warm caches."""
    for _ in range(2):
        work()
    return middle([1e3 * seconds(work) for _ in range(iters)])


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def middle(values):
    return sorted(values)[len(values) // 2]


def bench(binary, *args):
    """The first line of `fmam bench`, read."""
    command = [str(arg) for arg in (binary, "bench", *args)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(out.splitlines()[0])


def seconds_of_others():
    """Processor time of all but this process and those that it has waited for, since the start of the machine."""
    jiffies = [int(field) for field in open("/proc/stat").readline().split()[1:9]]
    user, nice, system, _idle, _wait, irq, soft_irq, steal = jiffies
    all_of_it = (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")
    ours = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return all_of_it - sum(usage.ru_utime + usage.ru_stime for usage in ours)


def undisturbed(run):
    """The result of the least disturbed of several tries of `run`."""
    best = None
    for attempt in range(TRIES):
        if attempt > 0:
            time.sleep(3)
        others, start = seconds_of_others(), time.perf_counter()
        result = run()
        # A short run cannot tell: the clock of the processor time has a hundred ticks a second.
        used = max(seconds_of_others() - others - 0.02, 0) / (time.perf_counter() - start)
        if best is None or used < best[0]:
            best = (used, result)
        if used < UNDISTURBED:
            break
    return best[1]


def take_turns(candidates, ours="fmam"):
    """The milliseconds of every turn by name. `candidates`: name to a function that gives milliseconds; ours begin with `fmam`, and the
    one called `ours` takes as many turns more, alternately with the fastest peer alone."""
    turns = {name: [] for name in candidates}
    for _ in range(TURNS):
        for name, run in candidates.items():
            turns[name].append(undisturbed(run))
    if ours in turns:
        for _ in range(TURNS):
            for name in (ours, fastest_peer(turns)):
                turns[name].append(undisturbed(candidates[name]))
    return turns


def fastest_peer(turns):
    return min((name for name in turns if not name.startswith("fmam")), key=lambda name: middle(turns[name]))


def spread(turns):
    """Median, least and largest of every candidate."""
    return {name: [round(v, 2) for v in (middle(values), min(values), max(values))] for name, values in turns.items()}


def print_row(what, turns, ours="fmam", **more):
    """The spread of every candidate, and how much faster ours is than the fastest peer, as a line of JSON."""
    fastest = fastest_peer(turns)
    speedup = round(middle(turns[fastest]) / middle(turns[ours]), 2)
    print(json.dumps({**what, "ms": spread(turns), **more, "fastest": fastest, "fmam_speedup": speedup}), flush=True)
