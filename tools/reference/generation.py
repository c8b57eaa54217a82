"""Golden texts of `transformers.generate` for src/models/generation, from the tiny models of tools/reference/language.py.

    python tools/reference/generation.py
"""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

MODELS = Path(__file__).resolve().parents[2] / "src/models"
VOCAB = 48
LENGTHS = [7, 4, 2]
# Ours, theirs.
NAMES = dict(
    maxNewTokens="max_new_tokens",
    minNewTokens="min_new_tokens",
    temperature="temperature",
    topK="top_k",
    topP="top_p",
    beams="num_beams",
    lengthPenalty="length_penalty",
    earlyStopping="early_stopping",
    repetitionPenalty="repetition_penalty",
    noRepeatNgramSize="no_repeat_ngram_size",
)


def load(name):
    family = name.split("/")[0]
    kind = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    folder = MODELS / family / "testdata" / name.split("/")[1]
    return kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def theirs(options):
    early = {"true": True, "false": False, "never": "never"}
    return {NAMES[k]: early[v] if k == "earlyStopping" else v for k, v in options.items()}


def case(model, name, eos, soft=None, **options):
    generator = torch.Generator().manual_seed(len(name) + len(str(options)))
    pairs = model.config.is_encoder_decoder
    prompts = [torch.randint(3, VOCAB, (n,), generator=generator) for n in LENGTHS]
    ids = torch.zeros((len(LENGTHS), max(LENGTHS)), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        at = slice(0, len(prompt)) if pairs else slice(max(LENGTHS) - len(prompt), None)
        ids[row, at], mask[row, at] = prompt, 1
    inputs = dict(input_ids=ids, attention_mask=mask)
    values = None
    if soft:
        values = torch.randn((soft, model.get_input_embeddings().embedding_dim), generator=generator)
        embedded = torch.cat([values.expand(len(ids), -1, -1), model.get_input_embeddings()(ids)], 1)
        inputs = dict(inputs_embeds=embedded, attention_mask=torch.cat([torch.ones((len(ids), soft), dtype=torch.long), mask], 1))
    ends = dict(eos_token_id=eos or None, pad_token_id=0)
    out = model.generate(
        **inputs, **theirs(options), **ends, do_sample=False, return_dict_in_generate=True, output_scores=True
    )
    skip = 1 if pairs else 0 if soft else ids.shape[1]
    rows = []
    for row in out.sequences[:, skip:].tolist():
        stop = next((i + 1 for i, token in enumerate(row) if token in eos), len(row))
        rows.append(row[:stop])
    found = dict(model=name, eosIds=eos, options=options, prompts=[p.tolist() for p in prompts], ids=rows)
    if soft:
        found["soft"] = values.tolist()
    if options.get("beams", 1) > 1:
        found["scores"] = out.sequences_scores.tolist()
    return found


def distributions(model, name):
    """Scores before and after all processors, for one step of sampling."""
    prompt = [5, 9, 7, 5, 9, 11, 5, 9]
    for options in [
        dict(temperature=0.7),
        dict(topK=5, temperature=1.3),
        dict(topP=0.8),
        dict(temperature=1.5, topK=20, topP=0.6, repetitionPenalty=1.4),
        dict(repetitionPenalty=0.5, noRepeatNgramSize=3, minNewTokens=1, topP=0.3),
        dict(noRepeatNgramSize=1),
    ]:
        given = {"top_k": 0} | theirs(options)
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            **(given | dict(max_new_tokens=1)),
            eos_token_id=[3, 4],
            pad_token_id=0,
            do_sample=True,
            return_dict_in_generate=True,
            output_scores=True,
            output_logits=True,
        )
        after = [None if x == float("-inf") else x for x in out.scores[0][0].tolist()]
        yield dict(options=options, history=prompt, eosIds=[3, 4], before=out.logits[0][0].tolist(), after=after)


def main():
    cases = []
    for name, most in [("gpt2/tied", 7), ("llama/mistral", 7), ("llama/qwen2", 16), ("t5/v1.0", 24), ("t5/v1.1", 24)]:
        model = load(name)
        greedy = case(model, name, [], maxNewTokens=most)
        # What greedy writes third and fifth ends texts in the others.
        ends = sorted({greedy["ids"][0][2], greedy["ids"][1][4]})
        cases += [
            greedy,
            case(model, name, ends, maxNewTokens=most),
            case(model, name, ends[:1], maxNewTokens=most, minNewTokens=5, repetitionPenalty=1.7),
            case(model, name, [], maxNewTokens=most, soft=2),
            case(model, name, [], maxNewTokens=most, beams=3),
            case(model, name, ends[:1], maxNewTokens=most, beams=4, lengthPenalty=1.5, soft=3),
            case(model, name, ends, maxNewTokens=most, beams=2, lengthPenalty=-0.5, earlyStopping="true"),
            case(model, name, ends, maxNewTokens=most, beams=3, earlyStopping="never", minNewTokens=3, noRepeatNgramSize=2),
            case(model, name, ends, maxNewTokens=most, beams=3, earlyStopping="false", repetitionPenalty=1.3),
        ]
        if name == "t5/v1.0":
            cases.append(case(model, name, [], maxNewTokens=150, noRepeatNgramSize=3))
            cases.append(case(model, name, [], maxNewTokens=140, beams=2, noRepeatNgramSize=3))
    processed = list(distributions(load("gpt2/tied"), "gpt2/tied"))
    path = MODELS / "generation/testdata/golden.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(c) for c in cases), ",\n".join(json.dumps(c) for c in processed)
    path.write_text('{"cases": [\n%s\n],\n"processed": [\n%s\n]}\n' % lines)


if __name__ == "__main__":
    with torch.no_grad():
        main()
