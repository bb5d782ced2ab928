"""A running `fmam`: what it writes, and samples of its memory, descriptors and threads."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

FAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)


def wait_for(found, seconds=60.0):
    """True once `found` is; False where that takes more than `seconds`."""
    end = time.monotonic() + seconds
    while not found():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Program:
    """A process of `fmam`. Lines of stdout and stderr are read as they come; `keep` bounds those that are held."""

    def __init__(self, fmam, *arguments, speed=None, clock_file=None, keep=10_000, stdin=None):
        environment = dict(os.environ, FMAM_LOG="warn,fmam=info,fmam_serve::access=warn")
        if speed or clock_file:
            environment |= {"LD_PRELOAD": str(FAKETIME), "NO_FAKE_STAT": "1"}
        if speed:
            environment["FAKETIME"] = f"+0 x{speed}"
        if clock_file:
            # The clock of the wall jumps, and the monotonic one does not, as on a real machine.
            environment |= {"FAKETIME_TIMESTAMP_FILE": str(clock_file), "FAKETIME_NO_CACHE": "1",
                            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.process = subprocess.Popen([str(fmam), *map(str, arguments)], env=environment, text=True, stdin=stdin,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.out, self.log, self.n_out, self.keep = [], [], 0, keep
        self.samples = []
        self.readers = [threading.Thread(target=self._read_out, daemon=True),
                        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)]
        for reader in self.readers:
            reader.start()

    def _read_out(self):
        for line in self.process.stdout:
            self.n_out += 1
            if len(self.out) < self.keep:
                self.out.append(line)

    def says(self, text):
        """True if a line of stderr has `text`."""
        return any(text in line for line in list(self.log))

    def count(self, text):
        return sum(text in line for line in list(self.log))

    def images(self):
        """The names of images that have a verdict on stdout, in their order."""
        lines = [json.loads(line) for line in list(self.out)]
        return [Path(line["image"]).name for line in lines if "error" not in line]

    def sample(self):
        """Memory in MiB, descriptors and threads, now."""
        of = Path(f"/proc/{self.process.pid}")
        status = (of / "status").read_text()
        sample = {"rss": int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024,
                  "descriptors": len(list((of / "fd").iterdir())),
                  "threads": int(re.search(r"Threads:\s+(\d+)", status)[1])}
        self.samples.append(sample)
        return sample

    def end(self, how=signal.SIGTERM, seconds=60):
        """Seconds until the program has ended after the signal `how`; None where it does not end."""
        start = time.monotonic()
        self.process.send_signal(how)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return None
        for reader in self.readers:
            reader.join(10)
        return round(time.monotonic() - start, 2)


def growth(samples, bytes_per_image=0.0, n_images=0):
    """The figures of samples over a run, and True if nothing grew after the first tenth of it.

    Memory may grow by `bytes_per_image`, and by 8 MiB besides: the allocator keeps what was freed.
    """
    n_first = max(1, len(samples) // 10)
    first, rest = samples[:n_first], samples[n_first:] or samples
    figures, is_flat = {}, True
    for what, slack in (("rss", 8 + bytes_per_image * n_images / (1 << 20)), ("descriptors", 2), ("threads", 2)):
        before, most, last = (max(s[what] for s in first), max(s[what] for s in rest), rest[-1][what])
        figures[what] = [round(before, 1), round(last, 1), round(most, 1)]
        is_flat &= last <= before + slack and (what == "rss" or most <= before + slack)
    return figures, is_flat
