"""A CoOp step and image encoding at CLIP ViT-B/16 size (bench/clip.ts), on transformers with its default attention."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import CLIPConfig, CLIPModel

from common import training


def text_step(model, weights, batch, wrap):
    text = model.text_model
    ids = batch["ids"]
    classes, length = ids.shape
    context = nn.Parameter(weights["context"].clone())
    tokens = len(context)
    positions = text.embeddings.position_embedding(torch.arange(length))
    embedded = text.embeddings.token_embedding(ids)
    scale = model.logit_scale.exp()
    # CoOp's text encoder: the causal transformer over sentences whose tokens 1 to M are the context vectors.
    mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]
    encoder = wrap(text.encoder)

    def loss_of():
        context_rows = context.expand(classes, tokens, -1)
        prompts = torch.cat([embedded[:, :1], context_rows, embedded[:, 1 + tokens :]], dim=1)
        hidden = encoder(inputs_embeds=prompts + positions, attention_mask=mask).last_hidden_state
        y = model.text_projection(text.final_layer_norm(hidden)[:, -1])
        logits = scale * F.normalize(batch["features"]) @ F.normalize(y).T
        return F.cross_entropy(logits, batch["labels"])

    optimizer = torch.optim.SGD([context], lr=0.002, momentum=0.9, weight_decay=5e-4)
    return training(loss_of, {"context": context}, optimizer)


def image_step(model, batch, wrap):
    vision = wrap(model.vision_model)
    features = None

    def step():
        nonlocal features
        with torch.inference_mode():
            features = model.visual_projection(vision(batch["pixels"]).pooler_output)
        return features.abs().mean().item()

    return step, lambda: {"features": features}


def build(weights, batch, wrap, part):
    config = CLIPConfig(vision_config={"patch_size": 16})
    base = {name: w for name, w in weights.items() if name != "context"}
    model = CLIPModel.from_pretrained(None, config=config, state_dict=base).eval().requires_grad_(False)
    if part == "text":
        del model.vision_model
        return text_step(model, weights, batch, wrap)
    del model.text_model
    return image_step(model, batch, wrap)
