"""The example of the documentation runs, and the documentation shows it as it is."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
from conftest import part, scratched
from matplotlib.image import imread, imsave
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "crates/python/examples/screws.py"


def generated(root: Path) -> Path:
    """Plates in the layout of the screws, for a machine without real data."""
    screws = root / "mvtec/screw"
    for folder in ["train/good", "test/good", "test/scratch", "ground_truth/scratch"]:
        (screws / folder).mkdir(parents=True)
    for number in range(40):
        imsave(screws / f"train/good/{number:03}.png", part(number, 128, 128))
    for number in range(8):
        imsave(screws / f"test/good/{number:03}.png", part(100 + number, 128, 128))
        imsave(screws / f"test/scratch/{number:03}.png", scratched(200 + number, height=128, width=128))
        mask = np.zeros((128, 128), dtype=np.uint8)
        mask[61:67, 15:65] = 255
        # Of one channel, as those of the data set.
        Image.fromarray(mask).save(screws / f"ground_truth/scratch/{number:03}_mask.png")
    return root


def test_the_example_runs(tmp_path: Path) -> None:
    given = os.environ.get("FMAM_DATA")
    if not given:
        warnings.warn(
            "FMAM_DATA names no folder of real data: the example runs on generated images", stacklevel=1
        )
    root = Path(given) if given else generated(tmp_path / "data")
    program = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        cwd=tmp_path,
        env={**os.environ, "FMAM_DATA": str(root), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert program.returncode == 0, program.stderr
    lines = program.stdout.splitlines()
    assert lines[0].startswith("Detector(method='patchcore'") and lines[1].endswith("defects found")
    auroc = float(lines[3].split()[2].rstrip(","))
    assert auroc > (0.7 if given else 0.95), program.stdout
    assert imread(tmp_path / "screws.png").std() > 0.01


def test_the_documentation_shows_the_example() -> None:
    page = (ROOT / "docs/src/python.md").read_text(encoding="utf-8")
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```\n" in page


def test_the_lines_of_the_readme_run(tmp_path: Path) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = page.split("```python\n")[1].split("```")[0]
    assert len(lines.splitlines()) == 6
    (tmp_path / "good").mkdir()
    for number in range(10):
        imsave(tmp_path / f"good/{number}.png", part(number))
    imsave(tmp_path / "new.png", scratched(1))
    # Two epochs instead of those of the paper.
    lines = lines.replace('fit("good/"', 'fit("good/", backbone="tiny", image_size=64, epochs=2')
    program = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert program.returncode == 0, program.stderr
    assert program.stdout.split()[0] in {"ok", "defect"}
    assert (tmp_path / "model/model.toml").is_file()
