#!/usr/bin/env python3
"""Tells whether a change of the program moved a figure.

    python3 tests/figures/figures.py keep    --fmam OLD/fmam --out FOLDER
    python3 tests/figures/figures.py compare --fmam NEW/fmam --kept FOLDER

`keep` runs two small grids with a binary of before the change: the demo preset, and every method for one epoch with
the `tiny` backbone. `compare` runs them with a binary of after it and compares, bit by bit, the metrics, the training
curve, the curves over the pixels, the analysis, the score of every test image, the exported anomaly maps, and every
tensor of the fitted detectors. It exits with 1 when one differs.

Both commands must run on one machine: results depend on the vector instructions of the processor. Times, versions,
paths and the wording of the configuration are not figures. The script needs Python 3.9 and no package.
"""

import argparse
import hashlib
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

# Names that a record has had for one thing, the newest first.
RENAMED = {"images": ["images", "overlays"]}


def grids(fmam):
    """The arguments of `fmam reproduce` for each grid, by name."""
    listed = subprocess.run([fmam, "list", "methods"], check=True, capture_output=True, text=True).stdout
    methods = ",".join(line.split()[0] for line in listed.splitlines() if line.strip())
    every = ["--dataset", "demo", "--categories", "plain", "--methods", methods, "--backbone", "tiny"]
    every += ["--epochs", "1", "--seeds", "3", "--image-size", "64"]
    return {"demo": ["--preset", "demo"], "methods": every}


def run(fmam, out):
    for name, args in grids(fmam).items():
        command = [fmam, "reproduce", *args, "--device", "cpu", "--export-maps", "mvtec", "--quiet", "--out", str(out / name)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def tensors(path):
    """A digest of each tensor of a safetensors file."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {
        name: [entry["dtype"], entry["shape"], digest(body[slice(*entry["data_offsets"])])]
        for name, entry in header.items()
    }


def digest(data):
    return hashlib.sha256(data).hexdigest()


def images(record):
    """The scores of the test images, wherever this version of the record has them."""
    for place in (record, record.get("artefacts", {})):
        for name in RENAMED["images"]:
            if name in place:
                return place[name]
    return []


def figures(run):
    """Everything of the run in the folder `run` that must not move, by name."""
    record = json.loads((run / "record.json").read_text())
    found = {f"metrics.{key}": value for key, value in record["metrics"].items()}
    for key in ("curve", "pixels", "analysis", "n_train", "n_test_normal", "n_test_anomalous"):
        found[key] = record.get(key)
    for image in images(record):
        found[f"score of {image['sample']}"] = image["image_score"]
    for path in sorted(run.rglob("*.tiff")):
        found[str(path.relative_to(run))] = digest(path.read_bytes())
    for path in sorted((run / "model").glob("*.safetensors")):
        found.update({f"{path.name}: {name}": value for name, value in tensors(path).items()})
    return found


def all_figures(out):
    return {
        str(path.parent.relative_to(out)): figures(path.parent) for path in sorted(out.rglob("record.json"))
    }


def compare(before, after):
    """Prints what differs; the number of differences."""
    n_differences = 0
    for run in sorted(before.keys() | after.keys()):
        if run not in before or run not in after:
            print(f"{run}: only {'after' if run in after else 'before'} the change")
            n_differences += run in before
            continue
        old, new = before[run], after[run]
        for name in old:
            if name not in new or old[name] != new[name]:
                print(f"{run}: {name}: {str(old[name])[:80]} before, {str(new.get(name))[:80]} now")
                n_differences += 1
        added = sorted(new.keys() - old.keys())
        if added:
            print(f"{run}: new: {', '.join(added)}")
    return n_differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=["keep", "compare"])
    parser.add_argument("--fmam", required=True, help="the binary")
    parser.add_argument("--out", type=Path, help="folder in which `keep` keeps the runs; must not exist")
    parser.add_argument("--kept", type=Path, help="folder that `keep` wrote")
    args = parser.parse_args()
    fmam = str(Path(args.fmam).resolve())
    if args.task == "keep":
        if args.out is None or args.out.exists():
            sys.exit("keep needs --out, a folder that does not exist")
        run(fmam, args.out)
        print(f"kept {len(all_figures(args.out))} runs in {args.out}")
        return
    if args.kept is None or not args.kept.is_dir():
        sys.exit("compare needs --kept, the folder that `keep` wrote")
    before = all_figures(args.kept)
    with tempfile.TemporaryDirectory() as folder:
        run(fmam, Path(folder))
        after = all_figures(Path(folder))
    n_figures = sum(map(len, before.values()))
    n_differences = compare(before, after)
    if n_differences:
        sys.exit(f"{n_differences} of {n_figures} figures of {len(before)} runs differ")
    print(f"no figure moved: {n_figures} figures of {len(before)} runs are the same to the bit")


if __name__ == "__main__":
    main()
