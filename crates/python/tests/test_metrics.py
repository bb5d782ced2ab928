"""Metrics against scikit-learn, and against a slow oracle where it has none."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference

from fmam import metrics


def drawn(seed: int, n: int, ties: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.random(n) < 0.3
    return np.round(random.normal(size=n) + labels, ties), labels


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("ties", [0, 1, 8])
def test_image_figures_are_those_of_scikit_learn(dtype: type, ties: int) -> None:
    scores, labels = drawn(7, 500, ties)
    scores = scores.astype(dtype)
    assert metrics.auroc(scores, labels) == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
    expected = reference.average_precision_score(labels, scores)
    assert metrics.average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)
    # Any shape, and labels of any type.
    shaped = (scores.reshape(5, 10, 10), (255 * labels.astype(np.uint8)).reshape(5, 10, 10))
    assert metrics.auroc(*shaped) == metrics.auroc(scores, labels.astype(float))
    assert metrics.auroc(scores.tolist(), labels.tolist()) == pytest.approx(metrics.auroc(scores, labels))


def test_f64_is_not_rounded() -> None:
    scores = np.array([1.0, 1.0 + 1e-12, 1.0 + 2e-12])
    assert metrics.auroc(scores, [0, 0, 1]) == 1.0
    assert metrics.average_precision(scores, [0, 0, 1]) == 1.0
    assert metrics.auroc(np.array([2**40, 2**40 + 1]), [0, 1]) == 1.0


def test_values_by_hand() -> None:
    assert metrics.auroc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1]) == 0.75
    f1, threshold = metrics.f1_max([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    assert (f1, threshold) == (pytest.approx(0.8), pytest.approx(0.35))


def slow_aupro(maps: np.ndarray, masks: np.ndarray, limit: float) -> float:
    """AUPRO with every score as a threshold, by its definition."""
    from scipy.ndimage import label

    regions = [
        (n, labelled == k)
        for n, mask in enumerate(masks)
        for labelled, count in [label(mask, np.ones((3, 3)))]
        for k in range(1, count + 1)
    ]
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        above = maps >= threshold
        overlap = np.mean([above[n][region].mean() for n, region in regions])
        points.append((above[~masks].mean(), overlap))
    rates, overlaps = np.array(points).T
    end = np.interp(limit, rates, overlaps)
    inside = rates < limit
    return np.trapezoid([*overlaps[inside], end], [*rates[inside], limit]) / limit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_aupro_is_that_of_its_definition(dtype: type) -> None:
    random = np.random.default_rng(3)
    masks = np.zeros((3, 12, 15), dtype=bool)
    masks[0, 2:5, 3:8] = masks[0, 9:, 12:] = masks[1, 4:6, 4:6] = True
    maps = (random.normal(size=masks.shape) + 1.5 * masks).astype(dtype)
    for limit in [0.05, 0.3, 1.0]:
        expected = slow_aupro(maps, masks, limit)
        assert metrics.aupro(maps, masks, fpr_limit=limit) == pytest.approx(expected, abs=1e-9)
    # A list of maps, not contiguous, with masks of 255.
    assert metrics.aupro([m.T for m in maps], [255 * m.T.astype(np.uint8) for m in masks]) == pytest.approx(
        metrics.aupro(maps, masks), abs=1e-12
    )
    # Other sizes.
    assert 0 < metrics.aupro([maps[0], maps[1][:6]], [masks[0], masks[1][:6]]) <= 1


def test_what_is_not_defined_is_an_error() -> None:
    for scores, labels, text in [
        ([0.1, 0.2], [0, 0], "anomalous"),
        ([0.1, 0.2], [1, 1], "normal"),
        ([0.1, np.nan], [0, 1], "NaN"),
        ([], [], "no scores"),
        ([0.1, 0.2, 0.3], [0, 1], "shape"),
        ([0.1, 0.2, 0.3], [0, 1, 2], "0 and 1"),
        ([0.1, 0.2, 0.3], [0, 1, 255], "0 and 1"),
        ([0, 1], [0.1, 0.9], "scores come before labels"),
    ]:
        for figure in [metrics.auroc, metrics.average_precision, metrics.f1_max]:
            with pytest.raises(ValueError, match=text):
                figure(scores, labels)
    with pytest.raises(TypeError, match="complex"):
        metrics.auroc(np.array([1j, 2j]), [0, 1])
    maps, masks = np.zeros((2, 4, 4)), np.zeros((2, 4, 4), dtype=bool)
    for bad, text in [
        ((maps, masks), "anomalous"),
        ((maps, masks[:1]), "2 maps but 1 masks"),
        ((maps, masks[:, :2]), "map 0 has shape"),
        ((maps[0], masks[0]), "map 0 has shape"),
    ]:
        with pytest.raises(ValueError, match=text):
            metrics.aupro(*bad)
    with pytest.raises(ValueError, match="2"):
        metrics.aupro(maps, np.eye(4, dtype=bool) & np.ones((2, 4, 4), dtype=bool), fpr_limit=2.0)
