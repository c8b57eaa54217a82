"""Golden encodings of CLIPTokenizer (transformers) for src/hub/tokenizer.test.ts.

Writes src/hub/testdata/tokenizer/: a small vocabulary trained here (vocab.json, merges.txt) and golden.json, which
holds, for each variant of a folder, the files to put beside the vocabulary and what transformers makes of it.
The folder trained/ there comes from TypeScript (tokenizer.test.ts with UPDATE_TESTDATA=1), before this script.

    python tools/reference/tokenizer.py
"""

import json
import shutil
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import CLIPTokenizerFast, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parents[2] / "src/hub/testdata/tokenizer"
MAX_LENGTH = 12

TEXTS = [
    "",
    " ",
    "a photo of a cat.",
    "A PHOTO of   a\t\tCat\n\n, sitting",
    "  leading and trailing  ",
    "it's, we're, they've, I'm, you'll, he'd, can't",
    "IT'S DON'T o'clock 'tis rock 'n' roll '' ''' 's",
    "1234567890 3.14 1,000 2nd ½ ² Ⅷ ٣",
    "!!!??? ... --- *** <> || ## @@ a!b?c",
    "hello!'s world!!'t",
    "café naïve Ångström façade über",
    "cafe\u0301 n\u0303 e\u0302\u0323 \u1e9b\u0323",
    "ﬁne ﬂag ﬃ ① ㈱ ﾊﾝｶｸ ｆｕｌｌ",
    "ΟΔΟΣ ΣΑΣ σίγμα Σ",
    "İstanbul ISPARTA ı ß ẞ Ǆ Ǆemper",
    "Привет, мир! Ёлка Й",
    "日本語のテキスト 中文测试 한국어 테스트",
    "हिन्दी में परीक्षण தமிழ் ไทย",
    "مرحبا بالعالم שלום עולם",
    "😀 😃👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☕",
    "a\u00a0b\u2003c\u3000d\u200be\u2028f\u0085g\ufeffh",
    "!\ufeff! \ufeff?\ufeff",
    "tab\tnew\nline\r\nfeed\x0b\x0c\x1f",
    "<|startoftext|>a cat<|endoftext|>",
    "a<|endoftext|>b <|startoftext|> c",
    "<|STARTOFTEXT|> <|EndOfText|>x",
    "<|ENDOFTEXT|>",
    "<|STARTOFTEXT|><|ENDOFTEXT|>",
    "a<|endoftext|><|ENDOFTEXT|><|STARTOFTEXT|>?",
    "<|startoftext|>> <|endoftext| >!<|endoftext|>!",
    "word</w> </w> a</w>b",
    "[PAD] [MASK] <new> !",
    "snake_case camelCase kebab-case path/to/file.txt https://x.org/?q=1&r=2",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "a " * 40 + "end",
    "x" * 300,
    "\x00\x01\x7f\x80\xff",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟘𝟙𝟚 𐐀𐐨",
    "constructor __proto__ toString hasOwnProperty",
]

DICT = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "__type": "AddedToken"}
END, START = "<|endoftext|>", "<|startoftext|>"
CLIP = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
BARE = {k: v for k, v in DICT.items() if k != "__type"}
VARIANTS = {
    "vocabulary alone": {},
    "as openai publishes it": {
        "tokenizer_config.json": {
            **CLIP,
            "unk_token": {**DICT, "content": END},
            "bos_token": {**DICT, "content": START},
            "eos_token": {**DICT, "content": END},
            "pad_token": END,
            "do_lower_case": True,
        },
        "special_tokens_map.json": {
            "bos_token": {**BARE, "content": START},
            "eos_token": {**BARE, "content": END},
            "unk_token": {**BARE, "content": END},
            "pad_token": END,
        },
    },
    "padded with !": {"tokenizer_config.json": {**CLIP, "pad_token": "!"}},
    "padded with a new token": {
        "tokenizer_config.json": {**CLIP, "pad_token": "[PAD]"},
        "special_tokens_map.json": {"additional_special_tokens": ["[MASK]"]},
    },
    "added tokens by id": {
        "tokenizer_config.json": {
            **CLIP,
            "added_tokens_decoder": {
                "612": {**BARE, "content": START, "normalized": False, "special": True},
                "613": {**BARE, "content": END, "normalized": False, "special": True},
                "614": {**BARE, "content": "<new>", "lstrip": True, "rstrip": True, "special": False},
            },
            "pad_token": END,
            "clean_up_tokenization_spaces": True,
        },
        "special_tokens_map.json": {"pad_token": "!"},
    },
}


def train():
    """A byte-level vocabulary of 614 tokens with </w>, special tokens last, laid out as OpenAI's."""
    probe = CLIPTokenizerFast()
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = probe.backend_tokenizer.normalizer
    tokenizer.pre_tokenizer = probe.backend_tokenizer.pre_tokenizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1200, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    text = [line for line in TEXTS if "|" not in line] * 3
    tokenizer.train_from_iterator(text, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    bytes_ = sorted(alphabet, key=lambda c: (ord(c) > 255, ord(c)))
    tokens = bytes_ + [c + "</w>" for c in bytes_]
    merges = []
    for left, right in model["merges"]:
        if left in tokens and right in tokens and len(merges) < 100:
            merges.append((left, right))
            tokens.append(left + right)
    assert len(merges) == 100
    return {token: i for i, token in enumerate([*tokens, START, END])}, merges


def word_pieces():
    """A tokenizer of another family: BERT's."""
    tokens = "[PAD] [UNK] [CLS] [SEP] a photo of the cat ##s , . ! ##ing sit ' t don".split()
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


def describe(tokenizer):
    batch = tokenizer(TEXTS, truncation=True, max_length=MAX_LENGTH, padding=True)["input_ids"]
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    decoded = [tokenizer.decode(row, skip_special_tokens=True) for row in ids]
    return {"size": len(tokenizer), "ids": ids, "decoded": decoded, "batch": batch, "pad": tokenizer.pad_token_id}


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    vocab, merges = train()
    (HERE / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (HERE / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    golden = {"maxLength": MAX_LENGTH, "texts": TEXTS, "variants": {}}
    for name, files in VARIANTS.items():
        with tempfile.TemporaryDirectory() as folder:
            for file in ("vocab.json", "merges.txt"):
                shutil.copy(HERE / file, folder)
            for file, content in files.items():
                (Path(folder) / file).write_text(json.dumps(content))
            tokenizer = CLIPTokenizerFast.from_pretrained(folder)
            golden["variants"][name] = {"files": files, **describe(tokenizer)}
            if name == "as openai publishes it":
                with tempfile.TemporaryDirectory() as saved:
                    tokenizer.save_pretrained(saved)
                    files = {
                        file: json.loads((Path(saved) / file).read_text())
                        for file in ("tokenizer.json", "tokenizer_config.json")
                    }
                    again = CLIPTokenizerFast.from_pretrained(saved)
                    golden["variants"]["saved by transformers"] = {"files": files, **describe(again)}
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = word_pieces()
        tokenizer.save_pretrained(folder)
        files = {f.name: json.loads(f.read_text()) for f in sorted(Path(folder).iterdir())}
        golden["variants"]["word pieces"] = {"files": files, **describe(tokenizer)}
    trained = HERE / "trained"
    if trained.exists():
        result = describe(CLIPTokenizerFast.from_pretrained(trained))
        alone = PreTrainedTokenizerFast(tokenizer_file=str(trained / "tokenizer.json"), pad_token=END)
        assert describe(alone)["ids"] == result["ids"], "tokenizer.json alone must encode the same"
        golden["variants"]["trained"] = result
    (HERE / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


main()
