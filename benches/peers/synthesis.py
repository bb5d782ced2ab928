"""Times the synthesis of a defective image of 256 x 256 pixels on one thread, from the normal image in memory to the defective one and its
mask: `fmam bench synthesis`, with texture images in memory (DTD) and with generated ones, beside the recipe of DRAEM (Zavrtanik, Kristan
and Skočaj, ICCV 2021) and beside anomalib's generator for it.

- "DRAEM's recipe": Perlin noise with 2^k cells along each axis, turned by up to 90 degrees, above 0.5; a texture image, changed by three of
  the ten augmentations of the authors' list; blended in with a random opacity. Noise in NumPy, augmentations by imgaug as the authors
  have them (autocontrast by Pillow: imgaug's fails with NumPy 2). Texture images are in memory, in the size of the image, as with fmam.
- "anomalib": `PerlinAnomalyGenerator`, which reads the file of a texture image each time.

The recipes differ: fmam also estimates the foreground, keeps some of the regions, fades the edge, and draws again what cannot be seen.

    FMAM_DATA=DATA FMAM_PEERS_TURNS=3 bash benches/peers/run.sh synthesis
"""

import argparse
import math
import os
import pathlib
import random

import cv2
import numpy as np
import torch
from anomalib.data.utils.generators.perlin import PerlinAnomalyGenerator
from PIL import Image, ImageOps

from turns import bench, print_machine, print_row, seconds, take_turns

if not hasattr(np, "sctypes"):
    # imgaug 0.4 asks for a table that NumPy 2 has no more.
    np.sctypes = {
        "float": [np.float16, np.float32, np.float64], "int": [np.int8, np.int16, np.int32, np.int64],
        "uint": [np.uint8, np.uint16, np.uint32, np.uint64], "complex": [np.complex64, np.complex128], "others": [bool],
    }
import imgaug  # noqa: E402
import imgaug.augmenters as iaa  # noqa: E402

SIDE = 256


def perlin(rng, shape, cells):
    """Perlin noise of `shape`, a multiple of `cells`, all positions at once; about -1 to 1."""
    angles = rng.uniform(0, 2 * math.pi, (cells[0] + 1, cells[1] + 1))
    gradients = np.stack([np.cos(angles), np.sin(angles)], -1)
    y, x = (np.arange(n) * c / n for n, c in zip(shape, cells))
    row, column = y.astype(int), x.astype(int)
    v, u = (y - row)[:, None], (x - column)[None]
    fade = lambda t: ((6 * t - 15) * t + 10) * t**3

    def corner(dy, dx):
        g = gradients[row + dy][:, column + dx]
        return g[..., 0] * (v - dy) + g[..., 1] * (u - dx)

    upper = corner(0, 0) + fade(u) * (corner(0, 1) - corner(0, 0))
    lower = corner(1, 0) + fade(u) * (corner(1, 1) - corner(1, 0))
    return math.sqrt(2) * (upper + fade(v) * (lower - upper))


AUGMENTATIONS = [
    iaa.GammaContrast((0.5, 2.0), per_channel=True),
    iaa.MultiplyAndAddToBrightness(mul=(0.8, 1.2), add=(-30, 30)),
    iaa.pillike.EnhanceSharpness(),
    iaa.AddToHueAndSaturation((-50, 50), per_channel=True),
    iaa.Solarize(0.5, threshold=(32, 128)),
    iaa.Posterize(),
    iaa.Invert(),
    lambda image: np.array(ImageOps.autocontrast(Image.fromarray(image))),
    iaa.pillike.Equalize(),
    iaa.Affine(rotate=(-45, 45)),
]
ROTATE = iaa.Affine(rotate=(-90, 90))


def draem(rng, image, textures):
    """The defective image and its mask; `image` in 0..1, textures in 0..255. An empty mask is drawn again."""
    while True:
        noise = ROTATE(image=perlin(rng, image.shape[:2], 2 ** rng.integers(0, 6, 2)))
        mask = (noise > 0.5).astype(np.float32)[..., None]
        if mask.any():
            break
    texture = textures[rng.integers(len(textures))]
    for index in rng.choice(len(AUGMENTATIONS), 3, replace=False):
        texture = AUGMENTATIONS[index](image=texture)
    beta = rng.uniform(0, 0.8)
    fill = texture.astype(np.float32) / 255 * mask
    return image * (1 - mask) + (1 - beta) * fill + beta * image * mask, mask


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fmam", required=True)
    parser.add_argument("--data", default=os.environ.get("FMAM_DATA"), help="folder with mvtec/screw and dtd")
    parser.add_argument("--images", type=int, default=64)
    args = parser.parse_args()
    data, n = pathlib.Path(args.data), args.images
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    random.seed(0), torch.manual_seed(0), imgaug.seed(0)
    rng = np.random.default_rng(0)
    print_machine("numpy", "opencv-python-headless", "imgaug", "anomalib", "torch")
    good = data / "mvtec/screw/train/good"
    read = lambda file: np.array(Image.open(file).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX))
    images = [read(file).astype(np.float32) / 255 for file in sorted(good.iterdir())[:n]]
    tensors = [torch.from_numpy(image).permute(2, 0, 1).contiguous() for image in images]
    textures = [read(file) for file in sorted((data / "dtd/images").rglob("*.jpg"))]
    generator = PerlinAnomalyGenerator(str(data / "dtd/images"), probability=1.0)
    ours = lambda *more: lambda: bench(args.fmam, "synthesis", good, "--side", SIDE, "--count", n, "--iters", 3, *more)["median_ms"]
    an_image = lambda work, inputs: lambda: 1e3 * seconds(lambda: [work(image) for image in inputs]) / n
    turns = take_turns({
        "fmam": ours("--data-root", data),
        "fmam, generated textures": ours(),
        "DRAEM's recipe": an_image(lambda image: draem(rng, image, textures), images),
        "anomalib": an_image(generator, tensors),
    })
    print_row({"synthesis": "screw", "side": SIDE, "images": n, "threads": 1}, turns)


main()
