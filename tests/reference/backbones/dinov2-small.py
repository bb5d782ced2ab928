"""DINOv2's ViT-S/14 as transformers computes it.

The keys are the original checkpoint's, which timm shares. The network is transformers' Dinov2Model as
facebook/dinov2-small configures it. Features: hidden states behind blocks 3, 7, 11 (from 0), the last normalisation
applied, the class token dropped, (N, 384, H/14, W/14). timm's vit_small_patch14_dinov2, loaded with the original
keys, must agree at 518 x 518, where nothing is interpolated.

`deviation` tells what candle-transformers 0.11.1 does otherwise, as ||changed - published|| / ||published|| over all
elements of a scale: position embeddings by nearest neighbour (index floor(i * 37 / n)), GELU's tanh approximation,
epsilon 1e-5, and the last two together, which is what fmam leaves.

The fixture was made with timm 1.0.31 and transformers 5.24.0.
"""

import tempfile
from collections import OrderedDict
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from stream import image
from transformers import Dinov2Config, Dinov2Model

PACKAGES = ("transformers", "timm")
# The last has another height than width, and two images.
SHAPES = ((1, 3, 224, 224), (1, 3, 448, 448), (2, 3, 112, 308))
# The approximations that fmam leaves move features by 2e-4; nearest position embeddings would by a hundred times that.
TOLERANCE = 3e-4
TAPS = (3, 7, 11)
SIDE = 37
WIDTH = 384


def network():
    return timm.create_model("vit_small_patch14_dinov2", pretrained=False)


def load(state):
    published = transformers_network(state)
    check_timm(state, published)
    return published


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


def transformers_network(state, nearest=False, tanh=False, epsilon=1e-6):
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
    net = net.eval()
    if nearest:
        def interpolate(embeddings, height, width):
            pos = net.embeddings.position_embeddings
            patches = pos[:, 1:].reshape(1, SIDE, SIDE, WIDTH).permute(0, 3, 1, 2)
            patches = F.interpolate(patches, size=(height // 14, width // 14), mode="nearest")
            return torch.cat([pos[:, :1], patches.permute(0, 2, 3, 1).reshape(1, -1, WIDTH)], 1)

        net.embeddings.interpolate_pos_encoding = interpolate
    return net


def features(net, x):
    hidden = net(pixel_values=x, output_hidden_states=True).hidden_states
    n, _, h, w = x.shape
    out = OrderedDict()
    for i in TAPS:
        tokens = net.layernorm(hidden[i + 1])[:, 1:]
        out[f"block{i}"] = tokens.reshape(n, h // 14, w // 14, WIDTH).permute(0, 3, 1, 2).contiguous()
    return out


def deviation(actual, expected):
    return {k: float((actual[k] - expected[k]).norm() / expected[k].norm()) for k in expected}


def case_facts(state, x, exact):
    changes = {
        "nearest": {"nearest": True},
        "tanh": {"tanh": True},
        "epsilon": {"epsilon": 1e-5},
        "tanh, epsilon": {"tanh": True, "epsilon": 1e-5},
    }
    facts = {k: {"deviation": {}} for k in exact}
    for name, change in changes.items():
        changed = features(transformers_network(state, **change).double(), x.double())
        for k, value in deviation(changed, exact).items():
            facts[k]["deviation"][name] = value
    return facts


def check_timm(state, published):
    net = network().eval()
    net.load_state_dict(state, strict=True)
    x = image((1, 3, 518, 518))
    theirs = net.double().forward_intermediates(x.double(), indices=list(TAPS), norm=True, intermediates_only=True)
    for (name, expected), actual in zip(features(published.double(), x.double()).items(), theirs):
        worst = float((actual - expected).abs().max())
        print("timm", name, f"{worst:.2e}")
        assert worst < 1e-9, worst
