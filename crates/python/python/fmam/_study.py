"""Studies of many methods, data sets and seeds."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Optional, Union

from . import _fmam
from ._images import sides
from ._progress import Progress, listening

PathLike = Union[str, "os.PathLike[str]"]


def reproduce(
    preset: Optional[PathLike] = None,
    *,
    dataset: Optional[str] = None,
    data_root: Optional[PathLike] = None,
    categories: Optional[Iterable[str]] = None,
    methods: Optional[Iterable[str]] = None,
    backbones: Optional[Iterable[str]] = None,
    seeds: Optional[Iterable[int]] = None,
    epochs: Optional[int] = None,
    image_size: Union[int, tuple[int, int], None] = None,
    settings: Optional[Mapping[str, Any]] = None,
    out: Optional[PathLike] = None,
    overwrite: bool = False,
    device: Optional[str] = None,
    threads: Optional[int] = None,
    progress: Progress = None,
) -> list[dict[str, Any]]:
    """Fits and evaluates methods on data sets, and writes the report, as ``fmam reproduce`` does.

    Each run has a folder in ``out`` and is done once: the same call goes on where the last one was
    stopped. ``out`` holds ``report.html`` and the tables.

    >>> rows = fmam.reproduce("demo", methods=["padim", "rkd+fmam"], out="runs/demo")  # doctest: +SKIP
    >>> pandas.DataFrame(rows).groupby("method")["image_auroc"].mean()                  # doctest: +SKIP

    Args:
        preset: ``"demo"``, ``"screw"``, ``"table1"`` and so on, or a TOML file; ``"demo"`` without
            it and without a data set. The other arguments override it.
        dataset: a name of ``fmam.datasets()``.
        data_root: the folder that holds the data set.
        categories: categories of the data set; all without it.
        methods: names of ``fmam.methods()``; ``"rkd@flat"`` is a variant with settings of its own.
        backbones: names of ``fmam.backbones()``.
        seeds: a run for each of them.
        epochs: training epochs of every method.
        image_size: the side of the square that images are resized to, or (height, width).
        settings: settings of methods: ``{"rkd.learning_rate": 0.001}``.
        out: the folder of runs and report; ``runs/PRESET`` or ``runs/DATASET`` without it.
        overwrite: do finished runs again.
        device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        threads: threads that compute; one a core without it.
        progress: ``True`` for a bar, or a function ``(stage, done, total, detail)``.

    Returns:
        A dictionary for each run in ``out``: ``dataset``, ``category``, ``method``, ``backbone``,
        ``seed``, ``n_train``, ``n_test_normal``, ``n_test_anomalous``, ``fit_seconds``, and the
        metrics by their keys (``image_auroc``, ``aupro``, ...), fractions in 0..1, or ``None`` where
        the test images leave a metric undefined.

    Raises:
        ValueError: an unknown name, or a value out of its range.
        fmam.DataError: files that are not as they should be, or runs that failed.
        KeyboardInterrupt: after Ctrl-C; finished runs are kept.
    """
    options = {
        "preset": None if preset is None else os.fspath(preset),
        "dataset": dataset,
        "data_root": data_root,
        "categories": _names(categories),
        "methods": _names(methods),
        "backbones": _names(backbones),
        "seeds": None if seeds is None else list(seeds),
        "epochs": epochs,
        "image_size": None if image_size is None else sides(image_size),
        "settings": dict(settings or {}),
        "out": out,
        "device": device,
        "threads": threads,
        "overwrite": overwrite,
    }
    with listening(progress) as listener:
        _out, rows, doubts = _fmam.reproduce(options, listener)
    for doubt in doubts:
        warnings.warn(doubt, stacklevel=2)
    return rows


def _names(names: Optional[Iterable[str]]) -> Optional[list[str]]:
    """A list of names; a single text is one name, not its letters."""
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)
