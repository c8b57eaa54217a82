"""ConvNet-3 and ResNet-18 on 32x32 images, and gradient matching with ConvNet-3 (bench/images.ts)."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from common import training


class ConvNet(nn.Module):
    """The network of dataset distillation (Zhao et al. 2021): convolution, instance norm, ReLU, average pooling."""

    def __init__(self, width=128, depth=3, classes=10, channels=3):
        super().__init__()
        block = lambda i: [
            nn.Conv2d(channels if i == 0 else width, width, 3, padding=3 if i == 0 and channels == 1 else 1),
            nn.GroupNorm(width, width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
        self.features = nn.Sequential(*[layer for i in range(depth) for layer in block(i)])
        self.classifier = nn.Linear(width * (32 >> depth) ** 2, classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Block(nn.Module):
    def __init__(self, inner, outer, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, outer, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outer)
        self.conv2 = nn.Conv2d(outer, outer, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outer)
        if stride != 1 or inner != outer:
            self.downsample = nn.Sequential(nn.Conv2d(inner, outer, 1, stride, bias=False), nn.BatchNorm2d(outer))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet18(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = [64, 64, 128, 256, 512]
        for i in range(4):
            blocks = [Block(widths[i], widths[i + 1], 1 if i == 0 else 2), Block(widths[i + 1], widths[i + 1], 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(512, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(4):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


def distance(ours, theirs):
    """1 - cosine over the weights of each output, as in the reference code of dataset condensation."""
    total = 0
    for a, b in zip(ours, theirs):
        if a.ndim == 1:
            continue
        a, b = a.flatten(1), b.flatten(1)
        total = total + (1 - (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1) + 1e-6)).sum()
    return total


def condensing(synthetic, loss_of):
    """A step of synthetic images alone: the network's parameters, of which the loss is a gradient, stay as they are."""
    optimizer = torch.optim.SGD([synthetic], lr=0.1, momentum=0.5)

    def step():
        optimizer.zero_grad()
        loss = loss_of()
        (synthetic.grad,) = torch.autograd.grad(loss, [synthetic])
        optimizer.step()
        return loss.item()

    return step, training(loss_of, {"synthetic": synthetic}, optimizer)[1]


def matching(model, weights, batch):
    synthetic = nn.Parameter(weights["synthetic"].clone())
    classes = batch["real"].shape[0]

    def loss_of():
        loss = 0
        parameters = list(model.parameters())
        for c in range(classes):
            real = F.cross_entropy(model(batch["real"][c]), torch.full((batch["real"].shape[1],), c))
            wanted = [g.detach() for g in torch.autograd.grad(real, parameters)]
            own = F.cross_entropy(model(synthetic[c]), torch.full((synthetic.shape[1],), c))
            loss = loss + distance(torch.autograd.grad(own, parameters, create_graph=True), wanted)
        return loss

    return condensing(synthetic, loss_of)


def dcc(model, weights, batch):
    """DCC's step: the mean of the classes' gradients on real images, and that on all synthetic ones."""
    synthetic = nn.Parameter(weights["synthetic"].clone())
    parameters = list(model.parameters())
    classes, count = batch["real"].shape[:2]
    labels = torch.arange(classes).repeat_interleave(len(synthetic) // classes)

    def loss_of():
        wanted = [torch.zeros_like(p) for p in parameters]
        for c in range(classes):
            loss = F.cross_entropy(model(batch["real"][c]), torch.full((count,), c))
            for total, g in zip(wanted, torch.autograd.grad(loss, parameters)):
                total += g / classes
        own = F.cross_entropy(model(synthetic), labels)
        return distance(torch.autograd.grad(own, parameters, create_graph=True), wanted)

    return condensing(synthetic, loss_of)


def mnist(weights, batch, wrap, size, steps):
    """A stretch of an epoch at a time: batches of bytes in a given order, which is cheaper than a DataLoader of examples."""
    net = ConvNet(channels=1)
    net.load_state_dict(weights)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    forward = wrap(net)
    mean, std = batch["normalisation"]
    picks = itertools.cycle([b for b in batch["order"].split(size) if len(b) == size])

    def loss_of():
        picked = next(picks)
        images = batch["images"][picked].float().div(255).sub(mean).div(std)
        return F.cross_entropy(forward(images), batch["labels"][picked])

    one, results = training(loss_of, dict(net.named_parameters()), optimizer)
    return lambda: sum(one() for _ in range(steps)) / steps, results


def build(weights, batch, wrap, model, **settings):
    if model == "mnist":
        return mnist(weights, batch, wrap, **settings)
    if model == "dcc":
        net = ConvNet()
        net.load_state_dict({k: v for k, v in weights.items() if k != "synthetic"})
        return dcc(wrap(net), weights, batch)
    if model == "matching":
        net = ConvNet()
        net.load_state_dict({k[4:]: v for k, v in batch.items() if k.startswith("net.")})
        return matching(wrap(net), weights, batch)
    net = ConvNet() if model == "convnet" else ResNet18()
    net.load_state_dict(weights, strict=model == "convnet")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    forward = wrap(net)
    loss_of = lambda: F.cross_entropy(forward(batch["images"]), batch["labels"])
    return training(loss_of, dict(net.named_parameters()), optimizer)
