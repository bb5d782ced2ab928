"""Learns from 40 good screws, inspects others, and plots where they are defective."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fmam

screws = Path(os.environ["FMAM_DATA"], "mvtec", "screw")
good = sorted((screws / "train/good").glob("*.png"))[:40]

# Fit: each of the 40 is scored once without having been learnt from, which sets the threshold.
detector = fmam.Detector.fit(good, method="patchcore", image_size=384, false_alarms=0.1, progress=True)
print(detector)

# Predict: the first eight test images of each kind.
files = sorted((screws / "test").glob("*/00[0-7].png"))
verdicts = detector.predict(files, progress=True)
is_anomalous = [file.parent.name != "good" for file in files]
found = [verdict.is_defect for verdict in verdicts]
print(f"{sum(np.logical_and(found, is_anomalous))} of {sum(is_anomalous)} defects found")
print(f"{sum(np.logical_and(found, np.logical_not(is_anomalous)))} false alarms")

# Evaluate: AUROC by the scores, AUPRO by the maps and the ground truth.
auroc = fmam.metrics.auroc([verdict.score for verdict in verdicts], is_anomalous)


def ground_truth(file: Path, shape: tuple[int, int]) -> np.ndarray:
    mask = screws / "ground_truth" / file.parent.name / f"{file.stem}_mask.png"
    return plt.imread(mask) > 0 if mask.exists() else np.zeros(shape, dtype=bool)


masks = [ground_truth(file, verdict.size) for file, verdict in zip(files, verdicts)]
aupro = fmam.metrics.aupro([verdict.map for verdict in verdicts], masks)
print(f"image AUROC {auroc:.3f}, AUPRO {aupro:.3f}")

# Plot: one image of each kind, the overlay above and the map below.
kinds = sorted({file.parent.name for file in files})
shown = [next(i for i, file in enumerate(files) if file.parent.name == kind) for kind in kinds]
figure, axes = plt.subplots(2, len(shown), figsize=(2.2 * len(shown), 4.8), squeeze=False)
highest = max(verdicts[i].map.max() for i in shown)
for (top, bottom), i in zip(axes.T, shown):
    verdict, image = verdicts[i], plt.imread(files[i])
    pixels = np.round(255 * image[..., :3] if image.ndim == 3 else 255 * np.dstack([image] * 3))
    top.imshow(verdict.overlay(pixels.astype(np.uint8)))
    top.set_title(f"{files[i].parent.name}\n{verdict.verdict}, p {verdict.p_value:.3f}", fontsize=8)
    bottom.imshow(verdict.map, cmap="inferno", vmin=0, vmax=highest)
for axis in axes.flat:
    axis.set_axis_off()
figure.tight_layout()
figure.savefig("screws.png", dpi=110)
