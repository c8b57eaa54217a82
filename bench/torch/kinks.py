"""How far PyTorch's gradients of ResNet-18 are from its own when oneDNN computes the convolutions or does not."""

import torch
import torch.nn.functional as F
from torch import nn


def norm_conv(i, o, kernel, stride):
    return nn.Sequential(nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(o))


class Block(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.first, self.second = norm_conv(i, o, 3, stride), norm_conv(o, o, 3, 1)
        self.skip = norm_conv(i, o, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x, activation):
        return activation(self.second(activation(self.first(x))) + self.skip(x))


torch.manual_seed(0)
widths = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2), (512, 512, 1)]
stem, blocks, head = norm_conv(3, 64, 3, 1), nn.ModuleList(Block(*w) for w in widths), nn.Linear(512, 10)
parameters = [*stem.parameters(), *blocks.parameters(), *head.parameters()]
images, labels = torch.randn(64, 3, 32, 32), torch.arange(64) % 10


def gradient(activation):
    x = activation(stem(images))
    for block in blocks:
        x = block(x, activation)
    loss = F.cross_entropy(head(x.mean((2, 3))), labels)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])


for activation in (F.relu, F.gelu):
    with torch.backends.mkldnn.flags(enabled=True):
        ours = gradient(activation)
    with torch.backends.mkldnn.flags(enabled=False):
        theirs = gradient(activation)
    print(activation.__name__, f"{((ours - theirs).norm() / ours.norm()).item():.1e}")
