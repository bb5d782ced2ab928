"""Images and a detector for the checks: small PNG files of Python's own library, and PaDiM on the backbone `tiny`."""

import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

SIDE = 64


def png(number, side=SIDE):
    """The bytes of a woven square with noise; the number is the seed."""
    chance = random.Random(number)
    base = [chance.randrange(90, 160) for _ in range(3)]
    rows = b"".join(
        b"\0" + bytes(base[c] + ((x // 4 + y // 4) % 2) * 20 + chance.randrange(-8, 9) for x in range(side) for c in range(3))
        for y in range(side))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def images(folder, n_images, first=0):
    """The files of `n_images` images in a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.png" for number in range(first, first + n_images)]
    for number, path in enumerate(paths, first):
        path.write_bytes(png(number))
    return paths


def links(paths, folder, count):
    """`count` names in `folder` for the files `paths`, in turn: 100,000 images take the space of a few hundred."""
    folder.mkdir(parents=True)
    for number in range(count):
        os.link(paths[number % len(paths)], folder / f"{number:06}.png")
    return folder


def model(fmam, work):
    """A calibrated detector of such images, fitted in a second."""
    images(work / "good", 60)
    out = work / "model"
    command = [fmam, "fit", work / "good", "--backbone", "tiny", "--method", "padim", "--image-size", SIDE, "--out", out]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"no detector could be fitted: {done.stderr}")
    return Path(out)
