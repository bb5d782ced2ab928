"""Trains and scores rkd, nkd and a PaDiM-like method in PyTorch, to compare their AUROC with fmam's.

What it checks: that the base methods of fmam reach on real data what independent code reaches with the same backbone,
data, training and scoring. It uses nothing that fmam computed: the networks are those of benches/peers/networks.py, the
weights are the published ones of data/weights. At each start the backbone's features are compared with
tests/reference/backbones/efficientnet-lite0.json, which the PyPI package of the network gave. Random numbers are PyTorch's own, so
figures agree with fmam's as two seeds do, not digit by digit.

    python -m venv /tmp/peers
    /tmp/peers/bin/pip install torch torchvision numpy scipy scikit-learn safetensors pillow
    /tmp/peers/bin/python tests/reference/experiments/distillation.py --method rkd --dataset mvtec --category screw \
        --data-root DATA --seed 0 --json rkd.json

DATA holds `mvtec/CATEGORY` and `magnetic-tile/MT_*`, each in its published layout. Methods:

  rkd, nkd   the reverse and the symmetric student of EfficientNet-Lite0. Loss: cosine distance at each position,
             averaged, summed over scales. Adam, betas (0.5, 0.999), a cosine schedule by steps, incomplete batches left
             out. The student's outputs get the mean and deviation of the teacher's channels on 32 training images. Map:
             sum of the scales' distances, upsampled with aligned corners.
  padim      a Gaussian at each position of the finest scale (stride 4, coarser scales repeated), over 100 of the 176
             channels, covariance + 0.01 I; map: Mahalanobis distance, upsampled likewise. Nothing is trained.

Every map is blurred with sigma 4 (for 256 pixels; it grows with the image), its maximum is the image's score. The
figures are those after the last step; the test split decides nothing.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
import sklearn
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter
from sklearn.metrics import roc_auc_score
from torch import nn

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benches/peers"))
import networks  # noqa: E402

EPSILON = 1e-3  # of Lite0's batch normalisations and of its students'
MEASURED_IMAGES = 32
PADIM_CHANNELS = 100
EVAL_BATCH = 8


# Data


class Sample(NamedTuple):
    image: Path
    mask: Path | None  # None for a normal image


def files(folder, *suffixes):
    """Paths in `folder` with one of `suffixes`, sorted by name."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    return sorted(found, key=lambda path: path.name)


def mvtec(folder):
    """(train, test) of a category's folder."""
    train = [Sample(path, None) for path in files(folder / "train/good", ".png")]
    test = [Sample(path, None) for path in files(folder / "test/good", ".png")]
    for defect in sorted(path for path in (folder / "test").iterdir() if path.name != "good"):
        masks = folder / "ground_truth" / defect.name
        test += [Sample(path, masks / f"{path.stem}_mask.png") for path in files(defect, ".png")]
    return train, test


def magnetic_tile(folder):
    """(train, test) of the data set's folder, which has no split: every fifth normal image is for testing."""
    normal = [Sample(path, None) for path in files(folder / "MT_Free/Imgs", ".jpg")]
    train = [sample for index, sample in enumerate(normal) if index % 5 != 0]
    test = normal[::5]
    for defect in sorted(path for path in folder.glob("MT_*") if path.name != "MT_Free"):
        test += [Sample(path, path.with_suffix(".png")) for path in files(defect / "Imgs", ".jpg")]
    return train, test


def open_dataset(args):
    """(train, test, whether a blank mask is the data set's own)."""
    if args.dataset == "mvtec":
        return *mvtec(args.data_root / "mvtec" / args.category), False
    return *magnetic_tile(args.data_root / "magnetic-tile"), True  # four of MT_Uneven are black


def spread(items, count):
    """At most `count` of `items`, evenly spread."""
    count = min(count, len(items))
    return [items[k * len(items) // count] for k in range(count)]


def load_image(path, size):
    """uint8 (3, size, size): Pillow's antialiased bilinear, the aspect ratio not kept."""
    image = Image.open(path).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def load_images(samples, size):
    return torch.stack([load_image(sample.image, size) for sample in samples])


def overlaps(cells, size):
    """(size, cells): how much of each of `cells` lies in each of `size` equal parts, in units of 1/size of a cell."""
    part = np.arange(size, dtype=np.int64)[:, None] * cells
    cell = np.arange(cells, dtype=np.int64) * size
    return np.clip(np.minimum(part + cells, cell + size) - np.maximum(part, cell), 0, None)


def load_mask(sample, size, may_be_blank):
    """bool (size, size): where at least half of a pixel's area is anomalous; nowhere for a normal image."""
    if sample.mask is None:
        return np.zeros((size, size), bool)
    values = np.asarray(Image.open(sample.mask).convert("RGB")).max(axis=2)
    mask = values > (0 if values.max() <= 1 else 127)
    if not mask.any() and not may_be_blank:
        raise ValueError(f"{sample.mask}: no anomalous pixel")
    height, width = mask.shape
    covered = overlaps(height, size) @ mask.astype(np.int64) @ overlaps(width, size).T
    return (2 * covered >= height * width) & (covered > 0)


# Networks


def preprocess(images):
    """uint8 to what Lite0 was trained on: -1 to 1."""
    return ((images.float() / 255 - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)


def prepared(net):
    """`net` with Lite0's epsilon, in the layout that is faster on a CPU."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = EPSILON
    return net.to(memory_format=torch.channels_last)


def load_teacher():
    """EfficientNet-Lite0 to stride 16, frozen, with the weights of data/weights."""
    tensors = load_file(ROOT / "data/weights/efficientnet_lite0.safetensors")
    names = [("_conv_stem", "_bn0")]
    for i, (_, _, expansion, _) in enumerate(networks.Lite0.blocks):
        layers = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        names += [(f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}") for conv, norm in layers[int(expansion == 1) :]]
    net = networks.Lite0()
    convs = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for (conv_name, norm_name), conv, norm in zip(names, convs, norms, strict=True):
        for name, module in ((conv_name, conv), (norm_name, norm)):
            keys = [key for key in tensors if key.rpartition(".")[0] == name]
            module.load_state_dict({key.rpartition(".")[2]: tensors.pop(key) for key in keys})
    assert not tensors, f"unused weights: {list(tensors)}"
    net = prepared(net).eval().requires_grad_(False)
    check_features(net)
    return net


def fixture_image(shape):
    """The fixtures' input, by tests/reference/backbones/make.py: SplitMix64 seeded with the FNV-1a hash of "input"."""
    seed = 0xCBF29CE484222325
    for byte in b"input":
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z ^= z >> np.uint64(31)
    values = 2.0 * ((z >> np.uint64(40)).astype(np.float64) / 2**24) - 1.0
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def check_features(net):
    """Compares the features of an image with those that the published code of Lite0 gives."""
    shape = [2, 3, 64, 96]
    fixture = json.loads((ROOT / "tests/reference/backbones/efficientnet-lite0.json").read_text())
    cases = {case["scale"]: case for case in fixture["features"] if case["input_shape"] == shape}
    for block, scale in zip((2, 4, 10), net(fixture_image(shape)), strict=True):
        case, flat = cases[f"block{block}"], scale.contiguous().flatten().double().numpy()
        actual = flat[(np.arange(256) * 7919) % flat.size]
        assert list(scale.shape) == case["shape"]
        np.testing.assert_allclose(actual, case["walk"], rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(flat.std(), case["std"], rtol=1e-5)


def features_of(teacher, images):
    """Features of uint8 images: one tensor a scale, finest first."""
    with torch.inference_mode():
        batches = [teacher(preprocess(batch)) for batch in images.split(EVAL_BATCH)]
    return [torch.cat(scales) for scales in zip(*batches)]


class Student(nn.Module):
    """The student of `method` and, behind it, the fixed range of the teacher's channels."""

    def __init__(self, method, features):
        super().__init__()
        self.sees_images = method == "nkd"
        self.network = prepared(networks.Lite0() if self.sees_images else networks.Lite0Decoder())
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d):
                outputs, _, *kernel = module.weight.shape
                nn.init.normal_(module.weight, std=math.sqrt(2 / (outputs * math.prod(kernel) // module.groups)))
            elif isinstance(module, nn.ConvTranspose2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / (4 * module.weight.shape[1])))
        sample = spread(range(len(features[0])), MEASURED_IMAGES)
        self.range = [self.moments(scale[sample].double()) for scale in features]

    @staticmethod
    def moments(scale):
        """(mean, deviation) of each channel, to be broadcast over positions."""
        mean = scale.mean((0, 2, 3), keepdim=True)
        variance = (scale - mean).square().mean((0, 2, 3), keepdim=True)
        return mean.float(), variance.clamp_min(1e-12).sqrt().float()

    def forward(self, images, features):
        """`images` as uint8; of the two, the student sees one."""
        output = self.network(preprocess(images) if self.sees_images else features)
        return [mean + deviation * scale for scale, (mean, deviation) in zip(output, self.range, strict=True)]


# Methods


def distance(a, b):
    """Cosine distance at each position, (N, H, W)."""
    return 1 - F.cosine_similarity(a, b, dim=1, eps=1e-8)


def train(student, images, features, args):
    """Mean loss of each epoch, the last of which `--steps` may cut short; and the seconds of a step."""
    optimizer = torch.optim.Adam(student.parameters(), args.learning_rate, betas=(0.5, 0.999))
    generator = torch.Generator().manual_seed(args.seed)
    size = min(args.batch_size, len(images))
    batches = len(images) // size
    total = args.steps or args.epochs * batches
    losses, start = [], time.perf_counter()
    student.train()
    for step in range(total):
        position = step % batches
        if position == 0:
            order = torch.randperm(len(images), generator=generator)
        batch = order[position * size : (position + 1) * size]
        optimizer.param_groups[0]["lr"] = args.learning_rate * 0.5 * (1 + math.cos(math.pi * step / total))
        target = [scale[batch] for scale in features]
        output = student(images[batch], target)
        loss = sum(distance(t, o).mean() for t, o in zip(target, output, strict=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if position + 1 == batches or step + 1 == total:
            seconds = (time.perf_counter() - start) / (step + 1)
            loss = np.mean(losses[-position - 1 :])
            print(f"step {step + 1}/{total}, loss {loss:.4f}, {seconds:.3f} s a step", file=sys.stderr)
    epochs = [losses[i : i + batches] for i in range(0, total, batches)]
    return [float(np.mean(epoch)) for epoch in epochs], (time.perf_counter() - start) / total


def upsample(maps, size):
    """(N, h, w) to (N, size, size)."""
    return F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=True)[:, 0]


class Distillation:
    def __init__(self, teacher, images, args):
        features = features_of(teacher, images)
        self.teacher, self.student = teacher, Student(args.method, features)
        curve, seconds = train(self.student, images, features, args)
        self.report = {"curve": curve, "seconds_per_step": seconds}
        self.student.eval()

    def maps(self, images):
        features = features_of(self.teacher, images)
        with torch.inference_mode():
            scales = [distance(t, s) for t, s in zip(features, self.student(images, features), strict=True)]
        return sum(upsample(scale, images.shape[-1]) for scale in scales)


class Padim:
    def __init__(self, teacher, images, args):
        self.teacher = teacher
        total = sum(networks.Lite0.channels)
        self.channels = np.sort(np.random.default_rng(args.seed).permutation(total)[:PADIM_CHANNELS])
        embedded = torch.cat([self.embed(batch) for batch in images.split(EVAL_BATCH)])
        self.mean = embedded.mean(0, dtype=torch.float64)
        factors = []
        for values, mean in zip(embedded.split(256, dim=1), self.mean.split(256)):
            centred = (values - mean).transpose(0, 1)
            covariance = centred.mT @ centred / (len(images) - 1) + 0.01 * torch.eye(PADIM_CHANNELS)
            factors.append(torch.linalg.cholesky(covariance))
        self.factor = torch.cat(factors)
        self.report = {"channels": self.channels.tolist()}

    def embed(self, images):
        """(N, positions, channels)."""
        features = features_of(self.teacher, images)
        self.grid = features[0].shape[2:]
        scales = [F.interpolate(scale, self.grid, mode="nearest") for scale in features]
        return torch.cat(scales, 1)[:, self.channels].flatten(2).mT.contiguous()

    def maps(self, images):
        centred = (self.embed(images) - self.mean).permute(1, 2, 0)
        whitened = torch.linalg.solve_triangular(self.factor, centred, upper=False)
        return upsample(whitened.norm(dim=1).T.unflatten(1, self.grid).float(), images.shape[-1])


# Evaluation


def evaluate(method, test, args, may_be_blank):
    """Image and pixel AUROC over `test`."""
    maps, masks = [], []
    sigma = 4 * args.image_size / 256
    for k in range(0, len(test), EVAL_BATCH):
        batch = test[k : k + EVAL_BATCH]
        raw = method.maps(load_images(batch, args.image_size)).numpy()
        maps += [gaussian_filter(values, sigma, mode="reflect", truncate=4.0) for values in raw]
        masks += [load_mask(sample, args.image_size, may_be_blank) for sample in batch]
    labels = [sample.mask is not None for sample in test]
    return {
        "image_auroc": roc_auc_score(labels, [values.max() for values in maps]),
        "pixel_auroc": roc_auc_score(np.stack(masks).ravel(), np.stack(maps).ravel()),
        "n_test": [labels.count(False), labels.count(True)],
        "n_empty_masks": sum(label and not mask.any() for label, mask in zip(labels, masks)),
    }


def arguments():
    parser = argparse.ArgumentParser(description="Base methods in PyTorch, for comparison with fmam.")
    parser.add_argument("--method", required=True, choices=["rkd", "nkd", "padim"])
    parser.add_argument("--dataset", required=True, choices=["mvtec", "magnetic-tile"])
    parser.add_argument("--category", default="screw", help="of mvtec")
    parser.add_argument("--data-root", required=True, type=Path)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, default=100)
    length.add_argument("--steps", type=int, help="instead of whole epochs")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--image-size", type=int, default=256, help="a multiple of 32")
    parser.add_argument("--limit", type=int, help="images of each kind at most, for a smoke test")
    parser.add_argument("--json", type=Path, help="where the figures go besides standard output")
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    teacher = load_teacher()
    train_samples, test, may_be_blank = open_dataset(args)
    if args.limit:
        normal, anomalous = ([s for s in test if (s.mask is None) == kind] for kind in (True, False))
        train_samples = spread(train_samples, args.limit)
        test = spread(normal, args.limit) + spread(anomalous, args.limit)
    start = time.perf_counter()
    images = load_images(train_samples, args.image_size)
    method = (Padim if args.method == "padim" else Distillation)(teacher, images, args)
    fitted = time.perf_counter()
    figures = evaluate(method, test, args, may_be_blank)
    result = {
        "settings": {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()},
        "versions": {module.__name__: module.__version__ for module in (torch, np, scipy, sklearn)},
        **figures,
        "n_train": len(images),
        "seconds": {"fit": fitted - start, "evaluate": time.perf_counter() - fitted},
        **method.report,
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: value for key, value in result.items() if key not in ("curve", "channels")}))


if __name__ == "__main__":
    main()
