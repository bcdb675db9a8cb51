"""Writes small tokenizers that Hugging Face's tokenizers trains on corpus.txt, and golden.json with the ids it gives.

    pip install tokenizers
    python make_tokenizers.py

qwen2.json     pipeline of Qwen2: NFC, its expression, merges as pairs
llama3.json    pipeline of Llama 3: its expression, ignore_merges, a template that adds a first token
gpt2.json      pipeline of GPT-2: ByteLevel's own expression, merges as strings, the special token in the vocabulary
gaps.json      two expressions that leave text between their matches
merges.json    what BpeTrainer learns with Qwen2's expression and no normalizer
"""

import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

here = pathlib.Path(__file__).parent
corpus = (here / "corpus.txt").read_text().splitlines(keepends=True)
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def train(pre_tokenizer, normalizer, size, specials=()):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        t.normalizer = normalizer
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=list(specials), show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return t


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])


def qwen2():
    t = train(split(QWEN2), normalizers.NFC(), 560)
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<tool_call>", normalized=False), AddedToken("<|im_", normalized=False), AddedToken("m_e", normalized=False),
                  AddedToken("caf\u00e9!", normalized=True)])
    return t


def llama3():
    t = train(split(LLAMA3), None, 560)
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    t.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])
    raw = json.loads(t.to_str())
    raw["model"]["ignore_merges"] = True
    # A word of the vocabulary that no merge leads to: only ignore_merges finds it.
    raw["model"]["vocab"]["\u0120zyzzyva"] = max(raw["model"]["vocab"].values()) + 1
    for a in raw["added_tokens"]:
        a["id"] += 1
    raw["post_processor"]["special_tokens"]["<|begin_of_text|>"]["ids"] = [raw["added_tokens"][0]["id"]]
    return Tokenizer.from_str(json.dumps(raw))


def gpt2():
    return train(pre_tokenizers.ByteLevel(add_prefix_space=False), None, 500, ["<|endoftext|>"])


def gaps():
    """Expressions that leave text between their matches, one after another."""
    t = train(pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\d{1,2}"), behavior="isolated", invert=False),
        pre_tokenizers.Split(Regex(r"[aeiou]+(?=[^x])"), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]), None, 400)
    return t


texts = [
    "", " ", "   ", "\t", "\n", "\n\n\n", "\t\n", "\r\n", " \r\n  x", "a", "Hello world", " Hello World!", "Hello, world!",
    "it's IT'S it'S he'LL we\u2019re they'RE I'd 'tis 'S", "it'\u017f", "x  y   z    ", "  \n  a \n\nb  \n",
    "1", "22", "333", "4444", "12345678", "3.14159, -0.5 and 22/7", "x1y22z333", "\u0664\u0662 \u096a\u0968 \u00bd \u2167",
    "cafe\u0301! caf\u00e9! e\u0301\u0323 \u1e9b\u0323 \u212b \uac00 \u1100\u1161\u11a8", "a" + "\u0301" * 45 + "b" + "\u0323\u0301" * 20,
    "q\u0307\u0323" + "\u0327" * 40 + "c" + "\u0301" * 3,
    "<|im_start|>user\nhello<|im_end|>\n", "<|im_<|im_start|><|im_startle|>", "<tool_call>x</tool_call>", "a<|endoftext|>b<|end_of_text|>",
    "<|endoftext|><|begin_of_text|><|eot_id|>", "<|im_end|", "<<|im_end|>>", "!!!!!! ...... ======", "\u00a0nbsp\u2003em\u3000ideographic\u202f\u0085next\u2028line",
    "\x0b\x0c\x1c\x1d\x1e\x1f\x00\x7f", "\u200b\ufeff\u200d", "\ufffd", "zyzzyva zyzzyva a zyzzyvas", "\U0001f469\u200d\U0001f680 \U0001f44d\U0001f3fd \U0001f999",
    "\u6cb3\u6d41\u7a7f\u8fc7\u57ce\u5e02", "\u0939\u093f\u0928\u094d\u0926\u0940", "\u043d\u0435\u0449\u043e \u043d\u0430 \u0411\u044a\u043b\u0433\u0430\u0440\u0441\u043a\u0438",
    "snake_case camelCase __init__ a_b", "https://example.org/a?b=c&d=%20#e", "{\"tool\": \"search\", \"args\": [1, 2]}", "\\begin{x}$\\frac{1}{2}$", "a" * 300, "ab" * 200 + " " * 120 + "!" * 90,
] + corpus


def random_texts(n):
    rng = random.Random(5)
    alphabet = list("aeinst'SDmLlLvVeErR  \t\n\r.,!_-<|>012") + list("\u00e9\u0301\u0323\u0665\u4e2d\u00a0\u3000\u2028\U0001f642\u017f\u2019") + ["<|im_end|>", "<tool_call>", "<|im_", " the", "'s", "'RE"]
    return ["".join(rng.choice(alphabet) for _ in range(rng.randrange(1, 24))) for _ in range(n)]


cases = []
for name, make in [("qwen2", qwen2), ("llama3", llama3), ("gpt2", gpt2), ("gaps", gaps)]:
    t = make()
    raw = json.loads(t.to_str())
    if name == "gpt2":
        raw["model"]["merges"] = [" ".join(m) for m in raw["model"]["merges"]]
    (here / f"{name}.json").write_text(json.dumps(raw, ensure_ascii=False, indent=None, separators=(",", ":")) + "\n")
    t = Tokenizer.from_file(str(here / f"{name}.json"))
    for text in texts + random_texts(150):
        case = {"tokenizer": name, "text": text}
        for special in (True, False):
            t.encode_special_tokens = not special
            case["special" if special else "plain"] = t.encode(text, add_special_tokens=False).ids
        case["decoded"] = t.decode(case["special"], skip_special_tokens=True)
        cases.append(case)
(here / "golden.json").write_text("[\n" + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases) + "\n]\n")

merges = json.loads(train(split(QWEN2), None, 700).to_str())["model"]["merges"]
(here / "merges.json").write_text(json.dumps(merges, ensure_ascii=False, separators=(",", ":")) + "\n")
