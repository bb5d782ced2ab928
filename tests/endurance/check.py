"""Long work with a built binary of fmam: memory, folders that go away, clocks that jump. Python's own library only.

    python3 tests/endurance/check.py --fmam target/release/fmam [--only predict watch] [--images 100000] [--hours 24]

Prints a line of JSON for each check. The exit code is 1 where one fails. A check that this machine cannot do is
skipped, with the reason: jumps of the clock and simulated hours need libfaketime, mounts need root, and FUSE needs
bindfs (Debian: `apt-get install faketime bindfs`). In a row, `rss` is MiB of memory: the most in the first tenth of
the run, the last, and the most after the first tenth; `descriptors` and `threads` likewise.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import folders
import long_work
import mounts
import pictures

CHECKS = {
    "folder": folders.check_folder,
    "out": folders.check_out,
    "camera": folders.check_camera,
    "clock": folders.check_clock,
    "loop": mounts.check_loop,
    "fuse-killed": mounts.check_fuse_killed,
    "fuse-hangs": mounts.check_fuse_hangs,
    "predict": long_work.check_predict,
    "backlog": long_work.check_backlog,
    "watch": long_work.check_watch,
    "serve": long_work.check_serve,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fmam", required=True, type=Path)
    parser.add_argument("--only", nargs="+", choices=CHECKS)
    parser.add_argument("--images", type=int, default=100_000, help="images of `predict` and `backlog`")
    parser.add_argument("--pictures", action="store_true", help="`predict` writes overlays, too")
    parser.add_argument("--hours", type=int, default=24, help="simulated hours of `watch` and `serve`")
    parser.add_argument("--speed", type=float, default=144, help="simulated seconds in a second")
    options = parser.parse_args()
    options.fmam = options.fmam.resolve()
    passed = True
    with tempfile.TemporaryDirectory() as root:
        model = pictures.model(options.fmam, Path(root))
        for name in options.only or CHECKS:
            work = Path(root) / name
            work.mkdir()
            row, fine = CHECKS[name](options, work, model)
            print(json.dumps({**row, "passed": fine}), flush=True)
            passed &= fine
    sys.exit(not passed)


if __name__ == "__main__":
    main()
