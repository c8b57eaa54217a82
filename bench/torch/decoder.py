"""A small GPT-2, all of it trained (bench/text.ts), with fused causal attention and one product for q, k and v."""

import torch
import torch.nn.functional as F
from torch import nn

from common import training


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc, self.out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        n, length, width = x.shape
        split = lambda t: t.view(n, length, self.heads, -1).transpose(1, 2)
        q, k, v = (split(t) for t in self.attn(self.ln_1(x)).split(width, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(y.transpose(1, 2).reshape(n, length, width))
        return x + self.out(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))


class Decoder(nn.Module):
    def __init__(self, vocabulary, context, width, layers, heads):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


def build(weights, batch, wrap, **config):
    model = Decoder(**config)
    model.load_state_dict(weights)
    forward = wrap(model)
    ids = batch["ids"]
    loss_of = lambda: F.cross_entropy(forward(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    parameters = dict(model.named_parameters())
    return training(loss_of, parameters, torch.optim.AdamW(parameters.values(), lr=1e-3))
