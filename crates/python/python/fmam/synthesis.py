"""Synthetic defects: a normal image and a seed give a defective image and its mask."""

from __future__ import annotations

import os
from typing import Any, NamedTuple, Union

import numpy as np
import numpy.typing as npt

from . import _fmam
from ._images import given

__all__ = ["SyntheticDefect", "defect"]


class SyntheticDefect(NamedTuple):
    """A defective image and the place of its defect."""

    #: (H, W, 3) uint8; outside of ``mask`` the pixels are those of the normal image.
    image: npt.NDArray[np.uint8]
    #: (H, W) bool, the pixels that the defect went into, never none.
    mask: npt.NDArray[np.bool_]
    #: (H, W) bool, those of them that were visibly changed; may be empty.
    visible: npt.NDArray[np.bool_]


def defect(
    image: npt.ArrayLike,
    *,
    seed: int,
    data_root: Union[str, os.PathLike[str], None] = None,
    **settings: Any,
) -> SyntheticDefect:
    """Puts a defect into a normal image. The same image, seed and settings give the same defect.

    Args:
        image: (H, W, 3) or (H, W), uint8, of any size.
        seed: the origin of all randomness, at least 0.
        data_root: a folder with ``dtd/``, whose textures the defects take; generated ones without it.
        **settings: settings of the synthesis: ``source`` (``"both"``, ``"texture"``,
            ``"structure"``), ``min_area`` and ``max_area`` (shares of the object), ``min_opacity``,
            ``max_opacity``, ``edge_sigma`` (pixels), ``foreground`` (``"auto"``, ``"none"``) and the
            others of ``fmam synth --set``.

    Raises:
        ValueError: a setting that is unknown or out of its range.
    """
    pixels = given(image)
    if isinstance(pixels, str):
        raise TypeError("the image is an array, not a path")
    folder = None if data_root is None else os.fspath(data_root)
    return SyntheticDefect(*_fmam.synthesize(pixels, seed, settings, folder))
