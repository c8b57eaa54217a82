"""Golden encodings of `tokenizers` for src/hub/language-tokenizer.test.ts: small vocabularies in the pipelines of T5 (Unigram), LLaMA 2
(byte pairs of characters, unknown ones as bytes) and GPT-2 and Qwen (byte pairs of bytes).

    python tools/reference/language_tokenizers.py
"""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).resolve().parents[2] / "src/hub/testdata/language-tokenizer"
TEXTS = [
    "",
    " ",
    "a photo of a cat.",
    "A PHOTO of   a Cat , sitting",
    "  leading and trailing  ",
    "it's, we're, they've, I'm, you'll, he'd, can't; IT'S DON'T",
    "1234567890 3.14 1,000 2nd ½ ² ٣",
    "!!!??? ... --- *** <> ## @@ a!b?c",
    "café naïve Ångström façade über",
    "cafe\u0301 n\u0303 e\u0302\u0323",
    "ﬁne ﬂag ① ㈱ ﾊﾝｶｸ ｆｕｌｌ",
    "Привет, мир! Ёлка Й ΟΔΟΣ σίγμα",
    "日本語のテキスト 中文测试 한국어 테스트",
    "हिन्दी में परीक्षण தமிழ் ไทย",
    "مرحبا بالعالم שלום עולם",
    "😀 😃👍🏽 👨\u200d👩\u200d👧 🇩🇪 ❤️ ☕",
    "snake_case camelCase kebab-case path/to/file.txt https://x.org/?q=1&r=2",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "a " * 20 + "end",
    "two\nlines\n\nand more\tor less",
    "  <s> a </s>b <|endoftext|> c",
    "constructor __proto__ toString hasOwnProperty",
]
CORPUS = TEXTS * 3
QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def unigram():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=400, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    # No two ways to cut a word may be equally likely: there the last bit of a sum decides, and engines differ.
    data = json.loads(tokenizer.to_str())
    data["model"]["vocab"] = [[t, round(p, 4) - i**2 * 1e-6] for i, (t, p) in enumerate(data["model"]["vocab"])]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return tokenizer, dict(tokenizer_class="T5Tokenizer", eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


def llama():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=460, limit_alphabet=60, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    data = json.loads(tokenizer.to_str())
    # Bytes are ordinary tokens of the vocabulary.
    data["added_tokens"] = data["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(parts)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer, dict(tokenizer_class="LlamaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def byte_level(split=None):
    tokenizer = Tokenizer(models.BPE())
    own = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)
    parts = [pre_tokenizers.Split(Regex(split), "isolated"), own] if split else None
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(parts) if parts else own
    tokenizer.normalizer = normalizers.NFC() if split else None
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<|endoftext|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=360, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    name = "Qwen2Tokenizer" if split else "GPT2Tokenizer"
    return tokenizer, dict(tokenizer_class=name, eos_token=special[0])


for name, made in [("t5", unigram()), ("llama", llama()), ("gpt2", byte_level()), ("qwen2", byte_level(QWEN))]:
    tokenizer, config = made
    folder = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(tokenizer.to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    rows = [tokenizer.encode(text) for text in TEXTS]
    found = [dict(text=t, ids=r.ids, decoded=tokenizer.decode(r.ids)) for t, r in zip(TEXTS, rows)]
    lines = ",\n".join(json.dumps(f, ensure_ascii=False) for f in found)
    (folder / "golden.json").write_text(f"[\n{lines}\n]\n")
