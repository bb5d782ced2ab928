"""anomalib's PatchCore and PaDiM on the features that fmam computed, so that only the method differs.

    cargo run --release -p fmam-experiment --example features -- DATA mvtec screw efficientnet-lite0 FEATURES
    pip install anomalib safetensors scikit-learn
    python evaluate.py FEATURES patchcore --images 64 --ratio 0.02 --seeds 0 1 2

The greedy search of the coreset takes hours on all images. `--images N` keeps the N evenly spread images that fmam keeps
when `gallery_bytes` holds N.

Coreset, nearest neighbours, image score, Gaussians, distances, enlargement and blur are anomalib's. Image AUROC is
scikit-learn's, pixel AUROC and AUPRO those of ../maps/score.py. One line of JSON a seed, shares of 1.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from sklearn.metrics import roc_auc_score

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "maps"))
import score  # noqa: E402
from anomalib.models.components import KCenterGreedy  # noqa: E402
from anomalib.models.image.padim.torch_model import PadimModel  # noqa: E402
from anomalib.models.image.patchcore.torch_model import PatchcoreModel  # noqa: E402
from make import Given  # noqa: E402

SIZE = 256


def model_of(name, channels, n_features):
    model_class, layers = (PatchcoreModel, [1, 2]) if name == "patchcore" else (PadimModel, [0, 1, 2])
    extractor = Given([channels[k] for k in layers])
    sys.modules[model_class.__module__].TimmFeatureExtractor = lambda **_: extractor
    options = {"num_neighbors": 9} if name == "patchcore" else {"n_features": n_features}
    model = model_class(backbone="given", layers=[f"s{k}" for k in layers], pre_trained=False, **options)

    def run(scales, start, end):
        extractor.features = {f"s{k}": torch.from_numpy(scales[k][start:end]).float() for k in layers}
        return model(torch.zeros(end - start, 3, SIZE, SIZE))

    return model, run


def evaluate(name, train, test, labels, masks, ratio, n_features, seed):
    torch.manual_seed(seed)
    np.random.seed(seed)  # the random projection of scikit-learn
    model, run = model_of(name, [scale.shape[1] for scale in train], n_features)
    model.train()
    with torch.no_grad():
        run(train, 0, len(train[0]))
        if name == "padim":
            model.fit()
        else:
            rows = torch.vstack(model.embedding_store)
            model.embedding_store.clear()
            model.memory_bank = KCenterGreedy(embedding=rows, sampling_ratio=ratio).sample_coreset()
        model.eval()
        maps, scores = [], []
        for start in range(0, len(labels), 8):
            found = run(test, start, min(start + 8, len(labels)))
            maps.append(found.anomaly_map[:, 0].numpy())
            scores.append(found.pred_score.reshape(-1).numpy())
    maps, scores = np.concatenate(maps), np.concatenate(scores)
    pixels = score.figures(maps, masks.astype(bool), [score.FPR_LIMIT])
    return {"method": name, "seed": seed, "ratio": ratio, "image_auroc": roc_auc_score(labels, scores), "pixels": pixels}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, help="the folder that the example wrote")
    parser.add_argument("method", choices=["patchcore", "padim"])
    parser.add_argument("--images", type=int, help="training images, evenly spread [default: all]")
    parser.add_argument("--ratio", type=float, default=0.01, help="share of the patches that is kept [default: 0.01]")
    parser.add_argument("--channels", type=int, default=100, help="channels of PaDiM [default: 100]")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    train, test = (load_file(args.features / f"{split}.safetensors") for split in ("train", "test"))
    scales = [[split[f"scale{k}"] for k in range(3)] for split in (train, test)]
    n = len(scales[0][0])
    count = min(args.images or n, n)
    chosen = [k * n // count for k in range(count)]
    scales[0] = [scale[chosen] for scale in scales[0]]
    for seed in args.seeds:
        found = evaluate(args.method, *scales, test["labels"], test["masks"], args.ratio, args.channels, seed)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
