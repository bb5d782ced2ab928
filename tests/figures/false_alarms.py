"""Measures the rate of false alarms of calibrated detectors on good images of a real product.

    python tests/figures/false_alarms.py --fmam target/release/fmam --good DATA/magnetic-tile/MT_Free/Imgs

Splits the good images at random, several times: most of them fit and calibrate a detector, the rest
are new to it. The p-values of the new images tell how many of them a threshold of each rate would
call defective. Needs Python 3.9 and nothing else.
"""

import argparse
import json
import pathlib
import random
import statistics
import subprocess
import tempfile

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
RATES = [0.01, 0.05, 0.1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fmam", required=True, help="the binary")
    parser.add_argument("--good", required=True, help="folder of good images")
    parser.add_argument("--method", default="padim")
    parser.add_argument("--calibration", default="hold-out=30%", help="as of fmam fit")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--share-new", type=float, default=0.25)
    args = parser.parse_args()

    images = sorted(p for p in pathlib.Path(args.good).iterdir() if p.suffix.lower() in SUFFIXES)
    measured = {rate: [] for rate in RATES}
    for split in range(args.splits):
        shuffled = images[:]
        random.Random(split).shuffle(shuffled)
        n_new = round(args.share_new * len(shuffled))
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            for part, members in [("new", shuffled[:n_new]), ("good", shuffled[n_new:])]:
                (folder / part).mkdir()
                for image in members:
                    (folder / part / image.name).symlink_to(image.resolve())
            model = folder / "model"
            fit = ["fit", str(folder / "good"), "--method", args.method, "--seed", str(split)]
            fit += ["--calibration", args.calibration, "--out", str(model), "--quiet"]
            subprocess.run([args.fmam, *fit], check=True, stdout=subprocess.DEVNULL)
            predict = ["predict", str(folder / "new"), "--model", str(model), "--json", "--quiet"]
            lines = subprocess.run([args.fmam, *predict], check=True, capture_output=True, text=True).stdout
        p_values = [json.loads(line)["p_value"] for line in lines.splitlines()]
        for rate in RATES:
            measured[rate].append(sum(p <= rate for p in p_values) / len(p_values))
        print(f"split {split}: {n_new} new images", {r: round(100 * m[-1], 2) for r, m in measured.items()}, flush=True)
    for rate, found in measured.items():
        spread = statistics.stdev(found) if len(found) > 1 else 0.0
        print(f"{100 * rate:g} % promised: {100 * statistics.mean(found):.2f} % ± {100 * spread:.2f} (of splits) measured")


if __name__ == "__main__":
    main()
