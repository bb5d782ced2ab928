"""Makes the fixture of crates/record/src/map_file.rs: maps brought to other sizes.

    python3 -m venv venv && venv/bin/pip install numpy==2.4.6 pillow==13.0.0 opencv-python-headless==5.0.0.93
    venv/bin/python make.py

The values are Pillow's, `Image.resize(size, BILINEAR)` of a float image: linear between pixel centres at half-integers,
edges clamped, and a triangle as wide as two new pixels along a side that shrinks. Where no side shrinks, OpenCV's
`resize(INTER_LINEAR)`, which PyTorch's `interpolate(mode="bilinear", align_corners=False)` agrees with, must give the
same within 1e-5.
"""

import json
import pathlib

import cv2
import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20)
# (height, width) of the map, and of the original.
SIZES = [((5, 7), (23, 31)), ((4, 4), (12, 12)), ((1, 3), (4, 9)), ((1, 1), (3, 2)), ((16, 6), (5, 20)), ((12, 10), (5, 4))]


def as_json(values):
    """f32 values in their shortest decimal form, which reads back to the same f32."""
    return [float(str(value)) for value in np.asarray(values, np.float32).ravel()]


cases = []
for (height, width), (rows, columns) in SIZES:
    scores = rng.normal(size=(height, width)).astype(np.float32)
    resized = np.asarray(Image.fromarray(scores).resize((columns, rows), Image.Resampling.BILINEAR))
    if rows >= height and columns >= width:
        peer = cv2.resize(scores, (columns, rows), interpolation=cv2.INTER_LINEAR)
        assert np.abs(peer - resized).max() < 1e-5, (height, width, rows, columns)
    cases.append({
        "map": {"shape": [height, width], "data": as_json(scores)},
        "resized": {"shape": [rows, columns], "data": as_json(resized)},
    })
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
made_with = f"make.py, numpy {np.__version__}, Pillow {Image.__version__}, OpenCV {cv2.__version__}"
text = f'{{"made_with":{json.dumps(made_with)},"cases":[\n{lines}\n]}}\n'
(HERE / "resized.json").write_text(text)
