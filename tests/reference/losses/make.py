"""Values and gradients of the losses, by PyTorch's autograd in float64; fixture for fmam-losses.

Writes losses.json next to this file. Every input is a multiple of 1/256 (or exactly representable in f32), so f32 code
sees the same numbers. Gradients are those of the stored value with respect to each named input.

cosine_per_position(a, b)   mean over batch and positions of 1 - cos over channels; inputs (N, C, H, W)
cosine_flattened(a, b)      mean over the batch of 1 - cos(flatten(a), flatten(b)), as RD4AD's code does it
keep(z, f, lambda)          lambda * cosine_per_position(z, f)
  cos is torch.nn.functional.cosine_similarity with eps = 1e-8. PyTorch clamps each norm separately,
  sum(x1 / max(|x1|, eps) * x2 / max(|x2|, eps)), not the product of the norms; checked below.

hypersphere_classifier(outputs, y)   FCDD (Liznerski et al. 2021): outputs (N, H, W), y (N) in {0, 1}; with
  a = mean over an image's positions of sqrt(o^2 + 1) - 1: mean over the batch of a where y = 0, -log(1 - exp(-a)) where y = 1
multiresolution(teacher, cloner, lambda)   MRKD (Salehi et al. 2021) at one layer, inputs (N, C, H, W):
  mean squared difference of all values + lambda * cosine_flattened

angular_margin (design.md section 3) at one scale over the whole batch, from c = cos(z', z) over channels
(features) or from c itself (cos), with the pooled masks m and v of shape (N, 1, H, W), N x H x W values each:
  m = average pool of the synthesis mask M; v = average pool of (M and visibly changed), so v <= m
  P = {p: m(p) < 0.01}, N = {p: v(p) > 0.5}, both strict; every other position is in neither
  a = log mean_N exp(s * c)                     c as it is, not clamped
  b = log mean_P exp(-s * cos(min(theta + margin, pi))), theta = acos(clamp(c, -1 + 1e-6, 1 - 1e-6))
  loss = softplus(a + b) / s; 0 with zero gradients when P or N is empty (there is no pair to separate)
The gradient through theta is 0 where a clamp is active (c beyond +-(1 - 1e-6), or theta + margin > pi), so it is finite
everywhere. Without acos: cos(theta + margin) = c cos(margin) - sqrt(1 - c^2) sin(margin) while c >= -cos(margin), else -1.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

MADE_WITH = {"script": "tests/reference/losses/make.py", "torch": torch.__version__, "numpy": np.__version__}
CLAMP = 1e-6


def cosine_per_position(a, b):
    return (1 - F.cosine_similarity(a, b, dim=1)).mean()


def cosine_flattened(a, b):
    return (1 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)).mean()


def keep(z, f, lam):
    return lam * cosine_per_position(z, f)


def hypersphere_classifier(outputs, y):
    norms = (torch.sqrt(outputs**2 + 1) - 1).mean((1, 2))
    return torch.stack([-torch.log(-torch.expm1(-a)) if label else a for a, label in zip(norms, y.tolist())]).mean()


def multiresolution(teacher, cloner, lam):
    return F.mse_loss(cloner, teacher) + lam * cosine_flattened(teacher, cloner)


def angular_margin_cos(cos, m, v, s, margin):
    cos = cos.reshape(-1)
    positive, negative = m.reshape(-1) < 0.01, v.reshape(-1) > 0.5
    if not positive.any() or not negative.any():
        return 0.0 + cos.sum() * 0.0
    theta = torch.acos(cos[positive].clamp(-1 + CLAMP, 1 - CLAMP))
    shifted = torch.cos((theta + margin).clamp(max=math.pi))
    a = torch.logsumexp(s * cos[negative], 0) - math.log(int(negative.sum()))
    b = torch.logsumexp(-s * shifted, 0) - math.log(int(positive.sum()))
    return F.softplus(a + b, threshold=1e9) / s


def angular_margin_features(z_defect, z_normal, m, v, s, margin):
    return angular_margin_cos(F.cosine_similarity(z_defect, z_normal, dim=1), m, v, s, margin)


def angular_margin_by_hand(cos, m, v, s, margin):
    """The same loss in scalar Python without acos: guards against a slip in the tensor code."""
    neg = [math.exp(s * c) for c, x in zip(cos, v) if x > 0.5]
    pos = []
    for c, x in zip(cos, m):
        if x < 0.01:
            c = min(max(c, -1 + CLAMP), 1 - CLAMP)
            inside = c >= -math.cos(margin)
            pos.append(math.exp(-s * (c * math.cos(margin) - math.sqrt(1 - c * c) * math.sin(margin) if inside else -1)))
    if not neg or not pos:
        return 0.0
    return math.log1p(sum(neg) / len(neg) * sum(pos) / len(pos)) / s


def grid(rng, *shape, scale=1.0):
    """Normal values rounded to multiples of scale/256."""
    return torch.from_numpy(np.round(rng.standard_normal(shape) * 256) / 256 * scale)


def tensor(t):
    return {"shape": list(t.shape), "data": t.detach().reshape(-1).tolist()}


CASES = []


def case(name, loss, function, inputs, constants=None, params=None, note=None):
    leaves = {k: t.clone().requires_grad_() for k, t in inputs.items()}
    constants, params = constants or {}, params or {}
    value = function(*leaves.values(), *constants.values(), *params.values())
    grads = torch.autograd.grad(value, list(leaves.values()))
    assert all(torch.isfinite(g).all() for g in grads) and math.isfinite(value.item()), name
    row = {
        "name": name,
        "loss": loss,
        "params": params,
        "inputs": {k: tensor(t) for k, t in {**inputs, **constants}.items()},
        "value": value.item(),
        "grads": dict(zip(leaves, map(tensor, grads))),
    }
    if note:
        row["note"] = note
    CASES.append(row)
    return value.item()


def masks(rng, n, h, w):
    """Pooled masks with every kind of position: untouched, boundary values, partly covered, covered but faint, negative."""
    kinds = [(0.0, 0.0), (0.0, 0.0), (0.0078125, 0.0), (0.01171875, 0.0), (0.25, 0.25), (0.5, 0.5), (0.50390625, 0.50390625),
             (1.0, 1.0), (1.0, 0.0), (0.75, 0.5), (0.75, 0.625)]
    pick = np.concatenate([np.arange(len(kinds)), rng.integers(0, len(kinds), n * h * w - len(kinds))])
    pair = np.array(kinds)[rng.permutation(pick)]
    return {k: torch.from_numpy(pair[:, i].reshape(n, 1, h, w).copy()) for i, k in enumerate(("m", "v"))}


def make():
    rng = np.random.default_rng(20240)

    # PyTorch's eps: per norm 0.05, on the product of the norms it would be 0.5.
    tiny = F.cosine_similarity(torch.tensor([[3e-10, 4e-10]], dtype=torch.float64), torch.tensor([[6.0, 8.0]]).double())
    assert abs(tiny.item() - 0.05) < 1e-12

    for loss, function in (("cosine_per_position", cosine_per_position), ("cosine_flattened", cosine_flattened)):
        for name, shape, scale in (("basic", (2, 5, 3, 4), 1.0), ("odd_channels", (2, 17, 2, 3), 1.0),
                                   ("one_position", (3, 4, 1, 1), 1.0), ("small", (2, 5, 3, 2), 2.0**-10),
                                   ("large", (2, 5, 3, 2), 2.0**10)):
            case(f"{loss}/{name}", loss, function,
                 {"a": grid(rng, *shape, scale=scale), "b": grid(rng, *shape, scale=scale)})
        a = grid(rng, 2, 5, 3, 2)
        case(f"{loss}/identical", loss, function, {"a": a, "b": a}, note="value and gradients 0 up to rounding")
        case(f"{loss}/opposite", loss, function, {"a": a, "b": -a}, note="value 2, gradients 0 up to rounding")
    a, b = grid(rng, 1, 3, 1, 2), grid(rng, 1, 3, 1, 2)
    a[:, :, 0, 0] = 0.0
    case("cosine_per_position/zero_vector", "cosine_per_position", cosine_per_position, {"a": a, "b": b},
         note="cos of a zero vector is 0, distance 1; PyTorch's gradient there is b / (|b| eps), about 1e8: "
              "an implementation may define it as 0, then compare the other position only")

    for lam in (0.3, 1.0):
        case(f"keep/lambda_{lam}", "keep", keep, {"z": grid(rng, 2, 5, 3, 4), "f": grid(rng, 2, 5, 3, 4)},
             params={"lambda": lam})

    default = {"s": 16.0, "margin": 0.3}
    shape = (2, 1, 4, 5)

    def cos_case(name, cos, constants, params=default, note=None):
        value = case(f"angular_margin/{name}", "angular_margin_cos", angular_margin_cos, {"cos": cos}, constants, params,
                     note)
        hand = angular_margin_by_hand(*(t.reshape(-1).tolist() for t in (cos, constants["m"], constants["v"])),
                                      *params.values())
        assert math.isclose(value, hand, rel_tol=1e-9, abs_tol=1e-12), (name, value, hand)

    def uniform(low, high):
        return torch.from_numpy(np.round(rng.uniform(low, high, shape) * 256) / 256)

    cos_case("cos_basic", uniform(-0.9, 0.9), masks(rng, 2, 4, 5))
    cos_case("cos_separated", uniform(-0.9, 0.9), masks(rng, 2, 4, 5), {"s": 4.0, "margin": 0.0})
    m = masks(rng, 2, 4, 5)
    good = torch.where(m["v"] > 0.5, -0.75, 0.9375).double()
    cos_case("cos_solved", good, m, note="negatives apart, positives together: the loss is near 0")
    clamped = uniform(-0.9, 0.9)
    clamped.reshape(-1)[::2] = torch.from_numpy(-1 + np.arange(20) / 256)  # -cos(0.3) = -0.9553
    cos_case("cos_beyond_pi", clamped, masks(rng, 2, 4, 5), note="theta + margin > pi for some positives")
    cos_case("cos_large_scale", uniform(-0.9, 0.9), masks(rng, 2, 4, 5), {"s": 200.0, "margin": 0.5},
             note="exp(s) overflows f32: needs log-sum-exp and a softplus that is linear for large arguments")
    extreme = uniform(-0.5, 0.5)
    extreme.reshape(-1)[0::4], extreme.reshape(-1)[1::4] = 1.0, -1.0
    pair = {"m": torch.zeros(shape).double(), "v": torch.zeros(shape).double()}
    for k in pair:
        pair[k].reshape(-1)[10:] = 1.0
    cos_case("cos_plus_minus_one", extreme, pair, note="cos = 1 and -1 among positives and among negatives")
    near_one = torch.from_numpy(1 - rng.integers(1, 60, shape) / 2.0**17)
    cos_case("cos_near_one", near_one, pair, note="steep but finite: d cos(theta + margin) / d cos is up to about 75")
    off = torch.zeros(shape).double()
    cos_case("no_negatives", uniform(-0.9, 0.9), {"m": off, "v": off}, note="loss 0, gradients 0")
    cos_case("only_faint", uniform(-0.9, 0.9), {"m": pair["m"], "v": off}, note="masked but faint: loss 0, gradients 0")
    cos_case("no_positives", uniform(-0.9, 0.9), {"m": off + 1, "v": off + 1}, note="loss 0, gradients 0")

    def feature_case(name, z_defect, z_normal, constants, params=default, note=None):
        case(f"angular_margin/{name}", "angular_margin_features", angular_margin_features,
             {"z_defect": z_defect, "z_normal": z_normal}, constants, params, note)

    z = grid(rng, 2, 5, 3, 4)
    feature_case("features_basic", grid(rng, 2, 5, 3, 4), z, masks(rng, 2, 3, 4))
    near = z + grid(rng, 2, 5, 3, 4, scale=0.25)
    feature_case("features_near", near, z, masks(rng, 2, 3, 4), note="as in training: z' = z + a little")
    feature_case("features_identical", z, z, masks(rng, 2, 3, 4), note="cos = 1 up to rounding, gradients about 0")
    feature_case("features_opposite", -z, z, masks(rng, 2, 3, 4), note="cos = -1 up to rounding, gradients about 0")
    feature_case("features_no_negatives", near, z, {k: torch.zeros(2, 1, 3, 4).double() for k in ("m", "v")})

    # Later additions, with numbers of their own so that those above stay as they are.
    rng = np.random.default_rng(20261)
    for name, scale, y in (("basic", 1.0, [0, 1, 1, 0]), ("small", 2.0**-6, [1, 0, 1, 0]), ("large", 32.0, [0, 1, 0, 1]),
                           ("normal_only", 1.0, [0, 0, 0, 0]), ("anomalous_only", 1.0, [1, 1, 1, 1])):
        case(f"hypersphere_classifier/{name}", "hypersphere_classifier", hypersphere_classifier,
             {"outputs": grid(rng, 4, 3, 5, scale=scale)}, {"y": torch.tensor(y).double()})
    for name, lam in (("basic", 0.5), ("values_only", 0.0), ("directions_above_all", 100.0)):
        case(f"multiresolution/{name}", "multiresolution", multiresolution,
             {"teacher": grid(rng, 2, 5, 3, 4), "cloner": grid(rng, 2, 5, 3, 4)}, params={"lambda": lam})

    rows = ",\n  ".join(json.dumps(row) for row in CASES)
    text = f'{{\n "made_with": {json.dumps(MADE_WITH)},\n "cases": [\n  {rows}\n ]\n}}\n'
    Path(__file__).with_name("losses.json").write_text(text)
    for row in CASES:
        largest = max(abs(x) for g in row["grads"].values() for x in g["data"])
        print(f"{row['name']:45} value {row['value']:.6g}  largest gradient {largest:.3g}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make()
