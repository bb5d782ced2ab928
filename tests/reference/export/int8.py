"""Quantises an exported graph to INT8 with NNCF and measures what that costs on MVTec screw.

    fmam export --model MODEL --out GRAPH.onnx
    python int8.py GRAPH.onnx --data DATA --out GRAPH-int8.xml

Post-training quantisation of the networks, calibrated on good training images. Everything else
stays f32: resizing and normalising the pixels, distances, blurs, scores. The cost is measured on
all 160 test images; times are medians of single images, the least of several rounds
in turn for both models.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import nncf
import openvino
from graphs import OpenVino, median_seconds
from images import pixels, screw_test
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
    parser.add_argument("--repeats", type=int, default=30, help="calls in a round")
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def training_images(data, count):
    """`count` good images, spread over the training images."""
    files = sorted((Path(data) / "mvtec" / "screw" / "train" / "good").glob("*.png"))
    return [files[index] for index in np.linspace(0, len(files) - 1, count).astype(int)]


def channels_of(node):
    """The largest of groups, output and input channels of a convolution's weights."""
    shape = list(node.input_value(1).get_partial_shape().to_shape())
    return max(shape[: 3 if node.get_type_name() == "GroupConvolution" else 2])


def reach(nodes, neighbours):
    """The names of `nodes` and of all that can be reached from them."""
    found, open_nodes = set(), list(nodes)
    while open_nodes:
        node = open_nodes.pop()
        if node.get_friendly_name() not in found:
            found.add(node.get_friendly_name())
            open_nodes += neighbours(node)
    return found


def inputs_of(node):
    return [value.get_node() for value in node.input_values()]


def users_of(node):
    return [target.get_node() for output in node.outputs() for target in output.get_target_inputs()]


def network_nodes(model):
    """The names of the nodes that lie between two convolutions of features: not the pixels before
    them, not distances and blurs behind them. A blur is a convolution of a single channel."""
    convolutions = [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in CONVOLUTIONS and channels_of(node) > 3
    ]
    return reach(convolutions, users_of) & reach(convolutions, inputs_of)


def quantised(model, images):
    """`model` with its networks in INT8: activations asymmetric, weights symmetric a channel."""
    inside = network_nodes(model)
    kinds = {"Constant", "Parameter", "Result"}
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() not in kinds]
    outside = [name for name in map(lambda node: node.get_friendly_name(), nodes) if name not in inside]
    print(f"{len(inside)} nodes may be INT8, {len(outside)} stay f32", file=sys.stderr)
    return nncf.quantize(
        model,
        nncf.Dataset(images, lambda path: {"image": pixels(path)}),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=outside, validate=False),
    )


def mask_of(file, size):
    """The ground truth of a test image in the size of the map."""
    if file.parent.name == "good":
        return np.zeros(size, bool)
    mask = file.parents[2] / "ground_truth" / file.parent.name / f"{file.stem}_mask.png"
    return np.asarray(Image.open(mask).convert("L").resize(size[::-1], Image.Resampling.NEAREST)) > 127


def figures(engine, test):
    """AUROC of images and pixels, scores, and errors at the threshold of the graph."""
    outputs = [engine(pixels(file)) for file, _ in test]
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
    first = pixels(test[0][0])
    # The size of the camera's images, so that the weights of the resizing become constants.
    model.reshape({"image": list(first.shape)})
    f32_file = args.out.with_name(args.out.stem + "-f32.xml")
    openvino.save_model(model, f32_file, compress_to_fp16=False)
    integers = quantised(model, training_images(args.data, args.images))
    openvino.save_model(integers, args.out, compress_to_fp16=False)

    files = {"f32": f32_file, "int8": args.out}
    engines = {name: OpenVino(openvino.Core().read_model(str(file)), args.threads) for name, file in files.items()}
    rows = {name: figures(engine, test) | {"mb": size_in_mb(files[name])} for name, engine in engines.items()}
    # In turn, so that another load of the machine meets both.
    times = {name: [] for name in engines}
    for _ in range(args.rounds):
        for name, engine in engines.items():
            times[name].append(median_seconds(engine, first, args.repeats, rounds=1))
    for name, row in rows.items():
        row["ms"] = 1000 * min(times[name])
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
