#!/usr/bin/env python3
"""Golden files of `afctl score` and `afctl update`: what Hugging Face and a plain PyTorch implementation of Flow-GRPO make of small
random models. Needs torch, transformers, peft and safetensors from PyPI; afctl and its tests need none of them.

    python golden.py [FOLDER]          (default: the folder golden/ beside this file, which is made anew)

Everything is float64, so that what differs is the error of the program under test alone (PyTorch's own in float32 is of the same size:
the loss of unshared-turn-mean is off by 3e-6 in its second step). Models run one sequence at a time, without padding, packing, sharing of
prefixes or micro-batches. The rotary angles are float32, as transformers has them: they are part of the model.

    models/NAME        Hugging Face folders, as transformers saves them
    adapters/NAME      PEFT folders, as peft saves them, each for the model that its name begins with
    *.jsonl            trajectories
    score.json         [{model, adapter, temperature, sequences: [{tokens, start}], logprobs: [[...]]}]
    update.json        [{name, model, adapter, trajectories, config, steps, metrics: [one object per step]}]
    NAME.safetensors   per update case: new minus old of every trained tensor
"""
import copy, json, math, os, random, shutil, sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.models.qwen2 import modeling_qwen2
from transformers.utils import logging

torch.set_num_threads(1)
logging.disable_progress_bar()
OUT = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# transformers computes these two in float32, whatever the model's type.
softmax = torch.nn.functional.softmax
modeling_qwen2.nn.functional.softmax = lambda x, dim=-1, dtype=None: softmax(x, dim=dim, dtype=x.dtype)
modeling_qwen2.Qwen2RMSNorm.forward = lambda self, h: self.weight * h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)

# ---------------------------------------------------------------- models and adapters
MODELS = {
    "tied": dict(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48, vocab_size=61, tie_word_embeddings=True,
                 rope_theta=10000.0, rms_norm_eps=1e-6, dtype=torch.float32),
    "untied": dict(hidden_size=24, num_attention_heads=3, num_key_value_heads=1, intermediate_size=40, vocab_size=50, tie_word_embeddings=False,
                   rope_theta=1000000.0, rms_norm_eps=1e-5, dtype=torch.bfloat16),
    "sharded": dict(hidden_size=16, num_attention_heads=2, num_key_value_heads=2, intermediate_size=36, vocab_size=300, tie_word_embeddings=True,
                    rope_theta=500000.0, rms_norm_eps=1e-6, dtype=torch.float16),
}


def make_model(name, seed):
    shape = dict(MODELS[name])
    dtype, theta = shape.pop("dtype"), shape.pop("rope_theta")
    config = Qwen2Config(num_hidden_layers=2, max_position_embeddings=128, use_sliding_window=False, bos_token_id=None, eos_token_id=1,
                         pad_token_id=0, rope_parameters={"rope_type": "default", "rope_theta": theta}, **shape)
    model = Qwen2ForCausalLM(config)
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            p.copy_(1 + 0.2 * noise if "norm" in n else 0.3 * noise if n.endswith("bias") else 1.2 * noise / math.sqrt(p.shape[-1]))
    model.to(dtype).save_pretrained(f"{OUT}/models/{name}", max_shard_size="20KB" if name == "sharded" else "1GB")


def load_model(name):
    return Qwen2ForCausalLM.from_pretrained(f"{OUT}/models/{name}", dtype=torch.float64, attn_implementation="eager").eval()


def make_adapter(name, seed, zero_b=False, **options):
    model = get_peft_model(load_model(name.split("-")[0]), LoraConfig(lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", **options))
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "lora_" in n:
                scale = 0 if zero_b and "lora_B" in n else 0.25 / math.sqrt(p.shape[1])
                p.copy_(scale * torch.randn(p.shape, generator=g))
    model.float().save_pretrained(f"{OUT}/adapters/{name}")
    path = f"{OUT}/adapters/{name}/adapter_config.json"  # without the folder on this machine, and in the same order in every run
    with open(path) as f:
        config = json.load(f)
    config.update(base_model_name_or_path=name.split("-")[0], target_modules=sorted(config["target_modules"]))
    with open(path, "w") as f:
        json.dump(config, f, indent=2, sort_keys=True)
    card = f"{OUT}/adapters/{name}/README.md"
    if os.path.exists(card):
        os.remove(card)


def load_policy(model, adapter, trainable=True):
    base = load_model(model)
    return base if adapter is None else PeftModel.from_pretrained(base, f"{OUT}/adapters/{adapter}", is_trainable=trainable).double().eval()


# ---------------------------------------------------------------- log-probs
def distribution(model, tokens, start, temperature):
    """log softmax(logits / temperature), [len(tokens) - start, vocabulary]: row j is that of tokens[start + j]."""
    logits = model(input_ids=torch.tensor([tokens])).logits[0, start - 1 : len(tokens) - 1]
    return torch.log_softmax(logits / temperature, dim=-1)


def picked(logp, tokens, start):
    return logp.gather(1, torch.tensor(tokens[start:]).unsqueeze(1)).squeeze(1)


def score_cases():
    rng, cases = random.Random(5), []
    for model, adapter in [("tied", None), ("tied", "tied-plain"), ("tied", "tied-rslora"), ("untied", None), ("untied", "untied-plain"),
                           ("sharded", None), ("sharded", "sharded-subset")]:
        vocab = MODELS[model]["vocab_size"]
        policy = load_policy(model, adapter, trainable=False)
        shared = [rng.randrange(vocab) for _ in range(20)]
        sequences = [{"tokens": [3, 4], "start": 1}, {"tokens": [0] * 9, "start": 2}, {"tokens": shared, "start": 1}, {"tokens": shared, "start": 19}]
        for n in (2, 3, 17, 33, 90):
            sequences.append({"tokens": [rng.randrange(vocab) for _ in range(n)], "start": rng.randrange(1, n)})
        for n in (5, 12, 12):
            tail = [rng.randrange(vocab) for _ in range(n)]
            sequences.append({"tokens": shared[: 20 - n] + tail, "start": rng.randrange(1, 20)})
        for temperature in (1.0, 0.7, 1.9):
            with torch.no_grad():
                lps = [picked(distribution(policy, s["tokens"], s["start"], temperature), s["tokens"], s["start"]).tolist() for s in sequences]
            cases.append(dict(model=model, adapter=adapter, temperature=temperature, sequences=sequences, logprobs=lps))
    return cases


# ---------------------------------------------------------------- trajectories
def make_trajectories(path, model, adapter, seed, shared):
    """Groups with rewards of every kind: partial, equal, alone, failed. Turns grow out of the turns before them where shared."""
    rng, vocab, lines = random.Random(seed), MODELS[model]["vocab_size"], []
    policy = load_policy(model, adapter, trainable=False)
    tokens = lambda a, b: [rng.randrange(2, vocab) for _ in range(rng.randint(a, b))]
    instructions = tokens(8, 8)
    rewards = {"equal": [1, 1, 1], "half": [1.0, 0.0, 0.0, 1.0], "graded": [0.1, 0.7, None, 0.35, 0.9], "alone": [1.0], "tenths": [0.1, 0.1, 0.1],
               "one": [0, 0, 0, 1], "lost": [None, None]}
    for group, rs in rewards.items():
        question = tokens(4, 7)
        for sample, reward in enumerate(rs):
            turns, prompt = [], instructions + question
            for t in range(rng.randint(1, 3)):
                if not shared:
                    prompt = tokens(5, 12)
                action = tokens(1, 6)
                if shared and sample in (2, 3) and t == 0:  # the same first action twice in a group: one row, two targets
                    action = list(first_action) if sample == 3 else action
                    first_action = action
                if rng.random() < 0.6:
                    action = action + [1]  # an end token
                with torch.no_grad():
                    lp = picked(distribution(policy, prompt + action, len(prompt), 0.7), prompt + action, len(prompt))
                ls = [round(x + rng.gauss(0, 0.3), 5) for x in lp.tolist()]
                turns.append({"prompt": prompt, "action": action, "logprobs": ls})
                prompt = prompt + action + tokens(2, 5)
            lines.append({"group": group, "sample": sample, "reward": reward, "turns": turns})
    rng.shuffle(lines)
    with open(path, "w") as f:
        for line in lines:
            f.write(json.dumps(line, separators=(",", ":")) + "\n")


# ---------------------------------------------------------------- the update
DEFAULTS = {
    "trainable": "lora",
    "flow": dict(clip_low=0.2, clip_high=0.3, dual_clip=0, kl=0.001, kl_estimator="k3", aggregation="flow", advantage_std="sample",
                 advantage_eps=1e-6, advantage_over="rollouts", temperature=0.7, tis_cap=0, entropy=0, max_action_tokens=2048,
                 skip_zero_signal=False),
    "optimizer": dict(lr=1e-5, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.01, max_grad_norm=1.0, schedule="constant", warmup_steps=0),
}


def advantages(rewards, turns, o):
    if max(rewards) == min(rewards):
        return [0.0] * len(rewards)
    if o["advantage_over"] == "turns":
        rows = [r for r, t in zip(rewards, turns) for _ in range(t)]
    else:
        rows = rewards
    mu = math.fsum(rows) / len(rows)
    if o["advantage_std"] == "none":
        return [r - mu for r in rewards]
    divisor = len(rows) - 1 if o["advantage_std"] == "sample" else len(rows)
    std = math.sqrt(math.fsum((r - mu) ** 2 for r in rows) / divisor)
    return [(r - mu) / (std + o["advantage_eps"]) for r in rewards]


def weight_of(o, counts, group, rollout, turn):
    n = len(turn["action"])
    return {
        "flow": lambda: 1 / (counts["groups"] * len(group) * len(rollout["turns"]) * n),
        "rollout-mean": lambda: 1 / (counts["rollouts"] * sum(len(t["action"]) for t in rollout["turns"])),
        "turn-mean": lambda: 1 / (counts["turns"] * n),
        "token-mean": lambda: 1 / counts["tokens"],
        "constant": lambda: 1 / (counts["turns"] * o["max_action_tokens"]),
    }[o["aggregation"]]()


def learning_rate(p, step, steps):
    warm = p["warmup_steps"]
    if step <= warm:
        return p["lr"] * step / warm
    done = (step - 1 - warm) / max(1, steps - warm)
    return p["lr"] * {"constant": 1, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}[p["schedule"]]


def clamp20(x):
    return torch.clamp(x, -20, 20)


def run_update(case):
    o = {**DEFAULTS["flow"], **case["config"].get("flow", {})}
    p = {**DEFAULTS["optimizer"], **case["config"].get("optimizer", {})}
    full = case["config"].get("trainable") == "full"
    policy = load_policy(case["model"], case["adapter"])
    reference = load_model(case["model"])  # the adapter off, or the weights before training
    trained = {n: q for n, q in policy.named_parameters() if full or "lora_" in n}
    for q in policy.parameters():
        q.requires_grad_(False)
    for q in trained.values():
        q.requires_grad_(True)
    before = {n: q.detach().clone() for n, q in trained.items()}

    # Groups: rollouts with a reward. Failed ones are in no denominator.
    groups, incomplete = {}, set()
    with open(f"{OUT}/{case['trajectories']}") as f:
        for line in map(json.loads, f):
            if line["reward"] is None:
                incomplete.add(line["group"])
            else:
                groups.setdefault(line["group"], []).append(line)
    rollouts = [r for g in groups.values() for r in g]
    counts = dict(groups=len(groups), rollouts=len(rollouts), turns=sum(len(r["turns"]) for r in rollouts),
                  tokens=sum(len(t["action"]) for r in rollouts for t in r["turns"]))
    equal = {n for n, g in groups.items() if max(r["reward"] for r in g) == min(r["reward"] for r in g)}

    T = o["temperature"]
    rows = []  # one per trained turn
    for name, group in groups.items():
        if name in equal and o["skip_zero_signal"]:
            continue
        for rollout in group:
            for turn in rollout["turns"]:
                tokens, start = turn["prompt"] + turn["action"], len(turn["prompt"])
                with torch.no_grad():
                    lo = picked(distribution(policy, tokens, start, T), tokens, start)
                    lr = picked(distribution(reference, tokens, start, T), tokens, start)
                rows.append(dict(tokens=tokens, start=start, lo=lo, lr=lr, ls=torch.tensor(turn["logprobs"], dtype=torch.float32).double(),
                                 weight=weight_of(o, counts, group, rollout, turn), group=name, rollout=id(rollout)))
    for name, group in groups.items():
        rewards = [r["reward"] for r in group]
        if o["kl_estimator"] == "k1":  # the KL of a rollout, summed over its action tokens, is taken off its reward
            rewards = [r["reward"] - o["kl"] * sum(clamp20(w["lo"] - w["lr"]).sum().item() for w in rows if w["rollout"] == id(r)) for r in group]
        A = [0.0] * len(group) if max(rewards) == min(rewards) else advantages(rewards, [len(r["turns"]) for r in group], o)
        for r, a in zip(group, A):
            for w in rows:
                if w["rollout"] == id(r):
                    w["A"] = a

    optimizer = torch.optim.AdamW(trained.values(), lr=p["lr"], betas=(p["beta1"], p["beta2"]), eps=p["eps"], weight_decay=p["weight_decay"])
    metrics = []
    for step in range(1, case["steps"] + 1):
        optimizer.zero_grad()
        loss = torch.zeros((), dtype=torch.float64)
        sums = dict(policy=0.0, kl=0.0, entropy=0.0)
        ratios, low, high, gaps = [], 0, 0, []
        for r in rows:
            logp = distribution(policy, r["tokens"], r["start"], T)
            lp, A = picked(logp, r["tokens"], r["start"]), r["A"]
            rho = torch.exp(clamp20(lp - r["lo"]))
            token = -torch.minimum(rho * A, torch.clamp(rho, 1 - o["clip_low"], 1 + o["clip_high"]) * A)
            if o["dual_clip"] and A < 0:
                token = torch.minimum(token, torch.full_like(token, -o["dual_clip"] * A))
            if o["tis_cap"]:
                token = token * torch.clamp(torch.exp(clamp20(r["lo"] - r["ls"])), max=o["tis_cap"])
            x = clamp20(r["lr"] - lp)
            kl = {"k1": lambda: -x, "k2": lambda: x**2 / 2, "k3": lambda: torch.exp(x) - x - 1}[o["kl_estimator"]]()
            H = -(torch.exp(logp) * logp).sum(dim=1)
            part = token.sum() - o["entropy"] * H.sum()
            if o["kl_estimator"] != "k1":
                part = part + o["kl"] * kl.sum()
            loss = loss + r["weight"] * part
            sums["policy"] += r["weight"] * token.sum().item()
            sums["kl"] += r["weight"] * kl.sum().item()
            sums["entropy"] += r["weight"] * H.sum().item()
            ratios += rho.tolist()
            low += int(((rho < 1 - o["clip_low"]) & (A < 0)).sum())
            high += int(((rho > 1 + o["clip_high"]) & (A > 0)).sum())
            gaps += (r["lo"] - r["ls"]).tolist()
            for bound in (1 - o["clip_low"], 1 + o["clip_high"], o["dual_clip"]):  # a token so near a clip would tell nothing
                assert (rho - bound).abs().min() > 2e-5, (case["name"], step, bound)
        loss.backward()
        norm = math.sqrt(sum(float((q.grad**2).sum()) for q in trained.values()))
        if p["max_grad_norm"]:
            for q in trained.values():
                q.grad.mul_(min(1.0, p["max_grad_norm"] / (norm + 1e-6)))
        lr_now = learning_rate(p, step, case["steps"])
        optimizer.param_groups[0]["lr"] = lr_now
        optimizer.step()
        mean = lambda v: sum(v) / len(v)
        rs = [r["reward"] for r in rollouts]
        metrics.append({
            "loss": loss.item(), "policy_loss": sums["policy"], "kl": sums["kl"], "entropy": sums["entropy"], "grad_norm": norm, "lr": lr_now,
            "ratio/mean": mean(ratios), "ratio/max": max(ratios), "clip/low": low / len(ratios), "clip/high": high / len(ratios),
            "mismatch/mean": mean(gaps), "mismatch/max": max(map(abs, gaps)), "mismatch/k3": mean([math.exp(d) - d - 1 for d in gaps]),
            "reward/mean": mean(rs), "reward/std": math.sqrt(sum((r - mean(rs)) ** 2 for r in rs) / (len(rs) - 1)),
            "turns/mean": counts["turns"] / counts["rollouts"], "turns/max": max(len(r["turns"]) for r in rollouts),
            "group/zero_signal": len(equal) / len(groups), "group/incomplete": len(incomplete & set(groups)) / len(groups),
            "action_tokens": counts["tokens"], "skipped_steps": 0})
    name = lambda n: n.replace(".default.", ".")  # as in the files
    save_file({name(n): (q.detach() - before[n]).float().contiguous() for n, q in trained.items()}, f"{OUT}/{case['name']}.safetensors")
    return metrics


def update_cases():
    cases = []

    def case(name, model="tied", adapter="tied-plain", trajectories="shared.jsonl", steps=3, **config):
        # Steps large enough that ratios leave the clips' range.
        config.setdefault("optimizer", {}).setdefault("lr", 0.005)
        cases.append(dict(name=name, model=model, adapter=adapter, trajectories=trajectories, config=config, steps=steps))

    for a in ("flow", "rollout-mean", "turn-mean", "token-mean", "constant"):
        case(f"aggregation-{a}", flow=dict(aggregation=a, kl=0.05, **(dict(max_action_tokens=8) if a == "constant" else {})))
        case(f"unshared-{a}", trajectories="unshared.jsonl", steps=2, flow=dict(aggregation=a, kl=0.05))
    for k in ("k1", "k2", "k3"):
        case(f"kl-{k}", flow=dict(kl=0.2, kl_estimator=k))
    case("kl-off", flow=dict(kl=0))
    case("defaults", steps=1, optimizer=dict(lr=1e-5))
    case("fresh", adapter="tied-fresh", steps=4)
    case("std-population", steps=2, flow=dict(advantage_std="population"))
    case("std-none", steps=2, flow=dict(advantage_std="none"))
    case("std-eps", steps=2, flow=dict(advantage_eps=0.5))
    case("over-turns", steps=2, flow=dict(advantage_over="turns"))
    case("skip-zero-signal", flow=dict(skip_zero_signal=True, kl=0.05))
    case("skip-zero-signal-tokens", steps=2, flow=dict(skip_zero_signal=True, kl=0.05, aggregation="token-mean"))
    case("clip-narrow", steps=4, flow=dict(clip_low=0.03, clip_high=0.06))
    case("dual-clip", steps=5, flow=dict(dual_clip=1.05), optimizer=dict(lr=0.01))
    case("tis", flow=dict(tis_cap=1.1))
    case("entropy", flow=dict(entropy=0.05))
    case("temperature", flow=dict(temperature=1.3, kl=0.05))
    case("no-clip-of-norm", optimizer=dict(max_grad_norm=0))
    case("norm-clipped", optimizer=dict(max_grad_norm=0.01, eps=1e-3))
    case("weight-decay", optimizer=dict(weight_decay=0.5, beta1=0.8, beta2=0.95))
    case("linear", steps=5, optimizer=dict(schedule="linear", warmup_steps=2))
    case("cosine", steps=4, optimizer=dict(schedule="cosine"))
    case("rslora", adapter="tied-rslora", flow=dict(kl=0.05))
    case("bf16-weights", model="untied", adapter="untied-plain", trajectories="untied.jsonl", flow=dict(kl=0.05, entropy=0.01))
    case("f16-subset", model="sharded", adapter="sharded-subset", flow=dict(kl=0.05, entropy=0.01))
    case("everything", steps=4, flow=dict(aggregation="rollout-mean", kl=0.1, kl_estimator="k2", entropy=0.02, tis_cap=1.5, dual_clip=1.5, clip_low=0.1,
                                          clip_high=0.15, advantage_std="population", temperature=1.1, skip_zero_signal=True),
         optimizer=dict(schedule="linear", warmup_steps=1, weight_decay=0.1))
    case("full-tied", adapter=None, trainable="full", flow=dict(kl=0.05, entropy=0.01), optimizer=dict(lr=0.002))
    case("full-untied", model="untied", adapter=None, trajectories="untied.jsonl", trainable="full", flow=dict(kl=0.05), optimizer=dict(lr=0.002))
    for c in cases:
        c["metrics"] = run_update(c)
        print(c["name"], {k: round(v, 6) for k, v in c["metrics"][-1].items() if k in ("loss", "kl", "grad_norm", "ratio/max", "clip/low", "clip/high")})
    return cases


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(f"{OUT}/models")
    for i, name in enumerate(MODELS):
        make_model(name, 100 + i)
    make_adapter("tied-plain", 1, r=3, lora_alpha=6, target_modules=LINEARS)
    make_adapter("tied-fresh", 2, zero_b=True, r=2, lora_alpha=4, target_modules=LINEARS)
    make_adapter("tied-rslora", 3, r=4, lora_alpha=5, use_rslora=True, target_modules=["q_proj", "v_proj", "o_proj", "down_proj"],
                 rank_pattern={"layers.0.self_attn.q_proj": 2, "v_proj": 1}, alpha_pattern={"down_proj": 3, "layers.1.self_attn.q_proj": 9})
    make_adapter("untied-plain", 4, r=2, lora_alpha=2, target_modules=LINEARS)
    make_adapter("sharded-subset", 5, r=17, lora_alpha=8, target_modules=["k_proj", "up_proj"])
    make_trajectories(f"{OUT}/shared.jsonl", "tied", "tied-plain", 11, shared=True)
    make_trajectories(f"{OUT}/unshared.jsonl", "tied", "tied-plain", 12, shared=False)
    make_trajectories(f"{OUT}/untied.jsonl", "untied", "untied-plain", 13, shared=True)
    with open(f"{OUT}/score.json", "w") as f:
        json.dump(score_cases(), f, separators=(",", ":"))
    with open(f"{OUT}/update.json", "w") as f:
        json.dump(update_cases(), f, indent=1)
    for folder, _, files in os.walk(OUT):
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)


if __name__ == "__main__":
    main()
