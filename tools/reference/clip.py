"""Golden files of CLIPModel (transformers) for src/models/clip/clip.test.ts.

Writes one folder a variant under src/models/clip/testdata/, in the layout of the Hugging Face Hub: config.json, the
weights (random, tiny) and golden.safetensors with inputs, hidden states, features, logits and, for one variant,
gradients of the contrastive loss. activations.json holds transformers' activation functions on a grid.

    python tools/reference/clip.py
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel
from transformers.activations import ACT2FN

HERE = Path(__file__).resolve().parents[2] / "src/models/clip/testdata"
EOS = 63

# Gradients that are kept: every kind of weight of both towers once.
GRADIENTS = [
    "logit_scale",
    "text_projection.weight",
    "visual_projection.weight",
    "text_model.embeddings.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight",
    "text_model.encoder.layers.0.self_attn.q_proj.weight",
    "text_model.encoder.layers.0.self_attn.k_proj.bias",
    "text_model.encoder.layers.1.mlp.fc1.weight",
    "text_model.final_layer_norm.bias",
    "vision_model.embeddings.class_embedding",
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.embeddings.position_embedding.weight",
    "vision_model.pre_layrnorm.weight",
    "vision_model.encoder.layers.0.self_attn.v_proj.weight",
    "vision_model.encoder.layers.0.layer_norm1.weight",
    "vision_model.encoder.layers.2.self_attn.out_proj.bias",
    "vision_model.encoder.layers.2.mlp.fc2.weight",
    "vision_model.post_layernorm.weight",
]


def tower(width, mlp, layers, heads, **rest):
    return dict(
        hidden_size=width, intermediate_size=mlp, num_hidden_layers=layers, num_attention_heads=heads, **rest
    )


def text(*sizes, eos=EOS, pad=EOS, context=12, vocab=64, **rest):
    return dict(
        **tower(*sizes, **rest),
        vocab_size=vocab,
        max_position_embeddings=context,
        bos_token_id=62,
        eos_token_id=eos,
        pad_token_id=pad,
    )


# The image is no multiple of the patch; the towers differ in width, depth and heads; padded with the end token.
PLAIN = dict(
    text_config=text(32, 48, 2, 4),
    vision_config=tower(24, 40, 3, 3, image_size=20, patch_size=6),
    projection_dim=16,
)
# LAION's kind: GELU, other epsilons, the wrong end token 2 of 2021, half precision.
GELU = dict(
    text_config=text(16, 32, 2, 2, eos=2, pad=0, hidden_act="gelu", layer_norm_eps=1e-3),
    vision_config=tower(32, 48, 2, 4, image_size=16, patch_size=8, hidden_act="gelu", layer_norm_eps=1e-6),
    projection_dim=24,
)
# One grey channel, bfloat16, in shards; activations differ between the towers.
SHARDED = dict(
    text_config=text(16, 24, 2, 1, pad=1, hidden_act="gelu_pytorch_tanh"),
    vision_config=tower(16, 24, 2, 2, image_size=12, patch_size=4, num_channels=1, hidden_act="gelu"),
    projection_dim=8,
    logit_scale_init_value=1.5,
)
# A file of 2021: *_config_dict overrides *_config, also by its defaults (eos_token_id, hidden_act, layer_norm_eps),
# most keys are left out (12 layers of text, 8 and 12 heads, patches of 32), buffers lie among the weights.
OLD_TEXT = dict(
    hidden_size=16, intermediate_size=16, vocab_size=64, max_position_embeddings=10, projection_dim=24
)
OLD_VISION = dict(
    hidden_size=24, intermediate_size=16, num_hidden_layers=2, image_size=40, projection_dim=24
)
OLD = dict(
    model_type="clip",
    text_config=dict(hidden_size=99, eos_token_id=2, hidden_act="gelu", layer_norm_eps=0.1, vocab_size=64),
    text_config_dict=OLD_TEXT,
    vision_config=dict(hidden_size=99, hidden_act="relu", num_attention_heads=1),
    vision_config_dict=OLD_VISION,
)


@torch.no_grad()
def randomise(model, generator):
    """Weights large enough that every part shows in the outputs."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if name == "logit_scale":
            continue
        if "norm" in name and name.endswith("weight"):
            p.copy_(1 + 0.3 * noise)
        elif p.ndim < 2 or "embedding" in name:
            p.copy_(0.3 * noise)
        else:
            p.copy_(noise / p[0].numel() ** 0.5)


def inputs(config, generator):
    """Three captions, padded on the right, the first as long as the context; three images."""
    t, v = config.text_config, config.vision_config
    length = t.max_position_embeddings
    pad = t.pad_token_id if t.pad_token_id < t.vocab_size else 0
    ids = torch.full((3, length), pad)
    mask = torch.zeros((3, length), dtype=torch.long)
    for i, words in enumerate([length - 2, 3, min(5, length - 2)]):
        ids[i, 0] = 62
        ids[i, 1 : words + 1] = torch.randint(3, 60, (words,), generator=generator)
        ids[i, words + 1] = EOS
        mask[i, : words + 2] = 1
    size = v.image_size
    pixels = torch.randn((3, v.num_channels, size, size), generator=generator)
    return ids, mask, pixels


def outputs(model, ids, mask, pixels):
    out = {"ids": ids, "mask": mask, "pixels": pixels}

    def tower(prefix, result, features):
        for i, h in enumerate(result.hidden_states):
            out[f"{prefix}.hidden.{i}"] = h
        out[f"{prefix}.last"] = result.last_hidden_state
        out[f"{prefix}.pooled"] = result.pooler_output
        out[f"{prefix}.features"] = features(result.pooler_output)

    args = dict(output_hidden_states=True, return_dict=True)
    tower("text", model.text_model(input_ids=ids, **args), model.text_projection)
    tower("masked", model.text_model(input_ids=ids, attention_mask=mask, **args), model.text_projection)
    short = ids[1:, :7].contiguous()
    tower("short", model.text_model(input_ids=short, **args), model.text_projection)
    tower("vision", model.vision_model(pixel_values=pixels, **args), model.visual_projection)
    both = model(input_ids=ids, attention_mask=mask, pixel_values=pixels, return_loss=True)
    out["logits_per_image"] = both.logits_per_image
    out["loss"] = both.loss
    assert len([k for k in out if k.startswith("text.hidden")]) == model.config.text_config.num_hidden_layers + 1
    return out


def variant(name, config, dtype=torch.float32, gradients=(), raw_config=None, buffers=False, **save):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    generator = torch.Generator().manual_seed(len(name))
    model = CLIPModel(CLIPConfig(**json.loads(json.dumps(config)))).eval()
    randomise(model, generator)
    model.to(dtype).save_pretrained(folder, **save)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if raw_config:
        (folder / "config.json").write_text(json.dumps(raw_config, indent=2) + "\n")
    if buffers:
        path = folder / "model.safetensors"
        weights = load_file(path)
        for tower in (model.text_model, model.vision_model):
            part = "text_model" if tower is model.text_model else "vision_model"
            weights[f"{part}.embeddings.position_ids"] = tower.embeddings.position_ids.contiguous()
        save_file(weights, path, metadata={"format": "pt"})

    # What counts is what transformers makes of the folder, in float32.
    model = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    ids, mask, pixels = inputs(model.config, generator)
    golden = outputs(model, ids, mask, pixels)
    golden["loss"].backward()
    for key in gradients:
        golden[f"grad/{key}"] = model.get_parameter(key).grad
    golden = {key: t.detach().contiguous().clone() for key, t in golden.items()}
    save_file(golden, folder / "golden.safetensors")


def activations():
    x = [i / 4 for i in range(-48, 49)]
    table = {"x": x}
    names = ["gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "gelu_python_tanh"]
    names += ["quick_gelu", "relu", "silu", "swish", "sigmoid", "tanh", "linear", "mish", "relu2", "leaky_relu"]
    names += ["relu6", "hardswish", "gelu_10", "gelu_accurate"]
    for name in names:
        y = ACT2FN[name](torch.tensor(x, dtype=torch.float32))
        table[name] = [float(f"{v:.7g}") for v in y.tolist()]
    (HERE / "activations.json").write_text(json.dumps(table) + "\n")


if __name__ == "__main__":
    variant("plain", PLAIN, gradients=GRADIENTS)
    variant("gelu-float16", GELU, dtype=torch.float16)
    variant("sharded-bfloat16", SHARDED, dtype=torch.bfloat16, max_shard_size="6KB")
    variant("config-of-2021", OLD, dtype=torch.float16, raw_config=OLD, buffers=True)
    activations()
