"""The networks of fmam in PyTorch, for timing only: the shapes are the same, the weights random."""

import torch
from torch import nn


def conv_bn(i, o, k=1, s=1, groups=1, act=nn.ReLU6):
    """TensorFlow's SAME padding, for sizes that are multiples of the stride."""
    total = k - s if s > 1 else k - 1
    pads = (total // 2, total - total // 2)
    layers = []
    if pads[0] == pads[1]:
        conv = nn.Conv2d(i, o, k, s, pads[0], groups=groups, bias=False)
    else:
        layers.append(nn.ZeroPad2d((pads[0], pads[1], pads[0], pads[1])))
        conv = nn.Conv2d(i, o, k, s, groups=groups, bias=False)
    layers += [conv, nn.BatchNorm2d(o)]
    if act is not None:
        layers.append(act(inplace=True))
    return nn.Sequential(*layers)


def up_bn(i, o, act):
    layers = [nn.ConvTranspose2d(i, o, 2, 2, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act(inplace=True)] if act else []))


class InvertedResidual(nn.Module):
    def __init__(self, i, o, k, s, e):
        super().__init__()
        h = i * e
        self.body = nn.Sequential(
            *([conv_bn(i, h)] if e != 1 else []), conv_bn(h, h, k, s, h), conv_bn(h, o, act=None)
        )
        self.residual = s == 1 and i == o

    def forward(self, x):
        y = self.body(x)
        return x + y if self.residual else y


class Lite0(nn.Module):
    """EfficientNet-Lite0 to stride 16."""

    channels = (24, 40, 112)
    blocks = [(3, 1, 1, 16), (3, 2, 6, 24), (3, 1, 6, 24), (5, 2, 6, 40), (5, 1, 6, 40), (3, 2, 6, 80), (3, 1, 6, 80),
              (3, 1, 6, 80), (5, 1, 6, 112), (5, 1, 6, 112), (5, 1, 6, 112)]

    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 32, 3, 2)
        i, body = 32, []
        for k, s, e, o in self.blocks:
            body.append(InvertedResidual(i, o, k, s, e))
            i = o
        self.body = nn.ModuleList(body)

    def forward(self, x):
        x, scales = self.stem(x), []
        for index, block in enumerate(self.body):
            x = block(x)
            if index in (2, 4, 10):
                scales.append(x)
        return tuple(scales)


class Lite0Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        c1, c2, c3 = Lite0.channels

        def reduce(i, o):
            return nn.Sequential(conv_bn(i, i, 3, 2, i, act=None), conv_bn(i, o))

        def stage(i, o, k, depth):
            return nn.Sequential(up_bn(i, o, nn.ReLU6), *(InvertedResidual(o, o, k, 1, 4) for _ in range(depth)))

        self.finest = nn.Sequential(reduce(c1, c2), reduce(c2, c3))
        self.middle = reduce(c2, c3)
        self.join = conv_bn(3 * c3, c3)
        self.embedding = nn.Sequential(InvertedResidual(c3, 192, 5, 2, 6), InvertedResidual(192, 192, 5, 1, 3))
        self.stages = nn.ModuleList([stage(192, c3, 5, 2), stage(c3, c2, 5, 2), stage(c2, c1, 3, 1)])

    def forward(self, scales):
        f1, f2, f3 = scales
        x = self.embedding(self.join(torch.cat([self.finest(f1), self.middle(f2), f3], 1)))
        out = []
        for stage in self.stages:
            x = stage(x)
            out.append(x)
        return tuple(reversed(out))


class ResNet(nn.Module):
    """As torchvision has it, to layer 3."""

    def __init__(self, channels, depths, bottleneck, widening):
        super().__init__()
        conv = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.stem = nn.Sequential(conv, nn.BatchNorm2d(64), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        i, layers = 64, []
        for index, (o, depth) in enumerate(zip(channels, depths)):
            first = Block(i, o, 1 if index == 0 else 2, bottleneck, widening)
            layers.append(nn.Sequential(first, *(Block(o, o, 1, bottleneck, widening) for _ in range(depth - 1))))
            i = o
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        x, scales = self.stem(x), []
        for layer in self.layers:
            x = layer(x)
            scales.append(x)
        return tuple(scales)


class Block(nn.Module):
    """A residual block of fmam's ResNets; `resize` is a stride or "double"."""

    def __init__(self, i, o, resize, bottleneck, widening):
        super().__init__()

        def resizing(i, o, k, act):
            return up_bn(i, o, act) if resize == "double" else plain(i, o, k, resize, act)

        def plain(i, o, k, s=1, act=nn.ReLU):
            layers = [nn.Conv2d(i, o, k, s, k // 2, bias=False), nn.BatchNorm2d(o)]
            return nn.Sequential(*layers, *([act(inplace=True)] if act else []))

        if bottleneck:
            w = o // 4 * widening
            self.body = nn.Sequential(plain(i, w, 1), resizing(w, w, 3, nn.ReLU), plain(w, o, 1, act=None))
        else:
            self.body = nn.Sequential(resizing(i, o, 3, nn.ReLU), plain(o, o, 3, act=None))
        self.shortcut = nn.Identity() if resize == 1 and i == o else resizing(i, o, 1, None)

    def forward(self, x):
        return torch.relu(self.body(x) + self.shortcut(x))


class ResNetDecoder(nn.Module):
    def __init__(self, channels, depths, bottleneck, widening):
        super().__init__()
        c1, c2, c3 = channels

        def reduce(i, o):
            conv = nn.Conv2d(i, o, 3, 2, 1, bias=False)
            return nn.Sequential(conv, nn.BatchNorm2d(o), nn.ReLU(inplace=True))

        def layer(i, o, depth, resize):
            blocks = [Block(i if k == 0 else o, o, resize if k == 0 else 1, bottleneck, widening) for k in range(depth)]
            return nn.Sequential(*blocks)

        self.finest = nn.Sequential(reduce(c1, c2), reduce(c2, c3))
        self.middle = reduce(c2, c3)
        self.embedding = layer(3 * c3, 2 * c3, depths[3], 2)
        self.layers = nn.ModuleList([layer(2 * c3, c3, depths[2], "double"), layer(c3, c2, depths[1], "double"),
                                     layer(c2, c1, depths[0], "double")])

    def forward(self, scales):
        f1, f2, f3 = scales
        x = self.embedding(torch.cat([self.finest(f1), self.middle(f2), f3], 1))
        out = []
        for layer in self.layers:
            x = layer(x)
            out.append(x)
        return tuple(reversed(out))


RESNETS = {
    "resnet18": ((64, 128, 256), (2, 2, 2, 2), False, 1),
    "wide-resnet50-2": ((256, 512, 1024), (3, 4, 6, 3), True, 2),
}


def encoder(name):
    return Lite0() if name == "efficientnet-lite0" else ResNet(*RESNETS[name])


def decoder(name):
    return Lite0Decoder() if name == "efficientnet-lite0" else ResNetDecoder(*RESNETS[name])


class Scoring(nn.Module):
    """Teacher, student and the cosine distance at each scale."""

    def __init__(self, name, method):
        super().__init__()
        self.teacher = encoder(name)
        self.student = encoder(name) if method == "nkd" else decoder(name)
        self.method = method

    def forward(self, x):
        teacher = self.teacher(x)
        student = self.student(x if self.method == "nkd" else teacher)
        return tuple(1 - nn.functional.cosine_similarity(t, s) for t, s in zip(teacher, student))
