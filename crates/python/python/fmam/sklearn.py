"""An estimator with the conventions of scikit-learn, for its pipelines, searches and scores.

scikit-learn is not imported: the estimator has the methods that scikit-learn asks for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional, Union

import numpy as np
import numpy.typing as npt

from ._images import ImageLike, listed
from .detector import Detector

__all__ = ["AnomalyDetector"]


class AnomalyDetector:
    """An outlier detector for images, as scikit-learn has them.

    ``score_samples`` is higher for more *normal* images, and ``predict`` gives +1 for an inlier and
    -1 for an outlier; ``fmam.Detector`` has the opposite sign and verdicts with maps.

    Args:
        method: as in ``fmam.Detector.fit``.
        backbone: as in ``fmam.Detector.fit``.
        image_size: as in ``fmam.Detector.fit``.
        epochs: as in ``fmam.Detector.fit``.
        false_alarms: the share of good images that may be outliers; scikit-learn's
            ``contamination`` is another thing: here all training images are good.
        calibration: as in ``fmam.Detector.fit``; not ``"off"``, since ``predict`` needs a threshold.
        settings: as in ``fmam.Detector.fit``.
        seed: as in ``fmam.Detector.fit``; scikit-learn's ``random_state``.
        device: as in ``fmam.Detector.fit``.
        threads: as in ``fmam.Detector.fit``; scikit-learn's ``n_jobs``.

    Attributes:
        detector_: the fitted ``fmam.Detector``.
        offset_: ``decision_function`` is ``score_samples`` minus it.
    """

    _estimator_type = "outlier_detector"

    detector_: Detector
    offset_: float

    def __init__(
        self,
        *,
        method: str = "rkd+fmam",
        backbone: str = "efficientnet-lite0",
        image_size: Union[int, tuple[int, int]] = 256,
        epochs: Optional[int] = None,
        false_alarms: float = 0.01,
        calibration: str = "auto",
        settings: Optional[dict[str, Any]] = None,
        seed: int = 0,
        device: str = "auto",
        threads: Optional[int] = None,
    ) -> None:
        self.method = method
        self.backbone = backbone
        self.image_size = image_size
        self.epochs = epochs
        self.false_alarms = false_alarms
        self.calibration = calibration
        self.settings = settings
        self.seed = seed
        self.device = device
        self.threads = threads

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of the constructor by name."""
        return {name: getattr(self, name) for name in _PARAMETERS}

    def set_params(self, **params: Any) -> AnomalyDetector:
        """Sets parameters of the constructor, for the next fit.

        Raises:
            ValueError: a name that is none of them.
        """
        for name, value in params.items():
            if name not in _PARAMETERS:
                raise ValueError(
                    f"AnomalyDetector has no parameter {name!r}; it has {', '.join(_PARAMETERS)}"
                )
            setattr(self, name, value)
        return self

    def fit(self, X: Union[ImageLike, Iterable[ImageLike]], y: object = None) -> AnomalyDetector:
        """Fits to images without defects.

        Args:
            X: images as in ``fmam.Detector.fit``: an array (N, H, W, 3) or (N, H, W, 1), uint8, a
                list of arrays and paths, or a folder.
            y: not used.
        """
        self.detector_ = Detector.fit(X, **self.get_params())
        threshold = self.detector_.threshold
        if threshold is None:
            raise ValueError("calibration='off' leaves no threshold for predict")
        self.offset_ = -threshold
        return self

    def score_samples(self, X: Union[ImageLike, Iterable[ImageLike]]) -> npt.NDArray[np.float64]:
        """The negative anomaly scores, shape (N,): higher is more normal.

        Args:
            X: images of any sizes, as in ``fit``.
        """
        verdicts = self._fitted().predict(listed(X))
        return np.array([-verdict.score for verdict in verdicts], dtype=np.float64)

    def decision_function(self, X: Union[ImageLike, Iterable[ImageLike]]) -> npt.NDArray[np.float64]:
        """``score_samples`` minus ``offset_``, shape (N,): negative for an outlier."""
        scores = self.score_samples(X)
        return scores - self.offset_

    def predict(self, X: Union[ImageLike, Iterable[ImageLike]]) -> npt.NDArray[np.int64]:
        """+1 for a good image, -1 for a defective one, shape (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1).astype(np.int64)

    def fit_predict(
        self, X: Union[ImageLike, Iterable[ImageLike]], y: object = None
    ) -> npt.NDArray[np.int64]:
        """``fit`` and then ``predict`` of the same images."""
        images = listed(X)
        return self.fit(images).predict(images)

    def _fitted(self) -> Detector:
        try:
            return self.detector_
        except AttributeError:
            raise ValueError("this AnomalyDetector is not fitted: call fit(images) first") from None

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "detector_")

    def __sklearn_tags__(self) -> Any:
        # Only scikit-learn calls this method.
        from sklearn.utils import InputTags, Tags, TargetTags  # type: ignore[import-untyped]

        return Tags(
            estimator_type="outlier_detector",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )

    def __repr__(self) -> str:
        params = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"AnomalyDetector({params})"


_PARAMETERS = (
    "method",
    "backbone",
    "image_size",
    "epochs",
    "false_alarms",
    "calibration",
    "settings",
    "seed",
    "device",
    "threads",
)
