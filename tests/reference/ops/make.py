"""Forward values and gradients of every operator, by PyTorch (and SciPy) in float64; fixtures for fmam-ops.

Writes one JSON file per group next to this file: conv2d_dense, conv2d_same, conv2d_grouped, conv_transpose2d, batch_norm,
pool, activation, upsample, gaussian_blur, cosine_distance, optimizer. Every input is a multiple of 1/256 and exact in f32,
so f32 code sees the same numbers. Tensors are NCHW, convolution weights OIHW, transposed-convolution weights IOHW, all
row-major. `grads` is the gradient of sum(output * grad_output) with respect to each named input.

Conventions worth knowing
  pads           [top, bottom, left, right], zeros. TensorFlow SAME: total = max((ceil(n / s) - 1) * s + k - n, 0), the
                 smaller half first, so at stride 2 an even size gets (0, 1) for k = 3 and (1, 2) for k = 5.
  max_pool2d     padding counts as -inf; on a tie the whole gradient goes to the first maximum in row-major order.
  avg_pool2d     padding counts as zeros in the mean (count_include_pad).
  relu, relu6    gradient 0 at 0 and, for relu6, at 6.
  batch_norm     normalises by the biased variance; running = 0.9 running + 0.1 batch, with the unbiased variance.
  bilinear       align_corners = false: source (i + 0.5) * in / out - 0.5, below 0 taken as 0;
                 true: i * (in - 1) / (out - 1), 0 for out = 1. No antialiasing when shrinking. nearest: floor(i * in / out).
  gaussian_blur  scipy.ndimage.gaussian_filter over H and W, radius int(truncate * sigma + 0.5), mode "reflect": the edge
                 value is repeated (d c b a | a b c d | d c b a), again and again where the radius exceeds the size.
  cosine_distance  1 - torch.nn.functional.cosine_similarity(a, b, dim=1, eps=1e-8), output (N, H, W).
"""

import json
import math
from pathlib import Path

import numpy as np
import scipy
import scipy.ndimage
import torch
import torch.nn.functional as F

HERE = Path(__file__).parent
MADE_WITH = {"script": "tests/reference/ops/make.py", "torch": torch.__version__, "numpy": np.__version__,
             "scipy": scipy.__version__}


def grid(rng, *shape):
    """Normal values rounded to multiples of 1/256."""
    return torch.from_numpy(np.round(rng.standard_normal(shape) * 256) / 256)


def tensor(t):
    t = torch.as_tensor(t)
    return {"shape": list(t.shape), "data": t.detach().reshape(-1).tolist()}


def case(rng, name, op, params, inputs, function):
    """One forward and backward; `inputs` all receive gradients."""
    leaves = {k: t.clone().requires_grad_() for k, t in inputs.items()}
    output = function(*leaves.values())
    seed = grid(rng, *output.shape)
    grads = torch.autograd.grad(output, list(leaves.values()), seed)
    return {
        "name": name,
        "op": op,
        "params": params,
        "inputs": {k: tensor(t) for k, t in inputs.items()},
        "output": tensor(output),
        "grad_output": tensor(seed),
        "grads": dict(zip(leaves, map(tensor, grads))),
    }


def write(group, cases):
    rows = ",\n  ".join(json.dumps(row) for row in cases)
    text = f'{{\n "made_with": {json.dumps(MADE_WITH)},\n "cases": [\n  {rows}\n ]\n}}\n'
    (HERE / f"{group}.json").write_text(text)
    print(f"{group}: {len(cases)} cases, {len(text) // 1024} kB")


def same_pads(size, kernel, stride):
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return [total // 2, total - total // 2]


def conv2d(rng, name, x, out_channels, kernel, stride=1, pad=0, groups=1, bias=False):
    _, c, h, w = x
    pads = same_pads(h, kernel, stride) + same_pads(w, kernel, stride) if pad == "same" else [pad] * 4
    top, bottom, left, right = pads
    inputs = {"x": grid(rng, *x), "weight": grid(rng, out_channels, c // groups, kernel, kernel)}
    if bias:
        inputs["bias"] = grid(rng, out_channels)

    def function(x, weight, bias=None):
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, groups=groups)

    params = {"stride": stride, "pads": pads, "groups": groups, "padding": "same" if pad == "same" else "explicit"}
    return case(rng, name, "conv2d", params, inputs, function)


def conv2d_dense(rng):
    write("conv2d_dense", [
        conv2d(rng, "1x1", (2, 3, 4, 5), 4, 1, bias=True),
        conv2d(rng, "1x1_stride2", (1, 3, 5, 6), 4, 1, stride=2),
        conv2d(rng, "1x1_odd_channels", (1, 9, 2, 3), 17, 1),
        conv2d(rng, "3x3", (2, 3, 5, 4), 4, 3, pad=1, bias=True),
        conv2d(rng, "3x3_odd_channels", (1, 9, 3, 4), 11, 3, pad=1),
        conv2d(rng, "3x3_unpadded", (1, 2, 5, 6), 3, 3),
        conv2d(rng, "3x3_smaller_than_kernel", (1, 2, 1, 2), 3, 3, pad=1),
        conv2d(rng, "3x3_stride2_9x8", (1, 3, 9, 8), 4, 3, stride=2, pad=1),
        conv2d(rng, "3x3_stride2_8x9", (1, 3, 8, 9), 4, 3, stride=2, pad=1),
        conv2d(rng, "3x3_stride2_8x8", (2, 2, 8, 8), 3, 3, stride=2, pad=1),
        conv2d(rng, "7x7_stride2_9x8", (1, 3, 9, 8), 4, 7, stride=2, pad=3),
    ])


def conv2d_same(rng):
    cases = []
    for kernel in (3, 5):
        for h, w in ((8, 6), (7, 9), (6, 7)):
            name = f"{kernel}x{kernel}_stride2_{h}x{w}"
            cases.append(conv2d(rng, f"dense_{name}", (1, 2, h, w), 3, kernel, stride=2, pad="same"))
            cases.append(conv2d(rng, f"depthwise_{name}", (1, 3, h, w), 3, kernel, stride=2, pad="same", groups=3))
    write("conv2d_same", cases)


def conv2d_grouped(rng):
    write("conv2d_grouped", [
        conv2d(rng, "groups2_3x3", (1, 4, 5, 4), 6, 3, pad=1, groups=2, bias=True),
        conv2d(rng, "groups2_3x3_stride2", (1, 4, 5, 6), 6, 3, stride=2, pad=1, groups=2),
        conv2d(rng, "depthwise_3x3", (2, 5, 5, 4), 5, 3, pad=1, groups=5, bias=True),
        conv2d(rng, "depthwise_3x3_17_channels", (1, 17, 4, 3), 17, 3, pad=1, groups=17),
        conv2d(rng, "depthwise_3x3_stride2_9x8", (1, 3, 9, 8), 3, 3, stride=2, pad=1, groups=3),
        conv2d(rng, "depthwise_5x5", (1, 3, 6, 5), 3, 5, pad=2, groups=3),
        conv2d(rng, "depthwise_5x5_smaller_than_kernel", (1, 3, 2, 1), 3, 5, pad=2, groups=3),
    ])


def conv_transpose2d(rng):
    cases = []
    for name, x, out_channels, kernel, stride, pad, bias in (
        ("2x2_stride2", (2, 3, 3, 4), 4, 2, 2, 0, True),
        ("2x2_stride2_odd_channels", (1, 9, 2, 3), 7, 2, 2, 0, False),
        ("4x4_stride2_pad1", (1, 3, 3, 4), 2, 4, 2, 1, False),
        ("4x4_stride2_pad1_one_pixel", (1, 3, 1, 1), 2, 4, 2, 1, True),
        ("3x3_stride1_pad1", (1, 2, 4, 3), 3, 3, 1, 1, False),
    ):
        inputs = {"x": grid(rng, *x), "weight": grid(rng, x[1], out_channels, kernel, kernel)}
        if bias:
            inputs["bias"] = grid(rng, out_channels)

        def function(x, weight, bias=None, stride=stride, pad=pad):
            return F.conv_transpose2d(x, weight, bias, stride, pad)

        cases.append(case(rng, name, "conv_transpose2d", {"stride": stride, "padding": pad}, inputs, function))
    write("conv_transpose2d", cases)


def batch_norm(rng):
    cases = []
    for name, shape, eps, shift in (("basic", (2, 3, 4, 3), 1e-5, 0.0), ("eps_1e-3", (3, 2, 2, 3), 1e-3, 0.0),
                                    ("odd_channels", (2, 17, 1, 2), 1e-5, 0.0), ("one_position", (4, 3, 1, 1), 1e-5, 0.0),
                                    ("large_mean", (2, 2, 3, 3), 1e-5, 256.0)):
        c = shape[1]
        for training in (True, False):
            x = grid(rng, *shape) + shift
            mean, var = grid(rng, c) + shift, 0.5 + grid(rng, c).abs()
            inputs = {"x": x, "weight": grid(rng, c), "bias": grid(rng, c)}
            new_mean, new_var = mean.clone(), var.clone()

            def function(x, weight, bias):
                return F.batch_norm(x, new_mean, new_var, weight, bias, training, 0.1, eps)

            row = case(rng, f"{name}_{'training' if training else 'inference'}", "batch_norm",
                       {"training": training, "momentum": 0.1, "eps": eps}, inputs, function)
            row["running_mean"], row["running_var"] = tensor(mean), tensor(var)
            row["new_running_mean"], row["new_running_var"] = tensor(new_mean), tensor(new_var)
            cases.append(row)
    write("batch_norm", cases)


def pool(rng):
    cases = []
    for kernel, stride, pad in ((3, 2, 1), (2, 2, 0)):
        for h, w in ((8, 6), (9, 8), (7, 5)):
            for ties in (False, True):
                # with ties: integers in -1..1, so most windows hold their maximum several times
                x = torch.from_numpy(rng.integers(-1, 2, (1, 2, h, w)).astype(np.float64)) if ties else grid(rng, 1, 2, h, w)
                name = f"max_{kernel}x{kernel}_stride{stride}_{h}x{w}{'_ties' if ties else ''}"
                cases.append(case(rng, name, "max_pool2d", {"kernel": kernel, "stride": stride, "padding": pad}, {"x": x},
                                  lambda x: F.max_pool2d(x, kernel, stride, pad)))
    all_negative = -1 - grid(rng, 1, 2, 5, 4).abs()
    cases.append(case(rng, "max_3x3_stride2_negative", "max_pool2d", {"kernel": 3, "stride": 2, "padding": 1},
                      {"x": all_negative}, lambda x: F.max_pool2d(x, 3, 2, 1)))
    for kernel, stride, pad, h, w in ((2, 2, 0, 6, 8), (2, 2, 0, 7, 5), (3, 1, 1, 5, 4), (3, 2, 1, 7, 6), (4, 4, 0, 8, 4)):
        name = f"avg_{kernel}x{kernel}_stride{stride}_{h}x{w}"
        cases.append(case(rng, name, "avg_pool2d", {"kernel": kernel, "stride": stride, "padding": pad},
                          {"x": grid(rng, 2, 2, h, w)}, lambda x: F.avg_pool2d(x, kernel, stride, pad)))
    cases.append(case(rng, "global_avg", "global_avg_pool2d", {}, {"x": grid(rng, 2, 3, 3, 4)},
                      lambda x: x.mean((2, 3), keepdim=True)))
    write("pool", cases)


def activation(rng):
    x = grid(rng, 2, 3, 3, 4) * 4
    x.reshape(-1)[:6] = torch.tensor([0.0, -0.0, 6.0, 6.0 + 2.0**-8, 6.0 - 2.0**-8, 2.0**-8])
    write("activation", [case(rng, "relu", "relu", {}, {"x": x}, F.relu),
                         case(rng, "relu6", "relu6", {}, {"x": x}, F.relu6)])


def upsample(rng):
    cases = []
    for h, w, out_h, out_w in ((3, 4, 6, 8), (3, 5, 7, 11), (2, 3, 16, 24), (1, 4, 3, 8), (4, 3, 4, 3), (6, 7, 3, 4),
                               (3, 4, 1, 1)):
        for mode, align in (("bilinear", True), ("bilinear", False), ("nearest", None)):
            suffix = {True: "_align_corners", False: "_half_pixel", None: ""}[align]
            params = {"mode": mode, "size": [out_h, out_w]} | ({} if align is None else {"align_corners": align})
            shape = (1, 1, h, w) if out_h * out_w > 200 else (2, 2, h, w)
            name = f"{mode}{suffix}_{h}x{w}_to_{out_h}x{out_w}"
            cases.append(case(rng, name, "upsample", params, {"x": grid(rng, *shape)},
                              lambda x: F.interpolate(x, (out_h, out_w), mode=mode, align_corners=align)))
    write("upsample", cases)


def gaussian_blur(rng):
    cases = []
    for name, shape, sigma in (("sigma4", (1, 1, 36, 41), 4.0), ("sigma4_smaller_than_radius", (2, 1, 12, 7), 4.0),
                               ("sigma1.5", (1, 2, 11, 14), 1.5), ("one_row", (1, 1, 1, 9), 4.0)):
        x = grid(rng, *shape)
        y = scipy.ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma), mode="reflect", truncate=4.0)
        radius = int(4.0 * sigma + 0.5)
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        kernel /= kernel.sum()
        by_hand = np.pad(x.numpy(), ((0, 0), (0, 0), (radius, radius), (radius, radius)), mode="symmetric")
        for axis in (2, 3):
            by_hand = np.apply_along_axis(lambda v: np.convolve(v, kernel, "valid"), axis, by_hand)
        assert np.abs(by_hand - y).max() < 1e-12
        cases.append({"name": name, "op": "gaussian_blur", "params": {"sigma": sigma, "truncate": 4.0, "radius": radius},
                      "inputs": {"x": tensor(x)}, "output": tensor(y)})
    write("gaussian_blur", cases)


def cosine_distance(rng):
    cases = []
    for name, shape in (("basic", (2, 5, 3, 4)), ("odd_channels", (1, 19, 2, 3)), ("one_channel", (2, 1, 2, 2))):
        cases.append(case(rng, name, "cosine_distance", {"eps": 1e-8}, {"a": grid(rng, *shape), "b": grid(rng, *shape)},
                          lambda a, b: 1 - F.cosine_similarity(a, b, dim=1)))
    a = grid(rng, 2, 5, 2, 3)
    for name, b in (("identical", a), ("opposite", -a), ("scaled", 4 * a)):
        cases.append(case(rng, name, "cosine_distance", {"eps": 1e-8}, {"a": a, "b": b},
                          lambda a, b: 1 - F.cosine_similarity(a, b, dim=1)))
    zero = a.clone()
    zero[0, :, 0, 0] = 0.0
    b = grid(rng, 2, 5, 2, 3)
    # forward only: a zero vector has distance 1; PyTorch's gradient there is about 1e8 and no model to follow
    cases.append({"name": "zero_vector", "op": "cosine_distance", "params": {"eps": 1e-8},
                  "inputs": {"a": tensor(zero), "b": tensor(b)}, "output": tensor(1 - F.cosine_similarity(zero, b, dim=1))})
    write("cosine_distance", cases)


def optimizer(rng):
    n, steps = 19, 5
    start, gradients = grid(rng, n), grid(rng, steps, n)
    gradients[:, 0] = 0.0  # an element that never receives a gradient
    gradients[0, 1] = 0.0  # one that receives its first at the second step
    cases = []
    for name, make, params, slots in (
        ("adam", torch.optim.Adam, {"lr": 5e-3, "betas": (0.5, 0.999), "eps": 1e-8, "weight_decay": 0.0},
         {"exp_avg": "m", "exp_avg_sq": "v"}),
        ("sgd", torch.optim.SGD, {"lr": 0.4, "momentum": 0.9, "weight_decay": 1e-4}, {"momentum_buffer": "velocity"}),
    ):
        p = start.clone().requires_grad_()
        opt = make([p], **params)
        after = []
        for g in gradients:
            p.grad = g.clone()
            opt.step()
            after.append({"param": tensor(p)} | {ours: tensor(opt.state[p][theirs]) for theirs, ours in slots.items()})
        cases.append({"name": name, "op": name, "params": params, "start": tensor(start),
                      "gradients": [tensor(g) for g in gradients], "after": after})
    write("optimizer", cases)


if __name__ == "__main__":
    torch.set_num_threads(1)
    groups = (conv2d_dense, conv2d_same, conv2d_grouped, conv_transpose2d, batch_norm, pool, activation, upsample,
              gaussian_blur, cosine_distance, optimizer)
    for index, group in enumerate(groups):
        group(np.random.default_rng(index))  # a group does not depend on those before it
