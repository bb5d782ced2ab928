"""Random weights for a published backbone, to export and compare graphs without its checkpoint.

    python random_weights.py resnet18 OUT.safetensors

Names and shapes are those of `../backbones/NAME.json`. Convolutions have He's normal distribution,
normalisations a gain of 0.8 to 1.2, running statistics near 0 and 1. Features on such weights mean
little; an AUROC on them is not a result.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np


def tensor(rng, name, shape):
    """The array of the key `name`."""
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    if len(shape) == 4 or name.endswith("classifier.weight") or len(shape) == 2:
        return (rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))).astype(np.float32)
    if name.endswith("weight"):
        return rng.uniform(0.8, 1.2, shape).astype(np.float32)
    return (rng.standard_normal(shape) * 0.1).astype(np.float32)


def write_safetensors(path, tensors):
    """The format's own layout: a length, a JSON header, the data."""
    kinds = {np.dtype(np.float32): "F32", np.dtype(np.int64): "I64"}
    header, offset = {}, 0
    for name, array in tensors.items():
        end = offset + array.nbytes
        header[name] = {"dtype": kinds[array.dtype], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in tensors.values():
            file.write(array.tobytes())


def main():
    name, out = sys.argv[1:]
    fixture = Path(__file__).parent.parent / "backbones" / f"{name}.json"
    keys = json.loads(fixture.read_text())["keys"]
    rng = np.random.default_rng(7)
    write_safetensors(out, {key["name"]: tensor(rng, key["name"], key["shape"]) for key in keys})


if __name__ == "__main__":
    main()
