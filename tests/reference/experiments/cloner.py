"""Trains and scores mrkd in PyTorch, to compare its AUROC with fmam's: Salehi et al., CVPR 2021, arXiv:2011.11108.

Data, backbone, its check, and the environment are those of distillation.py; nothing comes from fmam.

    /tmp/peers/bin/python tests/reference/experiments/cloner.py --dataset mvtec --category screw --data-root DATA \
        --epochs 50 --seed 0 --json mrkd.json

The teacher's channels are in deviations (plus a tenth of the scale's mean deviation) from their mean, both measured on 32
training images. The cloner: at each halving of the resolution a 3x3 convolution with stride 2, at each scale one more
and a linear 1x1 convolution to the teacher's channels; half of the teacher's channels inside, at least 16; batch
normalisation and ReLU. Loss: over the scales the sum of the mean squared difference and `w` times the cosine distance of
a whole image's features; `w` makes both equal in the first step. Adam, betas (0.5, 0.999), a cosine schedule. An image's
score is its loss. Map: the absolute gradient of that by the image, summed over colours, blurred with sigma 4, opened by a
square of 4.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter, grey_opening
from sklearn.metrics import roc_auc_score
from torch import nn

import distillation

SIZE = 256
STRIDES = (4, 8, 16)


class Cloner(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.stages, self.outputs = nn.ModuleList(), nn.ModuleList()
        inputs, reached = 3, 1
        for output, stride in zip(channels, STRIDES, strict=True):
            width, layers = max(output // 2, 16), []
            steps = [2] * int(math.log2(stride // reached)) + [1]
            for step in steps:
                layers += [nn.Conv2d(inputs, width, 3, step, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
                inputs = width
            reached = stride
            self.stages.append(nn.Sequential(*layers))
            self.outputs.append(nn.Conv2d(width, output, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x):
        scales = []
        for stage, output in zip(self.stages, self.outputs, strict=True):
            x = stage(x)
            scales.append(output(x))
        return scales


class Standard:
    def __init__(self, features):
        sample = distillation.spread(range(len(features[0])), distillation.MEASURED_IMAGES)
        self.scales = []
        for scale in features:
            scale = scale[sample].double()
            deviation = scale.std((0, 2, 3), correction=0, keepdim=True)
            deviation = deviation + 0.1 * deviation.mean()
            self.scales.append((scale.mean((0, 2, 3), keepdim=True).float(), deviation.float()))

    def apply(self, features):
        return [(x - mean) / deviation for x, (mean, deviation) in zip(features, self.scales, strict=True)]


def parts(targets, outputs):
    """(values, directions), both (N, scales)."""
    pairs = list(zip(targets, outputs, strict=True))
    values = [(t - o).square().mean((1, 2, 3)) for t, o in pairs]
    directions = [1 - F.cosine_similarity(t.flatten(1), o.flatten(1), eps=1e-8) for t, o in pairs]
    return torch.stack(values, 1), torch.stack(directions, 1)


def train(cloner, images, targets, args):
    optimizer = torch.optim.Adam(cloner.parameters(), 1e-3, betas=(0.5, 0.999))
    generator = torch.Generator().manual_seed(args.seed)
    batches = len(images) // 8
    weight, curve = None, []
    cloner.train()
    for epoch in range(args.epochs):
        order, losses = torch.randperm(len(images), generator=generator), []
        for k in range(batches):
            done = (epoch * batches + k) / (args.epochs * batches)
            optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * done))
            batch = order[8 * k : 8 * k + 8]
            values, directions = parts([scale[batch] for scale in targets], cloner(distillation.preprocess(images[batch])))
            if weight is None:
                weight = (values.sum() / directions.sum()).item()
            loss = (values + weight * directions).sum(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curve.append(float(np.mean(losses)))
        print(f"epoch {epoch + 1}/{args.epochs}, loss {curve[-1]:.4f}", file=sys.stderr)
    cloner.eval()
    return weight, curve


def main():
    parser = argparse.ArgumentParser(description="MRKD in PyTorch, for comparison with fmam.")
    parser.add_argument("--dataset", required=True, choices=["mvtec", "magnetic-tile"])
    parser.add_argument("--category", default="screw", help="of mvtec")
    parser.add_argument("--data-root", required=True, type=Path)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where the figures go besides standard output")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    teacher = distillation.load_teacher()
    train_samples, test, may_be_blank = distillation.open_dataset(args)
    images = distillation.load_images(train_samples, SIZE)
    features = distillation.features_of(teacher, images)
    standard = Standard(features)
    cloner = Cloner([scale.shape[1] for scale in features])
    start = time.perf_counter()
    weight, curve = train(cloner, images, standard.apply(features), args)
    fitted = time.perf_counter() - start

    scores, levels, maps, masks = [], [], [], []
    for sample in test:
        x = distillation.preprocess(distillation.load_images([sample], SIZE)).requires_grad_()
        values, directions = parts(standard.apply(teacher(x)), cloner(x))
        loss = (values + weight * directions).sum()
        (gradient,) = torch.autograd.grad(loss, x)
        blurred = gaussian_filter(gradient.abs().sum(1)[0].numpy(), 4, mode="reflect", truncate=4.0)
        maps.append(grey_opening(blurred, (4, 4)))
        scores.append(loss.item())
        levels.append(torch.cat([values, directions], 1)[0].tolist())
        masks.append(distillation.load_mask(sample, SIZE, may_be_blank))
    labels = [sample.mask is not None for sample in test]
    result = {
        "image_auroc": roc_auc_score(labels, scores),
        "pixel_auroc": roc_auc_score(np.stack(masks).ravel(), np.stack(maps).ravel()),
        "image_auroc_of_parts": [roc_auc_score(labels, part) for part in zip(*levels)],
        "weight": weight,
        "curve": curve,
        "fit_seconds": fitted,
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
