"""Studies, and the names that they know."""

from __future__ import annotations

from pathlib import Path

import pytest

import fmam


def test_a_study_gives_its_figures_and_is_done_once(tmp_path: Path) -> None:
    def run(**options: object) -> list[dict[str, object]]:
        return fmam.reproduce(
            "demo",
            categories="plain",
            methods="padim",
            backbones=["tiny"],
            image_size=64,
            seeds=[3],
            out=tmp_path / "runs",
            **options,
        )

    stages: list[str] = []
    rows = run(progress=lambda stage, *_: stages.append(stage))
    assert {row["seed"] for row in rows} == {3} and {row["method"] for row in rows} == {"padim"}
    assert all(0 <= row["image_auroc"] <= 1 and row["n_train"] > 0 for row in rows)
    assert (tmp_path / "runs/report.html").is_file()
    assert any("padim" in stage and "scoring" in stage for stage in stages)
    # Finished runs are kept: the seconds of their fit are the same.
    assert run() == rows


def test_what_is_unknown_is_named(tmp_path: Path) -> None:
    for options, text in [
        ({"preset": "nonsense"}, "nonsense"),
        ({"dataset": "nonsense"}, "nonsense"),
        ({"preset": "demo", "methods": ["nonsense"]}, "nonsense"),
        ({"preset": "demo", "settings": {"epochs": 3}}, "epochs"),
        ({"data_root": tmp_path}, "data set"),
    ]:
        with pytest.raises(ValueError, match=text):
            fmam.reproduce(out=tmp_path / "runs", **options)


def test_names_have_a_line_each() -> None:
    assert {"rkd+fmam", "padim", "patchcore"} <= set(fmam.methods())
    assert {"efficientnet-lite0", "tiny"} <= set(fmam.backbones())
    assert {"mvtec", "demo"} <= set(fmam.datasets())
    assert all(fmam.methods().values())
    assert fmam.__version__.count(".") == 2
