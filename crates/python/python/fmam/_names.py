"""The names that ``Detector.fit`` and ``reproduce`` know."""

from __future__ import annotations

from . import _fmam


def methods() -> dict[str, str]:
    """The methods by name, each with a line on it."""
    return dict(_fmam.names("methods"))


def backbones() -> dict[str, str]:
    """The backbones by name, each with a line on it."""
    return dict(_fmam.names("backbones"))


def datasets() -> dict[str, str]:
    """The data sets of ``reproduce`` by name, each with a line on it."""
    return dict(_fmam.names("datasets"))
