"""Fitted detectors."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Optional, Union, overload

import numpy as np
import numpy.typing as npt

from . import _fmam
from ._fmam import Verdict
from ._images import ImageLike, given, is_many, listed, sides
from ._progress import Progress, listening

PathLike = Union[str, "os.PathLike[str]"]


class Detector:
    """A detector that has learnt from images without defects.

    ``Detector.fit`` and ``Detector.load`` make one; there is no detector that is not fitted. It does
    not change: several threads may call ``predict`` at a time. A process that was forked after a fit
    must not use it: start processes with ``spawn``.
    """

    __slots__ = ("_detector",)
    _detector: _fmam.Detector

    def __init__(self) -> None:
        raise TypeError("a detector is made by Detector.fit(images) or Detector.load(path)")

    @classmethod
    def _of(cls, detector: _fmam.Detector) -> Detector:
        self = object.__new__(cls)
        self._detector = detector
        return self

    @classmethod
    def fit(
        cls,
        images: Union[ImageLike, Iterable[ImageLike]],
        *,
        method: str = "rkd+fmam",
        backbone: str = "efficientnet-lite0",
        weights: Optional[PathLike] = None,
        seed: int = 0,
        image_size: Union[int, tuple[int, int]] = 256,
        keep_aspect: bool = False,
        tile: Union[int, tuple[int, int], None] = None,
        overlap: Optional[int] = None,
        roi: Optional[PathLike] = None,
        epochs: Optional[int] = None,
        false_alarms: float = 0.01,
        calibration: str = "auto",
        settings: Optional[Mapping[str, Any]] = None,
        data_root: Optional[PathLike] = None,
        keep_training: Optional[PathLike] = None,
        precision: str = "f32",
        device: str = "auto",
        threads: Optional[int] = None,
        progress: Progress = None,
    ) -> Detector:
        """Fits a detector to images without defects, and sets its threshold on a part of them.

        The same images, options and seed give the same detector, for any number of threads.

        Args:
            images: a folder with all that lies within, a pattern (``"good/*.png"``), a list of paths
                and of arrays (H, W, 3) or (H, W), uint8, of any sizes, or an array (N, H, W, 3).
            method: a name of ``fmam.methods()``.
            backbone: a name of ``fmam.backbones()``; the weights of the default are built in.
            weights: the file of the weights of another backbone, ``.pth`` or ``.safetensors``.
            seed: the origin of all randomness.
            image_size: the side of the square that images are resized to, or (height, width);
                multiples of 32, with DINOv2 of 14.
            keep_aspect: keep the aspect ratio of images and pad them.
            tile: look at images in their own size, in tiles of this size, instead of resizing them.
            overlap: pixels that neighbouring tiles share; an eighth of the tile without it.
            roi: a mask image, white where to look, or a folder with a mask for each image.
            epochs: training epochs; a method that does not train ignores them.
            false_alarms: the share of good parts, in (0, 1), that may be called defective. Few
                images can promise less: ``Detector.false_alarms`` is the share that holds.
            calibration: the good images that set the threshold: ``"hold-out=20%"`` does not learn
                from them, ``"cross-fit=5"`` fits five detectors more and holds each part out once;
                ``"auto"`` is the latter for methods that do not train; ``"off"`` sets no threshold.
            settings: settings of the method, nested or with dots: ``{"mapping.epochs": 20}``.
            data_root: a folder with ``dtd/``, whose textures synthetic defects take.
            keep_training: a folder for the state of the training, every three minutes: after an
                interruption the same call goes on from there, to the same detector. Remove it when
                the detector is saved.
            precision: ``"f32"``, or ``"bf16"`` for a GPU.
            device: ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
            threads: threads that compute; one a core without it.
            progress: ``True`` for a bar, or a function ``(stage, done, total, detail)``.

        Raises:
            ValueError: an unknown name, or a value out of its range.
            fmam.DataError: an image that cannot be read, or too few images.
            FileNotFoundError: a path that does not exist.
            KeyboardInterrupt: after Ctrl-C.
        """
        if tile is None and overlap is not None:
            raise ValueError("overlap is that of tiles: give tile as well")
        height, width = sides(image_size if tile is None else tile)
        if tile is not None and overlap is None:
            overlap = min(height, width) // 8
        options = {
            "method": method,
            "backbone": backbone,
            "weights": weights,
            "seed": seed,
            "image_size": (height, width),
            "tile_overlap": overlap,
            "keep_aspect": keep_aspect,
            "roi": roi,
            "epochs": epochs,
            "precision": precision,
            "settings": dict(settings or {}),
            "textures": data_root,
            "keep_training": keep_training,
            "calibration": calibration,
            "false_alarms": false_alarms,
            "device": device,
            "threads": threads,
        }
        with listening(progress) as listener:
            return cls._of(_fmam.Detector.fit(listed(images), options, listener))

    @classmethod
    def load(cls, path: PathLike, *, device: str = "auto", threads: Optional[int] = None) -> Detector:
        """Reads the folder that ``save``, or ``fmam fit``, wrote. The scores are the same to the bit.

        Raises:
            FileNotFoundError: there is no such folder, or a file of it is missing.
            fmam.DataError: a file is damaged.
        """
        return cls._of(_fmam.Detector.load(os.fspath(path), device, threads))

    def save(self, path: PathLike) -> None:
        """Writes the detector to the folder ``path``, which must not exist yet, whole or not at all.

        ``fmam predict`` and the C library read the same folder.

        Raises:
            OSError: the folder cannot be written, or it exists.
        """
        self._detector.save(os.fspath(path))

    def export_onnx(self, path: PathLike, *, fixed_size: bool = False) -> None:
        """Writes the detector to the ONNX file ``path``, for programs without fmam.

        An image goes in as bytes, and the score, the map and the verdict come out. A file that is
        there is replaced.

        Args:
            path: the file.
            fixed_size: leave the resizing out: the file takes images of the detector's own size
                alone, for images that a program shrinks faster.

        Raises:
            ValueError: the detector is no graph of operators; the message says why.
            OSError: the file cannot be written.
        """
        self._detector.export_onnx(os.fspath(path), fixed_size)

    @overload
    def predict(
        self,
        images: Union[list[Any], tuple[Any, ...]],
        *,
        false_alarms: Optional[float] = None,
        threshold: Optional[float] = None,
        progress: Progress = None,
    ) -> list[Verdict]: ...

    @overload
    def predict(
        self,
        images: Any,
        *,
        false_alarms: Optional[float] = None,
        threshold: Optional[float] = None,
        progress: Progress = None,
    ) -> Any: ...

    def predict(
        self,
        images: Any,
        *,
        false_alarms: Optional[float] = None,
        threshold: Optional[float] = None,
        progress: Progress = None,
    ) -> Any:
        """Scores an image, or several.

        A path or an array (H, W, 3) or (H, W), uint8, gives a ``Verdict``. A folder, a pattern, a
        list or an array (N, H, W, 3) gives a list of them, in order; a list keeps them all in
        memory, about half a megabyte each.

        Args:
            images: the image, or the images, of any sizes.
            false_alarms: the threshold of this share of good parts instead of the detector's.
            threshold: this threshold of the score instead of the detector's.
            progress: as in ``Detector.fit``.

        Raises:
            ValueError: a share that the calibration cannot promise.
            fmam.DataError: an image that cannot be read or scored; the message names it.
            FileNotFoundError: a path that does not exist.
            KeyboardInterrupt: after Ctrl-C.
        """
        if false_alarms is not None and threshold is not None:
            raise ValueError("give false_alarms or threshold, not both")
        many = is_many(images)
        with listening(progress) as listener:
            batch = listed(images) if many else [given(images)]
            verdicts = self._detector.predict(batch, false_alarms, threshold, listener)
        return verdicts if many else verdicts[0]

    @property
    def method(self) -> str:
        """The name of the method."""
        return self._detector.method

    @property
    def backbone(self) -> str:
        """The name of the backbone."""
        return self._detector.backbone

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images, or tiles, that the networks see."""
        return self._detector.image_size

    @property
    def threshold(self) -> Optional[float]:
        """An image is a defect where its score is above this; ``None`` without a calibration."""
        return self._detector.threshold

    @property
    def false_alarms(self) -> Optional[float]:
        """The share of good parts that the threshold promises to call defective at most.

        It is above the share that was asked for where there were too few good images: ``n`` of them
        can promise 1 / (n + 1) at best. ``None`` for a threshold without such a promise.
        """
        return self._detector.false_alarms

    @property
    def good_scores(self) -> npt.NDArray[np.float32]:
        """The scores of the good images that set the threshold, rising; shape (n,)."""
        return np.asarray(self._detector.good_scores, dtype=np.float32)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the method, defaults filled in."""
        return self._detector.settings

    def __repr__(self) -> str:
        threshold = None if self.threshold is None else round(self.threshold, 4)
        rate = None if self.false_alarms is None else round(self.false_alarms, 4)
        return (
            f"Detector(method={self.method!r}, backbone={self.backbone!r}, image_size={self.image_size}, "
            f"threshold={threshold}, false_alarms={rate})"
        )
