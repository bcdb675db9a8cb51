#!/usr/bin/env python3
"""A Hugging Face folder of random bf16 weights with an adapter. Same shape, same bytes.

    make_model.py toy|q05-4l|q05 FOLDER

toy: Qwen2, hidden 128, 4 layers, vocabulary 1,024. q05: the shape of Qwen2.5-0.5B. q05-4l: the first 4 layers of it.
The folder gets config.json, model.safetensors, a stand-in tokenizer (TRL insists on one) and two PEFT adapters (r 16, alpha 32,
all seven projections, f32) of the same A: lora/, whose B is not zero, so that loss and kl are numbers worth comparing, and fresh/,
whose B is zero, as training begins.
"""
import json, os, sys

SHAPES = {  # hidden, layers, heads, key/value heads, ffn, vocabulary
    "toy": (128, 4, 4, 2, 512, 1024),
    "q05-4l": (896, 4, 14, 2, 4864, 151936),
    "q05": (896, 24, 14, 2, 4864, 151936),
}
ADAPTERS = ("lora", "fresh")
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def projections(shape):
    d, _, h, kv, f, _ = shape
    kv = kv * (d // h)
    return {"self_attn.q_proj": (d, d), "self_attn.k_proj": (kv, d), "self_attn.v_proj": (kv, d), "self_attn.o_proj": (d, d),
            "mlp.gate_proj": (f, d), "mlp.up_proj": (f, d), "mlp.down_proj": (d, f)}


def make(name, out):
    import torch
    from safetensors.torch import save_file
    shape = d, L, h, kv, f, V = SHAPES[name]
    g = torch.Generator().manual_seed(1234)
    R = lambda *s: (torch.randn(*s, generator=g) * 0.02).to(torch.bfloat16)
    one = lambda: torch.ones(d, dtype=torch.bfloat16)
    t = {"model.embed_tokens.weight": R(V, d), "model.norm.weight": one()}
    for i in range(L):
        p = f"model.layers.{i}."
        for n, (o, k) in projections(shape).items():
            t[p + n + ".weight"] = R(o, k)
        for n, o in (("q", d), ("k", kv * (d // h)), ("v", kv * (d // h))):
            t[p + f"self_attn.{n}_proj.bias"] = R(o)
        for n in ("input_layernorm", "post_attention_layernorm"):
            t[p + n + ".weight"] = one()
    for name in ADAPTERS:
        os.makedirs(os.path.join(out, name), exist_ok=True)
    save_file(t, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})

    def dump(name, o):
        with open(os.path.join(out, name), "w") as f:
            f.write(json.dumps(o, indent=1) + "\n")

    eos, pad = V - 1, V - 2
    dump("config.json", {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": d, "num_hidden_layers": L,
        "num_attention_heads": h, "num_key_value_heads": kv, "intermediate_size": f, "vocab_size": V, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "max_position_embeddings": 32768, "tie_word_embeddings": True,
        "attention_dropout": 0.0, "initializer_range": 0.02, "use_sliding_window": False, "sliding_window": 32768,
        "max_window_layers": L, "bos_token_id": pad, "eos_token_id": eos, "use_cache": True, "torch_dtype": "bfloat16"})
    dump("generation_config.json", {"bos_token_id": pad, "eos_token_id": eos, "pad_token_id": pad})
    special = [{"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, s in ((pad, "<pad>"), (eos, "<eos>"))]
    vocab = {**{f"t{i}": i for i in range(V - 2)}, "<pad>": pad, "<eos>": eos}
    dump("tokenizer.json", {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
                            "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None,
                            "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<pad>"}})
    dump("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>",
                                   "model_max_length": 32768})
    r, a = 16, {}
    for i in range(L):
        for n, (o, k) in projections(shape).items():
            p = f"base_model.model.model.layers.{i}.{n}."
            a[p + "lora_A.weight"] = (torch.rand(r, k, generator=g) * 2 - 1) / k**0.5
            a[p + "lora_B.weight"] = torch.randn(o, r, generator=g) * 0.01
    for name in ADAPTERS:
        if name == "fresh":
            a = {k: v * 0 if "lora_B" in k else v for k, v in a.items()}
        save_file(a, os.path.join(out, name, "adapter_model.safetensors"), metadata={"format": "pt"})
        dump(name + "/adapter_config.json", {
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": r, "lora_alpha": 32, "lora_dropout": 0.0, "bias": "none",
            "target_modules": list(PROJECTIONS), "inference_mode": False, "base_model_name_or_path": out, "fan_in_fan_out": False,
            "init_lora_weights": True})


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in SHAPES:
        sys.exit(__doc__)
    make(*sys.argv[1:])
