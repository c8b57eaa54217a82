"""Adapters of the tiny models of src/models, written by Python's peft, with the logits that it computes: the golden files of
src/methods/lm/peft. Run: python tools/reference/peft_adapters.py"""

import json
import shutil
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

root = Path(__file__).parents[2] / "src"
out = root / "methods/lm/testdata/peft"

bases = {
    "bert": ("models/bert/testdata/classifier", transformers.AutoModelForSequenceClassification, "SEQ_CLS"),
    "t5": ("models/t5/testdata/v1.0", transformers.AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM"),
    "t5v1.1": ("models/t5/testdata/v1.1", transformers.AutoModelForSeq2SeqLM, "SEQ_2_SEQ_LM"),
    "gpt2": ("models/gpt2/testdata/tied", transformers.AutoModelForCausalLM, "CAUSAL_LM"),
    "llama": ("models/llama/testdata/llama3", transformers.AutoModelForCausalLM, "CAUSAL_LM"),
}

prompt = lambda task, **more: peft.PromptTuningConfig(task_type=task, num_virtual_tokens=3, **more)
prefix = lambda task, **more: peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=3, **more)
lora = lambda task, **more: peft.LoraConfig(task_type=task, **{"r": 2, "lora_alpha": 3, **more})
ia3 = lambda task, **more: peft.IA3Config(task_type=task, **more)
p_tuning = lambda task, **more: peft.PromptEncoderConfig(task_type=task, num_virtual_tokens=3, encoder_hidden_size=8, **more)

cases = {
    "bert": {
        "lora": lora("SEQ_CLS"),
        "rslora-bias-all": lora("SEQ_CLS", use_rslora=True, bias="all"),
        "dora": lora("SEQ_CLS", use_dora=True),
        "patterns": lora(
            "SEQ_CLS",
            target_modules=r".*layer\.\d+\.(attention\.self\.(key|query)|output\.dense)",
            rank_pattern={"query": 3},
            alpha_pattern={r"layer.0.output.dense": 5},
            bias="lora_only",
        ),
        "ia3": ia3("SEQ_CLS"),
        "prompt": prompt("SEQ_CLS"),
        "p-tuning-mlp": p_tuning("SEQ_CLS"),
        "prefix": prefix("SEQ_CLS"),
        "prefix-projected": prefix("SEQ_CLS", prefix_projection=True, encoder_hidden_size=8),
    },
    "t5": {
        "lora": lora("SEQ_2_SEQ_LM"),
        "ia3": ia3("SEQ_2_SEQ_LM"),
        "prompt": prompt("SEQ_2_SEQ_LM", num_transformer_submodules=1),
        # Twice as many rows, of which the second half is not read.
        "prompt-both": prompt("SEQ_2_SEQ_LM"),
        "p-tuning-lstm": p_tuning("SEQ_2_SEQ_LM", encoder_reparameterization_type="LSTM", num_transformer_submodules=1),
        # Heads are narrower than the width divided by their number, as in T5-11B.
        "prefix": prefix("SEQ_2_SEQ_LM", token_dim=12, num_attention_heads=2, num_layers=3),
    },
    # An even number of layers: half of the prefix's slots are not read.
    "t5v1.1": {
        "lora": lora("SEQ_2_SEQ_LM", target_modules=["q", "wi_0", "wo"]),
        "prefix": prefix("SEQ_2_SEQ_LM", token_dim=12, num_attention_heads=2, num_layers=2),
    },
    "gpt2": {
        "lora": lora("CAUSAL_LM", fan_in_fan_out=True),
        # "proj" is no segment of a path and matches nothing.
        "patterns-bias-all": lora(
            "CAUSAL_LM", fan_in_fan_out=True, target_modules=["c_attn", "c_proj"], rank_pattern={"proj": 5, "c_attn": 3}, bias="all"
        ),
        "dora": lora("CAUSAL_LM", fan_in_fan_out=True, use_dora=True, target_modules=["c_proj"]),
        "ia3": ia3("CAUSAL_LM", fan_in_fan_out=True),
        "prompt": prompt("CAUSAL_LM"),
        "prefix": prefix("CAUSAL_LM"),
    },
    "llama": {
        "lora": lora("CAUSAL_LM"),
        "lora-bfloat16": lora("CAUSAL_LM"),
        "ia3": ia3("CAUSAL_LM"),
        "prompt": prompt("CAUSAL_LM"),
        "prefix": prefix("CAUSAL_LM"),
    },
}


def inputs(task):
    generator = torch.Generator().manual_seed(7)
    ids = torch.randint(3, 40, (2, 6), generator=generator)
    mask = torch.ones(2, 6, dtype=torch.long)
    # Decoders are padded on the left.
    mask[1, slice(0, 2) if task == "CAUSAL_LM" else slice(4, None)] = 0
    given = {"input_ids": ids, "attention_mask": mask}
    if task == "SEQ_2_SEQ_LM":
        given["labels"] = torch.randint(3, 40, (2, 4), generator=generator)
    return given


def randomize(model):
    """Values that are far from those at which an adapter does nothing."""
    generator = torch.Generator().manual_seed(3)
    for name, value in model.named_parameters():
        if value.requires_grad:
            start = 1.0 if "ia3" in name or "magnitude" in name else 0.0
            value.data = start + 0.3 * torch.randn(value.shape, generator=generator)


def main():
    shutil.rmtree(out, ignore_errors=True)
    for base, (folder, auto, task) in bases.items():
        for name, config in cases[base].items():
            torch.manual_seed(0)
            model = auto.from_pretrained(root / folder, dtype=torch.float32)
            if not hasattr(model, "_prepare_encoder_decoder_kwargs_for_generation"):
                # peft 0.21 keeps this hook of transformers 5.17, which 5.18 renamed; generation is not used here.
                type(model)._prepare_encoder_decoder_kwargs_for_generation = None
            adapted = peft.get_peft_model(model, config)
            randomize(adapted)
            adapted.eval()
            if name.endswith("bfloat16"):
                for value in adapted.parameters():
                    value.data = value.data.bfloat16().float() if value.requires_grad else value.data
            given = inputs(task)
            with torch.no_grad():
                logits = adapted(**given).logits
            if task == "CAUSAL_LM":
                mask = given["attention_mask"]
                before = torch.ones(len(mask), logits.shape[1] - mask.shape[1])
                # What stands at padding means nothing.
                logits = logits * torch.cat([before, mask], 1)[..., None]
            target = out / f"{base}-{name}"
            adapted.save_pretrained(target)
            if name.endswith("bfloat16"):
                stored = target / "adapter_model.safetensors"
                save_file({key: value.bfloat16() for key, value in load_file(stored).items()}, stored)
            (target / "README.md").unlink(missing_ok=True)
            written = target / "adapter_config.json"
            config = json.loads(written.read_text()) | {"base_model_name_or_path": base}
            # Sets have no order.
            config = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}
            written.write_text(json.dumps(config, indent=1))
            save_file({**given, "logits": logits.contiguous()}, target / "golden.safetensors")
            print(base, name, tuple(logits.shape))


main()
