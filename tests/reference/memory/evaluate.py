"""Scores PaDiM, SPADE and PatchCore on real data, to compare their AUROC and their times with fmam's.

What it checks: that fmam's versions of the three methods reach on real data what straightforward code reaches with the same
backbone and data. The methods are those of reference.py, which make.py's docstring defines and make.py checks; data,
backbone (the embedded EfficientNet-Lite0) and its check are those of experiments/distillation.py. No number comes from fmam.

    /tmp/peers/bin/python tests/reference/memory/evaluate.py --method patchcore --dataset mvtec --category screw \
        --data-root DATA --seed 0 --json patchcore.json

with the virtual environment and the DATA of distillation.py. On 256 x 256 the scales are 24 channels on 64 x 64, 40 on
32 x 32 and 112 on 16 x 16.

  padim      64 x 64 positions, `--channels` of the 176 channels, drawn by the seed. Image score: maximum of the map.
  spade      64 x 64 positions, all channels, `--neighbours` images. Draws nothing: the seed has no effect. The training
             features are kept as the backbone gave them, and a neighbour's are brought to 64 x 64 when an image needs them.
  patchcore  32 x 32 positions, the 152 channels of the two coarser scales. The bank is the fraction `--coreset` of all
             training patches, rounded down; `--projection` dimensions and the first row are drawn by the seed.

With `--features DIR`, features, labels and masks are those that fmam wrote, so that nothing but the method differs:

    cargo run --release -p fmam-experiment --example features -- DATA magnetic-tile magnetic-tile efficientnet-lite0 DIR

Then `--like FILE`, `normal.safetensors` of a model that fmam saved, also draws as fmam did: PaDiM's channels, and the first
patch of PatchCore's coreset. With `--projection 0`, or with all of PaDiM's channels, nothing is left to chance.

Seconds: `extract_per_image` is the backbone on training and test images, without reading them; `fit` starts at the features;
`score_per_image` goes from a test image's features to its map and its score. Random numbers are NumPy's, so figures agree
with fmam's as two seeds do.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import scipy
import sklearn
import torch
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

import reference

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments"))
import distillation  # noqa: E402

SIZE = 256


class Extractor:
    """Features of samples as NumPy arrays, and the time that the backbone took."""

    def __init__(self):
        self.teacher = distillation.load_teacher()
        self.seconds = 0.0
        self.images = 0

    def features(self, samples):
        images = distillation.load_images(samples, SIZE)
        start = time.perf_counter()
        features = [scale.contiguous().numpy() for scale in distillation.features_of(self.teacher, images)]
        self.seconds += time.perf_counter() - start
        self.images += len(images)
        return features


class Exported:
    """Features that fmam wrote, as if they were extracted from samples 0, 1, ... of one split."""

    def __init__(self, folder):
        self.tensors = {split: load_file(folder / f"{split}.safetensors") for split in ("train", "test")}

    def scales(self, split, samples):
        tensors = self.tensors[split]
        return [tensors[f"scale{k}"][samples] for k in range(len(tensors)) if f"scale{k}" in tensors]


def fit(features, args):
    rng = np.random.default_rng(args.seed)
    like = load_file(args.like) if args.like else None
    if args.method == "padim":
        total = sum(scale.shape[1] for scale in features)
        drawn = like["channels"] if like else np.sort(rng.permutation(total)[: args.channels])
        return reference.Padim(features, drawn)
    if args.method == "spade":
        return reference.Spade(features, args.neighbours)
    channels = sum(scale.shape[1] for scale in features[1:])
    rows = len(features[1]) * math.prod(features[1].shape[2:])
    count = max(1, int(rows * args.coreset))
    projection = np.eye(channels)
    if args.projection:
        projection = rng.standard_normal((channels, args.projection)) / math.sqrt(args.projection)
    start = int(rng.integers(rows))
    if like:
        patches = reference.PatchCore.patches(features).reshape(rows, -1)
        start = int(((patches - like["patches"][0]) ** 2).sum(axis=1).argmin())
        count = len(like["patches"])
    return reference.PatchCore(features, projection, start, count, args.b)


def auroc(labels, scores):
    """None where one kind is missing, as it may be with --limit-test."""
    return float(roc_auc_score(labels, scores)) if 0 < np.sum(labels) < len(labels) else None


def evaluate(method, features_of, masks_of, n_test):
    """Image and pixel AUROC, and the seconds of scoring an image."""
    scores, maps, masks, labels, seconds = [], [], [], [], 0.0
    for k in range(0, n_test, distillation.EVAL_BATCH):
        batch = slice(k, min(n_test, k + distillation.EVAL_BATCH))
        features = features_of(batch)
        start = time.perf_counter()
        scored = method.score(features, SIZE)
        seconds += time.perf_counter() - start
        scores += scored.scores.tolist()
        maps.append(scored.maps.astype(np.float32))
        for label, mask in masks_of(batch):
            labels.append(bool(label))
            masks.append(mask)
        print(f"{len(scores)}/{n_test} images, {seconds / len(scores):.3f} s an image", file=sys.stderr)
    figures = {
        "image_auroc": auroc(labels, scores),
        "pixel_auroc": auroc(np.stack(masks).ravel(), np.concatenate(maps).ravel()),
        "n_test": [labels.count(False), labels.count(True)],
    }
    return figures, seconds / n_test


def arguments():
    parser = argparse.ArgumentParser(description="Feature-space methods in NumPy, for comparison with fmam.")
    parser.add_argument("--method", required=True, choices=["padim", "spade", "patchcore"])
    parser.add_argument("--dataset", required=True, choices=["mvtec", "magnetic-tile"])
    parser.add_argument("--category", default="screw", help="of mvtec")
    parser.add_argument("--data-root", type=Path, help="not needed with --features")
    parser.add_argument("--features", type=Path, help="folder with features that fmam wrote, instead of images")
    parser.add_argument("--like", type=Path, help="normal.safetensors of a model of fmam's, to draw what it drew")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--channels", type=int, default=100, help="of padim")
    parser.add_argument("--neighbours", type=int, default=50, help="of spade")
    parser.add_argument("--coreset", type=float, default=0.01, help="of patchcore: fraction of the patches")
    parser.add_argument("--projection", type=int, default=128, help="of patchcore: dimensions for the selection, 0 for all")
    parser.add_argument("--b", type=int, default=9, help="of patchcore: rows around the nearest, for the image score")
    parser.add_argument("--limit-test", type=int, help="the first images only, for timing; the AUROC means little then")
    parser.add_argument("--limit-train", type=int, help=argparse.SUPPRESS)  # evenly spread, for a smoke test
    parser.add_argument("--json", type=Path, help="where the figures go besides standard output")
    return parser.parse_args()


def main():
    args = arguments()
    torch.set_num_threads(args.threads)
    extractor = Extractor()
    if args.features:
        exported = Exported(args.features)
        n_train, n_test = (len(exported.tensors[split]["scale0"]) for split in ("train", "test"))
        train, test = np.arange(n_train), np.arange(n_test)
        train_features = lambda: exported.scales("train", train)  # noqa: E731
        test_features = lambda batch: exported.scales("test", test[batch])  # noqa: E731
        masks_of = lambda batch: zip(*(exported.tensors["test"][key][batch] for key in ("labels", "masks")))  # noqa: E731
    else:
        train, test, may_be_blank = distillation.open_dataset(args)
        train_features = lambda: extractor.features(train)  # noqa: E731
        test_features = lambda batch: extractor.features(test[batch])  # noqa: E731
        masks_of = lambda batch: [  # noqa: E731
            (sample.mask is not None, distillation.load_mask(sample, SIZE, may_be_blank)) for sample in test[batch]
        ]
    train = distillation.spread(train, args.limit_train or len(train))
    test = test[: args.limit_test]
    with threadpool_limits(args.threads):
        features = train_features()
        start = time.perf_counter()
        method = fit(features, args)
        fitted = time.perf_counter() - start
        figures, per_image = evaluate(method, test_features, masks_of, len(test))
    result = {
        "settings": {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()},
        "versions": {module.__name__: module.__version__ for module in (torch, np, scipy, sklearn)},
        **figures,
        "n_train": len(train),
        "seconds": {
            "extract_per_image": extractor.seconds / extractor.images if extractor.images else None,
            "fit": fitted,
            "score_per_image": per_image,
        },
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
