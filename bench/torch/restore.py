"""A RESTORE step at CLIP ViT-B/16 size (bench/methods/restore.ts), on transformers with its default attention."""

import torch
import torch.nn.functional as F

from common import embed, frozen_clip, training


def gram_norm(p):
    return (p @ p.T).norm()


def build(weights, batch, wrap, tokens, depth):
    model, p = frozen_clip(weights, ["text", "coupling", "surgery"])
    text, vision = model.text_model, model.vision_model
    embedded, positions, mask = embed(text, batch["ids"])
    patches = vision.embeddings(batch["pixels"])
    scale = model.logit_scale.exp()

    def place(x, soft):
        return torch.cat([x[:, :1], soft.expand(len(x), -1, -1), x[:, 1 + tokens :]], dim=1)

    def operated(tower, z):
        at = lambda name: p[f"surgery.{tower}.{name}"]
        y = F.layer_norm(z, z.shape[-1:], at("norm.weight"), at("norm.bias"))
        y = F.linear(y, at("linear1.weight"), at("linear1.bias"))
        y = F.linear(y * torch.sigmoid(1.702 * y), at("linear2.weight"), at("linear2.bias"))
        return z + 0.1 * y

    def features():
        soft = [p[f"text.{l}"] for l in range(depth)]
        seen = [F.linear(t, p[f"coupling.{l}.weight"], p[f"coupling.{l}.bias"]) for l, t in enumerate(soft)]
        x = place(embedded, soft[0]) + positions
        for l, layer in enumerate(text.encoder.layers):
            x = layer(place(x, soft[l]) if 0 < l < depth else x, mask)
        y = model.text_projection(text.final_layer_norm(x[:, -1]))
        x = vision.pre_layrnorm(torch.cat([patches, seen[0].expand(len(patches), -1, -1)], dim=1))
        for l, layer in enumerate(vision.encoder.layers):
            if 0 < l < depth:
                x = torch.cat([x[:, :-tokens], seen[l].expand(len(x), -1, -1)], dim=1)
            x = layer(x, None)
        z = model.visual_projection(vision.post_layernorm(x[:, 0]))
        return operated("text", y), operated("vision", z), soft, seen

    features = wrap(features)

    def loss_of():
        y, z, soft, seen = features()
        logits = scale * F.normalize(z) @ F.normalize(y).T
        now = [torch.stack([gram_norm(t) for t in of[1:]]) for of in (soft, seen)]
        consistency = (now[0] / batch["firstText"] - now[1] / batch["firstVision"]).square().sum()
        return F.cross_entropy(logits, batch["labels"]) + consistency

    optimizer = torch.optim.SGD(p.values(), lr=1e-4, momentum=0.9, weight_decay=5e-4)
    return training(loss_of, p, optimizer)
