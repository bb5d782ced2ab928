"""The sources of the package: annotations, stubs of the compiled module, lints and form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import numpy as np
import fmam

detector = fmam.Detector.fit(["a.png", np.zeros((8, 8, 3), dtype=np.uint8)], image_size=(64, 96))
verdicts = detector.predict(["a.png"], false_alarms=0.01)
score: float = verdicts[0].score
mask = verdicts[0].mask
if mask is not None:
    area: int = int(mask.sum())
"""


#: The folder of this crate.
ROOT = Path(__file__).resolve().parents[1]


def run(*args: str, cwd: Path) -> None:
    done = subprocess.run([sys.executable, "-m", *args], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_passes_mypy(tmp_path: Path) -> None:
    run("mypy", "--strict", "--package", "fmam", cwd=tmp_path)


def test_a_program_is_checked_against_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    run("mypy", "--strict", "program.py", cwd=tmp_path)


def test_the_stubs_are_those_of_the_module(tmp_path: Path) -> None:
    run("mypy.stubtest", "fmam._fmam", cwd=tmp_path)


def test_the_sources_are_formatted_and_without_lints() -> None:
    run("ruff", "format", "--check", "--no-cache", ".", cwd=ROOT)
    run("ruff", "check", "--no-cache", ".", cwd=ROOT)
