"""u(key, i) of make.py's docstring, the images made of it, and the form of a fixture."""

import json
import math

import numpy as np
import torch

MASK = (1 << 64) - 1


def fnv1a(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    return h


def uniform(key, n):
    """u(key, 0..n) as float64."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(key)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 16777216.0


def image(shape):
    u = uniform("input", math.prod(shape))
    return torch.from_numpy((2.0 * u - 1.0).astype(np.float32).reshape(shape))


def walk(flat):
    return flat[(np.arange(256) * 7919) % flat.size].tolist()


def write(path, data):
    """JSON with one list element or field a line, so that diffs stay readable."""
    fields = []
    for key, value in data.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            fields.append(f" {json.dumps(key)}: [\n  {rows}\n ]")
        else:
            fields.append(f" {json.dumps(key)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(fields) + "\n}\n")
