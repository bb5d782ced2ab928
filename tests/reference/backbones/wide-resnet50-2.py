"""torchvision's Wide ResNet-50-2, layers 1 to 3."""

import torchvision
from resnet import features  # noqa: F401

PACKAGES = ("torchvision",)
BRANCH_END = ".bn3.weight"


def network():
    return torchvision.models.wide_resnet50_2(weights=None)
