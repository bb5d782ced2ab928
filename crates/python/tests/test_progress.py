"""Progress, and calls that are interrupted."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK, part

import fmam

#: A fit that would take minutes.
LONG = {"method": "rkd", "backbone": "tiny", "image_size": 64, "epochs": 1_000_000}


def test_a_function_hears_of_every_stage(good: list[np.ndarray]) -> None:
    told: list[tuple[str, int, int, str]] = []
    main = threading.get_ident()

    def listener(stage: str, done: int, total: int, detail: str) -> None:
        assert threading.get_ident() == main
        told.append((stage, done, total, detail))

    detector = fmam.Detector.fit(good, progress=listener, **QUICK)
    stages = list(dict.fromkeys(stage for stage, *_ in told))
    assert stages[0] == "reading images" and len(stages) >= 2
    for stage in stages:
        steps = [(done, total) for name, done, total, _ in told if name == stage]
        assert steps[0][0] == 0 and all(done <= total for done, total in steps if total)
    assert ("reading images", 24, 24, "") in told
    told.clear()
    detector.predict(good[:5], progress=listener)
    assert told[-1][:3] == ("scoring", 5, 5)


def test_an_exception_of_the_listener_ends_the_work(good: list[np.ndarray]) -> None:
    def listener(stage: str, done: int, total: int, detail: str) -> None:
        if stage != "reading images":
            raise RuntimeError("enough")

    start = time.monotonic()
    with pytest.raises(RuntimeError, match="enough"):
        fmam.Detector.fit(good, progress=listener, **LONG)
    assert time.monotonic() - start < 60


def test_an_interrupted_fit_goes_on_to_the_same_detector(good: list[np.ndarray], tmp_path: Path) -> None:
    options = {**LONG, "epochs": 6}
    whole = fmam.Detector.fit(good, **options)

    def listener(stage: str, done: int, total: int, detail: str) -> None:
        if detail.startswith("epoch 3/"):
            raise RuntimeError("enough")

    kept = tmp_path / "training"
    with pytest.raises(RuntimeError, match="enough"):
        fmam.Detector.fit(good, progress=listener, keep_training=kept, **options)
    states = list(kept.glob("*.safetensors"))
    assert len(states) == 1
    first: list[int] = []
    resumed = fmam.Detector.fit(
        good,
        progress=lambda stage, done, total, detail: first.append(done) if "epoch" in detail else None,
        keep_training=kept,
        **options,
    )
    assert first[0] > 1, "the fit began anew"
    image = part(500)
    assert resumed.predict(image).score == whole.predict(image).score
    assert resumed.threshold == whole.threshold


def test_ctrl_c_ends_a_fit(good: list[np.ndarray]) -> None:
    timer = threading.Timer(0.5, _thread.interrupt_main)
    start = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        fmam.Detector.fit(good, **LONG)
    assert 0.4 < time.monotonic() - start < 60


@pytest.mark.skipif(os.name != "posix", reason="signals are those of POSIX")
def test_a_signal_ends_a_program() -> None:
    program = (
        "import fmam, numpy as np\n"
        "good = [np.full((64, 64, 3), 100 + n, dtype=np.uint8) for n in range(12)]\n"
        f"fmam.Detector.fit(good, progress=lambda *told: print(*told, flush=True), **{LONG})\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if not line.startswith("reading images"):
            break
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=60)
    assert "KeyboardInterrupt" in errors and child.returncode != 0


def test_other_threads_run_meanwhile(good: list[np.ndarray]) -> None:
    ticks, over = 0, threading.Event()

    def count() -> None:
        nonlocal ticks
        while not over.is_set():
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    fmam.Detector.fit(good, method="rkd", backbone="tiny", image_size=64, epochs=5)
    over.set()
    thread.join()
    assert ticks > 20


def test_a_bar_and_lines(
    good: list[np.ndarray], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fmam.Detector.fit(good, progress=True, **QUICK)
    bar = capsys.readouterr().err
    assert "reading images" in bar and "24/24" in bar
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    fmam.Detector.fit(good, progress=True, **QUICK)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading images: 0/24"
    fmam.Detector.fit(good, progress=False, **QUICK)
    assert capsys.readouterr().err == ""
    with pytest.raises(TypeError, match="progress"):
        fmam.Detector.fit([part(1)], progress=7, **QUICK)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_an_ignored_signal_does_not_end_a_fit() -> None:
    script = """
import os, signal, threading
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
import numpy as np
import fmam

def interrupt():
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)

threading.Timer(0.2, interrupt).start()
good = [np.full((64, 64, 3), 100 + k, np.uint8) for k in range(4)]
options = dict(method="rkd", backbone="tiny", image_size=64, epochs=100, calibration="off")
fmam.Detector.fit(good, **options)
print("fitted")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "fitted\n"), done.stderr
