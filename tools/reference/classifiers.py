"""Golden file of image classifiers in PyTorch for src/models/classifiers/classifiers.test.ts.

ResNets are torchvision's own with narrower stages; ConvNet, LeNet and MLP are written as in the code of dataset
condensation (github VICO-UoE/DatasetCondensation), WideResNet as in RobustBench. Weights are waves of their index (`wave`),
which the test makes again, so that only results are kept: state dict names, logits, and of features, gradients and
running statistics a norm and a product with a wave (`sketch`).

    python tools/reference/classifiers.py        # needs torch and torchvision
"""

import hashlib
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision.models.resnet as tv
from torch import nn

OUT = Path(__file__).resolve().parents[2] / "src/models/classifiers/testdata/golden.json"


def wave(shape, phase, mean=0.0, amplitude=1.0):
    """mean + amplitude · sin(1.7 i + phase), in double precision."""
    i = torch.arange(math.prod(shape), dtype=torch.float64)
    return (mean + amplitude * torch.sin(1.7 * i + phase)).float().reshape(shape)


@torch.no_grad()
def fill(model):
    """Biases and means around 0, scales and variances around 1, matrices and kernels by their fan-in."""
    kept = [(name, t) for name, t in model.state_dict().items() if t.ndim]
    for phase, (name, t) in enumerate(kept):
        norm = t.ndim in (1, 3)  # LayerNorm has whole images
        if name.endswith("running_var") or (norm and name.endswith("weight")):
            t.copy_(wave(t.shape, phase, 1, 0.3))
        elif norm:
            t.copy_(wave(t.shape, phase, 0, 0.3))
        else:
            t.copy_(wave(t.shape, phase, 0, 1.7 / t[0].numel() ** 0.5))


class ConvNet(nn.Module):
    def __init__(self, channels, size, classes, width, depth, norm, act, pool):
        super().__init__()
        acts = {"relu": nn.ReLU(), "leakyrelu": nn.LeakyReLU(0.01), "sigmoid": nn.Sigmoid(), "swish": nn.SiLU()}
        layers, side, before = [], size, channels
        for d in range(depth):
            wide = channels == 1 and size == 28 and d == 0
            layers.append(nn.Conv2d(before, width, 3, padding=3 if wide else 1))
            side += 4 if wide else 0
            if norm == "batchnorm":
                layers.append(nn.BatchNorm2d(width))
            if norm == "layernorm":
                layers.append(nn.LayerNorm([width, side, side]))
            if norm == "instancenorm":
                layers.append(nn.GroupNorm(width, width))
            if norm == "groupnorm":
                layers.append(nn.GroupNorm(4, width))
            layers.append(acts[act])
            if pool != "none":
                layers.append(nn.AvgPool2d(2, 2) if pool == "avgpooling" else nn.MaxPool2d(2, 2))
                side //= 2
            before = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(width * side * side, classes)

    def forward(self, x):
        h = self.features(x).flatten(1)
        return h, self.classifier(h)


class LeNet(nn.Module):
    def __init__(self, channels, classes, norm=False):
        super().__init__()
        pad = 2 if channels == 1 else 0
        bn = lambda width: [nn.BatchNorm2d(width)] if norm else []
        layers = [nn.Conv2d(channels, 6, 5, padding=pad), *bn(6), nn.ReLU(), nn.MaxPool2d(2, 2)]
        self.features = nn.Sequential(*layers, nn.Conv2d(6, 16, 5), *bn(16), nn.ReLU(), nn.MaxPool2d(2, 2))
        self.fc_1, self.fc_2, self.fc_3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, classes)
        if norm:
            self.bn_1, self.bn_2 = nn.BatchNorm1d(120), nn.BatchNorm1d(84)

    def forward(self, x):
        h = self.features(x).flatten(1)
        for i in (1, 2):
            h = F.relu(getattr(self, f"bn_{i}", lambda y: y)(getattr(self, f"fc_{i}")(h)))
        return h, self.fc_3(h)


class Mlp(nn.Module):
    def __init__(self, inputs, widths, classes, norm):
        super().__init__()
        self.hidden = len(widths)
        for i, width in enumerate(widths):
            setattr(self, f"fc_{i + 1}", nn.Linear(inputs, width))
            if norm:
                setattr(self, f"bn_{i + 1}", nn.BatchNorm1d(width))
            inputs = width
        setattr(self, f"fc_{self.hidden + 1}", nn.Linear(inputs, classes))

    def forward(self, x):
        h = x.flatten(1)
        for i in range(1, self.hidden + 1):
            h = F.relu(getattr(self, f"bn_{i}", lambda y: y)(getattr(self, f"fc_{i}")(h)))
        return h, getattr(self, f"fc_{self.hidden + 1}")(h)


class ResNet(tv.ResNet):
    """torchvision's ResNet with stages of any width, the stem for small images, and fewer stages."""

    def __init__(self, block, layers, classes, width, cifar):
        self.scale = width / 64
        super().__init__(block, [*layers, *[1] * (4 - len(layers))], num_classes=classes)
        if cifar:
            self.conv1, self.maxpool = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.Identity()
        else:
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for i in range(len(layers) + 1, 5):
            setattr(self, f"layer{i}", nn.Identity())
        self.fc = nn.Linear(round(64 * 2 ** (len(layers) - 1) * self.scale) * block.expansion, classes)

    def _make_layer(self, block, planes, *rest, **options):
        if planes == 64:
            self.inplanes = round(64 * self.scale)
        return super()._make_layer(block, round(planes * self.scale), *rest, **options)

    def forward(self, x):
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        h = self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))
        return h, self.fc(h)


class WideBlock(nn.Module):
    def __init__(self, inner, out, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inner), nn.Conv2d(inner, out, 3, stride, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(out), nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.convShortcut = None if inner == out else nn.Conv2d(inner, out, 1, stride, bias=False)

    def forward(self, x):
        active = F.relu(self.bn1(x))
        y = self.conv2(F.relu(self.bn2(self.conv1(active))))
        return y + (self.convShortcut(active) if self.convShortcut else x)


class Stage(nn.Module):
    def __init__(self, inner, out, count, stride):
        super().__init__()
        self.layer = nn.Sequential(
            *[WideBlock(inner if i == 0 else out, out, stride if i == 0 else 1) for i in range(count)]
        )

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, classes, depth, widen, width=16):
        super().__init__()
        n, w = (depth - 4) // 6, [width, width * widen, width * widen * 2, width * widen * 4]
        self.conv1 = nn.Conv2d(3, w[0], 3, 1, 1, bias=False)
        self.block1, self.block2 = Stage(w[0], w[1], n, 1), Stage(w[1], w[2], n, 2)
        self.block3, self.bn1 = Stage(w[2], w[3], n, 2), nn.BatchNorm2d(w[3])
        self.fc = nn.Linear(w[3], classes)

    def forward(self, x):
        h = F.relu(self.bn1(self.block3(self.block2(self.block1(self.conv1(x)))))).mean((2, 3))
        return h, self.fc(h)


def numbers(t):
    return [float(f"{v:.7g}") for v in t.detach().double().flatten().tolist()]


def sketch(t):
    return numbers(torch.stack([t.norm(), (t * wave(t.shape, 0.5)).sum()]))


def result(model, images, labels):
    model.zero_grad()
    images = images.clone().requires_grad_()
    features, logits = model(images)
    loss = F.cross_entropy(logits, labels)
    loss.backward()
    return {
        "logits": numbers(logits),
        "loss": loss.item(),
        "features": sketch(features),
        "images": sketch(images.grad),
        "gradients": {name: sketch(p.grad) for name, p in model.named_parameters()},
    }


def variant(model, shape):
    fill(model)
    images, labels = wave(shape, 0.3), torch.arange(shape[0]) % 3
    names = {k: list(t.shape) for k, t in model.state_dict().items() if t.ndim}
    out = {"shape": shape, "weights": names, "eval": result(model.eval(), images, labels)}
    if any(k.endswith("running_mean") for k in names):
        out["train"] = result(model.train(), images, labels)
        running = {k: t for k, t in model.state_dict().items() if "running" in k}
        out["train"]["running"] = {k: sketch(t) for k, t in running.items()}
    return out


def digest(model):
    """Of the sorted names and shapes of a state dict."""
    lines = sorted(f"{k} [{','.join(map(str, t.shape))}]" for k, t in model.state_dict().items() if t.ndim)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


if __name__ == "__main__":
    basic, bottle = tv.BasicBlock, tv.Bottleneck
    golden = {
        "variants": {
            "convnet": variant(ConvNet(3, 16, 3, 6, 3, "instancenorm", "relu", "avgpooling"), [3, 3, 16, 16]),
            "convnet-grey": variant(ConvNet(1, 28, 3, 4, 2, "batchnorm", "leakyrelu", "maxpooling"), [3, 1, 28, 28]),
            "convnet-layernorm": variant(ConvNet(3, 8, 3, 4, 2, "layernorm", "sigmoid", "none"), [3, 3, 8, 8]),
            "convnet-groupnorm": variant(ConvNet(3, 8, 3, 8, 2, "groupnorm", "swish", "avgpooling"), [3, 3, 8, 8]),
            "convnet-bare": variant(ConvNet(3, 8, 3, 4, 1, "none", "relu", "avgpooling"), [3, 3, 8, 8]),
            "lenet-grey": variant(LeNet(1, 3), [3, 1, 28, 28]),
            "lenet": variant(LeNet(3, 3), [3, 3, 32, 32]),
            "lenet-batchnorm": variant(LeNet(1, 3, True), [3, 1, 28, 28]),
            "mlp": variant(Mlp(16, [12, 10], 3, False), [4, 1, 4, 4]),
            "mlp-batchnorm": variant(Mlp(16, [12, 10], 3, True), [4, 1, 4, 4]),
            "resnet-basic": variant(ResNet(basic, [1, 2, 1], 3, 4, True), [3, 3, 12, 12]),
            "resnet-imagenet": variant(ResNet(basic, [2, 1], 3, 4, False), [3, 3, 20, 20]),
            "resnet-bottleneck": variant(ResNet(bottle, [2, 1], 3, 4, True), [3, 3, 8, 8]),
            "wide-resnet": variant(WideResNet(3, 16, 2, 3), [3, 3, 12, 12]),
        },
        "digests": {
            "resnet-18": digest(tv.resnet18()),
            "resnet-50": digest(tv.resnet50()),
            "convnet-3": digest(ConvNet(3, 32, 10, 128, 3, "instancenorm", "relu", "avgpooling")),
            "wide-resnet-40-2": digest(WideResNet(10, 40, 2)),
        },
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(golden) + "\n")
