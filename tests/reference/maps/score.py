"""Scores anomaly maps that fmam exported, from the files alone, to compare with the pixel figures that fmam gave.

What it checks: that the files which `--export-maps mvtec` writes hold the maps that fmam scored, one for each test image, in
the image's size and under its name; and fmam's pixel figures of them. The ground truth is read from the data set again.
AUROC and average precision are scikit-learn's, regions SciPy's, and AUPRO is written down here; no number comes from fmam.

    python -m venv /tmp/maps
    /tmp/maps/bin/pip install numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pillow==13.0.0
    fmam eval --model MODEL --data-root DATA --dataset mvtec --category screw --out OUT --export-maps mvtec
    /tmp/maps/bin/python tests/reference/maps/score.py --maps OUT/maps --data DATA/mvtec --category screw --size 256

Maps lie in MAPS/CATEGORY/test/DEFECT/IMAGE.tiff; images in DATA/CATEGORY/test/DEFECT, masks in
DATA/CATEGORY/ground_truth/DEFECT/IMAGE_mask.png, as MVTec AD has them. A run of `fmam reproduce` has its maps in `maps` of
its own folder. The answer is JSON with the names of fmam's metrics.json. A file that is missing, too many or no map ends it.

fmam scores at the size of its input and enlarges a map for export. `--size N` goes back to that size, where the figures are
fmam's to some eight decimals: a mask by area, anomalous from half a pixel on; a map by undoing the enlargement, a least
squares problem whose solution is the map itself. That also shows whether a file is bilinear between N x N pixels at all:
`residual` is the largest difference between the files and the solutions enlarged again, as a share of the largest value, and
above 1e-5 ends the program. `--box` averages areas instead, for maps of other programs and for images smaller than N, whose
export has lost something; it blurs a little. Without `--size` the figures are those at the images' own size, where MVTec's
evaluation code takes them, and differ from fmam's in the third decimal or so.

AUPRO: at a threshold, the share of a region at or above it, mean over the 8-connected regions of all masks, against the
share of all normal pixels (FPR); straight lines between neighbouring distinct scores; the area up to an FPR of 0.3, divided
by 0.3. Each anomalous pixel adds 1 / (regions * pixels of its region) to the mean overlap, linearly from the FPR of the
scores above its own to the FPR of those above or equal, and keeps it from there on. So the area is a sum over anomalous
pixels, and one sort of the normal scores gives both rates of each. `--check` compares this, and the other figures, with the
fixture that ../metrics/make.py computed by brute force, one threshold after the other; it needs no maps.

160 maps take 27 s and 2.3 GB at 1024 x 1024, 8 s at 512 x 512 or with `--size 256`, on one core.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage
from sklearn.metrics import average_precision_score, roc_auc_score

FPR_LIMIT = 0.3
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
MAX_RESIDUAL = 1e-5
FIXTURE = Path(__file__).resolve().parents[1] / "metrics/pixels.json"


# Files


def images(folder):
    """Images of `folder` by their name without its ending."""
    found = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.suffix.lower() in IMAGES and not path.name.startswith("."):
            if found.setdefault(path.stem, path) != path:
                sys.exit(f"{path}: another file has the same name but for its ending")
    return found


def samples(maps, data, category):
    """(map, image, mask or None) of every test image; a map without an image, or an image without a map, is an error."""
    found, expected = [], set()
    for folder in sorted(path for path in (data / category / "test").iterdir() if path.is_dir()):
        masks = images(data / category / "ground_truth" / folder.name)
        for stem, image in images(folder).items():
            name = Path(folder.name, f"{stem}.tiff")
            mask = None if folder.name == "good" else masks.get(f"{stem}_mask")
            if mask is None and folder.name != "good":
                sys.exit(f"{image}: no mask in {data / category / 'ground_truth' / folder.name}")
            found.append((maps / category / "test" / name, image, mask))
            expected.add(name)
    root = maps / category / "test"
    present = {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
    if not found or present != expected:
        missing, unknown = sorted(map(str, expected - present)), sorted(map(str, present - expected))
        sys.exit(f"{root}: {len(expected)} images, no map of {missing[:5]}, no image of {unknown[:5]}")
    return found


def read_map(path, image):
    """float32, in the size of the image file."""
    with Image.open(path) as file, Image.open(image) as original:
        if file.mode != "F" or file.size != original.size:
            sys.exit(f"{path}: {file.mode} of {file.size}, not 32-bit floats of {original.size}")
        values = np.array(file, np.float32)
    if not np.isfinite(values).all():
        sys.exit(f"{path}: not finite")
    return values


def read_mask(path, shape):
    """bool of `shape`."""
    if path is None:
        return np.zeros(shape, bool)
    with Image.open(path) as file:
        values = np.asarray(file.convert("RGB")).max(axis=2)
    mask = values > (0 if values.max() <= 1 else 127)
    if mask.shape != shape or not mask.any():
        sys.exit(f"{path}: blank, or not of the size of its image")
    return mask


# Sizes


def shares(cells, parts):
    """(parts, cells): how much of each cell lies in each of `parts` equal parts, in units of 1/parts of a cell."""
    start, cell = np.arange(parts)[:, None] * cells, np.arange(cells) * parts
    return np.clip(np.minimum(start + cells, cell + parts) - np.maximum(start, cell), 0, None).astype(float)


def covered(values, size):
    """Sum of `values` over the area of each of (size, size) pixels, of whose area there are `values.size` units."""
    height, width = values.shape
    return shares(height, size) @ values @ shares(width, size).T


def enlargement(cells, parts):
    """(parts, cells): linear interpolation between the centres of `cells`, constant beyond the outermost."""
    centre = np.clip((np.arange(parts) + 0.5) * cells / parts - 0.5, 0, cells - 1)
    return np.clip(1 - abs(centre[:, None] - np.arange(cells)), 0, None)


class Undo:
    """From maps that were enlarged bilinearly back to those of (size, size)."""

    def __init__(self, size):
        self.size = size
        self.operators = {}
        self.residual = 0.0

    def axis(self, length):
        """The enlargement to `length` and its inverse."""
        if length < self.size:
            sys.exit(f"images of {length} pixels are no enlargement of {self.size}: use --box")
        if length not in self.operators:
            enlarge = enlargement(self.size, length)
            self.operators[length] = enlarge, np.linalg.pinv(enlarge)
        return self.operators[length]

    def __call__(self, values):
        (rows, undo_rows), (columns, undo_columns) = map(self.axis, values.shape)
        small = undo_rows @ values @ undo_columns.T
        self.residual = max(self.residual, abs(rows @ small @ columns.T - values).max())
        return small.astype(np.float32)


# Figures


def aupro(scores, weights, normal, limit):
    """Area under the per-region-overlap curve up to the FPR `limit`, divided by it.

    `scores` and `weights` are those of the anomalous pixels, `normal` the scores of the others, rising.
    """
    above = 1 - np.searchsorted(normal, scores, side="right") / normal.size
    from_here = 1 - np.searchsorted(normal, scores, side="left") / normal.size
    ramp = from_here - above
    # What a pixel adds at the limit, and the area under its line up to there.
    height = np.divide(limit - above, ramp, out=np.where(above < limit, np.inf, -np.inf), where=ramp > 0)
    on_ramp = np.where(np.isfinite(height), height, 0) * (limit - above) / 2
    area = np.where(height <= 0, 0, np.where(height >= 1, limit - (above + from_here) / 2, on_ramp))
    return float(weights @ area / limit)


def collapsed(scores, normal):
    """Ranks, labels and counts with the AUROC and average precision of anomalous `scores` and rising `normal` ones.

    Both figures depend on order alone, and normal scores between the same two anomalous ones may as well be equal.
    """
    levels, n_anomalous = np.unique(scores, return_counts=True)
    below, up_to = (np.searchsorted(normal, levels, side=side) for side in ("left", "right"))
    gaps = np.append(below, normal.size) - np.append(0, up_to)
    at_level = 2 * np.arange(levels.size) + 1
    ranks = np.concatenate([at_level, at_level, 2 * np.arange(gaps.size)])
    counts = np.concatenate([n_anomalous, up_to - below, gaps])
    labels = np.arange(ranks.size) < levels.size
    return ranks[counts > 0], labels[counts > 0], counts[counts > 0]


def figures(maps, masks, limits):
    """The pixel figures of pairs of map and mask, AUPRO for each of `limits`."""
    areas, n_regions = [], 0
    for mask in masks:
        numbered, count = ndimage.label(mask, structure=np.ones((3, 3)))
        areas.append(np.bincount(numbered.ravel())[numbered[mask]])
        n_regions += count
    scores = np.concatenate([values[mask] for values, mask in zip(maps, masks)])
    normal = np.concatenate([values[~mask] for values, mask in zip(maps, masks)])
    if scores.size == 0 or normal.size == 0:
        sys.exit("all pixels are of one class")
    normal.sort()
    weights = 1 / (n_regions * np.concatenate(areas).astype(float))
    ranks, labels, counts = collapsed(scores, normal)
    return {
        "n_images": len(masks),
        "n_normal_pixels": normal.size,
        "n_anomalous_pixels": scores.size,
        "n_regions": n_regions,
        "pixel_auroc": float(roc_auc_score(labels, ranks, sample_weight=counts)),
        "aupro": {limit: aupro(scores, weights, normal, limit) for limit in limits},
        "pixel_ap": float(average_precision_score(labels, ranks, sample_weight=counts)),
    }


def check():
    """Compares with ../metrics/make.py's brute force; the largest difference."""
    worst = 0.0
    for case in json.loads(FIXTURE.read_text()):
        shape = case["height"], case["width"]
        maps = [np.array(values, np.float32).reshape(shape) for values in case["maps"]]
        masks = [np.array(list(mask), int).reshape(shape) > 0 for mask in case["masks"]]
        actual = figures(maps, masks, [limit for limit, _ in case["aupro"]])
        if actual["n_regions"] != case["n_regions"]:
            sys.exit(f"{case['name']}: {actual['n_regions']} regions, not {case['n_regions']}")
        pairs = [(actual["aupro"][limit], value) for limit, value in case["aupro"]]
        pairs += [(actual["pixel_auroc"], case["auroc"]), (actual["pixel_ap"], case["average_precision"])]
        difference = max(abs(ours - theirs) for ours, theirs in pairs)
        print(f"{case['name']}: {difference:.1e}", file=sys.stderr)
        worst = max(worst, difference)
    if worst > 1e-12:
        sys.exit(f"{FIXTURE.name}: differs by {worst:.1e}")


def score(args):
    """The figures of a category."""
    undo = Undo(args.size)
    maps, masks = [], []
    for map_path, image, mask_path in samples(args.maps, args.data, args.category):
        values = read_map(map_path, image)
        mask = read_mask(mask_path, values.shape)
        if args.size and mask.shape != (args.size, args.size):
            whole = mask.size
            share = covered(mask, args.size)
            mask = (2 * share >= whole) & (share > 0)
            values = (covered(values, args.size) / whole).astype(np.float32) if args.box else undo(values)
        maps.append(values)
        masks.append(mask)
    result = {"category": args.category, "size": args.size, **figures(maps, masks, [args.fpr_limit])}
    result |= {"fpr_limit": args.fpr_limit, "aupro": result["aupro"][args.fpr_limit]}
    if args.size and not args.box:
        largest = max(abs(values).max() for values in maps)
        result["residual"] = float(undo.residual / largest) if undo.residual > 0 else 0.0
        if result["residual"] > MAX_RESIDUAL:
            sys.exit(f"not maps of {args.size} x {args.size} enlarged bilinearly: residual {result['residual']:.1e}")
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=Path, metavar="DIR", help="the folder of maps that fmam wrote")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the folder that holds the category's")
    parser.add_argument("--category", metavar="NAME")
    parser.add_argument("--size", type=int, metavar="N", help="score at N x N [default: the images' size]")
    parser.add_argument("--box", action="store_true", help="average areas instead of undoing the enlargement")
    parser.add_argument("--fpr-limit", type=float, default=FPR_LIMIT, metavar="FPR")
    parser.add_argument("--check", action="store_true", help="compare with the fixture of ../metrics, and no more")
    args = parser.parse_args()
    if args.check:
        return check()
    if None in (args.maps, args.data, args.category):
        parser.error("--maps, --data and --category go together")
    if not 0 < args.fpr_limit <= 1 or (args.size is not None and args.size < 1):
        parser.error("--fpr-limit is above 0 and at most 1, --size at least 1")
    print(json.dumps(score(args), indent=2))


if __name__ == "__main__":
    main()
