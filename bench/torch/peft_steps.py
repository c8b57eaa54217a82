"""Prompt tuning, LoRA and DePT on frozen BERT-base, T5-base and GPT-2 small (bench/peft.ts): Python's peft where it has the method."""

import math

import peft
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from common import training

bases = {
    "bert": (BertForSequenceClassification, BertConfig(num_labels=4), "SEQ_CLS"),
    "t5": (T5ForConditionalGeneration, T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12, decoder_start_token_id=0), "SEQ_2_SEQ_LM"),
    "gpt2": (GPT2LMHeadModel, GPT2Config(), "CAUSAL_LM"),
}
# peft 0.21 keeps this hook of transformers 5.17, which 5.18 renamed; generation is not used here.
if not hasattr(T5ForConditionalGeneration, "_prepare_encoder_decoder_kwargs_for_generation"):
    T5ForConditionalGeneration._prepare_encoder_decoder_kwargs_for_generation = None


def name_of(name):
    """That of a parameter in Attune, from peft's."""
    if name.startswith("prompt_encoder."):
        return "prompt_embeddings"
    if ".modules_to_save." in name:
        return "classifier." + name.rsplit(".", 1)[1]
    return name.removeprefix("base_model.model.").replace(".default.weight", "")


def build(weights, batch, wrap, base, method):
    cls, config, task = bases[base]
    frozen = {name: w for name, w in weights.items() if "lora_" not in name and name != "prompt_embeddings"}
    model = cls.from_pretrained(None, config=config, state_dict=frozen).eval().requires_grad_(False)
    ids = batch["ids"]
    given = {"attention_mask": torch.ones_like(ids)}
    if base != "gpt2":
        given["labels"] = batch["labels"]
    else:
        # The loss is that of the last tokens, which are the target.
        given["labels"] = torch.where(torch.arange(ids.shape[1]) < ids.shape[1] - 8, -100, ids)
    if method == "dept":
        a, b = (weights[f"prompt_encoder.lora_embedding_{x}"] for x in "AB")
        parameters = {"prompt_embeddings": weights["prompt_embeddings"]}
        parameters |= {f"prompt_encoder.lora_embedding_{x}": w for x, w in zip("AB", (a, b))}
        parameters = {name: nn.Parameter(w.clone()) for name, w in parameters.items()}
        prompt, a, b = parameters.values()
        given["attention_mask"] = torch.ones(len(ids), ids.shape[1] + len(prompt), dtype=torch.long)
        forward = wrap(model)

        def loss_of():
            words = model.shared(ids) + 8 / math.sqrt(a.shape[1]) * (a @ b)
            embedded = torch.cat([prompt.expand(len(ids), -1, -1), words], dim=1)
            return forward(inputs_embeds=embedded, **given).loss

        return training(loss_of, parameters, torch.optim.AdamW(parameters.values(), lr=1e-3))
    if method == "prompt":
        kind = peft.PromptTuningConfig(task_type=task, num_virtual_tokens=len(weights["prompt_embeddings"]), num_transformer_submodules=1)
    else:
        targets = {"bert": ["query", "value"], "t5": ["q", "v"], "gpt2": ["c_attn"]}[base]
        kind = peft.LoraConfig(task_type=task, r=8, lora_alpha=16, target_modules=targets, fan_in_fan_out=base == "gpt2")
    adapted = peft.get_peft_model(model, kind).eval()
    parameters = {}
    for name, p in adapted.named_parameters():
        if p.requires_grad:
            own = name_of(name)
            p.data = weights[own].clone()
            parameters[own] = p
    forward = wrap(adapted)
    loss_of = lambda: forward(input_ids=ids, **given).loss
    return training(loss_of, parameters, torch.optim.AdamW(parameters.values(), lr=1e-3))
