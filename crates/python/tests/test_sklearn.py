"""The estimator in scikit-learn's own tools."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK, part, scratched
from sklearn.base import clone, is_outlier_detector
from sklearn.exceptions import NotFittedError
from sklearn.metrics import make_scorer, roc_auc_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.validation import check_is_fitted

from fmam.sklearn import AnomalyDetector


def crop(images: np.ndarray) -> np.ndarray:
    return images[:, 4:-4]


@pytest.fixture(scope="module")
def batch(good: list[np.ndarray]) -> np.ndarray:
    return np.stack(good)


def test_a_pipeline_fits_and_predicts(batch: np.ndarray) -> None:
    pipeline = make_pipeline(FunctionTransformer(crop), AnomalyDetector(false_alarms=0.05, **QUICK))
    assert isinstance(pipeline, Pipeline)
    pipeline.fit(batch)
    test = np.stack([part(60), scratched(60), part(61), scratched(61)])
    truth = [1, -1, 1, -1]
    assert pipeline.predict(test).tolist() == truth
    scores, decisions = pipeline.score_samples(test), pipeline.decision_function(test)
    assert scores.shape == (4,) and np.array_equal(np.sign(decisions), truth)
    assert roc_auc_score(np.array(truth) == 1, scores) == 1.0
    estimator = pipeline[-1]
    assert np.allclose(decisions, scores - estimator.offset_)
    assert np.allclose(scores, [-verdict.score for verdict in estimator.detector_.predict(list(crop(test)))])
    check_is_fitted(pipeline)
    pipeline.set_params(anomalydetector__seed=5)
    assert estimator.get_params()["seed"] == 5


def test_it_is_cloned_and_searched(batch: np.ndarray) -> None:
    estimator = AnomalyDetector(**QUICK)
    copy = clone(estimator)
    assert copy is not estimator and copy.get_params() == estimator.get_params()
    assert is_outlier_detector(estimator)
    assert repr(estimator).startswith("AnomalyDetector(method='padim', backbone='tiny'")
    test = np.stack([scratched(number) for number in range(24)])
    images = np.concatenate([batch[:12], test[:4]])
    folds = [(np.arange(12), np.arange(8, 16))]
    truth = np.array([1] * 12 + [-1] * 4)
    scorer = make_scorer(roc_auc_score, response_method="decision_function")
    search = GridSearchCV(estimator, {"image_size": [32, 64]}, cv=folds, scoring=scorer, refit=False)
    search.fit(images, truth)
    assert search.best_score_ > 0.9 and len(search.cv_results_["params"]) == 2


def test_folders_and_lists_are_images(good: list[np.ndarray], tmp_path: Path) -> None:
    from matplotlib.image import imsave

    for number, image in enumerate(good):
        imsave(tmp_path / f"{number}.png", image)
    labels = AnomalyDetector(**QUICK).fit_predict(str(tmp_path))
    assert labels.shape == (24,) and (labels == 1).sum() >= 20


def test_what_goes_wrong_is_told(batch: np.ndarray) -> None:
    estimator = AnomalyDetector(**QUICK)
    with pytest.raises(ValueError, match="not fitted"):
        estimator.predict(batch)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    with pytest.raises(ValueError, match="no parameter 'n_trees'"):
        estimator.set_params(n_trees=3)
    with pytest.raises(ValueError, match="threshold"):
        AnomalyDetector(calibration="off", **QUICK).fit(batch)
