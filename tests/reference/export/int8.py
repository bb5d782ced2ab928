"""Quantises an exported graph to INT8 with NNCF and measures what that costs on MVTec screw.

    fmam export --model MODEL --fixed-size --out GRAPH.onnx
    python int8.py GRAPH.onnx --data DATA --out GRAPH-int8.xml

The graph takes images of one size: OpenVINO's reader of ONNX ignores the antialiasing of `Resize`.
Pillow's `BILINEAR`, which filters before it shrinks, brings the images to this size.

Post-training quantisation of the convolutions, calibrated on good training images. Everything else
stays f32: resizing and normalising the pixels, distances, blurs, scores. The cost is measured on
all 160 test images; times are medians of single images.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import nncf
import openvino
from graphs import OpenVino, median_seconds
from images import screw_test
from PIL import Image
from sklearn.metrics import roc_auc_score

CONVOLUTIONS = {"Convolution", "GroupConvolution", "ConvolutionBackpropData"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graph", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="OpenVINO model, an .xml file")
    parser.add_argument("--images", type=int, default=100, help="images to calibrate the ranges with")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=50)
    return parser.parse_args()


def training_images(data, count):
    """`count` good images, spread over the training images."""
    files = sorted((Path(data) / "mvtec" / "screw" / "train" / "good").glob("*.png"))
    return [files[index] for index in np.linspace(0, len(files) - 1, count).astype(int)]


def size_of(model):
    """Height and width that `model` takes."""
    shape = model.input("image").partial_shape
    if shape.is_dynamic:
        sys.exit("the graph takes images of any size: export it with --fixed-size")
    return tuple(shape.to_shape())[:2]


def prepared(path, size):
    """The image as uint8 [height, width, 3] of `size`."""
    image = Image.open(path).convert("RGB").resize(size[::-1], Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image))


def quantised(model, images):
    """`model` with its convolutions in INT8: activations asymmetric, weights symmetric a channel."""
    others = {node.get_type_name() for node in model.get_ordered_ops()} - CONVOLUTIONS
    size = size_of(model)
    dataset = nncf.Dataset(images, lambda path: {"image": prepared(path, size)})
    return nncf.quantize(
        model,
        dataset,
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(types=sorted(others), validate=False),
    )


def mask_of(file, size):
    """The ground truth of a test image in the size of the map."""
    if file.parent.name == "good":
        return np.zeros(size, bool)
    mask = file.parents[2] / "ground_truth" / file.parent.name / f"{file.stem}_mask.png"
    return np.asarray(Image.open(mask).convert("L").resize(size[::-1], Image.Resampling.NEAREST)) > 127


def figures(engine, test, size):
    """AUROC of images and pixels, scores, and errors at the threshold of the graph."""
    outputs = [engine(prepared(file, size)) for file, _ in test]
    labels = np.array([label for _, label in test])
    scores = np.array([float(one["score"]) for one in outputs])
    maps = np.stack([one["map"] for one in outputs])
    masks = np.stack([mask_of(file, maps.shape[1:]) for file, _ in test])
    found = {
        "image_auroc": roc_auc_score(labels, scores),
        "pixel_auroc": roc_auc_score(masks.ravel(), maps.ravel()),
        "scores": scores,
    }
    if "defective" in outputs[0]:
        verdicts = np.array([bool(one["defective"]) for one in outputs])
        found["verdicts"] = verdicts
        found["false_alarms"] = int((verdicts & (labels == 0)).sum())
        found["misses"] = int((~verdicts & (labels == 1)).sum())
    return found


def size_in_mb(path):
    """An OpenVINO model is two files."""
    return (path.stat().st_size + path.with_suffix(".bin").stat().st_size) / 1e6


def main():
    args = arguments()
    model = openvino.Core().read_model(str(args.graph))
    test = screw_test(args.data)
    size = size_of(model)
    first = prepared(test[0][0], size)
    f32_file = args.out.with_name(args.out.stem + "-f32.xml")
    openvino.save_model(model, f32_file, compress_to_fp16=False)
    integers = quantised(model, training_images(args.data, args.images))
    openvino.save_model(integers, args.out, compress_to_fp16=False)

    rows = {}
    for name, file in (("f32", f32_file), ("int8", args.out)):
        engine = OpenVino(openvino.Core().read_model(str(file)), args.threads)
        rows[name] = figures(engine, test, size) | {"ms": 1000 * median_seconds(engine, first, args.repeats)}
        rows[name]["mb"] = size_in_mb(file)
    f32, int8 = rows["f32"], rows["int8"]
    print("| | image AUROC | pixel AUROC | false alarms of good | missed defects | ms an image | MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        print(
            f"| {name} | {row['image_auroc']:.4f} | {row['pixel_auroc']:.4f} | {row.get('false_alarms', '–')} "
            f"| {row.get('misses', '–')} | {row['ms']:.1f} | {row['mb']:.1f} |"
        )
    shift = int8["scores"] - f32["scores"]
    told = {
        "mean shift of the score": float(shift.mean()),
        "largest shift of the score": float(np.abs(shift).max()),
        "standard deviation of the scores in f32": float(f32["scores"].std()),
    }
    if "verdicts" in f32:
        told["other verdicts"] = int((f32["verdicts"] != int8["verdicts"]).sum())
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
