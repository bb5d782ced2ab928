"""Compares exported graphs with fmam itself, on real images. See README.md.

    python parity.py --models MODELS --graphs GRAPHS --data DATA [NAME..]

`MODELS/NAME` is a folder that `fmam fit` wrote, `GRAPHS/NAME.onnx` its export. Prints a Markdown
table; `--json FILE` keeps the figures. Ends with 1 if a graph breaks the contract or a bound.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from graphs import ENGINES, cpu_seconds, median_seconds
from images import as_png, comparison_images, pixels

FLOAT, UINT8, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.BOOL
# Upper bounds for a graph that passes.
SCORE_BOUND, MAP_BOUND = 1e-4, 1e-3


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="models to compare [default: all that have a graph]")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--graphs", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder with mvtec/ and magnetic-tile/")
    parser.add_argument("--fmam", default="target/release/fmam", help="for the times of fmam")
    parser.add_argument("--maps", default="target/release/examples/network_maps")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def faults_of(path, calibrated):
    """Breaches of ONNX and of the contract, one sentence each."""
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True).graph
    expected = {"score": (FLOAT, 0), "map": (FLOAT, 2)}
    if calibrated:
        expected |= {"threshold": (FLOAT, 0), "defective": (BOOL, 0)}

    def kind(value):
        tensor = value.type.tensor_type
        return tensor.elem_type, len(tensor.shape.dim) if tensor.HasField("shape") else None

    faults = []
    inputs = {value.name: value for value in graph.input}
    if list(inputs) != ["image"] or kind(inputs["image"]) != (UINT8, 3):
        faults.append(f"the inputs are {sorted(inputs)} and not `image`, uint8 [height, width, 3]")
    else:
        dims = inputs["image"].type.tensor_type.shape.dim
        map_dims = next((value.type.tensor_type.shape.dim for value in graph.output if value.name == "map"), [])
        sides, map_sides = ([dim.dim_value for dim in found[:2]] for found in (dims, map_dims))
        if dims[2].dim_value != 3 or sides not in ([0, 0], map_sides):
            faults.append("`image` is neither [any height, any width, 3] nor of the size of the map")
    outputs = {value.name: kind(value) for value in graph.output}
    if outputs != expected:
        faults.append(f"the outputs are {outputs}, not {expected}")
    return faults


def is_fixed(path):
    """True for a graph that `fmam export --fixed-size` wrote."""
    dims = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim
    return dims[0].dim_value > 0


def own(args, model, images, folder):
    """Scores, maps, verdicts and prepared pixels of fmam, a dictionary for each image."""
    command = [args.maps, model, folder, *images]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    found = [json.loads(line) for line in lines]
    for number, one in enumerate(found):
        one["map"] = np.load(folder / f"{number}.npy")
        one["prepared"] = folder / f"{number}.png"
    return found


def own_times(args, model, images):
    """The times of fmam: `prepare_ms` and `score_ms` of an image, one after the other."""
    command = [args.fmam, "bench", "predict", *images, "--model", model, "--batch", "1"]
    command += ["--threads", str(args.threads), "--iters", "3"]
    run = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return json.loads(run.stdout)


def compare(outputs, reference):
    """Differences on one image."""
    difference = np.abs(outputs["map"].astype(np.float64) - reference["map"]).max()
    spread = float(np.ptp(reference["map"]))
    score = float(outputs["score"])
    return {
        "score": abs(score - reference["score"]) / max(abs(reference["score"]), 1e-12),
        "map": difference,
        "map_of_range": difference / max(spread, 1e-12),
        "agrees": None if reference["defective"] is None else bool(outputs["defective"]) == reference["defective"],
        "threshold": None if reference["threshold"] is None else abs(float(outputs["threshold"]) - reference["threshold"]),
    }


def measure(args, name, sources, work):
    """Figures of one model."""
    path, model = args.graphs / f"{name}.onnx", args.models / name
    found = own(args, model, sources, work / name)
    if is_fixed(path):
        sources = [one["prepared"] for one in found]
    figures = {"name": name, "bytes": path.stat().st_size, "images": len(sources)}
    figures["faults"] = faults_of(path, found[0]["threshold"] is not None)
    figures["fmam"] = own_times(args, model, sources[:10])
    figures["engines"] = {}
    for engine_type in ENGINES:
        try:
            engine = engine_type(path, args.threads)
            rows = [compare(engine(pixels(image)), reference) for image, reference in zip(sources, found)]
        except Exception as error:  # An engine that cannot run the graph is a finding, too.
            figures["faults"].append(f"{engine_type.name}: {' '.join(str(error).split())[:300]}")
            continue
        worst = {key: max(row[key] for row in rows) for key in ("score", "map", "map_of_range")}
        worst["threshold"] = max((row["threshold"] or 0) for row in rows)
        worst["agreeing"] = sum(row["agrees"] in (True, None) for row in rows)
        worst["seconds"] = median_seconds(engine, pixels(sources[0]), args.repeats)
        worst["cpu_seconds"] = cpu_seconds(engine_type(path, 1), pixels(sources[0]))
        figures["engines"][engine.name] = worst
        if worst["score"] > SCORE_BOUND or worst["map_of_range"] > MAP_BOUND:
            figures["faults"].append(f"{engine.name} differs by more than the bounds")
        if worst["agreeing"] < len(rows):
            figures["faults"].append(f"{engine.name}: {len(rows) - worst['agreeing']} verdicts differ")
    return figures


def own_milliseconds(figures):
    """Preparation and scoring of an image, as the graph does both."""
    times = figures["fmam"]
    return times["prepare_ms"] + times["score_ms"]


HEAD = """| model | size | engine | score, relative | map, absolute | map, of its range | verdicts | ms an image | CPU ms, one thread | fmam, ms |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""


def table(all_figures):
    yield HEAD
    for figures in all_figures:
        size = f"{figures['bytes'] / 1e6:.1f} MB"
        for name, worst in figures["engines"].items():
            yield (
                f"| {figures['name']} | {size} | {name} | {worst['score']:.1e} | {worst['map']:.1e} "
                f"| {worst['map_of_range']:.1e} | {worst['agreeing']} of {figures['images']} "
                f"| {1000 * worst['seconds']:.1f} | {1000 * worst['cpu_seconds']:.1f} | {own_milliseconds(figures):.1f} |"
            )


def main():
    args = arguments()
    graphs = sorted(path.stem for path in args.graphs.glob("*.onnx"))
    names = args.names or [name for name in graphs if (args.models / name).is_dir()]
    if not names:
        sys.exit(f"{args.graphs} has no .onnx file of a model in {args.models}")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = as_png(comparison_images(args.data), work / "images")
        all_figures = []
        for name in names:
            all_figures.append(measure(args, name, sources, work))
            print(f"{name}: done", file=sys.stderr)
    print("\n".join(table(all_figures)))
    if args.json:
        args.json.write_text(json.dumps(all_figures, indent=1))
    faults = [f"{figures['name']}: {fault}" for figures in all_figures for fault in figures["faults"]]
    print("\n".join(["", *faults]) if faults else "\nno fault")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
