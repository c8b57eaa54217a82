"""Loads adapters that Attune wrote with Python's peft and compares logits: `npx tsx tools/peft-live.ts` writes them and calls this.

    python tools/reference/peft_live.py FOLDER

Every sub-folder of FOLDER is an adapter with live.json ({"base": folder of the model, "labels": count}) and live.safetensors (inputs and
Attune's logits). Exits with 1 where one differs by more than 1e-4."""

import json
import sys
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file

worst = 0.0
for folder in sorted(p for p in Path(sys.argv[1]).iterdir() if p.is_dir()):
    about = json.loads((folder / "live.json").read_text())
    task = json.loads((folder / "adapter_config.json").read_text())["task_type"]
    auto, more = {
        "SEQ_CLS": (transformers.AutoModelForSequenceClassification, {"num_labels": about["labels"], "ignore_mismatched_sizes": True}),
        "SEQ_2_SEQ_LM": (transformers.AutoModelForSeq2SeqLM, {}),
        "CAUSAL_LM": (transformers.AutoModelForCausalLM, {}),
    }[task]
    model = auto.from_pretrained(about["base"], dtype=torch.float32, **more)
    if not hasattr(model, "_prepare_encoder_decoder_kwargs_for_generation"):
        # peft 0.21 keeps this hook of transformers 5.17, which 5.18 renamed; generation is not used here.
        type(model)._prepare_encoder_decoder_kwargs_for_generation = None
    adapted = peft.PeftModel.from_pretrained(model, folder).eval()
    given = load_file(folder / "live.safetensors")
    wanted = given.pop("logits")
    with torch.no_grad():
        logits = adapted(**given).logits
    difference = (logits - wanted).abs().max().item() / max(1.0, wanted.abs().max().item())
    worst = max(worst, difference)
    print(f"{folder.name}: {difference:.1e}")
print(f"largest difference {worst:.1e}")
sys.exit(worst > 1e-4)
