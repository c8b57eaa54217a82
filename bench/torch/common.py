"""What the benchmarks share. It loads transformers for all of them, so that none counts imports as its memory."""

import torch
from torch import nn
from transformers import CLIPConfig, CLIPModel


def training(loss_of, parameters, optimizer):
    """A step that minimises loss_of(), and what it compares: the optimizer's momentum, or Adam's first moment."""

    def step():
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        optimizer.step()
        return loss.item()

    def results():
        key = "momentum_buffer" if isinstance(optimizer, torch.optim.SGD) else "exp_avg"
        return {name: optimizer.state[p][key] for name, p in parameters.items()}

    return step, results


def frozen_clip(weights, trained, **options):
    """A frozen CLIP ViT-B/16 of `weights`, and the parameters among them: those whose name begins with one of `trained`."""
    own = lambda name: name.split(".")[0] in trained
    model = CLIPModel.from_pretrained(
        None,
        config=CLIPConfig(vision_config={"patch_size": 16}),
        state_dict={name: w for name, w in weights.items() if not own(name)},
        **options,
    )
    parameters = {name: nn.Parameter(w.clone()) for name, w in weights.items() if own(name)}
    return model.eval().requires_grad_(False), parameters


def embed(text, ids):
    """Token embeddings of ids [..., length], position embeddings, and the causal mask."""
    length = ids.shape[-1]
    mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]
    positions = text.embeddings.position_embedding(torch.arange(length))
    return text.embeddings.token_embedding(ids), positions, mask
