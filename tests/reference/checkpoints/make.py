"""A small state dict in both formats of torch.save, and its content; fixtures for fmam-models.

Writes tiny.pth, tiny_legacy.pth and tiny.json next to this file. Names are those of a ResNet, and values come from
u(key, i) of ../backbones/make.py; elements by the first rule that fits the key, in f64, then rounded once to f32:
  ends with "running_mean" or "bias"   (u - 0.5) * 0.2
  ends with "running_var"              0.5 + u
  4 dimensions                         (2 * u - 1) * (1.4 * sqrt(3 / fan_in)),   fan_in = s[1] * s[2] * s[3]
  2 dimensions                         (u - 0.5) * 0.02
  else                                 0.5 + 0.5 * u
"""

import math
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent / "backbones"))
from stream import uniform, walk, write  # noqa: E402

MADE_WITH = {
    "script": "tests/reference/checkpoints/make.py",
    "torch": torch.__version__,
    "numpy": np.__version__,
}


def formula(key, shape):
    u = uniform(key, math.prod(shape))
    if key.endswith("running_mean") or key.endswith("bias"):
        v = (u - 0.5) * 0.2
    elif key.endswith("running_var"):
        v = 0.5 + u
    elif len(shape) == 4:
        v = (2.0 * u - 1.0) * (1.4 * math.sqrt(3.0 / math.prod(shape[1:])))
    elif len(shape) == 2:
        v = (u - 0.5) * 0.02
    else:
        v = 0.5 + 0.5 * u
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def inventory(state):
    return [
        {"name": k, "shape": list(v.shape), "dtype": str(v.dtype).removeprefix("torch.")} for k, v in state.items()
    ]


def main():
    def eighths(*shape):
        return ((torch.arange(math.prod(shape)) - 20) / 8).reshape(shape)

    state = OrderedDict()
    for key, shape in (("conv1.weight", (24, 3, 7, 7)), ("bn1.weight", (24,)), ("bn1.bias", (24,)),
                       ("bn1.running_mean", (24,)), ("bn1.running_var", (24,)),
                       ("layer1.0.conv1.weight", (32, 16, 3, 3)), ("fc.weight", (40, 256)), ("fc.bias", (40,))):
        state[key] = formula(key, shape)
    state["bn1.num_batches_tracked"] = torch.tensor(1_234_567_890_123)
    state["transposed.weight"] = eighths(6, 4).t()
    state["strided.weight"] = eighths(10, 5)[1::3, 1:4]
    state["channels_last.weight"] = eighths(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    tied = eighths(3, 5)
    state["tied_a.weight"] = tied
    state["tied_b.weight"] = tied
    state["half.weight"] = eighths(5, 7).half()
    state["bfloat.weight"] = eighths(3, 3).bfloat16()
    state["double.weight"] = eighths(4).double() / 3
    state._metadata = OrderedDict([("", {"version": 1}), ("bn1", {"version": 2})])  # as nn.Module.state_dict leaves it
    torch.save(state, HERE / "tiny.pth")
    torch.save(state, HERE / "tiny_legacy.pth", _use_new_zipfile_serialization=False)
    rows = []
    for row, tensor in zip(inventory(state), state.values()):
        row["stride"] = list(tensor.stride())
        row["storage_offset"] = tensor.storage_offset()
        row["contiguous"] = tensor.is_contiguous()
        flat = tensor.contiguous().reshape(-1)
        flat = flat.numpy() if tensor.dtype == torch.int64 else flat.double().numpy()
        row["sum"] = flat.sum().item()
        row["data" if flat.size <= 64 else "walk"] = flat.tolist() if flat.size <= 64 else walk(flat)
        rows.append(row)
    write(HERE / "tiny.json", {"made_with": MADE_WITH, "tensors": rows})


if __name__ == "__main__":
    main()
