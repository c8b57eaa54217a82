"""transformers' side of bench/generate.ts: greedy decoding of a prompt for each line on stdin, with its cache and default attention."""

import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

told = json.loads(sys.argv[1])
torch.set_num_threads(told["threads"])
with open(told["dir"] + "/config.json") as file:
    pairs = json.load(file)["model_type"] == "t5"
kind = AutoModelForSeq2SeqLM if pairs else AutoModelForCausalLM
model = kind.from_pretrained(told["dir"], dtype=torch.float32).eval()
ids = torch.tensor([told["prompt"]])
options = dict(max_new_tokens=told["tokens"], min_new_tokens=None, do_sample=False, eos_token_id=None, pad_token_id=0)
model.generation_config.eos_token_id = None
for _ in sys.stdin:
    begin = time.perf_counter()
    out = model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0].tolist()
    ms = (time.perf_counter() - begin) * 1000
    print(json.dumps(dict(ms=ms, ids=out[1 if pairs else ids.shape[1] :])), flush=True)
