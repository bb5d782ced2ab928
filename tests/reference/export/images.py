"""The real images of the comparison: MVTec screw, and Magnetic Tile for odd sizes."""

from pathlib import Path

import numpy as np
from PIL import Image


def comparison_images(data):
    """20 screws, good and defective alike, and a tile of each class."""
    screw = Path(data) / "mvtec" / "screw" / "test"
    types = sorted(folder for folder in screw.iterdir() if folder.name != "good")
    screws = sorted((screw / "good").glob("*.png"))[:10]
    screws += [image for folder in types for image in sorted(folder.glob("*.png"))[:2]]
    classes = sorted((Path(data) / "magnetic-tile").glob("MT_*"))
    return screws + [sorted((folder / "Imgs").glob("*.jpg"))[0] for folder in classes]


def screw_test(data):
    """Every test image of the category screw with its label, 1 for defective."""
    files = sorted((Path(data) / "mvtec" / "screw" / "test").glob("*/*.png"))
    return [(file, int(file.parent.name != "good")) for file in files]


def pixels(path):
    """The image as uint8 [height, width, 3]."""
    return np.ascontiguousarray(np.asarray(Image.open(path).convert("RGB")))


def as_png(paths, folder):
    """Copies of the images as PNG: decoders of JPEG differ by a grey value, which is not compared."""
    folder.mkdir(parents=True, exist_ok=True)
    copies = []
    for number, path in enumerate(paths):
        copies.append(folder / f"{number:03}-{path.parent.name}-{path.stem}.png")
        Image.fromarray(pixels(path)).save(copies[-1])
    return copies
