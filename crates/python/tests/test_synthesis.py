"""Synthetic defects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import part

from fmam import synthesis


def test_a_defect_lies_within_its_mask() -> None:
    image = part(1, 64, 96)
    made = synthesis.defect(image, seed=3)
    assert made.image.shape == image.shape and made.image.dtype == np.uint8
    assert made.mask.shape == made.visible.shape == (64, 96) and made.mask.dtype == np.bool_
    assert made.mask.any() and not (made.visible & ~made.mask).any()
    assert np.array_equal(made.image[~made.mask], image[~made.mask])
    assert not np.array_equal(made.image, image)
    again = synthesis.defect(image, seed=3)
    assert all(map(np.array_equal, made, again))
    assert not np.array_equal(synthesis.defect(image, seed=4).mask, made.mask)


def test_settings_are_those_of_the_synthesis() -> None:
    image = part(2, 64, 64)
    small = synthesis.defect(image, seed=1, max_area=0.01, foreground="none", source="texture")
    assert small.mask.mean() <= 0.01
    for settings, text in [({"nonsense": 1}, "nonsense"), ({"max_area": 7.0}, "7"), ({"source": "x"}, "x")]:
        with pytest.raises(ValueError, match=text):
            synthesis.defect(image, seed=1, **settings)
    with pytest.raises(OverflowError):
        synthesis.defect(image, seed=-1)
    with pytest.raises(TypeError, match="not a path"):
        synthesis.defect("image.png", seed=1)


def test_textures_come_from_a_folder(data: Path) -> None:
    image = part(3, 64, 64)
    own = synthesis.defect(image, seed=1, source="texture")
    dtd = synthesis.defect(image, seed=1, source="texture", data_root=data)
    assert np.array_equal(own.mask, dtd.mask) and not np.array_equal(own.image, dtd.image)
