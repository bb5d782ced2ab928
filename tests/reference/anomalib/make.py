"""What anomalib's own torch modules make of a few features and images; the fixture of fmam-methods.

    pip install anomalib
    python make.py

writes anomalib.json beside this file. Nothing here computes an anomaly map: every number below comes out of a class of
anomalib, whose backbone is replaced by one that returns the given features.

  image_size       side of the images that the maps belong to
  train, test      features of each scale, (N, C, H, W); multiples of 1/256, exact in f32
  student          the features that a student predicts for `test`
  padim            PadimModel on `channels` of all 12: maps (N, S, S), scores (N)
  patchcore        PatchcoreModel on the two coarser scales with the whole memory as coreset and `neighbours` to weigh the
                   score by: distances (N, 4, 4) of its nearest_neighbors, and scores
  stfpm            of `test` and `student`: layers, the layer maps of AnomalyMapGenerator at the size of each scale, and the loss
                   of STFPMLoss, a sum over the batch
  reverse          AnomalyMapGenerator of reverse distillation in mode "add" and ReverseDistillationLoss: maps, loss
All maps are blurred with sigma = 1 pixel (an argument of anomalib's generators), 8 of a 256-pixel image. anomalib mirrors at the
border without the border pixel, SciPy and fmam with it: compare maps from 4 pixels inwards.

reverse_step: one training step of ReverseDistillationModel on resnet18, weights by the formula of ../backbones/make.py under
fmam's names, batch (2, 3, 64, 96) from the same formula. In float64.
  loss             ReverseDistillationLoss, the batch normalisation of the student in training
  gradients        of each parameter, under fmam's name: the norm, and the elements at (i * 7919) mod len, i = 0..7
"""

import json
import math
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "backbones"))
import stream  # noqa: E402
from anomalib.models.components.backbone import get_decoder  # noqa: E402
from anomalib.models.image.padim.torch_model import PadimModel  # noqa: E402
from anomalib.models.image.patchcore.torch_model import PatchcoreModel  # noqa: E402
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode  # noqa: E402
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerator as ReverseMaps  # noqa: E402
from anomalib.models.image.reverse_distillation.components import get_bottleneck_layer  # noqa: E402
from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss  # noqa: E402
from anomalib.models.image.stfpm.anomaly_map import AnomalyMapGenerator as StfpmMaps  # noqa: E402
from anomalib.models.image.stfpm.loss import STFPMLoss  # noqa: E402

SHAPES = [(3, 8, 8), (4, 4, 4), (5, 2, 2)]
N_TRAIN, N_TEST, SIZE = 14, 4, 32
CHANNELS = [0, 2, 3, 5, 7, 9, 10]
NEIGHBOURS = 5


class Given(nn.Module):
    """In place of a backbone: the features of the scales, by the names of layers."""

    def __init__(self, out_dims):
        super().__init__()
        self.out_dims, self.features = out_dims, None

    def forward(self, _images):
        return self.features


def features(rng, count):
    return [np.round((rng.standard_normal((count, *shape)) + rng.standard_normal(shape)) * 256) / 256 for shape in SHAPES]


def host(model_class, layers, train, test, **options):
    """The maps and scores of a memory model of anomalib, fitted to `train`."""
    module = sys.modules[model_class.__module__]
    extractor = Given([SHAPES[k][0] for k in layers])
    module.TimmFeatureExtractor = lambda **_: extractor
    model = model_class(backbone="given", layers=[f"s{k}" for k in layers], pre_trained=False, **options)

    def run(scales):
        extractor.features = {f"s{k}": torch.from_numpy(scales[k]).float() for k in layers}
        return model(torch.zeros(len(scales[0]), 3, SIZE, SIZE))

    if model_class is PadimModel:
        model.idx = torch.tensor(CHANNELS)
    model.train()
    run(train)
    if model_class is PadimModel:
        model.fit()
    else:
        model.memory_bank = torch.vstack(model.embedding_store)
    model.eval()
    model.anomaly_map_generator = type(model.anomaly_map_generator)(sigma=1)
    found = run(test)
    if model_class is PadimModel:
        return {"maps": tensor(found.anomaly_map[:, 0])}
    pooled = {layer: model.feature_pooler(feature) for layer, feature in extractor.features.items()}
    rows = model.reshape_embedding(model.generate_embedding(pooled))
    distances, _ = model.nearest_neighbors(rows, n_neighbors=1)
    grid = SHAPES[layers[0]][1:]
    return {"distances": tensor(distances.reshape(len(test[0]), *grid)), "scores": tensor(found.pred_score.reshape(-1))}


def tensor(values):
    values = np.asarray(values, dtype=np.float64)
    return {"shape": list(values.shape), "data": [float(f"{value:.9g}") for value in values.ravel().tolist()]}


def fmam_name(name):
    """The name of a parameter of anomalib's bottleneck or decoder in fmam's reverse path."""
    part, rest = name.split(".", 1)
    if part == "decoder":
        layer, rest = rest.split(".", 1)
        return f"layer{4 - int(layer[-1])}.{rest}"
    for ours, convolution, norm in (("fusion.0.0", "conv1", "bn1"), ("fusion.0.1", "conv2", "bn2"), ("fusion.1.0", "conv3", "bn3")):
        for theirs, kind in ((convolution, "conv"), (norm, "bn")):
            if rest.startswith(f"{theirs}."):
                return f"{ours}.{kind}{rest[len(theirs):]}"
    if rest.startswith("bn_layer."):
        return f"embedding.{rest[len('bn_layer.'):]}"
    return None  # conv4 and bn4, which nothing calls


def weights(key, shape):
    """The formula of ../backbones/make.py for convolutions and normalisations."""
    u = stream.uniform(key, math.prod(shape)).reshape(shape)
    if key.endswith(("running_mean", "bias")):
        values = (u - 0.5) * 0.2
    elif key.endswith("running_var"):
        values = 0.5 + u
    elif len(shape) == 4:
        values = (2 * u - 1) * (1.4 * math.sqrt(3 / math.prod(shape[1:])))
    elif key.endswith("bn2.weight"):
        values = 0.2 + 0.2 * u
    else:
        values = 0.5 + 0.5 * u
    return torch.from_numpy(values.astype(np.float32)).double()


def reverse_step():
    import torchvision

    encoder = torchvision.models.resnet18(weights=None).double().eval()
    student = nn.ModuleDict({"bottleneck": get_bottleneck_layer("resnet18"), "decoder": get_decoder("resnet18")}).double().train()
    with torch.no_grad():
        for key, value in encoder.state_dict().items():
            if value.dim() and not key.startswith("fc"):
                value.copy_(weights(key, tuple(value.shape)))
        for key, value in student.state_dict().items():
            name = fmam_name(key)
            if name and value.dim():
                value.copy_(weights(name, tuple(value.shape)))
    with torch.no_grad():
        x = encoder.maxpool(encoder.relu(encoder.bn1(encoder.conv1(stream.image((2, 3, 64, 96)).double()))))
        scales = []
        for layer in (encoder.layer1, encoder.layer2, encoder.layer3):
            x = layer(x)
            scales.append(x)
    # The loss views features as vectors, so they must be contiguous.
    decoded = [scale.contiguous() for scale in student["decoder"](student["bottleneck"](scales))]
    loss = ReverseDistillationLoss.forward(scales, decoded)
    loss.backward()
    gradients = {}
    for key, parameter in student.named_parameters():
        if name := fmam_name(key):
            flat = parameter.grad.ravel()
            some = flat[(torch.arange(8) * 7919) % len(flat)]
            gradients[name] = {"norm": float(f"{flat.norm():.9g}"), "walk": [float(f"{v:.9g}") for v in some.tolist()]}
    return {"loss": float(f"{loss.item():.12g}"), "gradients": gradients}


def make():
    rng = np.random.default_rng(22)
    everything = features(rng, N_TRAIN + N_TEST)
    train, test = [x[:N_TRAIN] for x in everything], [x[N_TRAIN:] for x in everything]
    student = [np.round((x + 0.5 * rng.standard_normal(x.shape)) * 256) / 256 for x in test]
    as_dict = {name: {f"s{k}": torch.from_numpy(x).float() for k, x in enumerate(scales)} for name, scales in (("t", test), ("s", student))}
    pair = [list(as_dict[name].values()) for name in ("t", "s")]
    layers = [StfpmMaps.compute_layer_map(t, s, image_size=t.shape[2:])[:, 0] for t, s in zip(*pair, strict=True)]
    # STFPMLoss sums over the batch, as the lightning module calls it.
    stfpm_loss = STFPMLoss()(as_dict["t"], as_dict["s"])
    reverse = ReverseMaps(image_size=(SIZE, SIZE), sigma=1, mode=AnomalyMapGenerationMode.ADD)(*pair)
    fixture = {
        "made_with": {"script": "tests/reference/anomalib/make.py", "anomalib": version("anomalib"), "torch": version("torch")},
        "image_size": SIZE,
        "train": list(map(tensor, train)),
        "test": list(map(tensor, test)),
        "student": list(map(tensor, student)),
        "padim": {"channels": CHANNELS, **host(PadimModel, [0, 1, 2], train, test, n_features=len(CHANNELS))},
        "patchcore": {"neighbours": NEIGHBOURS, **host(PatchcoreModel, [1, 2], train, test, num_neighbors=NEIGHBOURS)},
        "stfpm": {"layers": list(map(tensor, layers)), "loss": float(stfpm_loss)},
        "reverse": {"maps": tensor(reverse[:, 0]), "loss": float(ReverseDistillationLoss.forward(*pair))},
        "reverse_step": reverse_step(),
    }
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in fixture.items())
    path = HERE / "anomalib.json"
    path.write_text(f"{{\n{lines}\n}}\n")
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    make()
