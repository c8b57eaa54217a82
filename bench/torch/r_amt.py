"""An R-AMT step at CLIP ViT-B/16 size (bench/methods/r-amt.ts), on transformers with its default attention."""

import torch
import torch.nn.functional as F
from torch.func import functional_call

from common import frozen_clip

prefix = "mask.vision_model."


class Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w, score):
        ctx.save_for_backward(w)
        return w * (score > 0.005)

    @staticmethod
    def backward(ctx, g):
        (w,) = ctx.saved_tensors
        return None, g * w


def build(weights, batch, wrap):
    model, parameters = frozen_clip(weights, ["mask"])
    scores = {name[len(prefix) :]: score for name, score in parameters.items()}
    del model.text_model
    vision = wrap(model.vision_model)
    plain = dict(model.vision_model.named_parameters())
    scale = model.logit_scale.exp()
    text = F.normalize(batch["text"])
    logits_of = lambda features: scale * F.normalize(features) @ text.T
    target = logits_of(batch["teacher"]).softmax(-1)

    uniform, start = {}, 0
    for name, score in sorted(scores.items()):
        rows, columns = len(score), score[0].numel()
        u, v = batch["draws"][start : start + rows + columns].split([rows, columns])
        total = u[:, None] + v
        uniform[name] = (total - (total >= 1).float()).view(score.shape)
        start += rows + columns
    optimizer = torch.optim.Adam(scores.values(), lr=8e-5)

    def step():
        masked = {name: Masked.apply(plain[name], score) for name, score in scores.items()}
        pooled = functional_call(vision, masked, (batch["pixels"],)).pooler_output
        logits = logits_of(model.visual_projection(pooled))
        loss = F.cross_entropy(logits, batch["labels"]) + 1e-4 * sum(m.norm() for m in scores.values())
        divergence = F.cross_entropy(logits, target)
        values = list(scores.values())
        task = torch.autograd.grad(loss, values, retain_graph=True)
        teacher = torch.autograd.grad(divergence, values)
        for (name, score), a, b in zip(scores.items(), task, teacher):
            keep = torch.where(a.sign() * b.sign() < 0, a.abs() / (a.abs() + b.abs()), 1.0)
            score.grad = a * (keep > uniform[name])
        optimizer.step()
        return loss.item()

    return step, lambda: {name: optimizer.state[p]["exp_avg"] for name, p in parameters.items()}
