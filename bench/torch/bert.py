"""Prompt tuning and LoRA of a frozen BERT-base (bench/text.ts), on transformers with its default attention (sdpa)."""

import torch
import torch.nn.functional as F
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from common import training


class Lora(nn.Module):
    """A linear layer with a low-rank term beside it, as peft's."""

    def __init__(self, base, a, b, scale=2):
        super().__init__()
        self.base, self.scale = base, scale
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)

    def forward(self, x):
        return self.base(x) + F.linear(F.linear(x, self.a), self.b) * self.scale


def build(weights, batch, wrap, method):
    base = {name: w for name, w in weights.items() if "lora" not in name and name != "prompt"}
    model = BertForSequenceClassification.from_pretrained(None, config=BertConfig(num_labels=4), state_dict=base)
    model.eval().requires_grad_(False)
    parameters = {f"classifier.{name}": p.requires_grad_() for name, p in model.classifier.named_parameters()}
    if method == "prompt":
        parameters["prompt"] = nn.Parameter(weights["prompt"])
    else:
        for i, layer in enumerate(model.bert.encoder.layer):
            for part in ("query", "value"):
                path = f"bert.encoder.layer.{i}.attention.self.{part}"
                names = [f"{path}.lora_{x}.weight" for x in "AB"]
                adapted = Lora(getattr(layer.attention.self, part), *(weights[name] for name in names))
                setattr(layer.attention.self, part, adapted)
                parameters.update(zip(names, (adapted.a, adapted.b)))
    forward = wrap(model)

    def loss_of():
        if method != "prompt":
            return F.cross_entropy(forward(input_ids=batch["ids"]).logits, batch["labels"])
        words = model.bert.embeddings.word_embeddings(batch["ids"])
        embedded = torch.cat([parameters["prompt"].expand(len(words), -1, -1), words], dim=1)
        return F.cross_entropy(forward(inputs_embeds=embedded).logits, batch["labels"])

    return training(loss_of, parameters, torch.optim.AdamW(parameters.values(), lr=1e-3))
