"""Times scoring by PaDiM, PatchCore and SPADE, fitted to all training images of MVTec AD *screw* at 256 x 256 with the embedded
EfficientNet-Lite0: `fmam fit` and `fmam bench predict` (its `score_ms`) beside torch modules on the same weights. Milliseconds an image, at
batch 1 and 8, from prepared pixels to map and score, backbone included, on all threads.

- PaDiM, PatchCore: anomalib's own torch modules with the same scales, channels and number of vectors in memory. PatchCore's vectors
  are a random choice there instead of a coreset, since its search tries all of them whatever they are.
- SPADE: anomalib has none; a plain PyTorch version of the published algorithm (`cdist`, `topk`) with fmam's settings: 50 images by the
  pooled coarsest scale, each position with its nearest one among all of theirs.

    FMAM_DATA=DATA FMAM_PEERS_TURNS=3 bash benches/peers/run.sh methods
"""

import argparse
import os
import pathlib
import subprocess
import tempfile

import lite0
import numpy as np
import torch
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from PIL import Image
from safetensors import safe_open
from torch.nn import functional as F
from torchvision.transforms.v2.functional import gaussian_blur

from turns import THREADS, bench, print_machine, print_row, seconds, take_turns

CHANNELS = 100


def pixels(files):
    """Prepared images [N, 3, 256, 256]."""
    read = lambda file: np.array(Image.open(file).convert("RGB").resize((lite0.SIDE, lite0.SIDE), Image.Resampling.BOX))
    images = torch.from_numpy(np.stack([read(file) for file in files])).permute(0, 3, 1, 2)
    return (images.float() / 127.5 - 1).contiguous()


def kept_patches(model):
    """The number of vectors in the memory bank of a PatchCore that fmam fitted."""
    with safe_open(model / "normal.safetensors", "pt") as file:
        return max(file.get_slice(name).get_shape()[0] for name in file.keys())


def padim(train, _model):
    net = PadimModel(backbone="efficientnet", layers=lite0.LAYERS, n_features=CHANNELS).train()
    for batch in train.split(8):
        net(batch)
    net.fit()
    return net.eval()


def patchcore(train, model):
    net = PatchcoreModel(backbone="efficientnet", layers=lite0.LAYERS[1:], num_neighbors=1).train()
    with torch.inference_mode():
        for batch in train.split(8):
            net(batch)
        patches = torch.vstack(net.embedding_store)
        net.memory_bank = patches[torch.randperm(len(patches))[: kept_patches(model)]].clone()
    net.embedding_store.clear()
    return net.eval()


class Spade:
    """Cohen and Hoshen 2020, arXiv:2005.02357."""

    NEIGHBOURS = 50

    def __init__(self, train):
        self.backbone = PadimModel(backbone="efficientnet", layers=lite0.LAYERS, n_features=1).feature_extractor
        parts = [self.features(batch) for batch in train.split(8)]
        self.pooled = torch.cat([pooled for pooled, _ in parts])
        self.rows = torch.cat([rows for _, rows in parts])

    def features(self, images):
        """The pooled coarsest scale [N, C] and the vectors of all positions [N, H W, C]."""
        scales = list(self.backbone(images).values())
        on_grid = [scales[0], *(F.interpolate(scale, size=scales[0].shape[-2:]) for scale in scales[1:])]
        return scales[-1].mean((2, 3)), torch.cat(on_grid, 1).flatten(2).transpose(1, 2).contiguous()

    def __call__(self, images):
        pooled, rows = self.features(images)
        distances, neighbours = torch.cdist(pooled, self.pooled).topk(self.NEIGHBOURS, largest=False)
        maps = []
        for queries, chosen in zip(rows, neighbours):
            nearest = torch.full((len(queries),), torch.inf)
            for index in chosen:
                found = torch.cdist(queries, self.rows[index]).topk(1, largest=False).values[:, 0]
                nearest = torch.minimum(nearest, found)
            maps.append(nearest)
        side = int(rows.shape[1] ** 0.5)
        maps = torch.stack(maps).reshape(-1, 1, side, side)
        maps = F.interpolate(maps, size=images.shape[-2:], mode="bilinear")
        return gaussian_blur(maps, [33, 33], [4.0, 4.0]), distances.mean(1)


# The peer, the function that fits it, and for each batch size the number of images. SPADE goes image by image.
METHODS = {
    "padim": ("anomalib", padim, {1: 8, 8: 32}),
    "patchcore": ("anomalib", patchcore, {1: 8, 8: 32}),
    "spade": ("plain PyTorch", lambda train, _model: Spade(train), {1: 1}),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", help="methods [default: all]")
    parser.add_argument("--fmam", required=True)
    parser.add_argument("--data", default=os.environ.get("FMAM_DATA"), help="folder with mvtec/screw")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    print_machine("anomalib", "torch", "timm")
    screw = pathlib.Path(args.data) / "mvtec/screw"
    train = pixels(sorted((screw / "train/good").iterdir()))
    for name in args.what or METHODS:
        peer, fitted, batches = METHODS[name]
        files = sorted((screw / "test/good").iterdir())[: max(batches.values())]
        images = pixels(files)
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / "model"
            fit = [args.fmam, "fit", screw / "train/good", "--method", name, "--image-size", lite0.SIDE, "--out", model]
            subprocess.run([*map(str, fit), "--calibration", "off", "--quiet"], check=True, capture_output=True)
            with torch.inference_mode():
                net = fitted(train, model)
                for batch, n in batches.items():
                    ours = ["predict", *files[:n], "--model", model, "--batch", batch, "--threads", THREADS, "--iters", 1]
                    work = lambda: [net(part) for part in images[:n].split(batch)]
                    work()
                    turns = take_turns({
                        "fmam": lambda: bench(args.fmam, *ours)["score_ms"],
                        peer: lambda: 1e3 * seconds(work) / n,
                    })
                    print_row({"method": name, "images": n, "batch": batch, "threads": THREADS}, turns)


main()
