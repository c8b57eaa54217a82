"""TENT with the filter by confidence difference and the diversity term on WideResNet-40-2 (bench/methods/tta.ts)."""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import nn

from common import training


class Block(nn.Module):
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
        blocks = [Block(inner if i == 0 else out, out, stride if i == 0 else 1) for i in range(count)]
        self.layer = nn.Sequential(*blocks)

    def forward(self, x):
        return self.layer(x)


class WideResNet(nn.Module):
    def __init__(self, classes=10, count=6, widths=(16, 32, 64, 128)):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        for i in (1, 2, 3):
            setattr(self, f"block{i}", Stage(widths[i - 1], widths[i], count, 1 if i == 1 else 2))
        self.bn1 = nn.BatchNorm2d(widths[3])
        self.fc = nn.Linear(widths[3], classes)

    def forward(self, x):
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


def build(weights, batch, wrap):
    source = WideResNet()
    source.load_state_dict(weights, strict=False)
    source.requires_grad_(False)
    for m in source.modules():
        if isinstance(m, nn.BatchNorm2d):
            # The statistics of the batch, in evaluation too.
            m.track_running_stats, m.running_mean, m.running_var = False, None, None
    adapted = deepcopy(source)
    parameters = {}
    for name, m in adapted.named_modules():
        if isinstance(m, nn.BatchNorm2d):
            m.requires_grad_(True)
            parameters.update({f"{name}.{key}": p for key, p in m.named_parameters()})
    optimizer = torch.optim.Adam(parameters.values(), lr=1e-3)
    forward, reference = wrap(adapted), wrap(source)

    def loss_of():
        with torch.no_grad():
            before, classes = reference(batch["images"]).softmax(1).max(1)
        logits = forward(batch["images"])
        p = logits.softmax(1)
        kept = p.gather(1, classes[:, None])[:, 0] >= before
        entropy = -(p * logits.log_softmax(1)).sum(1)
        mean = p.mean(0)
        return entropy[kept].mean() + 0.5 * (mean * mean.log()).sum()

    return training(loss_of, parameters, optimizer)
