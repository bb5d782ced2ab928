"""Images of callers: paths, and arrays of any memory order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from . import _fmam

#: A path, or pixels: (H, W, 3) or (H, W), uint8; an image of Pillow is one, too.
ImageLike = Union[str, "os.PathLike[str]", npt.ArrayLike]

#: What the compiled module takes.
Given = Union[str, npt.NDArray[np.uint8]]


def is_path(image: object) -> bool:
    """True for a path."""
    return isinstance(image, (str, os.PathLike))


def is_many(images: object) -> bool:
    """True for a folder, a pattern, a batch (N, H, W, 3), and anything else that is no image."""
    if is_path(images):
        path = os.fspath(images)  # type: ignore[call-overload]
        return os.path.isdir(path) or (glob.has_magic(path) and not os.path.exists(path))
    if hasattr(images, "__array__") or hasattr(images, "__array_interface__"):
        return np.ndim(images) > 3  # type: ignore[arg-type]
    return True


def given(image: Any) -> Given:
    """One image for the compiled module: a path, or a view of pixels as (H, W, 3)."""
    if is_path(image):
        return str(os.fspath(image))
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise TypeError(
            f"pixels are uint8, 0 to 255, not {pixels.dtype}; files of 16 bits and floats are read by path"
        )
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim == 2:
        # A view: grey becomes three channels where the pixels are copied.
        pixels = np.broadcast_to(pixels[:, :, np.newaxis], (*pixels.shape, 3))
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"an image has shape (H, W, 3) or (H, W), not {pixels.shape}")
    return pixels


def listed(images: ImageLike | Iterable[ImageLike]) -> list[Given]:
    """All images of a folder, a pattern, a batch (N, H, W, 3) or an iterable."""
    if is_path(images):
        return [str(path) for path in _fmam.image_files(os.fspath(images))]  # type: ignore[arg-type]
    if not is_many(images):
        return [given(images)]
    return [given(image) for image in images]  # type: ignore[union-attr]


def sides(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size, or of the side of a square."""
    if isinstance(size, (int, np.integer)):
        return int(size), int(size)
    height, width = size
    return int(height), int(width)
