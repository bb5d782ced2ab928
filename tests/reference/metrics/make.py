"""Makes the fixtures of crates/metrics/tests/suite/reference.rs and crates/fmam/src/measure/arrays.rs.

    python3 -m venv venv
    venv/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 statsmodels==0.15.0
    venv/bin/python make.py

Image-level figures come from scikit-learn. AUPRO is written down here from its definition, one threshold after
the other with scipy's component labelling, and shares no idea with the Rust code but the definition. Wilson intervals
come from statsmodels, normal quantiles from scipy.
"""

import json
import pathlib

import numpy as np
from scipy import ndimage, stats
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20240607)


def as_json(values):
    """f32 values in their shortest decimal form, which reads back to the same f32."""
    return [float(str(value)) for value in np.asarray(values, np.float32).ravel()]


def write(name, cases):
    path = HERE / name
    path.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
    print(path.name, path.stat().st_size, "bytes")


def score_case(name, scores, labels):
    scores, labels = np.asarray(scores, np.float32), np.asarray(labels, np.uint8)
    f1 = {float(t): metrics.f1_score(labels, scores >= t) for t in np.unique(scores)}
    best = max(f1.values())
    fpr, tpr, thresholds = metrics.roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores)
    return {
        "name": name,
        "scores": as_json(scores),
        "labels": labels.tolist(),
        "auroc": metrics.roc_auc_score(labels, scores),
        "average_precision": metrics.average_precision_score(labels, scores),
        "f1_max": best,
        "f1_threshold": max(t for t, value in f1.items() if value >= best - 1e-12),
        # Without scikit-learn's first point, whose threshold is infinite: JSON has no infinity.
        "fpr": fpr[1:].tolist(),
        "tpr": tpr[1:].tolist(),
        "thresholds": as_json(thresholds[1:]),
        # Thresholds falling, without scikit-learn's closing point (recall 0, precision 1).
        "precision": precision[:-1][::-1].tolist(),
        "recall": recall[:-1][::-1].tolist(),
    }


def score_cases():
    n = 120
    labels = rng.random(n) < 0.3
    smooth = rng.normal(size=n) + 1.2 * labels
    return [
        score_case("distinct scores", smooth, labels),
        score_case("quantised to 5 levels", np.clip(np.round(smooth), -2, 2), labels),
        score_case("constant", np.full(40, 0.25), np.arange(40) % 4 == 0),
        score_case("perfect", np.arange(30), np.arange(30) >= 20),
        score_case("inverted", -np.arange(30), np.arange(30) >= 20),
        score_case("one anomalous", rng.random(50), np.arange(50) == 17),
        score_case("one normal", rng.random(50), np.arange(50) != 17),
        score_case("tiny and huge magnitudes", np.exp(rng.uniform(-80, 80, 60)) * rng.choice([-1, 1], 60), rng.random(60) < 0.5),
    ]


def aupro(maps, masks, limit):
    """Mean over regions of the share found, against the share of all normal pixels, for each threshold."""
    regions = []
    for image, mask in enumerate(masks):
        numbered, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(image, numbered == number) for number in range(1, count + 1)]
    curve = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        predicted = maps >= threshold
        fpr = predicted[masks == 0].mean()
        pro = np.mean([predicted[image][region].mean() for image, region in regions])
        curve.append((fpr, pro))
    total = 0.0
    for (x0, y0), (x1, y1) in zip(curve, curve[1:]):
        if x0 >= limit or x1 == x0:
            continue
        end = min(x1, limit)
        y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
        total += (end - x0) * (y0 + y_end) / 2
    return total / limit, len(regions)


def pixel_case(name, maps, masks):
    maps, masks = np.asarray(maps, np.float32), np.asarray(masks, np.uint8)
    limits = [0.05, 0.3, 1.0]
    results = [aupro(maps, masks, limit) for limit in limits]
    return {
        "name": name,
        "height": maps.shape[1],
        "width": maps.shape[2],
        "maps": [as_json(m) for m in maps],
        "masks": ["".join(map(str, m.ravel())) for m in masks],
        "n_regions": results[0][1],
        "auroc": metrics.roc_auc_score(masks.ravel(), maps.ravel()),
        "average_precision": metrics.average_precision_score(masks.ravel(), maps.ravel()),
        "aupro": [[limit, float(value)] for limit, (value, _) in zip(limits, results)],
    }


def blobs(height, width, share):
    noise = ndimage.gaussian_filter(rng.normal(size=(height, width)), 1.0)
    return noise > np.quantile(noise, 1 - share)


def noisy(masks, strength):
    shape = np.shape(masks)
    return ndimage.gaussian_filter(strength * np.asarray(masks) + rng.normal(size=shape), (0, 0.7, 0.7))


def pixel_cases():
    height, width = 18, 25
    none = np.zeros((height, width), bool)
    masks = [blobs(height, width, 0.12), none, blobs(height, width, 0.3), none]
    smooth = noisy(masks, 1.0)
    # Nothing but corners: a diagonal, a checkerboard, and lone pixels at the border, which must not wrap around.
    corners = np.zeros((2, 12, 9), bool)
    corners[0, np.arange(6), np.arange(6)] = True
    corners[0, 8:, 5:] = np.indices((4, 4)).sum(0) % 2 == 0
    corners[1, 3, 8] = corners[1, 4, 0] = corners[1, 11, 8] = True
    # Only diagonals and scattered pixels: many regions, many of one pixel.
    scattered = rng.random((3, 14, 14)) < 0.15
    return [
        pixel_case("blobs, two images without defects", smooth, masks),
        pixel_case("quantised to quarters", np.round(smooth * 4) / 4, masks),
        pixel_case("two values only", smooth > 0.6, masks),
        pixel_case("regions that touch at corners", noisy(corners, 2.0), corners),
        pixel_case("constant", np.full(corners.shape, 0.5), corners),
        pixel_case("inverted", -corners.astype(float), corners),
        pixel_case("scattered", np.round(noisy(scattered, 1.5), 1), scattered),
    ]


def analysis_cases():
    cases = []
    for name, shift, dim in [("apart", 1.5, 6), ("close", 0.2, 16)]:
        normal = rng.normal(size=(40, dim)) * 0.3 + 1
        anomalous = rng.normal(size=(25, dim)) * 0.5 + 1
        anomalous[:, 0] += shift
        normal, anomalous = (f / np.linalg.norm(f, axis=1, keepdims=True) for f in (normal, anomalous))
        normal, anomalous = normal.astype(np.float32), anomalous.astype(np.float32)
        center = normal.astype(np.float64).mean(0)
        normal_scores = rng.normal(size=80).astype(np.float32)
        anomalous_scores = (rng.normal(size=50) * 1.4 + shift).astype(np.float32)
        a, b = normal_scores.astype(np.float64), anomalous_scores.astype(np.float64)
        span = (min(a.min(), b.min()), max(a.max(), b.max()))
        share = [np.histogram(s, bins=20, range=span)[0] / s.size for s in (a, b)]
        cases.append({
            "name": name,
            "dim": dim,
            "normal": as_json(normal),
            "anomalous": as_json(anomalous),
            "bias": float(np.linalg.norm(anomalous - center, axis=1).mean()),
            "variance": float((np.linalg.norm(normal - center, axis=1) ** 2).mean()),
            "normal_scores": as_json(normal_scores),
            "anomalous_scores": as_json(anomalous_scores),
            "n_bins": 20,
            "overlap": float(np.minimum(*share).sum()),
            "fisher_ratio": float((a.mean() - b.mean()) ** 2 / (a.var() + b.var())),
            "ks_distance": float(stats.ks_2samp(a, b).statistic),
            "density_at": [-2.0, -0.5, 0.0, 0.25, 1.0, 3.0],
            "density": stats.gaussian_kde(a, bw_method="silverman")([-2.0, -0.5, 0.0, 0.25, 1.0, 3.0]).tolist(),
        })
    return cases


def threshold_case(name, scores, labels, threshold):
    scores, labels = np.asarray(scores, np.float32), np.asarray(labels, np.uint8)
    threshold = np.float32(threshold)
    found = scores > threshold
    tn, fp, fn, tp = (int(n) for n in metrics.confusion_matrix(labels, found, labels=[0, 1]).ravel())
    wilson = lambda count, of: [float(bound) for bound in proportion_confint(count, of, alpha=0.05, method="wilson")]
    f1 = lambda bound: 2 * bound / (1 + bound)
    jaccard = metrics.jaccard_score(labels, found)
    assert abs(jaccard - tp / (tp + fp + fn)) < 1e-15 and abs(f1(jaccard) - metrics.f1_score(labels, found)) < 1e-15
    return {
        "name": name,
        "scores": as_json(scores),
        "labels": labels.tolist(),
        "threshold": as_json(threshold)[0],
        "values": {
            "image_false_alarm_rate": 1 - metrics.recall_score(labels, found, pos_label=0),
            "image_miss_rate": 1 - metrics.recall_score(labels, found),
            # scikit-learn gives what is asked for where no image is found; ours has no value there.
            "image_precision": metrics.precision_score(labels, found) if found.any() else None,
            "image_recall": metrics.recall_score(labels, found),
            "image_f1": metrics.f1_score(labels, found),
        },
        "intervals": {
            "image_false_alarm_rate": wilson(fp, fp + tn),
            "image_miss_rate": wilson(fn, fn + tp),
            "image_precision": wilson(tp, tp + fp) if found.any() else None,
            "image_recall": wilson(tp, tp + fn),
            "image_f1": [f1(bound) for bound in wilson(tp, tp + fp + fn)],
        },
    }


def threshold_cases():
    # A generator of their own, so that the other fixtures stay as they are.
    rng = np.random.default_rng(20260101)
    labels = rng.random(160) < 0.7
    smooth = rng.normal(size=160) + 1.5 * labels
    levels = np.round(smooth)
    return [
        threshold_case("a middling threshold", smooth, labels, 1.0),
        threshold_case("scores at the threshold are not found", levels, labels, 1.0),
        threshold_case("below all scores", smooth, labels, -10.0),
        threshold_case("above all scores", smooth, labels, 10.0),
        threshold_case("perfect", np.arange(30), np.arange(30) >= 20, 19),
        threshold_case("inverted", -np.arange(30), np.arange(30) >= 20, -9.5),
        threshold_case("one image a class", [0.25, 0.75], [0, 1], 0.5),
    ]


def interval_cases():
    counts = [(0, 1), (1, 1), (0, 41), (1, 41), (41, 41), (3, 7), (50, 100), (117, 119), (1, 10000), (123456, 234567)]
    return {
        # (successes, trials, confidence, lower bound, upper bound)
        "wilson": [
            [count, of, confidence, *map(float, proportion_confint(count, of, alpha=1 - confidence, method="wilson"))]
            for count, of in counts
            for confidence in [0.5, 0.8, 0.9, 0.95, 0.99, 0.999]
        ],
        # (probability, quantile)
        "quantiles": [
            [p, float(stats.norm.ppf(p))]
            for p in [1e-300, 1e-100, 1e-20, 1e-12, 1e-11, 1e-9, 1e-6, 0.001, 0.01, 0.025, 0.05, 0.074, 0.0749999, 0.075,
                      0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 0.925, 0.9250001, 0.95, 0.975, 0.99, 0.995, 0.999, 0.9999999]
        ],
    }


def array_cases():
    """Arrays as NumPy writes them, in the folder `arrays`, and their figures: read by crates/fmam."""
    # A generator of their own, so that the other fixtures stay as they are.
    rng = np.random.default_rng(20261130)
    n, height, width = 5, 9, 7
    masks = np.zeros((n, height, width), np.uint8)
    masks[0, 2:5, 1:4] = masks[0, 7, 6] = masks[2, 4:, 5] = masks[3, :2, :] = 1
    maps = rng.normal(size=masks.shape) + 1.5 * masks
    folder = HERE / "arrays"
    folder.mkdir(exist_ok=True)
    # Of f64, scores that are one in f32.
    close = 1 + np.round(maps * 8) * 1e-12
    scores = {
        "maps_f16": maps.astype(np.float16),
        "maps_f16_big_endian_channel": maps.astype(">f2")[:, None],
        "maps_f32_fortran": np.asfortranarray(maps.astype(np.float32)),
        "maps_f32_fortran_channel": np.asfortranarray(maps.astype(np.float32)[:, None]),
        "maps_f64_close": close,
        "maps_f64_close_fortran": np.asfortranarray(close),
    }
    truth = {
        "masks_bool": masks.astype(bool),
        "masks_255": masks * np.uint8(255),
        "masks_i16_255_fortran": np.asfortranarray(masks.astype(np.int16) * 255),
        "masks_f16_255_channel": (masks * 255.0).astype(np.float16)[:, None],
        "masks_i64": masks.astype(np.int64),
    }
    for name, array in (scores | truth).items():
        np.save(folder / f"{name}.npy", array)
    cases = []
    for name, array in scores.items():
        values = array.reshape(masks.shape).astype(np.float64)
        cases.append({
            "maps": name,
            "pixel_auroc": metrics.roc_auc_score(masks.ravel(), values.ravel()),
            "pixel_ap": metrics.average_precision_score(masks.ravel(), values.ravel()),
            "aupro": float(aupro(values, masks, 0.3)[0]),
        })
    return cases


write("scores.json", score_cases())
write("pixels.json", pixel_cases())
write("analysis.json", analysis_cases())
write("thresholds.json", threshold_cases())
write("arrays.json", array_cases())
(HERE / "intervals.json").write_text(
    "{\n" + ",\n".join(f'"{name}": {json.dumps(rows)}' for name, rows in interval_cases().items()) + "\n}\n"
)
