"""Finds defects in images of industrial products after it has seen good examples only.

>>> import fmam
>>> detector = fmam.Detector.fit("good/")          # doctest: +SKIP
>>> detector.predict("new.png").verdict            # doctest: +SKIP
'defect'

An image is a path, or an array of shape (H, W, 3) or (H, W), uint8, of any size. ``fmam.metrics``
has figures of merit of arrays, ``fmam.synthesis`` synthetic defects, and ``fmam.sklearn`` an
estimator with the conventions of scikit-learn.

Errors: ``ValueError`` for a name or a value that is not valid; ``fmam.DataError``, a ``ValueError``
too, for an image or a model that is damaged or does not fit; ``FileNotFoundError`` and other
``OSError`` for the machine; ``KeyboardInterrupt`` after Ctrl-C.
"""

from . import metrics, synthesis
from ._fmam import DataError, Region, Verdict, __version__
from ._names import backbones, datasets, methods
from ._study import reproduce
from .detector import Detector

__all__ = [
    "DataError",
    "Detector",
    "Region",
    "Verdict",
    "__version__",
    "backbones",
    "datasets",
    "methods",
    "metrics",
    "reproduce",
    "synthesis",
]
