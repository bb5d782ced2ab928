"""Features of DINOv2's ViT-S/14 as transformers computes them; the fixture dinov2.json for fmam-models.

Weights and images come from u(key, i) of make.py's docstring. The keys are the original checkpoint's. Element values, in
f64 in exactly this order of operations, then rounded once to f32; the first rule that fits the key (c: the channel, index
along the last axis):
  pos_embed, class token (row 0)        (u - 0.5) * 0.2                                  u("pos_embed", i)
  pos_embed, patch (y, x) of 37 x 37    ((p0 * s + p1 * t) + (p2 * s * t + (p3 * s * s + p4 * t * t))) + 0.02 * (2 * u - 1)
                                        s = (y - 18) / 18, t = (x - 18) / 18, pk = (u("pos_embed.k", c) - 0.5) * 0.4
                                        (smooth, as trained ones are, with a little noise)
  cls_token, ends with "bias"           (u - 0.5) * 0.2
  4 dimensions, 2 dimensions            (2 * u - 1) * (g * sqrt(3 / fan_in)),   fan_in = product of s[1:],
                                        g = 2 for "qkv", which makes attention uneven, else 1.4
  ends with "gamma"                     0.1 + 0.4 * u
  else (norm weights)                   0.5 + 0.5 * u
Image of shape s: (2 * u("input", i) - 1).

The network is transformers' Dinov2Model as facebook/dinov2-small configures it. Features: hidden states behind blocks 3, 7, 11
(from 0), the last normalisation applied, the class token dropped, (N, 384, H/14, W/14), in float64. timm's
vit_small_patch14_dinov2, loaded with the original keys, must agree at 518 x 518, where nothing is interpolated.

`deviation` says what candle-transformers 0.11.1 does otherwise, as ||changed - published|| / ||published|| over all elements of
a scale: position embeddings by nearest neighbour (index floor(i * 37 / n)), GELU's tanh approximation, epsilon 1e-5, and the
last two together, which is what fmam leaves.

Needs, beside what make.py needs: pip install timm==1.0.31 transformers==5.24.0
"""

import json
import math
import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model

from stream import image, uniform, walk

HERE = Path(__file__).parent
MADE_WITH = {
    "script": "tests/reference/models/dinov2.py",
    "torch": torch.__version__,
    "transformers": transformers.__version__,
    "timm": timm.__version__,
    "numpy": np.__version__,
}
TAPS = (3, 7, 11)
SIDE = 37
WIDTH = 384


def positions():
    u = uniform("pos_embed", (1 + SIDE * SIDE) * WIDTH).reshape(1 + SIDE * SIDE, WIDTH)
    p0, p1, p2, p3, p4 = ((uniform(f"pos_embed.{k}", WIDTH) - 0.5) * 0.4 for k in range(5))
    s = ((np.arange(SIDE, dtype=np.float64) - 18.0) / 18.0)[:, None, None]
    t = ((np.arange(SIDE, dtype=np.float64) - 18.0) / 18.0)[None, :, None]
    smooth = (p0 * s + p1 * t) + (p2 * s * t + (p3 * s * s + p4 * t * t))
    patches = smooth.reshape(SIDE * SIDE, WIDTH) + 0.02 * (2.0 * u[1:] - 1.0)
    return np.concatenate([(u[:1] - 0.5) * 0.2, patches])[None]


def formula(key, shape):
    """The tensor that the module docstring defines for `key`."""
    if key == "pos_embed":
        v = positions()
    else:
        u = uniform(key, math.prod(shape))
        if key == "cls_token" or key.endswith("bias"):
            v = (u - 0.5) * 0.2
        elif len(shape) in (2, 4):
            gain = 2.0 if "qkv" in key else 1.4
            v = (2.0 * u - 1.0) * (gain * math.sqrt(3.0 / math.prod(shape[1:])))
        elif key.endswith("gamma"):
            v = 0.1 + 0.4 * u
        else:
            v = 0.5 + 0.5 * u
    return torch.from_numpy(v.astype(np.float32).reshape(shape))


def hugging_face(state):
    """The original state dict under transformers' names."""
    out = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.mask_token": torch.zeros(1, WIDTH),
        "embeddings.position_embeddings": state["pos_embed"],
    }
    for p in ("weight", "bias"):
        out[f"embeddings.patch_embeddings.projection.{p}"] = state[f"patch_embed.proj.{p}"]
        out[f"layernorm.{p}"] = state[f"norm.{p}"]
    for i in range(12):
        ours, theirs = f"blocks.{i}", f"encoder.layer.{i}"
        for p in ("weight", "bias"):
            for j, name in enumerate(("query", "key", "value")):
                out[f"{theirs}.attention.attention.{name}.{p}"] = state[f"{ours}.attn.qkv.{p}"][j * WIDTH:(j + 1) * WIDTH]
            out[f"{theirs}.attention.output.dense.{p}"] = state[f"{ours}.attn.proj.{p}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                out[f"{theirs}.{name}.{p}"] = state[f"{ours}.{name}.{p}"]
        for j in (1, 2):
            out[f"{theirs}.layer_scale{j}.lambda1"] = state[f"{ours}.ls{j}.gamma"]
    return out


def network(state, nearest=False, tanh=False, epsilon=1e-6):
    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=12, num_attention_heads=6, mlp_ratio=4, image_size=518, patch_size=14,
        layer_norm_eps=epsilon, hidden_act="gelu_pytorch_tanh" if tanh else "gelu",
    )
    # From a folder, as the published names are not those of the modules: from_pretrained translates them.
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        tensors = {k: v.contiguous() for k, v in hugging_face(state).items()}
        save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        net, info = Dinov2Model.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32, output_loading_info=True
        )
    assert not any(info.values()), info
    net = net.eval().double()
    if nearest:
        def interpolate(embeddings, height, width):
            pos = net.embeddings.position_embeddings
            patches = pos[:, 1:].reshape(1, SIDE, SIDE, WIDTH).permute(0, 3, 1, 2)
            patches = F.interpolate(patches, size=(height // 14, width // 14), mode="nearest")
            return torch.cat([pos[:, :1], patches.permute(0, 2, 3, 1).reshape(1, -1, WIDTH)], 1)

        net.embeddings.interpolate_pos_encoding = interpolate
    return net


def features(net, x):
    hidden = net(pixel_values=x.double(), output_hidden_states=True).hidden_states
    n, _, h, w = x.shape
    out = OrderedDict()
    for i in TAPS:
        tokens = net.layernorm(hidden[i + 1])[:, 1:]
        out[f"block{i}"] = tokens.reshape(n, h // 14, w // 14, WIDTH).permute(0, 3, 1, 2).contiguous()
    return out


def deviation(actual, expected):
    return {k: float((actual[k] - expected[k]).norm() / expected[k].norm()) for k in expected}


def summary(scale, exact):
    flat = exact.numpy().reshape(-1)
    return {
        "scale": scale,
        "shape": list(exact.shape),
        "mean": float(flat.mean()),
        "std": float(flat.std()),
        "abs_max": float(np.abs(flat).max()),
        "walk": walk(flat),
    }


def check_timm(state, published):
    net = timm.create_model("vit_small_patch14_dinov2", pretrained=False).eval()
    net.load_state_dict(state, strict=True)
    x = image((1, 3, 518, 518))
    theirs = net.double().forward_intermediates(x.double(), indices=list(TAPS), norm=True, intermediates_only=True)
    for (name, expected), actual in zip(features(published, x).items(), theirs):
        worst = float((actual - expected).abs().max())
        print("timm", name, f"{worst:.2e}")
        assert worst < 1e-9, worst


def main():
    timm_state = timm.create_model("vit_small_patch14_dinov2", pretrained=False).state_dict()
    state = OrderedDict((k, formula(k, tuple(v.shape))) for k, v in timm_state.items())
    published = network(state)
    check_timm(state, published)
    changes = {
        "nearest": {"nearest": True},
        "tanh": {"tanh": True},
        "epsilon": {"epsilon": 1e-5},
        "tanh, epsilon": {"tanh": True, "epsilon": 1e-5},
    }
    changed = {name: network(state, **change) for name, change in changes.items()}
    cases = []
    for shape in ((1, 3, 224, 224), (1, 3, 448, 448), (2, 3, 112, 308)):
        x = image(shape)
        expected = features(published, x)
        deviations = {name: deviation(features(net, x), expected) for name, net in changed.items()}
        for name, values in deviations.items():
            print(shape, name, {k: f"{v:.2e}" for k, v in values.items()})
        for k in expected:
            summed = summary(k, expected[k])
            deviates = {name: values[k] for name, values in deviations.items()}
            cases.append({"input_shape": list(shape), "deviation": deviates, "published": summed})
    keys = ",\n  ".join(json.dumps({"name": k, "shape": list(v.shape)}) for k, v in state.items())
    rows = ",\n  ".join(json.dumps(case) for case in cases)
    (HERE / "dinov2.json").write_text(
        f'{{\n "made_with": {json.dumps(MADE_WITH)},\n "keys": [\n  {keys}\n ],\n "features": [\n  {rows}\n ]\n}}\n'
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    main()
