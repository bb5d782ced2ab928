"""The part of torchvision's ResNets that the four backbones have in common."""

from collections import OrderedDict


def features(net, x):
    out = OrderedDict()
    x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    for layer in ("layer1", "layer2", "layer3"):
        x = getattr(net, layer)(x)
        out[layer] = x
    return out
