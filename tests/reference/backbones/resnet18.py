"""torchvision's ResNet-18, layers 1 to 3."""

import torchvision
from resnet import features  # noqa: F401

PACKAGES = ("torchvision",)
BRANCH_END = ".bn2.weight"


def network():
    return torchvision.models.resnet18(weights=None)
