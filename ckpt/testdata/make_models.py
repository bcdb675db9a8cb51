"""Writes models/ and adapters/: tiny random Qwen2 models as transformers saves them, LoRA folders as PEFT saves them,
and golden.json beside each kind with what the two libraries make of them.

    pip install torch transformers peft
    python make_models.py
"""

import hashlib
import json
import pathlib
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

here = pathlib.Path(__file__).parent


def digest(t):
    """SHA-256 over the little-endian float32 values."""
    return hashlib.sha256(t.detach().float().contiguous().numpy().tobytes()).hexdigest()


def config(tied):
    return Qwen2Config(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=36, eos_token_id=[38, 37], pad_token_id=36)


def fresh(*names):
    for name in names:
        shutil.rmtree(here / name, ignore_errors=True)
        (here / name).mkdir()


def models():
    fresh("models")
    golden = {}
    for name, tied, dtype, shard in [("tied", True, torch.float32, "5GB"), ("sharded", False, torch.bfloat16, "4KB"),
                                     ("half", False, torch.float16, "5GB")]:
        torch.manual_seed(7)
        model = Qwen2ForCausalLM(config(tied)).to(dtype)
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.5)
        if name == "tied":
            model.generation_config.eos_token_id = [39, 38]
        model.save_pretrained(here / "models" / name, max_shard_size=shard)
        golden[name] = {k: {"shape": list(v.shape), "sha256": digest(v)} for k, v in model.state_dict().items()
                        if not (tied and k == "lm_head.weight")}
    (here / "models" / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ADAPTERS = {
    "plain": dict(r=4, lora_alpha=8, target_modules=ALL),
    "rslora": dict(r=4, lora_alpha=6, target_modules=ALL, use_rslora=True, lora_dropout=0.1),
    # The order of the keys matters: the first that matches holds. "_proj" and "proj" match nothing, since what comes
    # before a key must end in a dot.
    "patterns": dict(r=4, lora_alpha=8, target_modules=ALL,
                     rank_pattern={"_proj": 9, r".*\.1\.mlp\..*": 3, "q_proj": 2, "up_proj": 5, r"layers\.0\.self_attn\.[kv]_proj": 1},
                     alpha_pattern={"proj": 99, "self_attn.o_proj": 3.5, r".*layers\.1.*": 20, "o_proj": 99, "down_proj": 1}),
    "patterns_rslora": dict(r=2, lora_alpha=5, target_modules=ALL, use_rslora=True,
                            rank_pattern={"v_proj": 7}, alpha_pattern={"v_proj": 9}),
    "subset": dict(r=3, lora_alpha=16, target_modules=["v_proj", "mlp.down_proj"]),
    "regexp": dict(r=2, lora_alpha=2, target_modules=r".*\.(?!1\.)\d+\.self_attn\.(q|k)_proj"),
    "half": dict(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"]),
    "brain": dict(r=4, lora_alpha=8, target_modules="all-linear"),
}


def adapters():
    fresh("adapters")
    golden = {}
    for name, kwargs in ADAPTERS.items():
        torch.manual_seed(11)
        peft = get_peft_model(Qwen2ForCausalLM(config(False)), LoraConfig(task_type="CAUSAL_LM", **kwargs))
        for key, p in peft.named_parameters():
            if "lora_" in key:
                torch.nn.init.normal_(p)
        folder = here / "adapters" / name
        peft.save_pretrained(folder)
        (folder / "README.md").unlink()
        if name == "patterns":  # PEFT sorts the keys when it writes, others do not
            file = folder / "adapter_config.json"
            raw = json.loads(file.read_text())
            raw.update(rank_pattern=kwargs["rank_pattern"], alpha_pattern=kwargs["alpha_pattern"])
            file.write_text(json.dumps(raw, indent=2))
        weights = folder / "adapter_model.safetensors"
        if name in ("half", "brain"):
            dtype = torch.half if name == "half" else torch.bfloat16
            save_file({k: v.to(dtype) for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
        loaded = PeftModel.from_pretrained(Qwen2ForCausalLM(config(False)), folder)
        golden[name] = [
            {"module": path.removeprefix("base_model.model."), "rank": m.r["default"], "alpha": m.lora_alpha["default"],
             "scale": m.scaling["default"], "a": digest(m.lora_A["default"].weight), "b": digest(m.lora_B["default"].weight)}
            for path, m in loaded.named_modules() if hasattr(m, "lora_A") and "default" in m.lora_A]
    (here / "adapters" / "golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    models()
    adapters()
