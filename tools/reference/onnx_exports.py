"""Tiny random models as torch.onnx exports them, with outputs and gradients, in the form of onnx_cases.py.

    python tools/reference/onnx_exports.py

`dynamo` needs onnxscript. Gradients are of Σ y·cos(0, 1, 2, …), by the name and layout of the initializer that holds a
parameter (matrices may be transposed): [Σ g·cos(0, 1, 2, …), ‖g‖].
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers as T
from onnx import numpy_helper
from onnx_cases import pack
from torch import nn

OUT = Path(__file__).resolve().parents[2] / "src/graph/onnx/testdata/exports.gz"
SMALL = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24)
TEXT = dict(vocab_size=40, max_position_embeddings=20)


class Named(nn.Module):
    """A model of transformers with inputs by position and one output."""

    def __init__(self, model, names, output):
        super().__init__()
        self.model, self.names, self.output = model, names, output

    def forward(self, *inputs):
        return getattr(self.model(**dict(zip(self.names, inputs))), self.output)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.norm = nn.Conv2d(2, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8)
        self.attention, self.up = nn.MultiheadAttention(8, 2, batch_first=True), nn.ConvTranspose2d(8, 2, 4, 2, 1)

    def forward(self, x):
        h = nn.functional.silu(self.norm(self.down(x)))
        q = h.flatten(2).transpose(1, 2)
        h = h + self.attention(q, q, q, need_weights=False)[0].transpose(1, 2).reshape(h.shape)
        small = nn.functional.avg_pool2d(self.up(h), 2)
        return torch.cat([x, nn.functional.interpolate(small, scale_factor=2.0, mode="bilinear")], 1)


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.lstm = nn.Embedding(40, 6), nn.LSTM(6, 5, bidirectional=True, batch_first=True)
        self.gru, self.head = nn.GRU(10, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, ids):
        return self.head(self.gru(self.lstm(self.words(ids))[0])[0])


def ids(*shape):
    return torch.randint(2, 40, shape)


def padded():
    mask = torch.ones(2, 7, dtype=torch.int64)
    mask[1, 5:] = 0
    return ids(2, 7), mask


def text(model, output):
    return Named(model, ["input_ids", "attention_mask"], output), padded(), [{0: "batch", 1: "length"}] * 2


def image(model, output):
    return Named(model, ["pixel_values"], output), (torch.randn(2, 3, 16, 16),), [{0: "batch"}]


T5 = dict(d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, vocab_size=40)
models = {
    "bert": lambda: text(T.BertModel(T.BertConfig(**SMALL, **TEXT)), "last_hidden_state"),
    "llama": lambda: text(T.LlamaForCausalLM(T.LlamaConfig(**SMALL, **TEXT, num_key_value_heads=1, use_cache=False)), "logits"),
    "t5-encoder": lambda: text(T.T5EncoderModel(T.T5Config(**T5)), "last_hidden_state"),
    "convnext": lambda: image(T.ConvNextModel(T.ConvNextConfig(hidden_sizes=[6, 12], depths=[1, 1], num_stages=2)), "pooler_output"),
    "vit": lambda: image(T.ViTModel(T.ViTConfig(**SMALL, image_size=16, patch_size=8)), "last_hidden_state"),
    "unet": lambda: (UNet(), (torch.randn(1, 2, 8, 8),), [{0: "batch"}]),
    "tagger": lambda: (Tagger(), (ids(2, 6),), [{0: "batch", 1: "length"}]),
}
DYNAMO = {"bert", "llama"}


def project(a):
    return float((a.double().flatten() * torch.arange(a.numel()).double().cos()).sum())


def export(name, make, dynamo):
    torch.manual_seed(0)
    model, inputs, axes = make()
    model.eval()
    for p in model.parameters():
        p.data += 0.1 * torch.randn_like(p)
    names = [f"x{i}" for i in range(len(inputs))]
    options = dict(input_names=names, output_names=["y"], dynamo=dynamo)
    if dynamo:
        shapes = tuple({k: torch.export.Dim.DYNAMIC for k in a} for a in axes)
        options |= dict(dynamic_shapes=(shapes,), external_data=False)
    else:
        options |= dict(dynamic_axes=dict(zip(names, axes)), opset_version=17)
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        torch.onnx.export(model, inputs, file.name, **options)
        graph = onnx.load(file.name)
    # What the exporter notes about the source of each node is most of a small file.
    for n in graph.graph.node:
        del n.metadata_props[:]
        n.doc_string = ""
    del graph.graph.value_info[:], graph.metadata_props[:]
    model.eval()
    y = model(*inputs)
    parameters = dict(model.named_parameters())
    loss = (y * torch.arange(y.numel()).reshape(y.shape).cos()).sum()
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    held = {i.name: numpy_helper.to_array(i) for i in graph.graph.initializer}
    found = {}
    for (own, p), g in zip(parameters.items(), gradients):
        if g is None:
            continue
        forms = [(p, g), (p.T, g.T)] if p.dim() == 2 else [(p, g)]
        for value, gradient in forms:
            v = value.detach().numpy()
            same = [n for n, a in held.items() if a.shape == v.shape and np.array_equal(a, v)]
            if len(same) == 1:
                found[same[0]] = [project(gradient.contiguous()), float(g.norm())]
                break
    return {
        "name": f"{name}, {'dynamo' if dynamo else 'TorchScript'}",
        "rtol": 1e-4,
        "atol": 1e-5,
        "model": graph.SerializeToString(),
        "gradients": found,
        "sets": [
            {
                "inputs": [numpy_helper.from_array(t.numpy()).SerializeToString() for t in inputs],
                "outputs": [numpy_helper.from_array(y.detach().numpy()).SerializeToString()],
            }
        ],
    }


cases = [export(name, make, False) for name, make in models.items()]
cases += [export(name, models[name], True) for name in models if name in DYNAMO]
pack(OUT, cases)
for c in cases:
    print(c["name"], len(c["model"]), "bytes,", len(c["gradients"]), "gradients")
