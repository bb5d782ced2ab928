"""The compiled part of the package ``fmam``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

__all__ = [
    "DataError",
    "Detector",
    "Region",
    "Verdict",
    "__version__",
    "aupro",
    "auroc",
    "average_precision",
    "f1_max",
    "image_files",
    "names",
    "reproduce",
    "synthesize",
]

__version__: str

_Image = str | npt.NDArray[np.uint8]
_Listener = Callable[[str, int, int, str], None]
_Scores = npt.NDArray[np.floating[Any]]

class DataError(ValueError):
    """An image, a model or a record is missing, damaged or does not fit."""

@final
class Region:
    """A place of an image that scores above the threshold, in pixels of the image as it was given."""

    @property
    def x(self) -> int:
        """Left edge of the box, in pixels from the left edge of the image."""
    @property
    def y(self) -> int:
        """Upper edge of the box, in pixels from the upper edge of the image."""
    @property
    def width(self) -> int:
        """Width of the box in pixels."""
    @property
    def height(self) -> int:
        """Height of the box in pixels."""
    @property
    def area(self) -> int:
        """Pixels of the region."""
    @property
    def peak(self) -> float:
        """Largest score of the map within it."""
    @property
    def mean(self) -> float:
        """Mean score of the map within it."""

@final
class Verdict:
    """The verdict on one image."""

    @property
    def name(self) -> str:
        """The path of the image, or its position among those given (``image 3``)."""
    @property
    def score(self) -> float:
        """The score of the image; higher is more anomalous."""
    @property
    def verdict(self) -> str | None:
        """``"ok"`` or ``"defect"``; ``None`` without a threshold."""
    @property
    def is_defect(self) -> bool | None:
        """True for a defect; ``None`` without a threshold."""
    @property
    def p_value(self) -> float | None:
        """The share of good parts that score at least as high (conformal p-value, in 0..1)."""
    @property
    def threshold(self) -> float | None:
        """The image is a defect where its score is above this; ``None`` without one."""
    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image as it was given."""
    @property
    def reduction(self) -> int:
        """Pixels of the image along each side of a pixel of the arrays; 1 for all but huge images."""
    @property
    def seconds(self) -> float:
        """Seconds that decoding and scoring took."""
    @property
    def map(self) -> npt.NDArray[np.float32]:
        """The anomaly map in the size of the image, (H, W); higher is more anomalous."""
    @property
    def network_map(self) -> npt.NDArray[np.float32]:
        """The anomaly map as the detector computed it, in the size that its networks see."""
    @property
    def mask(self) -> npt.NDArray[np.bool_] | None:
        """The pixels of the map above the threshold, (H, W); ``None`` without a threshold."""
    @property
    def regions(self) -> list[Region]:
        """The places above the threshold, the highest peak first."""
    @property
    def warnings(self) -> list[str]:
        """Reasons to doubt the verdict: traits of the image that no training image showed."""
    def overlay(self, image: npt.NDArray[np.uint8] | None = None) -> npt.NDArray[np.uint8]:
        """The image with its high scores in colour and a line around the mask, (H, W, 3).

        With ``image``, (H, W, 3), it is drawn on these pixels; else on the image in the size that
        the networks see.
        """
    def _repr_html_(self) -> str: ...

@final
class Detector:
    @staticmethod
    def fit(images: Sequence[_Image], options: dict[str, Any], listener: _Listener | None) -> Detector: ...
    @staticmethod
    def load(path: str, device: str, threads: int | None) -> Detector: ...
    def save(self, path: str) -> None: ...
    def export_onnx(self, path: str, fixed_size: bool) -> None: ...
    def predict(
        self,
        images: Sequence[_Image],
        false_alarms: float | None,
        threshold: float | None,
        listener: _Listener | None,
    ) -> list[Verdict]: ...
    @property
    def method(self) -> str: ...
    @property
    def backbone(self) -> str: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def false_alarms(self) -> float | None: ...
    @property
    def good_scores(self) -> list[float]: ...
    @property
    def settings(self) -> dict[str, Any]: ...

def image_files(path: str) -> list[Path]: ...
def names(kind: str) -> list[tuple[str, str]]: ...
def auroc(scores: _Scores, labels: npt.NDArray[np.uint8]) -> float: ...
def average_precision(scores: _Scores, labels: npt.NDArray[np.uint8]) -> float: ...
def f1_max(scores: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> tuple[float, float]: ...
def aupro(maps: Sequence[tuple[_Scores, npt.NDArray[np.uint8]]], fpr_limit: float) -> float: ...
def synthesize(
    image: npt.NDArray[np.uint8], seed: int, config: dict[str, Any], data_root: str | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]: ...
def reproduce(
    options: dict[str, Any], listener: _Listener | None
) -> tuple[Path, list[dict[str, Any]], list[str]]: ...
