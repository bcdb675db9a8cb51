#!/usr/bin/env python3
"""Sampling by transformers: completions of 64 tokens after one prompt of 300, which is prefilled once and its cache repeated.

    decode.py --model FOLDER [--batch 1 32] [--dtype bf16|f32] [--repeat N]

A JSON line per batch size: tokens_per_second of the steps after the first token, from the best of the runs.
"""
import argparse, json, os, random, sys, time


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    ap.add_argument("--prompt", type=int, default=300)
    ap.add_argument("--new", type=int, default=64)
    ap.add_argument("--repeat", type=int, default=2)
    ap.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    ap.add_argument("--threads", type=int, default=2)
    o = ap.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from torch_update import tune_malloc
    tune_malloc()
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)
    m = AutoModelForCausalLM.from_pretrained(o.model, dtype={"bf16": torch.bfloat16, "f32": torch.float32}[o.dtype]).eval()
    r = random.Random(3)
    ids = torch.tensor([[r.randrange(4, m.config.vocab_size - 4) for _ in range(o.prompt)]])

    @torch.inference_mode()
    def run(batch, new):
        cache = DynamicCache(config=m.config)
        m(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(batch)
        x = ids.expand(batch, -1).contiguous()
        y = m.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=new, min_new_tokens=new, do_sample=True, temperature=0.7, top_k=0,
                       top_p=1.0, pad_token_id=m.config.eos_token_id, suppress_tokens=[m.config.eos_token_id], past_key_values=cache,
                       disable_compile=True)
        assert y.shape == (batch, o.prompt + new)

    def seconds(batch, new):
        start = time.perf_counter()
        run(batch, new)
        return time.perf_counter() - start

    for batch in o.batch:
        run(batch, o.new)
        one, all_ = min(seconds(batch, 1) for _ in range(o.repeat)), min(seconds(batch, o.new) for _ in range(o.repeat))
        print(json.dumps(dict(batch=batch, seconds=all_, tokens_per_second=batch * (o.new - 1) / (all_ - one))), flush=True)


if __name__ == "__main__":
    main()
