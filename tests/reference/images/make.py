"""Makes the fixtures of crates/datasets/tests/datasets/peers.rs: small image files and the pixels that Pillow reads.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 pillow==13.0.0
    venv/bin/python make.py

`expected.json` has, for each file, its size and the RGB bytes of

- `ImageOps.exif_transpose(image).convert("RGB")` for files without alpha,
- `Image.alpha_composite(background, image.convert("RGBA")).convert("RGB")` on the stated background for files with alpha,
- `round(255 * value / white)` in integers for files of 16 bits, which Pillow reads as numbers.

The CMYK files are written twice: as Pillow writes them, with Adobe's marker, and with the marker cut out. YCCK is made
from the former by the marker's transform flag, so that the three colour components are read as YCbCr.
"""

import json
import pathlib
import struct

import numpy as np
import PIL
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).parent
HEIGHT, WIDTH = 6, 8
y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
RGB = np.stack([20 + 28 * x, 30 + 40 * y, 200 - 20 * x + 5 * y], -1).astype(np.uint8)
GREY = (10 + 29 * x + 5 * y).astype(np.uint8)
ALPHA = (36 * x + 2 * y).clip(0, 255).astype(np.uint8)
ALPHA[0, 0] = 255
expected = []


def add(name, image, background=None):
    rgb = np.asarray(image, np.uint8).reshape(image.height if hasattr(image, "height") else image.shape[0], -1, 3)
    case = {"file": name, "height": rgb.shape[0], "width": rgb.shape[1], "rgb": rgb.ravel().tolist()}
    if background:
        case["background"] = background
    expected.append(case)


def composed(name, background):
    with Image.open(HERE / name) as image:
        image = image.convert("RGBA")
        under = Image.new("RGBA", image.size, (*background, 255))
        add(name, Image.alpha_composite(under, image).convert("RGB"), list(background))


def opaque(name):
    with Image.open(HERE / name) as image:
        add(name, ImageOps.exif_transpose(image).convert("RGB"))


# Alpha.
Image.fromarray(np.dstack([RGB, ALPHA])).save(HERE / "rgba.png")
Image.fromarray(np.dstack([GREY, ALPHA])).save(HERE / "la.png")
palette = Image.fromarray(RGB).quantize(16)
palette.save(HERE / "palette_trns.png", transparency=bytes((17 * i) % 256 for i in range(16)))
Image.fromarray(np.dstack([RGB, ALPHA])).save(HERE / "alpha.webp", lossless=True, exact=True)
Image.fromarray(np.dstack([RGB, ALPHA])).save(HERE / "rgba.tif")
for name in ["rgba.png", "la.png", "palette_trns.png", "alpha.webp", "rgba.tif"]:
    composed(name, (0, 0, 0))
    composed(name, (124, 116, 104))

# Orientation.
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).resize((16, 16), 0).crop((0, 0, 16, 8)).save(
        HERE / f"exif{orientation}.jpg", exif=exif, quality=95, subsampling=0
    )
    opaque(f"exif{orientation}.jpg")
exif = Image.Exif()
exif[0x0112] = 6
Image.fromarray(RGB).save(HERE / "exif6.png", exif=exif)
Image.fromarray(RGB).save(HERE / "exif6.webp", exif=exif, lossless=True)
Image.fromarray(RGB).save(HERE / "exif6.tif", tiffinfo={0x0112: 6})
for name in ["exif6.png", "exif6.webp", "exif6.tif"]:
    opaque(name)


# CMYK: smooth colours, 16 pixels a side.
def segments(data):
    """(marker, start, end) of the segments of a JPEG file before its scan."""
    at = 2
    while data[at + 1] != 0xDA:
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        yield data[at + 1], at, at + 2 + length
        at += 2 + length


v, u = np.mgrid[0:16, 0:16]
CMYK = np.stack([u * 16, v * 16, 255 - u * 8 - v * 8, (u + v) * 4], -1).astype(np.uint8)
Image.fromarray(CMYK, "CMYK").save(HERE / "cmyk_adobe.jpg", quality=95)
data = (HERE / "cmyk_adobe.jpg").read_bytes()
adobe = [(start, end) for marker, start, end in segments(data) if marker == 0xEE]
assert len(adobe) == 1, "Pillow writes Adobe's marker"
start, end = adobe[0]
(HERE / "cmyk_plain.jpg").write_bytes(data[:start] + data[end:])
assert data[end - 1] == 0
(HERE / "ycck.jpg").write_bytes(data[: end - 1] + b"\x02" + data[end:])
for name in ["cmyk_adobe.jpg", "cmyk_plain.jpg", "ycck.jpg"]:
    opaque(name)


# 16 bits: expected by arithmetic, for white at 4095 and at 65535.
def scaled(values, white):
    levels = (2 * 255 * values.astype(np.int64).clip(0, white) + white) // (2 * white)
    return np.repeat(levels.astype(np.uint8)[..., None], 3, -1)


DEEP = (85 * (x + WIDTH * y)).astype(np.uint16)
assert DEEP.max() <= 4095
Image.fromarray(DEEP).save(HERE / "l12in16.png")
Image.fromarray(DEEP).save(HERE / "l12in16.tif")
(HERE / "l12in16.pgm").write_bytes(b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + DEEP.astype(">u2").tobytes())
(HERE / "l12.pgm").write_bytes(b"P5 %d %d 4095\n" % (WIDTH, HEIGHT) + DEEP.astype(">u2").tobytes())
for name in ["l12in16.png", "l12in16.tif", "l12in16.pgm", "l12.pgm"]:
    if name != "l12.pgm":
        with Image.open(HERE / name) as image:
            assert (np.asarray(image) == DEEP).all(), name
    add(name, scaled(DEEP, 4095))

# WebP, GIF, PNM.
Image.fromarray(RGB).save(HERE / "lossless.webp", lossless=True)
Image.fromarray(RGB).save(HERE / "first.gif", save_all=True, append_images=[Image.fromarray(255 - RGB)])
Image.fromarray(RGB).save(HERE / "rgb.ppm")
Image.fromarray(GREY).save(HERE / "grey.pgm")
for name in ["lossless.webp", "first.gif", "rgb.ppm", "grey.pgm"]:
    opaque(name)

made_with = {"script": "tests/reference/images/make.py", "numpy": np.__version__, "pillow": PIL.__version__}
text = json.dumps({"made_with": made_with, "cases": expected}, separators=(",", ":")).replace('{"file"', '\n{"file"')
(HERE / "expected.json").write_text(text + "\n")
