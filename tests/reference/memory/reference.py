"""PaDiM, SPADE and PatchCore in NumPy, from the papers and the definitions in make.py's docstring.

Written for make.py (small fixtures, float64) and evaluate.py (whole data sets, float32): results have the type of the
features, except PaDiM's, whose Gaussians are in float64 always. `features` are arrays (N, C, H, W), one a scale, finest
first. Images are scored one after the other, so that memory does not grow with their number.
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

REGULARISATION = 0.01  # added to the diagonal of PaDiM's covariances
BLOCK = 4096  # rows that a search compares at a time


class Scored(NamedTuple):
    distances: np.ndarray  # (N, h, w)
    maps: np.ndarray  # (N, size, size)
    scores: np.ndarray  # (N)


# Grids


def separable(x, rows, columns):
    """`rows` applied to the last axis but one of `x`, `columns` to the last."""
    return rows.astype(x.dtype) @ x @ columns.astype(x.dtype).T


def bilinear_weights(outputs, inputs):
    """(outputs, inputs) of bilinear interpolation with align_corners=False."""
    centre = (np.arange(outputs) + 0.5) * inputs / outputs - 0.5
    centre = np.clip(centre, 0, inputs - 1)
    return np.clip(1 - np.abs(centre[:, None] - np.arange(inputs)), 0, None)


def bilinear(x, height, width):
    """(..., h, w) to (..., height, width)."""
    return separable(x, bilinear_weights(height, x.shape[-2]), bilinear_weights(width, x.shape[-1]))


def nearest_repeat(x, height, width):
    """(..., h, w) to (..., height, width), whole multiples: each value fills a block."""
    (down, rest_down), (across, rest_across) = divmod(height, x.shape[-2]), divmod(width, x.shape[-1])
    assert rest_down == 0 and rest_across == 0
    return x.repeat(down, axis=-2).repeat(across, axis=-1)


def neighbourhood_mean(x):
    """The mean over the 3 x 3 neighbourhood of each position, zeros beyond the border counted (the authors' padding)."""

    def weights(length):
        return (np.abs(np.arange(length)[:, None] - np.arange(length)) <= 1) / 3

    return separable(x, weights(x.shape[-2]), weights(x.shape[-1]))


def rows_of(x):
    """(N, C, H, W) to (N, H * W, C), positions row by row."""
    return np.ascontiguousarray(x.reshape(*x.shape[:2], -1).swapaxes(1, 2))


def maps_of(distances, size):
    """(N, h, w) to (N, size, size): upsampled, then blurred."""
    sigma = 4 * size / 256
    upsampled = bilinear(distances, size, size)
    return np.stack([gaussian_filter(values, sigma, mode="reflect", truncate=4.0) for values in upsampled])


# Search


def nearest(queries, rows):
    """(squared distance to the nearest of `rows`, its index) for each query; of equals the first.

    |q|^2 + |r|^2 - 2 q.r finds the row, without |q|^2, which is the same for all; its distance is then taken from the
    difference, which loses no digits.
    """
    best = np.full(len(queries), np.inf, queries.dtype)
    index = np.zeros(len(queries), np.int64)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        candidate = ((block**2).sum(axis=1) - 2 * (queries @ block.T)).argmin(axis=1)
        squared = ((queries - block[candidate]) ** 2).sum(axis=1)
        closer = squared < best
        best[closer], index[closer] = squared[closer], start + candidate[closer]
    return best, index


def k_centre(rows, start, count):
    """Indices of `count` rows: `start`, then always the row farthest from those chosen; of equals the first."""
    norms = (rows**2).sum(axis=1)
    smallest = np.full(len(rows), np.inf, rows.dtype)
    selected = [start]
    while True:
        last = selected[-1]
        np.minimum(smallest, norms + norms[last] - 2 * (rows @ rows[last]), out=smallest)
        smallest[last] = 0
        if len(selected) == count:
            return selected
        selected.append(int(smallest.argmax()))


# Methods


class Padim:
    def __init__(self, features, channels):
        self.channels = channels
        values = self.embed(features)
        self.mean = values.mean(axis=0, dtype=np.float64)
        n_channels = len(channels)
        self.precision = np.empty((len(self.mean), n_channels, n_channels))
        for position, mean in enumerate(self.mean):
            centred = values[:, position] - mean
            covariance = centred.T @ centred / (len(centred) - 1)
            self.precision[position] = np.linalg.inv(covariance + REGULARISATION * np.eye(n_channels))

    def embed(self, features):
        """(N, positions, channels)."""
        grid = features[0].shape[2:]
        every = [(scale, channel) for scale in features for channel in range(scale.shape[1])]
        values = np.empty((len(features[0]), *grid, len(self.channels)), features[0].dtype)
        for target, index in enumerate(self.channels):
            scale, channel = every[index]
            values[..., target] = nearest_repeat(scale[:, channel], *grid)
        return values.reshape(len(values), -1, len(self.channels))

    def score(self, features, size):
        distances = []
        for values in self.embed(features):
            centred = values - self.mean
            squared = ((centred[:, None] @ self.precision)[:, 0] * centred).sum(axis=1)
            distances.append(np.sqrt(squared).reshape(features[0].shape[2:]))
        distances = np.stack(distances)
        maps = maps_of(distances, size)
        return Scored(distances, maps, maps.max(axis=(1, 2)))


class Spade:
    def __init__(self, features, n_neighbours):
        self.n_neighbours = min(n_neighbours, len(features[0]))
        self.features = features
        self.pooled = self.pool(features)

    @staticmethod
    def pool(features):
        return features[-1].mean(axis=(2, 3))

    @staticmethod
    def pixels(features):
        """(N, positions, channels) on the finest grid."""
        grid = features[0].shape[2:]
        return rows_of(np.concatenate([bilinear(scale, *grid) for scale in features], axis=1))

    def neighbours(self, features):
        """(squared distances, indices of training images), both (N, n_neighbours), nearest first."""
        squared = ((self.pool(features)[:, None] - self.pooled) ** 2).sum(axis=2)
        order = squared.argsort(axis=1, kind="stable")[:, : self.n_neighbours]
        return np.take_along_axis(squared, order, axis=1), order

    def score(self, features, size):
        pooled_distances, order = self.neighbours(features)
        distances = []
        for pixels, images in zip(self.pixels(features), order):
            # One neighbour after the other; the training features stay as small as the backbone gave them.
            pieces = (self.pixels([scale[image : image + 1] for scale in self.features])[0] for image in images)
            squared = np.min([nearest(pixels, piece)[0] for piece in pieces], axis=0)
            distances.append(squared.reshape(features[0].shape[2:]))
        distances = np.stack(distances)
        return Scored(distances, maps_of(distances, size), pooled_distances.mean(axis=1))


class PatchCore:
    def __init__(self, features, projection, start, count, b):
        patches = self.patches(features)
        patches = patches.reshape(-1, patches.shape[-1])
        self.selected = k_centre(patches @ projection.astype(patches.dtype), start, count)
        self.bank = patches[self.selected]
        self.b = min(b, count)

    @staticmethod
    def patches(features):
        """(N, positions, channels) of every scale but the finest, on the second scale's grid."""
        grid = features[1].shape[2:]
        pooled = [bilinear(neighbourhood_mean(scale), *grid) for scale in features[1:]]
        return rows_of(np.concatenate(pooled, axis=1))

    def image_score(self, patches, distances, index):
        """Equations 6 and 7 of the paper, for one image."""
        farthest = distances.argmax()
        nearest_row = self.bank[index[farthest]]
        around = ((self.bank - nearest_row) ** 2).sum(axis=1).argsort(kind="stable")[: self.b]
        others = np.sqrt(((self.bank[around] - patches[farthest]) ** 2).sum(axis=1))
        return reweighted(distances[farthest], others)

    def score(self, features, size):
        grid = features[1].shape[2:]
        distances, scores = [], []
        for patches in self.patches(features):
            squared, index = nearest(patches, self.bank)
            flat = np.sqrt(squared)
            distances.append(flat.reshape(grid))
            scores.append(self.image_score(patches, flat, index))
        distances = np.stack(distances)
        return Scored(distances, maps_of(distances, size), np.array(scores))


def reweighted(distance, others):
    """(1 - exp(distance) / sum exp(others)) * distance; distances from the patch to the rows around its nearest one.

    Divided by exp(distance) above and below. `distance` is the smallest of all, so the exponents are not negative; where
    one overflows, the quotient's limit 0 is right.
    """
    with np.errstate(over="ignore"):
        return (1 - 1 / np.exp(others - distance).sum()) * distance
