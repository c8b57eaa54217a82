"""Golden files of language models (transformers) for src/models/{gpt2,llama,bert,t5}.

Writes one folder a variant under src/models/NAME/testdata/, in the layout of the Hugging Face Hub: config.json, the
weights (random, tiny) and golden.safetensors with inputs, hidden states and logits: padded on the right and on the left,
with soft tokens before the text (`soft`), and behind a prefix of keys and values (`past`). Hidden states of padding are 0.

    python tools/reference/language.py [NAME ...]
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
)
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

MODELS = Path(__file__).resolve().parents[2] / "src/models"
VOCAB = 48
LENGTHS = [7, 4, 2]


@torch.no_grad()
def randomise(model, generator):
    """Weights large enough that every part shows in the outputs."""
    for name, p in model.named_parameters():
        noise = torch.randn(p.shape, generator=generator)
        if "norm" in name.lower() and name.endswith("weight"):
            p.copy_(1 + 0.3 * noise)
        elif p.ndim < 2 or "embed" in name or "wte" in name or "wpe" in name or "shared" in name:
            p.copy_(0.5 * noise)
        else:
            p.copy_(noise / p.shape[0 if isinstance(model, GPT2LMHeadModel) else 1] ** 0.5)


def save(model, folder, generator, dtype, raw_config=None, rename=None, **options):
    """Writes the folder and returns what transformers makes of it, in float32."""
    shutil.rmtree(folder, ignore_errors=True)
    randomise(model, generator)
    model.to(dtype).save_pretrained(folder, **options)
    (folder / "generation_config.json").unlink(missing_ok=True)
    if raw_config:
        (folder / "config.json").write_text(json.dumps(raw_config, indent=2) + "\n")
    if rename:
        path = folder / "model.safetensors"
        weights = {new: t for name, t in load_file(path).items() for new in [rename(name)] if new}
        save_file(weights, path, metadata={"format": "pt"})
    model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def padded(generator, side, pad=0):
    """Rows of LENGTHS tokens, none of which is the padding."""
    ids = torch.full((len(LENGTHS), max(LENGTHS)), pad)
    mask = torch.zeros_like(ids)
    for row, n in enumerate(LENGTHS):
        at = slice(0, n) if side == "right" else slice(max(LENGTHS) - n, None)
        ids[row, at] = torch.randint(3, VOCAB, (n,), generator=generator)
        mask[row, at] = 1
    return ids, mask


def ones(mask, n):
    return torch.cat([torch.ones((len(mask), n), dtype=mask.dtype), mask], 1)


def states(out, prefix, hidden, mask, **rest):
    """Hidden states and the rest, 0 where nobody looks."""
    named = {f"hidden.{i}": h for i, h in enumerate(hidden)} | rest
    for name, h in named.items():
        out[f"{prefix}.{name}"] = h * mask[:, -h.shape[1] :, None]


def prefix_of(config, heads, width, generator, batch, n=3):
    """Random keys and values of n positions for each layer, and the cache that holds them."""
    pairs = [torch.randn((2, batch, heads, n, width), generator=generator) for _ in range(config.num_hidden_layers)]
    cache = DynamicCache()
    for layer, (key, value) in enumerate(pairs):
        cache.update(key.clone(), value.clone(), layer)
    return pairs, cache


def finish(folder, golden):
    save_file({k: t.detach().contiguous().clone() for k, t in golden.items()}, folder / "golden.safetensors")


def decoder(name, variant, model, head_width, key_heads, dtype=torch.float32, **options):
    folder = MODELS / name / "testdata" / variant
    generator = torch.Generator().manual_seed(len(name + variant))
    model = save(model, folder, generator, dtype, **options)
    config = model.config
    out = {}

    def run(prefix, mask, **inputs):
        result = model(attention_mask=mask, output_hidden_states=True, **inputs)
        # transformers' last one is normalised, and stands in place of the last layer's output.
        hidden = result.hidden_states
        states(out, prefix, hidden[:-1], mask, last=hidden[-1], logits=result.logits)

    for side in ["right", "left"]:
        ids, mask = padded(generator, side)
        out[f"{side}.ids"], out[f"{side}.mask"] = ids, mask
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        out[f"{side}.positions"] = positions
        run(side, mask, input_ids=ids, position_ids=positions)
    soft = torch.randn((2, config.hidden_size), generator=generator)
    embedded = torch.cat([soft.expand(len(ids), -1, -1), model.get_input_embeddings()(ids)], 1)
    out["soft"] = soft
    run("soft", ones(mask, 2), inputs_embeds=embedded)
    pairs, cache = prefix_of(config, key_heads, head_width, generator, len(ids))
    for layer, pair in enumerate(pairs):
        out[f"key.{layer}"], out[f"value.{layer}"] = pair
    run("past", ones(mask, 3), input_ids=ids, past_key_values=cache)
    finish(folder, out)


def apart(options):
    """Options of `save`, taken from those of a configuration."""
    return {k: options.pop(k) for k in ["dtype", "rename", "max_shard_size", "raw_config"] if k in options}


def gpt2():
    def make(variant, width, heads, **rest):
        keep = apart(rest)
        sizes = dict(n_embd=width, n_head=heads, n_positions=16, vocab_size=VOCAB, bos_token_id=1, eos_token_id=1)
        decoder("gpt2", variant, GPT2LMHeadModel(GPT2Config(**sizes, **rest)), width // heads, heads, **keep)

    make("tied", 24, 3, n_layer=3)
    # As OpenAI's checkpoint: names without the prefix, and the causal mask among the weights.
    make("base-names", 16, 2, n_layer=2, rename=lambda name: name.removeprefix("transformer."), dtype=torch.float16)
    make(
        "untied-scaled",
        16,
        2,
        n_layer=2,
        n_inner=24,
        tie_word_embeddings=False,
        scale_attn_weights=False,
        scale_attn_by_inverse_layer_idx=True,
        activation_function="relu",
        layer_norm_epsilon=1e-3,
        max_shard_size="9KB",
    )


def llama():
    def make(variant, kind, heads, key_heads, head_width, width=16, **rest):
        keep = apart(rest)
        sizes = dict(hidden_size=width, intermediate_size=20, num_hidden_layers=2, max_position_embeddings=32)
        sizes |= dict(num_attention_heads=heads, num_key_value_heads=key_heads, vocab_size=VOCAB)
        ends = dict(bos_token_id=1, eos_token_id=1, pad_token_id=0)
        config = AutoConfig.for_model(kind, **(sizes | ends | rest))
        decoder("llama", variant, AutoModelForCausalLM.from_config(config), head_width, key_heads, **keep)

    llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    make("llama3", "llama", 4, 2, 6, width=24, rope_parameters=llama3 | dict(original_max_position_embeddings=16))
    # A file of before transformers 5: rope_theta and rope_scaling, biases everywhere, bfloat16.
    old = dict(hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2, vocab_size=VOCAB)
    old |= dict(attention_bias=True, mlp_bias=True, rms_norm_eps=1e-3, hidden_act="gelu")
    old |= dict(rope_theta=500.0, rope_scaling=dict(type="linear", factor=2.0), tie_word_embeddings=True)
    make("old-linear", "llama", 2, 2, 8, dtype=torch.bfloat16, raw_config=dict(model_type="llama") | old, **old)
    make("mistral", "mistral", 4, 1, 4, sliding_window=16)
    make("qwen2", "qwen2", 2, 1, 8, tie_word_embeddings=True, max_shard_size="9KB")
    yarn = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, rope_theta=100.0)
    make("qwen3-yarn", "qwen3", 4, 2, 8, head_dim=8, rope_parameters=yarn)


def encoder(variant, model, dtype=torch.float32, **options):
    folder = MODELS / "bert" / "testdata" / variant
    generator = torch.Generator().manual_seed(len(variant))
    model = save(model, folder, generator, dtype, **options)
    config = model.config
    pad = config.pad_token_id
    out = {}

    def run(prefix, mask, text_from=0, **inputs):
        # The body is called by itself: the heads take no cache, but prefix methods give one to the body.
        result = model.base_model(attention_mask=mask, output_hidden_states=True, **inputs)
        last = result.last_hidden_state
        states(out, prefix, result.hidden_states[:-1], mask, last=last)
        if "MaskedLM" in type(model).__name__:
            head = model.cls if hasattr(model, "cls") else model.lm_head
            out[f"{prefix}.logits"] = head(last) * mask[:, -last.shape[1] :, None]
        else:
            pooled = result.pooler_output if config.model_type == "bert" else last
            out[f"{prefix}.classes"] = model.classifier(pooled)

    for side in ["right", "left"]:
        ids, mask = padded(generator, side, pad)
        out[f"{side}.ids"], out[f"{side}.mask"] = ids, mask
        run(side, mask, input_ids=ids)
    types = torch.randint(0, config.type_vocab_size, ids.shape, generator=generator)
    out["types"] = types
    run("typed", mask, input_ids=ids, token_type_ids=types)
    soft = torch.randn((2, config.hidden_size), generator=generator)
    embedded = torch.cat([soft.expand(len(ids), -1, -1), model.get_input_embeddings()(ids)], 1)
    out["soft"] = soft
    run("soft", ones(mask, 2), inputs_embeds=embedded)
    heads = config.num_attention_heads
    pairs, cache = prefix_of(config, heads, config.hidden_size // heads, generator, len(ids))
    for layer, pair in enumerate(pairs):
        out[f"key.{layer}"], out[f"value.{layer}"] = pair
    run("past", ones(mask, 3), input_ids=ids, past_key_values=cache)
    finish(folder, out)


def bert():
    def sizes(width, heads, layers=2, **rest):
        shape = dict(hidden_size=width, num_attention_heads=heads, num_hidden_layers=layers, intermediate_size=20)
        return dict(shape | dict(vocab_size=VOCAB, max_position_embeddings=16) | rest)

    def old_names(name):
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    encoder("masked", BertForMaskedLM(BertConfig(**sizes(24, 3, 3))))
    encoder("old-names", BertForMaskedLM(BertConfig(**sizes(16, 2, hidden_act="relu"))), rename=old_names)
    config = BertConfig(**sizes(16, 2, num_labels=3, layer_norm_eps=1e-3))
    encoder("classifier", BertForSequenceClassification(config), dtype=torch.float16)
    encoder("roberta-masked", RobertaForMaskedLM(RobertaConfig(**sizes(16, 2, pad_token_id=2, type_vocab_size=1))))
    config = RobertaConfig(**sizes(16, 4, num_labels=5))
    encoder("roberta-classifier", RobertaForSequenceClassification(config))


def seq2seq(variant, raw_config, untied=False, dtype=torch.float32, **options):
    folder = MODELS / "t5" / "testdata" / variant
    generator = torch.Generator().manual_seed(len(variant))
    model = AutoModelForSeq2SeqLM.from_config(AutoConfig.for_model(**raw_config))
    if untied:
        model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
    model = save(model, folder, generator, dtype, raw_config, **options)
    config = model.config
    assert untied == (model.lm_head.weight is not model.shared.weight)
    out = {}
    labels, label_mask = padded(generator, "right", -100)
    out["labels"] = labels
    attention = model.decoder.block[0].layer[0].SelfAttention
    for name, both in [("encoder", True), ("decoder", False)]:
        sizes = (config.relative_attention_num_buckets, config.relative_attention_max_distance)
        out[f"buckets.{name}"] = attention._relative_position_bucket(torch.arange(-300, 301), both, *sizes)

    def run(prefix, mask, decoder_mask=label_mask, **inputs):
        result = model(attention_mask=mask, output_hidden_states=True, **inputs)
        # transformers' last one is normalised, and stands in place of the last layer's output.
        hidden = result.encoder_hidden_states
        states(out, f"{prefix}.encoder", hidden[:-1], mask, last=hidden[-1])
        hidden = result.decoder_hidden_states
        states(out, f"{prefix}.decoder", hidden[:-1], decoder_mask, last=hidden[-1], logits=result.logits)
        if result.loss is not None:
            out[f"{prefix}.loss"] = result.loss

    for side in ["right", "left"]:
        ids, mask = padded(generator, side)
        out[f"{side}.ids"], out[f"{side}.mask"] = ids, mask
        run(side, mask, input_ids=ids, labels=labels)
    soft = torch.randn((2, config.d_model), generator=generator)
    embedded = torch.cat([soft.expand(len(ids), -1, -1), model.get_input_embeddings()(ids)], 1)
    out["soft"] = soft
    run("soft", ones(mask, 2), inputs_embeds=embedded, labels=labels)
    pairs = [torch.randn((2, len(ids), config.num_heads, 3, config.d_kv), generator=generator) for _ in model.decoder.block]
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    for layer, pair in enumerate(pairs):
        cache.self_attention_cache.update(pair[0].clone(), pair[1].clone(), layer)
        out[f"key.{layer}"], out[f"value.{layer}"] = pair
    target, target_mask = padded(generator, "left")
    out["target.ids"], out["target.mask"] = target, target_mask
    behind = ones(target_mask, 3)
    run("past", mask, behind, input_ids=ids, decoder_input_ids=target, decoder_attention_mask=behind, past_key_values=cache)
    finish(folder, out)


def t5():
    def sizes(**rest):
        shape = dict(d_model=16, d_kv=6, d_ff=20, num_layers=2, num_heads=2, vocab_size=VOCAB)
        return shape | dict(decoder_start_token_id=0, pad_token_id=0, eos_token_id=1) | rest

    seq2seq("v1.0", sizes(model_type="t5", num_layers=3, num_decoder_layers=2, relative_attention_num_buckets=8, relative_attention_max_distance=6))
    v11 = sizes(model_type="t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    seq2seq("v1.1", v11, untied=True, max_shard_size="9KB")
    seq2seq("mt5", sizes(model_type="mt5", tie_word_embeddings=False, layer_norm_epsilon=1e-3), untied=True, dtype=torch.bfloat16)


if __name__ == "__main__":
    families = {"gpt2": gpt2, "llama": llama, "bert": bert, "t5": t5}
    with torch.no_grad():
        for name in sys.argv[1:] or families:
            families[name]()
