"""GRAM's meta-training step over CoOp at CLIP ViT-B/16 size (bench/methods/gram.ts), on transformers."""

import torch
import torch.nn.functional as F

from common import embed, frozen_clip

prefix = "regulator.context."


def regulate(phi, g):
    """Form B: (1 + scale) * g + |g| * bias, from an MLP of each row's direction."""
    size = g.norm(dim=-1, keepdim=True)
    hidden = F.relu(F.linear(g / (size + 1e-12), phi["hidden.weight"], phi["hidden.bias"]))
    scale, bias = F.linear(hidden, phi["out.weight"], phi["out.bias"]).chunk(2, -1)
    return (1 + scale) * g + size * bias


def build(weights, batch, wrap, order):
    second = order == "second"
    model, parameters = frozen_clip(
        weights,
        ["context", "regulator"],
        # sdpa on the CPU has no second derivative.
        attn_implementation="eager" if second else "sdpa",
    )
    del model.vision_model
    text = model.text_model
    encoder = wrap(text.encoder)
    tasks, ways, _ = batch["ids"].shape
    embedded, positions, mask = embed(text, batch["ids"])
    scale = model.logit_scale.exp()
    context = parameters["context"]
    phi = {n[len(prefix) :]: p for n, p in parameters.items() if n.startswith(prefix)}

    def loss_of(theta, task, images):
        features = batch[images][task]
        rows = theta.expand(ways, -1, -1)
        prompts = torch.cat([embedded[task][:, :1], rows, embedded[task][:, 1 + len(theta) :]], dim=1)
        hidden = encoder(inputs_embeds=prompts + positions, attention_mask=mask).last_hidden_state
        y = model.text_projection(text.final_layer_norm(hidden)[:, -1])
        logits = scale * F.normalize(features) @ F.normalize(y).T
        return F.cross_entropy(logits, torch.arange(ways).repeat_interleave(len(features) // ways))

    optimizer = torch.optim.Adam(parameters.values(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        loss = 0
        for task in range(tasks):
            (g,) = torch.autograd.grad(loss_of(context, task, "support"), context, create_graph=second)
            loss = loss + loss_of(context - 0.05 * regulate(phi, g), task, "query") / tasks
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1)
        optimizer.step()
        return loss.item()

    return step, lambda: {name: optimizer.state[p]["exp_avg"] for name, p in parameters.items()}
