"""Times a detector on files of 1024 x 1024 pixels, PNG and JPEG, on one thread and two, beside reading and resizing them with OpenCV and
with Pillow: one JSON line each. The images are crops of a smooth pattern with noise, which compress as photographs do.

    python3 benches/peers/predict.py --fmam target/release/fmam [--method rkd+fmam] [--images 32]
"""

import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import cv2
import numpy as np
from PIL import Image

SIDE = 1024


def picture(rng):
    y, x = np.mgrid[:SIDE, :SIDE]
    value = 120 + 40 * np.sin(x / 17 + rng.uniform(0, 6)) * np.sin(y / 23 + rng.uniform(0, 6)) + rng.normal(0, 4, (SIDE, SIDE))
    return np.clip(value[..., None] * [1, 0.95, 0.85], 0, 255).astype(np.uint8)


def per_image_ms(read, files, threads):
    cv2.setNumThreads(threads)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for file in files:
            read(str(file))
        best = min(best, 1e3 * (time.perf_counter() - start) / len(files))
    return round(best, 2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fmam", required=True)
    parser.add_argument("--method", default="rkd+fmam")
    parser.add_argument("--images", type=int, default=32)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        formats = {"png": [], "jpg": []}
        for kind, options in (("png", {}), ("jpg", {"quality": 92})):
            (folder / kind).mkdir()
            for k in range(args.images):
                file = folder / kind / f"{k:03}.{kind}"
                Image.fromarray(picture(rng)).save(file, **options)
                formats[kind].append(file)
        model = folder / "model"
        fit = [args.fmam, "fit", str(folder / "jpg"), "--method", args.method, "--epochs", "1", "--out", str(model), "--quiet"]
        subprocess.run(fit, check=True, stdout=subprocess.DEVNULL)
        for kind, files in formats.items():
            for threads in (1, 2):
                bench = [args.fmam, "bench", "predict", "--model", str(model), str(folder / kind), "--threads", str(threads)]
                ours = json.loads(subprocess.run(bench, check=True, capture_output=True, text=True).stdout)
                size = (256, 256)
                peers = {
                    "opencv read": per_image_ms(cv2.imread, files, threads),
                    "opencv read and resize": per_image_ms(
                        lambda f: cv2.resize(cv2.imread(f), size, interpolation=cv2.INTER_AREA), files, threads),
                    "pillow read and resize": per_image_ms(
                        lambda f: Image.open(f).convert("RGB").resize(size, Image.Resampling.BOX), files, threads),
                }
                print(json.dumps({"predict": ours, "peers_ms_an_image": peers}), flush=True)


main()
