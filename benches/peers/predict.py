"""Times detectors on files of 1024 x 1024 pixels, PNG and JPEG, from the file to the verdict at 256 x 256, on one thread and on two: one JSON
line each. The images are crops of a smooth pattern with noise, which compress as photographs do.

- `fmam bench predict` with `nkd` and `rkd+fmam` on the embedded EfficientNet-Lite0.
- anomalib's `OpenVINOInferencer` with an exported STFPM on the same backbone, the same kind of network as `nkd`. The student is
  untrained, on which speed does not depend.
- Reading and resizing alone, with OpenCV and with Pillow.

    bash benches/peers/run.sh predict [--images 24]
"""

import argparse
import os
import pathlib
import subprocess
import tempfile

import cv2
import lite0
import numpy as np
from anomalib.deploy import OpenVINOInferencer
from anomalib.models import Stfpm
from PIL import Image

from turns import bench, middle, print_machine, print_row, seconds, spread, take_turns

METHODS = ["nkd", "rkd+fmam"]
SIDE = 1024


def picture(rng):
    y, x = np.mgrid[:SIDE, :SIDE]
    value = 120 + 40 * np.sin(x / 17 + rng.uniform(0, 6)) * np.sin(y / 23 + rng.uniform(0, 6)) + rng.normal(0, 4, (SIDE, SIDE))
    return np.clip(value[..., None] * [1, 0.95, 0.85], 0, 255).astype(np.uint8)


def an_image(read, files):
    """A function that gives the milliseconds of an image."""
    return lambda: 1e3 * seconds(lambda: [read(str(file)) for file in files]) / len(files)


def inferencer(model, threads):
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    return OpenVINOInferencer(model, device="CPU", config=hints)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fmam", required=True)
    parser.add_argument("--images", type=int, default=24)
    args = parser.parse_args()
    print_machine("anomalib", "openvino", "opencv-python-headless", "pillow")
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        # The inferencer puts its cache into the working directory.
        binary = str(pathlib.Path(args.fmam).resolve())
        os.chdir(folder)
        formats = {"png": [], "jpg": []}
        for kind, options in (("png", {}), ("jpg", {"quality": 92})):
            (folder / kind).mkdir()
            for k in range(args.images):
                file = folder / kind / f"{k:03}.{kind}"
                Image.fromarray(picture(rng)).save(file, **options)
                formats[kind].append(file)
        for method in METHODS:
            fit = [binary, "fit", "jpg", "--method", method, "--epochs", "1", "--out", method, "--quiet"]
            subprocess.run(fit, check=True, capture_output=True)
        stfpm = Stfpm(backbone="efficientnet", layers=lite0.LAYERS, pre_processor=lite0.pre_processor(), visualizer=False).eval()
        exported = stfpm.to_openvino(folder)
        size = (lite0.SIDE, lite0.SIDE)
        for kind, files in formats.items():
            for threads in (1, 2):
                cv2.setNumThreads(threads)
                parts = {}

                def ours(method):
                    def run():
                        line = bench(binary, "predict", "--model", method, kind, "--threads", threads, "--iters", 1)
                        parts[method] = {part: round(line[part], 2) for part in ("decode_ms", "prepare_ms", "score_ms")}
                        return 1e3 / line["images_per_second"]

                    return run

                anomalib = inferencer(exported, threads)
                anomalib.predict(str(files[0]))
                turns = take_turns({
                    "fmam nkd": ours("nkd"),
                    "fmam rkd+fmam": ours("rkd+fmam"),
                    "anomalib stfpm, openvino": an_image(anomalib.predict, files),
                }, "fmam nkd")
                reading = take_turns({
                    "opencv read": an_image(cv2.imread, files),
                    "opencv read and resize": an_image(
                        lambda f: cv2.resize(cv2.imread(f), size, interpolation=cv2.INTER_AREA), files),
                    "pillow read and resize": an_image(
                        lambda f: Image.open(f).convert("RGB").resize(size, Image.Resampling.BOX), files),
                })
                a_second = {name: round(1e3 / middle(values), 1) for name, values in turns.items()}
                what = {"predict": kind, "side": SIDE, "images": len(files), "threads": threads}
                print_row(what, turns, "fmam nkd", images_a_second=a_second, parts=parts, reading_ms=spread(reading))


main()
