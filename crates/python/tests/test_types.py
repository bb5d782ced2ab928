"""The sources of the package: annotations, stubs of the compiled module, lints and form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder away from the sources, in which mypy keeps what it has learnt of NumPy."""
    return tmp_path_factory.mktemp("types")


def test_the_package_passes_mypy(folder: Path) -> None:
    run("mypy", "--strict", "--package", "fmam", cwd=folder)


def test_a_program_is_checked_against_it(folder: Path) -> None:
    (folder / "program.py").write_text(PROGRAM)
    run("mypy", "--strict", "program.py", cwd=folder)


def test_the_stubs_are_those_of_the_module(folder: Path) -> None:
    run("mypy.stubtest", "fmam._fmam", cwd=folder)


def test_the_sources_are_formatted_and_without_lints() -> None:
    run("ruff", "format", "--check", "--no-cache", ".", cwd=ROOT)
    run("ruff", "check", "--no-cache", ".", cwd=ROOT)
