"""A CoOp step and image encoding at CLIP ViT-B/16 size (bench/clip.ts), on transformers with its default attention."""

import torch
import torch.nn.functional as F

from common import embed, frozen_clip, training


def text_step(model, context, batch, wrap):
    text = model.text_model
    classes, tokens = len(batch["ids"]), len(context)
    embedded, positions, mask = embed(text, batch["ids"])
    scale = model.logit_scale.exp()
    # CoOp's text encoder: the causal transformer over sentences whose tokens 1 to M are the context vectors.
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
    model, parameters = frozen_clip(weights, ["context"])
    if part == "text":
        del model.vision_model
        return text_step(model, parameters["context"], batch, wrap)
    del model.text_model
    return image_step(model, batch, wrap)
