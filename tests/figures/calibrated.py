"""Prints what detectors call defective at calibrated thresholds, as a Markdown table.

    fmam reproduce --preset PRESET --calibration hold-out --data-root DATA --out OUT
    python tests/figures/calibrated.py OUT

Reads the image scores of the test split from the records, and the scores of the held-out good
images from the saved models. The last column is F1 at the best threshold on the test split, an
oracle. Needs Python 3.11 and nothing else.
"""

import json
import math
import pathlib
import sys
import tomllib

RATES = [0.01, 0.05]


def threshold(scores, rate):
    """The ceil((n + 1)(1 - rate))-th smallest score, or the highest, and the rate that it promises."""
    above = math.floor((len(scores) + 1) * rate * (1 + 1e-12))
    promised = rate if above > 0 else 1 / (len(scores) + 1)
    return sorted(scores)[len(scores) - max(above, 1)], promised


def row(folder):
    record = json.loads((folder / "record.json").read_text())
    calibration = tomllib.loads((folder / "model" / "model.toml").read_text())["calibration"]
    images = record["artefacts"]["images"]
    good = [image["image_score"] for image in images if image["label"] == "normal"]
    bad = [image["image_score"] for image in images if image["label"] == "anomalous"]
    cells = [record["category"], record["method"]]
    for rate in RATES:
        limit, promised = threshold(calibration["scores"], rate)
        alarms = sum(score > limit for score in good) / len(good)
        misses = sum(score <= limit for score in bad) / len(bad)
        cells.append(f"{100 * promised:.3g} %: {100 * alarms:.1f} / {100 * misses:.1f}")
    synthetic = calibration["synthetic"]
    cells.append(f"{100 * synthetic['caught'] / synthetic['of']:.0f}")
    cells.append(f"{100 * record['metrics']['image_auroc']:.1f}")
    cells.append(f"{100 * record['metrics']['image_f1_max']:.1f}")
    return cells


def main():
    head = ["category", "method", "at 1 %", "at 5 %", "synthetic caught", "image AUROC", "F1-max (oracle)"]
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for record in sorted(pathlib.Path(sys.argv[1]).glob("runs/*/*/*/*/*/record.json")):
        print("| " + " | ".join(row(record.parent)) + " |")


if __name__ == "__main__":
    main()
