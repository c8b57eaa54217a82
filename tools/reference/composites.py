"""Golden gradients of whole models for the tests in src/nn: transformer block, ConvNet with instance norm, second-order
gradient matching and one step of MAML.

Writes src/nn/testdata/composites.json.

    python tools/reference/composites.py
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

PATH = Path(__file__).resolve().parents[2] / "src/nn/testdata/composites.json"
torch.manual_seed(0)


def numbers(t):
    return [float(f"{v:.7g}") for v in t.detach().flatten().tolist()]


def host(t):
    return dict(shape=list(t.shape), data=numbers(t))


def model(m, scale=1.0):
    """Parameters away from zero and one, in float64 with values that float32 holds."""
    for p in m.parameters():
        p.data += scale * 0.1 * torch.randn_like(p)
    m.float().double()
    return {name: p for name, p in m.named_parameters()}


def golden(loss, weights, inputs):
    gradients = torch.autograd.grad(loss, list(weights.values()))
    return dict(
        weights={k: host(v) for k, v in weights.items()},
        inputs={k: host(v) for k, v in inputs.items()},
        loss=float(loss),
        gradients={k: numbers(g) for k, g in zip(weights, gradients)},
    )


def transformer():
    m = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    weights = model(m)
    x = torch.randn(2, 5, 8).double()
    mask = nn.Transformer.generate_square_subsequent_mask(5).double()
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss = (m(x, src_mask=mask) ** 2).mean()
        return golden(loss, weights, dict(x=x))


class ConvNet(nn.Module):
    """The small network of dataset distillation: blocks of convolution, instance norm, ReLU and average pooling."""

    def __init__(self, width=4, depth=2, classes=3, activation=F.relu):
        super().__init__()
        self.depth, self.activation = depth, activation
        for i in range(depth):
            setattr(self, f"conv{i}", nn.Conv2d(2 if i == 0 else width, width, 3, padding=1))
            setattr(self, f"norm{i}", nn.GroupNorm(width, width))
        self.classifier = nn.Linear(width * 4, classes)

    def forward(self, x):
        for i in range(self.depth):
            x = getattr(self, f"norm{i}")(getattr(self, f"conv{i}")(x))
            x = F.avg_pool2d(self.activation(x), 2)
        return self.classifier(x.flatten(1))


def images(n):
    return torch.randn(n, 2, 8, 8).float().double(), torch.arange(n) % 3


def convnet():
    m = ConvNet()
    weights = model(m)
    x, y = images(4)
    return golden(F.cross_entropy(m(x), y), weights, dict(x=x))


def matching():
    """The gradient, with respect to synthetic images, of a distance between two gradients of the network."""
    m = ConvNet(activation=F.softplus)
    weights = model(m)
    real, y = images(4)
    synthetic = torch.randn(3, 2, 8, 8).float().double().requires_grad_()
    of = lambda x, t: torch.autograd.grad(F.cross_entropy(m(x), t), list(weights.values()), create_graph=True)
    distance = sum(
        (1 - F.cosine_similarity(a.flatten(1), b.flatten(1).detach(), dim=1)).sum()
        for a, b in zip(of(synthetic, torch.arange(3)), of(real, y))
        if a.ndim > 1
    )
    (gradient,) = torch.autograd.grad(distance, synthetic)
    return dict(
        weights={k: host(v) for k, v in weights.items()},
        inputs=dict(real=host(real), synthetic=host(synthetic)),
        loss=float(distance),
        gradients=dict(synthetic=numbers(gradient)),
    )


def maml():
    """The gradient, with respect to the initial weights, of the loss after one step of gradient descent."""
    m = ConvNet()
    weights = model(m)
    (support, a), (query, b) = images(3), images(6)
    inner = torch.autograd.grad(F.cross_entropy(m(support), a), list(weights.values()), create_graph=True)
    adapted = {k: w - 0.4 * g for (k, w), g in zip(weights.items(), inner)}
    loss = F.cross_entropy(functional_call(m, adapted, (query,)), b)
    return golden(loss, weights, dict(support=support, query=query))


if __name__ == "__main__":
    cases = dict(transformer=transformer(), convnet=convnet(), matching=matching(), maml=maml())
    PATH.write_text("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in cases.items()) + "\n}\n")
