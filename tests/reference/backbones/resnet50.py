"""torchvision's ResNet-50, layers 1 to 3."""

import torchvision
from resnet import features  # noqa: F401

PACKAGES = ("torchvision",)
BRANCH_END = ".bn3.weight"


def network():
    return torchvision.models.resnet50(weights=None)
