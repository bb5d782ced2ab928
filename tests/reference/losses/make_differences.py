"""Differences of features by SciPy and scikit-learn; fixture for fmam-losses.

Writes differences.json next to this file. Inputs are multiples of 1/64 with shape [N, C, H, W]; the
maps are means over the channels: of the square, as sklearn.metrics.mean_squared_error of the
channels of each position, and of scipy.special.huber with delta 1, which is smooth L1.
"""

import json
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.special import huber
from sklearn.metrics import mean_squared_error

SHAPE = (2, 5, 3, 4)


def main():
    generator = np.random.default_rng(19)
    teacher, student = (generator.integers(-160, 160, SHAPE) / 64 for _ in range(2))
    n, c, h, w = SHAPE
    last = lambda x: x.transpose(0, 2, 3, 1).reshape(-1, c)
    squared = mean_squared_error(last(teacher).T, last(student).T, multioutput="raw_values")
    smooth_l1 = huber(1.0, last(student) - last(teacher)).mean(1)
    content = {
        "made_with": {"scipy": scipy.__version__, "sklearn": sklearn.__version__, "numpy": np.__version__},
        "shape": SHAPE,
        "teacher": teacher.ravel().tolist(),
        "student": student.ravel().tolist(),
        "squared": squared.tolist(),
        "smooth_l1": smooth_l1.tolist(),
    }
    Path(__file__).with_name("differences.json").write_text(json.dumps(content) + "\n")


main()
