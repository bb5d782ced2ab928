"""Images and a detector that the tests share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import fmam

#: Options of a fit that takes a moment.
QUICK = {"method": "padim", "backbone": "tiny", "image_size": 64}


def part(number: int, height: int = 48, width: int = 80) -> np.ndarray:
    """A brushed plate without a defect, (H, W, 3)."""
    rows, columns = np.mgrid[:height, :width]
    noise = np.random.default_rng(number).normal(0, 6, (height, width))
    grey = 110 + 25 * np.sin(rows / 3) + columns / 4 + noise
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def scratched(number: int, **size: int) -> np.ndarray:
    """A plate with a bright scratch across it."""
    image = part(number, **size)
    image[image.shape[0] // 2 - 3 : image.shape[0] // 2 + 3, 15:65] = 255
    return image


@pytest.fixture(scope="session")
def good() -> list[np.ndarray]:
    return [part(number) for number in range(24)]


@pytest.fixture(scope="session")
def detector(good: list[np.ndarray]) -> fmam.Detector:
    return fmam.Detector.fit(good, false_alarms=0.05, **QUICK)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data; without one the test is skipped, and says so."""
    folder = os.environ.get("FMAM_DATA")
    if not folder:
        pytest.skip("FMAM_DATA names no folder of real data")
    return Path(folder)
