"""Distances, maps and scores of PaDiM, SPADE and PatchCore, by NumPy in float64; fixture for fmam-methods.

Writes memory.json next to this file; the methods are in reference.py. The inputs `train` (14 normal images) and `test` (4;
1 and 3 have a disturbed region) are feature pyramids, a list of three tensors each, finest scale first: 3 channels on 8 x 8,
4 on 4 x 4, 5 on 2 x 2, of images of 32 x 32. They are multiples of 1/256, so f32 code sees the same numbers. Outputs are
rounded to 12 significant digits. All positions and rows go row by row, all indices start at 0.

maps of every method: `distances` brought to 32 x 32 bilinearly with align_corners = false, then a Gaussian blur with
  sigma = 4 * 32 / 256, mirrored at the edge (the edge value twice), kernel radius round(4 sigma): scipy's mode "reflect".

padim   Defard et al. 2020, arXiv:2011.08785. The 12 channels of all scales in order, coarser scales brought to 8 x 8 by
  repeating each value (blocks of 2 x 2 and 4 x 4); of them `channels`. At each position mu = mean over the training images,
  S = covariance with denominator n - 1, plus 0.01 I.
    distances   (4, 8, 8)     sqrt((x - mu)^T S^-1 (x - mu))
    scores      (4)           maximum of each map

spade   Cohen & Hoshen 2020, arXiv:2005.02357. Pooled feature of an image: mean over the positions of the coarsest scale.
  Pixel features: all 12 channels, coarser scales brought to 8 x 8 bilinearly with align_corners = false.
    neighbours  (4, k)        training images with the smallest squared Euclidean distance of pooled features, nearest first
    image_scores (4)          mean of those k squared distances
    distances   (4, 8, 8)     squared Euclidean distance to the nearest of the pixel features of the k neighbours, at any
                              position

patchcore   Roth et al., CVPR 2022, arXiv:2106.08265. The two coarser scales, each averaged over the 3 x 3 neighbourhood
  (stride 1; positions beyond the border are zeros and count), then the coarsest brought to 4 x 4 bilinearly with
  align_corners = false: patches of 9 channels. Training patches: row 16 * image + 4 * y + x.
    selected    (22)          rows in order of choice: `start`, then always the row whose smallest Euclidean distance to the
                              chosen ones, after multiplication with `projection` (9, 4), is largest; of equals the first
    distances   (4, 4, 4)     Euclidean distance to the nearest of the selected rows (not projected), the bank
    scores      (4)           (1 - exp(d(p, m)) / sum over r in N of exp(d(p, r))) * d(p, m), where p = the image's patch
                              with the largest distance, m = its nearest row of the bank, N = the b rows of the bank
                              nearest to m, m itself among them

Nothing here hangs on rounding: at each choice (of a neighbour, a row, a patch) the winner leads the second by at least 1e-4,
relative, which is checked below; b and k cut where the distances differ by as much.
"""

import json
import math
from pathlib import Path

import numpy as np
import scipy
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist, mahalanobis

import reference

MADE_WITH = {
    "script": "tests/reference/memory/make.py",
    "numpy": np.__version__,
    "scipy": scipy.__version__,
    "torch": torch.__version__,  # checks only
}
SHAPES = [(3, 8, 8), (4, 4, 4), (5, 2, 2)]
N_TRAIN, N_TEST, SIZE = 14, 4, 32
CHANNELS = [0, 2, 3, 5, 7, 9, 10]
NEIGHBOURS, ROWS, PROJECTED, B = 5, 22, 4, 5
# Test image: rows and columns of the 8 x 8 grid.
DISTURBED = {1: (slice(0, 4), slice(4, 8)), 3: (slice(4, 8), slice(0, 4))}
LEAD = 1e-4


def make_features(rng):
    """(train, test): a mean that depends on the position, channels that vary together, something common to an image."""
    train, test = [], []
    for channels, height, width in SHAPES:
        count = N_TRAIN + N_TEST
        mean = rng.standard_normal((channels, height, width))
        mixing = np.eye(channels) + 0.5 * rng.standard_normal((channels, channels))
        noise = rng.standard_normal((count, channels, height, width)) + 0.5 * rng.standard_normal((count, channels, 1, 1))
        values = mean + 0.4 * np.einsum("ij,njhw->nihw", mixing, noise)
        direction = rng.standard_normal(channels)
        for image, (rows, columns) in DISTURBED.items():
            covered = np.zeros((8, 8))
            covered[rows, columns] = 1
            covered = covered.reshape(height, 8 // height, width, 8 // width).mean(axis=(1, 3))
            values[N_TRAIN + image] += 4 * direction[:, None, None] * covered
        values = np.round(values * 256) / 256
        train.append(values[:N_TRAIN])
        test.append(values[N_TRAIN:])
    return train, test


# The second ways


def check_leads(values, count=1):
    """Asserts that each of the `count` smallest values leads the next one."""
    ordered = np.sort(values)[: count + 1]
    assert (np.diff(ordered) > LEAD * np.abs(ordered[1:])).all(), ordered


def check_grids(features):
    for scale in features:
        tensor = torch.from_numpy(scale)
        for size in ((8, 8), (12, 20)):
            expected = F.interpolate(tensor, size, mode="bilinear", align_corners=False)
            np.testing.assert_allclose(reference.bilinear(scale, *size), expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(reference.nearest_repeat(scale, 8, 8), F.interpolate(tensor, (8, 8), mode="nearest"))
        expected = F.avg_pool2d(tensor, 3, stride=1, padding=1, count_include_pad=True)
        np.testing.assert_allclose(reference.neighbourhood_mean(scale), expected, rtol=1e-12, atol=1e-12)


def stacked(features, mode):
    """(N, H, W, C) on the first scale's grid, by PyTorch."""
    grid, align = features[0].shape[2:], {"bilinear": False}.get(mode)
    scales = [F.interpolate(torch.from_numpy(scale), grid, mode=mode, align_corners=align) for scale in features]
    return torch.cat(scales, 1).permute(0, 2, 3, 1).numpy()


def check_padim(train, test, distances):
    normal, other = (stacked(features, "nearest")[..., CHANNELS] for features in (train, test))
    for image, y, x in np.ndindex(distances.shape):
        values = normal[:, y, x]
        inverse = np.linalg.inv(np.cov(values, rowvar=False) + 0.01 * np.eye(len(CHANNELS)))
        expected = mahalanobis(other[image, y, x], values.mean(axis=0), inverse)
        assert math.isclose(distances[image, y, x], expected, rel_tol=1e-10), (image, y, x)


def check_spade(train, test, neighbours, scored):
    squared = cdist(test[-1].mean((2, 3)), train[-1].mean((2, 3)), "sqeuclidean")
    normal, other = (stacked(features, "bilinear") for features in (train, test))
    for image, row in enumerate(squared):
        check_leads(row, NEIGHBOURS)
        assert neighbours[image].tolist() == np.argsort(row)[:NEIGHBOURS].tolist()
        assert math.isclose(scored.scores[image], np.sort(row)[:NEIGHBOURS].mean(), rel_tol=1e-12)
        gallery = np.concatenate([normal[index].reshape(64, -1) for index in neighbours[image]])
        expected = cdist(other[image].reshape(64, -1), gallery, "sqeuclidean").min(axis=1).reshape(8, 8)
        np.testing.assert_allclose(scored.distances[image], expected, rtol=1e-12)


def check_patchcore(train, test, projection, start, selected, scored):
    def patches(features):
        pooled = [F.avg_pool2d(torch.from_numpy(x), 3, 1, 1, count_include_pad=True) for x in features[1:]]
        return stacked([x.numpy() for x in pooled], "bilinear").reshape(-1, 9)

    rows = patches(train)
    between = cdist(rows @ projection, rows @ projection)
    chosen = [start]
    for _ in range(ROWS - 1):
        smallest = between[:, chosen].min(axis=1)
        check_leads(-smallest)
        chosen.append(int(np.argmax(smallest)))
    assert chosen == selected
    bank = rows[chosen]
    between = cdist(bank, bank)
    for image, values in enumerate(patches(test).reshape(N_TEST, 16, 9)):
        to_bank = cdist(values, bank)
        distances = to_bank.min(axis=1)
        np.testing.assert_allclose(scored.distances[image].ravel(), distances, rtol=1e-12)
        check_leads(-distances)
        p = int(distances.argmax())
        check_leads(to_bank[p])
        m = int(to_bank[p].argmin())
        around = np.argsort(between[m])[:B]
        check_leads(between[m], B)
        assert m in around
        weight = 1 - math.exp(to_bank[p, m]) / sum(math.exp(to_bank[p, r]) for r in around)
        assert math.isclose(scored.scores[image], weight * distances[p], rel_tol=1e-12)
        assert 0.2 < weight < 0.95, "the weight should matter"

    # exp(1000) overflows, and a row far away must not turn the weight into NaN.
    near, far = (reference.reweighted(d, d + np.array([0.0, 1.0, 2.0])) / d for d in (1.0, 1000.0))
    assert math.isclose(near, far, rel_tol=1e-12)
    assert reference.reweighted(1.0, np.array([1.0, 2000.0])) == 1.0


def check_single_precision(train, test, projection, start, results, selected):
    """The same in f32, as evaluate.py runs it: no choice differs, values agree as far as f32 goes."""
    train, test = ([scale.astype(np.float32) for scale in features] for features in (train, test))
    patchcore = reference.PatchCore(train, projection, start, ROWS, B)
    assert patchcore.selected == selected
    methods = [reference.Padim(train, CHANNELS), reference.Spade(train, NEIGHBOURS), patchcore]
    for method, expected in zip(methods, results, strict=True):
        for actual, values in zip(method.score(test, SIZE), expected, strict=True):
            np.testing.assert_allclose(actual, values, rtol=1e-5)


def check_disturbed(method, scored):
    """The disturbed images have the larger scores, and their maps are largest in the disturbed region."""
    normal = [image for image in range(N_TEST) if image not in DISTURBED]
    assert min(scored.scores[list(DISTURBED)]) > max(scored.scores[normal]), (method, scored.scores)
    for image, (rows, columns) in DISTURBED.items():
        y, x = np.unravel_index(scored.maps[image].argmax(), (SIZE, SIZE))
        assert rows.start <= y // 4 < rows.stop and columns.start <= x // 4 < columns.stop, (method, image, y, x)


# The fixture


def tensor(values):
    rounded = [value if isinstance(value, int) else float(f"{value:.12g}") for value in values.ravel().tolist()]
    return {"shape": list(values.shape), "data": rounded}


def outputs(scored, scores="scores"):
    return {"distances": tensor(scored.distances), "maps": tensor(scored.maps), scores: tensor(scored.scores)}


def make():
    rng = np.random.default_rng(20260)
    train, test = make_features(rng)
    check_grids(train)

    padim = reference.Padim(train, CHANNELS).score(test, SIZE)
    check_padim(train, test, padim.distances)

    spade = reference.Spade(train, NEIGHBOURS)
    _, neighbours = spade.neighbours(test)
    spade = spade.score(test, SIZE)
    check_spade(train, test, neighbours, spade)

    projection = np.round(rng.standard_normal((9, PROJECTED)) / math.sqrt(PROJECTED) * 256) / 256
    start = int(rng.integers(N_TRAIN * 16))
    patchcore = reference.PatchCore(train, projection, start, ROWS, B)
    selected = patchcore.selected
    patchcore = patchcore.score(test, SIZE)
    check_patchcore(train, test, projection, start, selected, patchcore)
    check_single_precision(train, test, projection, start, (padim, spade, patchcore), selected)

    fixture = {
        "made_with": MADE_WITH,
        "image_size": SIZE,
        "train": list(map(tensor, train)),
        "test": list(map(tensor, test)),
        "padim": {"channels": CHANNELS, **outputs(padim)},
        "spade": {"k": NEIGHBOURS, "neighbours": tensor(neighbours), **outputs(spade, "image_scores")},
        "patchcore": {"projection": tensor(projection), "start": start, "b": B, "selected": selected, **outputs(patchcore)},
    }
    for features in (train, test):
        assert all((scale == scale.astype(np.float32)).all() for scale in features)
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in fixture.items())
    path = Path(__file__).with_name("memory.json")
    path.write_text(f"{{\n{lines}\n}}\n")
    print(path.name, path.stat().st_size, "bytes")
    for method, scored in (("padim", padim), ("spade", spade), ("patchcore", patchcore)):
        check_disturbed(method, scored)
        print(f"{method:10} scores {np.round(scored.scores, 4)}, largest distances {scored.distances.max((1, 2)).round(3)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make()
