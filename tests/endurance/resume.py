"""Kills trainings at random moments, repeats the command, and compares the models byte by byte.

    python3 tests/endurance/resume.py target/release/fmam [--trials 100] [--seed 0] [--epochs 30]

Five methods train in turn on generated plates, from a backbone whose weights are drawn. Of each the
first training is undisturbed. A trial starts the same command into another folder, ends it by
SIGKILL after a random part of the time that the undisturbed one took, in every third trial twice,
and repeats the command until it succeeds. A trial passes where every file of the model has the bytes
of the undisturbed one and nothing is left beside the model. Exit code 1 where one does not.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

#: The method and its settings: small, so that a training takes seconds.
METHODS = [
    ("nkd+fmam", []),
    ("rkd+fmam", []),
    ("fcdd", ["--set", "width=16"]),
    ("mrkd", []),
    ("puzzle-ae", ["--set", "width=4"]),
]

#: Times between two savings of the state. The last one saves nothing before the kill.
EVERY = ["0s", "100ms", "1s", "never"]


def command(fmam: str, method: str, settings: list[str], epochs: int, every: str, out: Path) -> list[str]:
    data = ["--dataset", "demo", "--category", "plain"]
    small = ["--backbone", "tiny", "--image-size", "64", "--epochs", str(epochs), "--threads", "1", "--quiet"]
    options = ["--method", method, *settings, "--keep-every", every, "--out", str(out)]
    return [fmam, "fit", *data, *small, *options]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def trial(draw: random.Random, run, out: Path, seconds: float, n_kills: int) -> tuple[int, bool]:
    """The number of kills that met a running training, and whether one of them was resumed."""
    n_met, resumed = 0, False
    for _ in range(n_kills):
        process = subprocess.Popen(run(draw.choice(EVERY)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(draw.uniform(0.02, 1.0) * seconds)
        process.kill()
        said = process.communicate()[1]
        n_met += process.returncode == -9
        resumed |= b"an interrupted training goes on" in said
        if out.exists():
            # The kill came after the model was there: the next call refuses, and tidies up.
            if subprocess.run(run("3min"), capture_output=True).returncode == 0:
                sys.exit("a model was written over")
            return n_met, resumed
    done = subprocess.run(run("3min"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"the command failed after {n_met} kills:\n{done.stderr.decode()}")
    return n_met, resumed or b"an interrupted training goes on" in done.stderr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fmam")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()
    draw = random.Random(args.seed)
    fmam = str(Path(args.fmam).resolve())
    n_equal = n_all = 0
    print(f"{'method':10} {'seconds':>8} {'trials':>7} {'killed':>7} {'resumed':>8} {'equal':>6}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for k, (method, settings) in enumerate(METHODS):
            whole, out = folder / f"{k}-whole", folder / f"{k}-out"
            start = time.monotonic()
            subprocess.run(command(fmam, method, settings, args.epochs, "3min", whole), check=True,
                           stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - start
            expected = contents(whole)
            n_trials = args.trials // len(METHODS) + (k < args.trials % len(METHODS))
            n_killed = n_resumed = equal = 0
            for n in range(n_trials):
                run = lambda every: command(fmam, method, settings, args.epochs, every, out)
                met, resumed = trial(draw, run, out, seconds, 2 if n % 3 == 0 else 1)
                n_killed += met
                n_resumed += resumed
                left = [path.name for path in folder.iterdir() if path.name.startswith(".")]
                same = contents(out) == expected and not left
                if not same:
                    print(f"{method}, trial {n}: the model differs, or there is something left: {left}")
                equal += same
                shutil.rmtree(out)
            print(f"{method:10} {seconds:8.1f} {n_trials:7} {n_killed:7} {n_resumed:8} {equal:6}", flush=True)
            n_equal, n_all = n_equal + equal, n_all + n_trials
    print(f"{n_equal} of {n_all} trainings have the bytes of the undisturbed one")
    sys.exit(n_equal != n_all)


if __name__ == "__main__":
    main()
