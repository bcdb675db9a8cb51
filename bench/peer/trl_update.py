#!/usr/bin/env python3
"""The same update through TRL's GRPOTrainer, unmodified, without generation.

    trl_update.py --model FOLDER --trajectories FILE --out DIR [--batch 3] [--dtype bf16|f32] [--repeat N] [--compact-head]

Every turn is a row. Timed is trainer.train(): data loader, TRL's own _generate_and_score_completions (its rollout_func hook hands back
the fixed token ids instead of sampling; the reference pass with the adapter disabled is TRL's), loss, backward, gradient
accumulation, clip, AdamW. Rows get their advantage through the reward function with scale_rewards="none"; loss_type="grpo" is then
the weighting of torch_update.py, since all rollouts have the same number of turns.
TRL computes the head on every row, prompts included, unless the device has Triton: --compact-head sets its switch for the action
tokens alone on the CPU too (one function replaced: the best that TRL could do here, not what it does).
Prints one JSON object, as torch_update.py; the adapter is not restored between the updates.
"""
import argparse, json, os, sys, tempfile, time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch_update as tu


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True, help="folder of make_model.py")
    ap.add_argument("--adapter", default="lora", help="folder in it")
    ap.add_argument("--trajectories", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    ap.add_argument("--batch", type=int, default=3, help="rows of a micro-batch")
    ap.add_argument("--attn", choices=("sdpa", "eager"), default="sdpa")
    ap.add_argument("--compact-head", action="store_true")
    ap.add_argument("--repeat", type=int, default=1)
    ap.add_argument("--threads", type=int, default=2)
    o = ap.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(o.threads))
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    tu.tune_malloc()
    import torch
    import trl.trainer.utils
    from datasets import Dataset
    from peft import LoraConfig, set_peft_model_state_dict
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)
    if o.dtype == "f32":
        torch.set_float32_matmul_precision("medium")
    if o.compact_head:
        trl.trainer.utils._use_triton = lambda device: True
    turns = tu.load(o.trajectories)
    n = len(turns)
    if n % o.batch:
        sys.exit(f"{n} rows do not divide into batches of {o.batch}")

    def rollout(prompts, trainer):
        return {"prompt_ids": [t["p"] for t in turns], "completion_ids": [t["a"] for t in turns], "logprobs": None, "adv": [t["A"] for t in turns]}

    def reward(prompts, completions, adv, **kw):
        return adv

    model = AutoModelForCausalLM.from_pretrained(o.model, dtype={"bf16": torch.bfloat16, "f32": torch.float32}[o.dtype], attn_implementation=o.attn)
    scratch = tempfile.TemporaryDirectory(dir=o.out if os.path.isdir(o.out) else None)  # goes with the process
    args = GRPOConfig(
        output_dir=scratch.name, use_cpu=True, bf16=o.dtype == "bf16", max_steps=o.repeat,
        report_to="none", save_strategy="no", logging_steps=1, disable_tqdm=True, per_device_train_batch_size=o.batch,
        gradient_accumulation_steps=n // o.batch, num_generations=n, num_iterations=1, beta=0.001, epsilon=0.2, epsilon_high=0.3,
        temperature=0.7, loss_type="grpo", scale_rewards="none", learning_rate=1e-5, weight_decay=0.01, lr_scheduler_type="constant",
        warmup_steps=0, max_grad_norm=1.0, optim="adamw_torch_fused", dataloader_pin_memory=False,
        gradient_checkpointing=False,  # TRL's default is on, which is slower
        max_completion_length=max(len(t["a"]) for t in turns))
    with open(os.path.join(o.model, o.adapter, "adapter_config.json")) as f:
        lora = json.load(f)
    trainer = GRPOTrainer(
        model=model, reward_funcs=[reward], args=args, train_dataset=Dataset.from_list([{"prompt": "t1"}] * 2),
        processing_class=AutoTokenizer.from_pretrained(o.model), rollout_func=rollout,
        peft_config=LoraConfig(r=lora["r"], lora_alpha=lora["lora_alpha"], lora_dropout=0.0, task_type="CAUSAL_LM", target_modules=lora["target_modules"]))
    set_peft_model_state_dict(trainer.model, load_file(os.path.join(o.model, o.adapter, "adapter_model.safetensors")))
    ends = []

    class Ends(TrainerCallback):
        def on_step_end(self, *a, **k):
            ends.append(time.perf_counter())

    trainer.add_callback(Ends())
    start = time.perf_counter()
    trainer.train()
    ends[-1] = time.perf_counter()  # the end of train() belongs to the last step
    trainer.model.save_pretrained(o.out)
    log = trainer.state.log_history[0]
    c = model.config
    body = sum(p.numel() for k, p in model.named_parameters() if p.dim() == 2 and not any(s in k for s in ("embed", "lora", "lm_head")))
    lens = [len(t["p"]) + len(t["a"]) for t in turns]
    gflop = tu.useful_gflop(c, body, sum(p.numel() for p in trainer.model.parameters() if p.requires_grad), sum(lens),
                            sum(k * (k + 1) // 2 for k in lens), sum(len(t["a"]) for t in turns))
    print(json.dumps(dict(seconds_updates=[b - a for a, b in zip([start] + ends, ends)], loss=log["loss"], kl=log.get("kl"),
                          grad_norm=log["grad_norm"], rows=sum(lens), gflop=gflop)))


if __name__ == "__main__":
    main()
