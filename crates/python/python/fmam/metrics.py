"""Figures of merit of anomaly scores, exact: every distinct score is a threshold, ties count half.

Scores come first and labels second, unlike in scikit-learn. Higher scores are more anomalous. Labels
and masks are False, or 0, for normal, and True, 1 or 255 for anomalous. A figure that is not defined,
with one class only for example, is a ``ValueError``, never an invented value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import _fmam

__all__ = ["aupro", "auroc", "average_precision", "f1_max"]


def auroc(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Area under the ROC curve, in 0..1.

    Args:
        scores: any shape: (N,) for images, (N, H, W) for the pixels of maps; float16, float32 or
            float64.
        labels: the same shape.
    """
    return _fmam.auroc(*_paired(scores, labels))


def average_precision(scores: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Average precision: the mean of the precision over the anomalous samples, in 0..1.

    Args:
        scores: any shape, as for ``auroc``.
        labels: the same shape.
    """
    return _fmam.average_precision(*_paired(scores, labels))


def f1_max(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[float, float]:
    """The best F1, and the threshold that has it: a score at or above it is called anomalous.

    The threshold is chosen on the labels, so that the figure is an upper bound (*oracle*).

    Args:
        scores: any shape, as for ``auroc``; compared as float32.
        labels: the same shape.
    """
    scores, labels = _paired(scores, labels)
    return _fmam.f1_max(scores.astype(np.float32, copy=False), labels)


def aupro(
    maps: npt.ArrayLike | Iterable[npt.ArrayLike],
    masks: npt.ArrayLike | Iterable[npt.ArrayLike],
    *,
    fpr_limit: float = 0.3,
) -> float:
    """Area under the per-region-overlap curve up to a false positive rate, divided by it, in 0..1.

    Regions are 8-connected. Bergmann et al. 2021, The MVTec Anomaly Detection Dataset, IJCV 129.

    Args:
        maps: anomaly maps (N, H, W), or a list of maps (H, W) of any sizes.
        masks: their ground truth in the same shapes; all normal for a normal image.
        fpr_limit: the upper end of the integral, in (0, 1].
    """
    map_list = [np.asarray(map) for map in maps]  # type: ignore[union-attr]
    mask_list = [np.asarray(mask) for mask in masks]  # type: ignore[union-attr]
    if len(map_list) != len(mask_list):
        raise ValueError(f"there are {len(map_list)} maps but {len(mask_list)} masks")
    for index, (map, mask) in enumerate(zip(map_list, mask_list)):
        if map.ndim != 2 or map.shape != mask.shape:
            raise ValueError(f"map {index} has shape {map.shape} and its mask {mask.shape}; both are (H, W)")
    types = {_score_type(map) for map in map_list}
    dtype = np.float64 if np.float64 in types else np.float32
    pairs: list[tuple[npt.NDArray[np.floating[Any]], npt.NDArray[np.uint8]]] = [
        (np.ascontiguousarray(map, dtype=dtype), _labels(mask)) for map, mask in zip(map_list, mask_list)
    ]
    return _fmam.aupro(pairs, fpr_limit)


def _paired(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]:
    """Scores and labels in one row each."""
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.shape != labels.shape:
        raise ValueError(f"scores have shape {scores.shape} and labels {labels.shape}")
    flat = np.ascontiguousarray(scores, dtype=_score_type(scores)).reshape(-1)
    return flat, _labels(labels).reshape(-1)


def _score_type(scores: npt.NDArray[Any]) -> type[np.floating[Any]]:
    """The type that keeps the order of the scores."""
    if scores.dtype.kind in "iu" and scores.dtype.itemsize > 2:
        return np.float64
    if scores.dtype.kind in "iub" or scores.dtype in (np.float16, np.float32):
        return np.float32
    if scores.dtype == np.float64:
        return np.float64
    raise TypeError(f"scores are numbers of at most 64 bits, not {scores.dtype}")


def _labels(labels: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Labels as bytes of 0 and 1, contiguous; booleans without a copy."""
    if labels.dtype == np.bool_:
        return np.ascontiguousarray(labels).view(np.uint8)
    anomalous = labels != 0
    top = labels.max(initial=0)
    if top not in (0, 1, 255) or not np.array_equal(labels[anomalous], np.full(anomalous.sum(), top)):
        raise ValueError("labels are 0 and 1, or 0 and 255; scores come before labels")
    return np.ascontiguousarray(anomalous).view(np.uint8)
