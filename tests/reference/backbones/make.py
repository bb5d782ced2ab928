"""Features of a backbone as PyTorch computes them; the fixtures of fmam-models.

    make.py NAME...

reads NAME.py and writes NAME.json, both next to this file, for each backbone NAME. NAME.py defines

  PACKAGES                 PyPI packages that it imports; the fixture names their versions
  network()                the torch module, with the names of the published state dict
  features(net, x)         the features by name, finest scale first

and, where the default does not fit,

  SHAPES                   shapes of the input images; default ((2, 3, 64, 96),)
  BRANCH_END               end of the names of the last normalisation weights in residual branches
  NORM_GAIN                factor of the other normalisation weights; default 1. ReLU6 needs a larger one: its upper
                           bound must be reached, or else the fixture would not tell it from ReLU
  TOLERANCE                error of a feature that the test accepts, as a share of the largest; default 1e-4
  published()              the state dict, in place of the formula below
  load(state)              the network with the weights `state`
  key_facts(key, tensor)   further fields of a key
  case_facts(state, x, exact)   further fields of the features of `x` by name; may check them too

A state dict is too large to commit, so weights come from a formula.
  u(key, i), i = 0, 1, ...: output i of SplitMix64 seeded with the FNV-1a 64-bit hash of the UTF-8 key, top 24 bits
  divided by 2^24, so in [0, 1). All arithmetic modulo 2^64:
    fnv1a:  h = 0xcbf29ce484222325; per byte b: h ^= b; h *= 0x100000001b3
    output: z = h + (i + 1) * 0x9e3779b97f4a7c15
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9; z = (z ^ (z >> 27)) * 0x94d049bb133111eb; z ^= z >> 31
            u = (z >> 40) / 16777216.0
  i is the row-major (PyTorch contiguous) flat index. Element values, in f64 in exactly this order of operations,
  no fused multiply-add, then rounded once to f32; the first rule that fits the key (c: the index along the last axis):
    ends with "num_batches_tracked"   i64 0
    pos_embed, class token (row 0)    (u - 0.5) * 0.2
    pos_embed, patch (y, x) of 37x37  ((p0 * s + p1 * t) + (p2 * s * t + (p3 * s * s + p4 * t * t))) + 0.02 * (2 * u - 1)
                                      s = (y - 18) / 18, t = (x - 18) / 18, pk = (u("pos_embed.k", c) - 0.5) * 0.4
                                      (smooth, as trained ones are, with a little noise)
    cls_token, ends with "running_mean" or "bias"   (u - 0.5) * 0.2
    ends with "running_var"           0.5 + u
    2 or 4 dimensions                 (2 * u - 1) * (g * sqrt(3 / fan_in)),   fan_in = product of s[1:],
                                      g = 2 for "qkv", which makes attention uneven, else 1.4
    ends with "gamma"                 0.1 + 0.4 * u
    ends with BRANCH_END              0.2 + 0.2 * u
    else (weights of normalisations)  (0.5 + 0.5 * u) * NORM_GAIN
  Tensors of more than 2^24 elements, which only classifiers have, stay as the network has them.
  Input image of shape s: (2 * u("input", i) - 1), exact in f32.

Feature values: the network runs in float64 on the f32 weights and inputs; `f32_max_abs_diff` is the distance of
PyTorch's own float32 run. mean, std (population), abs_max are over all elements, `walk` holds the elements at flat
indices (i * 7919) mod len, i = 0..255, of the contiguous NCHW tensor.
"""

import importlib.util
import math
import sys
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from stream import image, uniform, walk, write

HERE = Path(__file__).parent
LARGEST = 1 << 24
SIDE = 37


def positions(width):
    u = uniform("pos_embed", (1 + SIDE * SIDE) * width).reshape(1 + SIDE * SIDE, width)
    p0, p1, p2, p3, p4 = ((uniform(f"pos_embed.{k}", width) - 0.5) * 0.4 for k in range(5))
    s = ((np.arange(SIDE, dtype=np.float64) - 18.0) / 18.0)[:, None, None]
    t = ((np.arange(SIDE, dtype=np.float64) - 18.0) / 18.0)[None, :, None]
    smooth = (p0 * s + p1 * t) + (p2 * s * t + (p3 * s * s + p4 * t * t))
    patches = smooth.reshape(SIDE * SIDE, width) + 0.02 * (2.0 * u[1:] - 1.0)
    return np.concatenate([(u[:1] - 0.5) * 0.2, patches])[None]


def formula(key, shape, branch_end, norm_gain):
    """The tensor that the module docstring defines for `key`."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    u = uniform(key, math.prod(shape))
    if key == "pos_embed":
        v = positions(shape[-1])
    elif key == "cls_token" or key.endswith("running_mean") or key.endswith("bias"):
        v = (u - 0.5) * 0.2
    elif key.endswith("running_var"):
        v = 0.5 + u
    elif len(shape) in (2, 4):
        gain = 2.0 if "qkv" in key else 1.4
        v = (2.0 * u - 1.0) * (gain * math.sqrt(3.0 / math.prod(shape[1:])))
    elif key.endswith("gamma"):
        v = 0.1 + 0.4 * u
    elif branch_end and key.endswith(branch_end):
        v = 0.2 + 0.2 * u
    else:
        v = (0.5 + 0.5 * u) * norm_gain
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def summary(scale, exact, single):
    flat = exact.contiguous().numpy().reshape(-1)
    return {
        "scale": scale,
        "shape": list(exact.shape),
        "mean": float(flat.mean()),
        "std": float(flat.std()),
        "abs_max": float(np.abs(flat).max()),
        "f32_max_abs_diff": float((exact - single.double()).abs().max()),
        "walk": walk(flat),
    }


def module(name):
    path = HERE / f"{name}.py"
    if not path.is_file():
        sys.exit(f"{path} is missing: it must define PACKAGES, network() and features(net, x); see {__file__}")
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def weights(backbone):
    if hasattr(backbone, "published"):
        return backbone.published()
    facts = (getattr(backbone, "BRANCH_END", None), getattr(backbone, "NORM_GAIN", 1.0))
    return OrderedDict(
        (k, formula(k, tuple(v.shape), *facts) if v.numel() <= LARGEST else v)
        for k, v in backbone.network().state_dict().items()
    )


def load(backbone, state):
    if hasattr(backbone, "load"):
        return backbone.load(state).eval()
    net = backbone.network()
    net.load_state_dict(state)
    return net.eval()


def make(name):
    backbone = module(name)
    state = weights(backbone)
    net = load(backbone, state)
    cases = []
    for shape in getattr(backbone, "SHAPES", ((2, 3, 64, 96),)):
        x = image(shape)
        single = backbone.features(net.float(), x)
        exact = backbone.features(net.double(), x.double())
        facts = backbone.case_facts(state, x, exact) if hasattr(backbone, "case_facts") else {}
        for k in exact:
            cases.append({"input_shape": list(shape), **summary(k, exact[k], single[k]), **facts.get(k, {})})
            print(name, shape, k, tuple(exact[k].shape), f"std {exact[k].std():.3f} abs_max {exact[k].abs().max():.2f}")
    key_facts = getattr(backbone, "key_facts", lambda key, tensor: {})
    optional = {k.lower(): getattr(backbone, k) for k in ("BRANCH_END", "NORM_GAIN", "TOLERANCE") if hasattr(backbone, k)}
    packages = ("torch", "numpy", *backbone.PACKAGES)
    write(HERE / f"{name}.json", {
        "made_with": {"script": f"tests/reference/backbones/make.py {name}", **{p: version(p) for p in packages}},
        **optional,
        "keys": [{"name": k, "shape": list(v.shape), **key_facts(k, v)} for k, v in state.items()],
        "features": cases,
    })


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} NAME...")
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for argument in sys.argv[1:]:
        make(argument)
