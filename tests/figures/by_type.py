"""Image AUROC of each defect type, from the records of finished runs: docs/benchmarks.md, "What each method finds".

    python3 tests/figures/by_type.py OUT ...

OUT: folders that `fmam reproduce` wrote. A type's images are compared with all normal test images; ties count half. A cell is
the mean over the seeds, in per cent. Only the standard library is used.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path


def auroc(normal, anomalous):
    wins = sum((a > n) + 0.5 * (a == n) for a in anomalous for n in normal)
    return 100 * wins / (len(normal) * len(anomalous))


def main():
    found = defaultdict(lambda: defaultdict(list))
    for out in map(Path, sys.argv[1:]):
        for path in sorted(out.glob("runs/*/*/*/*/*/record.json")):
            record = json.loads(path.read_text())
            images = record["artefacts"]["images"]
            normal = [image["image_score"] for image in images if image["label"] == "normal"]
            types = defaultdict(list)
            for image in images:
                if image["label"] == "anomalous":
                    types[image["defect_type"]].append(image["image_score"])
            for name, scores in types.items():
                found[record["category"], name, len(scores)][record["method"]].append(auroc(normal, scores))
    methods = sorted({method for cells in found.values() for method in cells})
    print("| category | type | images | " + " | ".join(methods) + " |")
    print("| --- " * (3 + len(methods)) + "|")
    for (category, name, count), cells in sorted(found.items()):
        means = [f"{sum(cells[m]) / len(cells[m]):.1f}" if m in cells else "" for m in methods]
        print(f"| {category} | {name} | {count} | " + " | ".join(means) + " |")


if __name__ == "__main__":
    main()
