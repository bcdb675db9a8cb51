"""Writes Qwen2's tokenizer.json from the ranks that PyPI's dashscope (Apache-2.0) carries.

    pip install dashscope==2.0.2 && python make_qwen2.py tokenizer.json
    AFCTL_QWEN_TOKENIZER=$PWD/tokenizer.json go test ..

The result has 6 MB, too large to keep here. Merges follow from the ranks: a token is the merge of the two parts that
byte-pair encoding with the lower ranks leaves of it.
"""

import base64
import importlib.util
import json
import pathlib
import sys

package = importlib.util.find_spec("dashscope").submodule_search_locations[0]
ranks = {}
for line in (pathlib.Path(package) / "resources" / "qwen.tiktoken").read_text().splitlines():
    token, rank = line.split()
    ranks[base64.b64decode(token)] = int(rank)

printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
others = [b for b in range(256) if b not in printable]
spelling = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def spell(token):
    return "".join(spelling[b] for b in token)


def parts(token, below):
    pieces = [token[i:i + 1] for i in range(len(token))]
    while True:
        best = min(range(len(pieces) - 1), key=lambda i: ranks.get(pieces[i] + pieces[i + 1], below), default=None)
        if best is None or ranks.get(pieces[best] + pieces[best + 1], below) >= below:
            return pieces
        pieces[best:best + 2] = [pieces[best] + pieces[best + 1]]


merges = []
for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
    if len(token) > 1:
        left, right = parts(token, rank)
        merges.append([spell(left), spell(right)])

byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
added = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
pathlib.Path(sys.argv[1]).write_text(json.dumps({
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [{"id": len(ranks) + i, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
                      "normalized": False, "special": True} for i, content in enumerate(added)],
    "normalizer": {"type": "NFC"},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, byte_level]},
    "post_processor": byte_level, "decoder": byte_level,
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "", "end_of_word_suffix": "",
              "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
              "vocab": {spell(token): rank for token, rank in ranks.items()}, "merges": merges},
}, ensure_ascii=False) + "\n")
