"""torchvision's MobileNetV2, behind the last blocks of strides 4, 8 and 16."""

from collections import OrderedDict

import torchvision

PACKAGES = ("torchvision",)
# With these some activations exceed 6, up to 4% in a layer, and residuals stay small.
NORM_GAIN = 1.5
BRANCH_END = ".conv.3.weight"
TAPS = (3, 6, 13)


def network():
    return torchvision.models.mobilenet_v2(weights=None)


def features(net, x):
    out = OrderedDict()
    for i, block in enumerate(net.features[: TAPS[-1] + 1]):
        x = block(x)
        if i in TAPS:
            out[f"block{i}"] = x
    return out
