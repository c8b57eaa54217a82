"""The CoOp step of bench/coop-step.ts in PyTorch: one line on stdin runs one step, its milliseconds go to stdout."""
import json
import sys
import time

import torch
from transformers import CLIPConfig, CLIPModel

settings = json.loads(sys.argv[1])
torch.manual_seed(0)
torch.set_num_threads(settings["threads"])
config = CLIPConfig(vision_config={"patch_size": 16})
model = CLIPModel(config).eval().requires_grad_(False)
text = model.text_model
classes, length, tokens, images = (settings[k] for k in ("classes", "length", "tokens", "images"))

ids = torch.randint(1000, 40000, (classes, length))
ids[:, 0] = 49406
ids[:, -1] = 49407
context = torch.nn.Parameter(0.02 * torch.randn(tokens, 512))
optimizer = torch.optim.SGD([context], lr=0.002, momentum=0.9, weight_decay=5e-4)
labels = torch.arange(32) % classes
features = torch.randn(32, 512)
pixels = torch.randn(max(images, 1), 3, 224, 224)
scale = model.logit_scale.exp()
positions = text.embeddings.position_embedding(torch.arange(length))
embedded = text.embeddings.token_embedding(ids)
# CoOp's text encoder: the causal transformer over sentences whose tokens 1 to M are the context vectors.
mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)[None, None]


def step():
    with torch.no_grad():
        x = features
        if images:
            vision = model.vision_model(pixels).pooler_output
            x = model.visual_projection(vision).repeat(-(-32 // images), 1)[:32]
    prompts = torch.cat(
        [embedded[:, :1], context.expand(classes, tokens, 512), embedded[:, 1 + tokens :]], dim=1
    )
    hidden = text.encoder(inputs_embeds=prompts + positions, attention_mask=mask).last_hidden_state
    end = text.final_layer_norm(hidden)[:, -1]
    y = model.text_projection(end)
    logits = scale * torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T
    loss = torch.nn.functional.cross_entropy(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


print(json.dumps({"version": torch.__version__}), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    step()
    print((time.perf_counter() - start) * 1000, flush=True)
