"""A MoCoOp step at CLIP ViT-B/16 size (bench/methods/mocoop.ts), on transformers with its default attention."""

import torch
import torch.nn.functional as F

from common import embed, frozen_clip


def build(weights, batch, wrap, experts, tokens):
    model, parameters = frozen_clip(weights, ["experts", "router", "correction"])
    del model.vision_model
    text = model.text_model
    encoder = wrap(text.encoder)
    ids, labels = batch["ids"], batch["labels"]
    classes = len(ids) // experts
    embedded, positions, mask = embed(text, ids)
    scale = model.logit_scale.exp()
    h = F.normalize(batch["prototypes"], dim=-1)
    v = F.normalize(batch["features"])
    closest = (h[:, labels] * v).sum(-1).T
    target = (closest + 10 * F.one_hot(closest.topk(2).indices, experts).sum(1)).softmax(-1)
    optimizer = torch.optim.SGD(parameters.values(), lr=0.032, momentum=0.9, weight_decay=5e-4)

    def loss_of():
        soft = torch.stack([parameters[f"experts.{g}"] for g in range(experts)])
        soft = soft[:, None].expand(-1, classes, -1, -1).reshape(len(ids), tokens, -1)
        prompts = torch.cat([embedded[:, :1], soft, embedded[:, 1 + tokens :]], dim=1)
        hidden = encoder(inputs_embeds=prompts + positions, attention_mask=mask).last_hidden_state
        y = model.text_projection(text.final_layer_norm(hidden)[:, -1]) + parameters["correction"]
        t = F.normalize(y).view(experts, classes, -1)
        q = F.linear(v, parameters["router.weight"], parameters["router.bias"])
        best = q.topk(2)
        pi = torch.zeros_like(q).scatter(1, best.indices, best.values.softmax(-1))
        logits = scale * torch.einsum("bd,gcd,bg->bc", v, t, pi)
        own_names = (t @ h.transpose(1, 2)).log_softmax(-1).diagonal(dim1=1, dim2=2)
        gate = -(target * q.log_softmax(-1)).sum(-1).mean()
        return F.cross_entropy(logits, labels) - 5 * own_names.mean() + gate

    def step():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1)
        optimizer.step()
        return loss.item()

    return step, lambda: {name: optimizer.state[p]["momentum_buffer"] for name, p in parameters.items()}
