"""Times the exact AUROC of 50 million scores, one in a hundred of them anomalous, and the AUPRO of 83 maps of 256 x 256 pixels up to a false
positive rate of 0.3, on one thread: `fmam bench auroc` and `fmam bench aupro` beside scikit-learn's `roc_auc_score`, anomalib's AUPRO, and
the algorithm of the evaluation code that MVTec publishes with its data set, written anew in NumPy from its description. All read the
scores that fmam generated, and each figure is printed, so that a difference shows. Reading the files does not count.

    FMAM_PEERS_TURNS=3 bash benches/peers/run.sh metrics
"""

import argparse
import pathlib
import tempfile

import numpy as np
import torch
from anomalib.metrics.aupro import _AUPRO as AnomalibAupro
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from turns import bench, print_machine, print_row, seconds, take_turns

FPR_LIMIT = 0.3


def mvtec_aupro(maps, masks):
    """AUPRO as MVTec's code computes it: all pixels are sorted by falling score. In that order the false positive rate grows by one over the
    number of normal pixels at each of them, and the mean overlap by one over (area of the region x number of regions) at each pixel of
    a region. Of equal scores the last one counts; the curve is integrated by trapezoids up to the limit, interpolated there."""
    is_normal, shares, n_regions = np.zeros(maps.shape, bool), np.zeros(maps.shape), 0
    for mask, normal, share in zip(masks, is_normal, shares):
        regions, count = ndimage.label(mask, np.ones((3, 3), int))
        normal[...] = regions == 0
        areas = np.bincount(regions.ravel())
        share[...] = np.where(normal, 0, 1 / areas[regions])
        n_regions += count
    order = np.argsort(maps.ravel())[::-1]
    scores = maps.ravel()[order]
    fpr = np.cumsum(is_normal.ravel()[order]) / is_normal.sum()
    overlap = np.cumsum(shares.ravel()[order]) / n_regions
    is_last = np.append(scores[1:] != scores[:-1], True)
    fpr, overlap = np.append(0, fpr[is_last]), np.append(0, np.minimum(overlap[is_last], 1))
    at_limit = np.interp(FPR_LIMIT, fpr, overlap)
    is_below = fpr < FPR_LIMIT
    fpr, overlap = np.append(fpr[is_below], FPR_LIMIT), np.append(overlap[is_below], at_limit)
    return np.trapezoid(overlap, fpr) / FPR_LIMIT


def anomalib_aupro(maps, masks):
    metric = AnomalibAupro(fpr_limit=FPR_LIMIT)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks))
    return float(metric.compute())


def compare(what, ours, peers):
    """`ours`: a function that gives the line of `fmam bench`; `peers`: name to a function that gives the figure."""
    values = {}

    def timed(name, figure):
        def run():
            def work():
                values[name] = figure()

            return 1e3 * seconds(work)

        return run

    def fmam():
        line = ours()
        values["fmam"] = line["value"]
        return line["median_ms"]

    turns = take_turns({"fmam": fmam, **{name: timed(name, figure) for name, figure in peers.items()}})
    print_row(what, turns, values=values)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--fmam", required=True)
    parser.add_argument("--scores", type=int, default=50_000_000)
    parser.add_argument("--maps", type=int, default=83)
    parser.add_argument("--side", type=int, default=256)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print_machine("numpy", "scikit-learn", "anomalib", "torch")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)

        def generated(what, options, names):
            bench(args.fmam, what, *options, "--iters", 1, "--save", folder)
            return [np.load(folder / f"{name}.npy") for name in names]

        options = ["--scores", args.scores]
        scores, labels = generated("auroc", options, ["scores", "labels"])
        compare({"metric": "auroc", "scores": args.scores, "threads": 1}, lambda: bench(args.fmam, "auroc", *options, "--iters", 1), {
            "scikit-learn": lambda: roc_auc_score(labels, scores),
        })
        del scores, labels
        options = ["--maps", args.maps, "--side", args.side]
        maps, masks = generated("aupro", options, ["maps", "masks"])
        compare(
            {"metric": "aupro", "maps": args.maps, "side": args.side, "threads": 1},
            lambda: bench(args.fmam, "aupro", *options, "--iters", 1),
            {
                "anomalib": lambda: anomalib_aupro(maps, masks),
                "MVTec's algorithm in NumPy": lambda: mvtec_aupro(maps, masks),
            },
        )


main()
