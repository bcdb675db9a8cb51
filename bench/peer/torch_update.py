#!/usr/bin/env python3
"""One Flow-GRPO update in PyTorch and PEFT: what a careful user would write instead of `afctl update`.

    torch_update.py --model FOLDER --trajectories FILE --out DIR [--mode rows|prefix|tree] [--dtype bf16|f32] [--repeat N] ...

--mode rows    every turn a sequence of its own, as TRL, verl and the AgentFlow trainer have it
       prefix  the group's common prefix once, with gradient (PrefixGrouper, arXiv 2506.05433); the rest per turn
       tree    prefix, and one token tree per rollout under an explicit mask: every shared token once
In all modes: reference pass with the adapter off, policy pass, clipped loss with the k3 estimator, lo = lp at the start, the weight of a
token 1 / (groups x rollouts x turns x tokens of the action), backward, clip, AdamW on float32 LoRA. Sequences are sorted by length
and cut into micro-batches by a budget of padded tokens; right padding, so that plain causal attention needs no mask. The head runs
on the rows that predict an action's token only, and its gradient is formed in the forward pass.
Prints one JSON object: seconds_updates (one each of --repeat, the adapter restored in between), loss, kl and grad_norm of the first.
"""
import argparse, ctypes, json, os, statistics, time


def options():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True, help="folder of make_model.py")
    ap.add_argument("--adapter", default="lora", help="folder in it")
    ap.add_argument("--trajectories", required=True)
    ap.add_argument("--out", required=True, help="folder of the new adapter")
    ap.add_argument("--mode", choices=("rows", "prefix", "tree"), default="rows")
    ap.add_argument("--dtype", choices=("bf16", "f32"), default="bf16")
    ap.add_argument("--attn", choices=("sdpa", "eager"), default="sdpa", help="eager is the faster of the two for short sequences")
    ap.add_argument("--batch-tokens", type=int, default=4096, help="padded tokens of a micro-batch")
    ap.add_argument("--head-rows", type=int, default=512, help="rows of logits held at a time")
    ap.add_argument("--mkl", action="store_true", help="with f32: products by MKL, PyTorch's default (it leaves AVX-512 idle on AMD), not oneDNN")
    ap.add_argument("--repeat", type=int, default=1)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--temperature", type=float, default=0.7)
    ap.add_argument("--kl", type=float, default=0.001)
    ap.add_argument("--clip-low", type=float, default=0.2)
    ap.add_argument("--clip-high", type=float, default=0.3)
    ap.add_argument("--lr", type=float, default=1e-5)
    return ap.parse_args()


def tune_malloc():
    """Freed blocks are kept and mapped in huge pages: no page faults for every activation. Before torch is imported."""
    libc = ctypes.CDLL("libc.so.6")
    libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    libc.mallopt(-4, 0)  # M_MMAP_MAX
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


# ---------------------------------------------------------------- data: groups -> weighted targets -> sequences

def load(path):
    """The turns of a file: prompt, action, weight of a token, advantage, group and rollout."""
    groups = {}
    with open(path) as f:
        for line in f:
            d = json.loads(line)
            groups.setdefault(d["group"], []).append(d)
    turns = []
    for name, rs in groups.items():
        R = [d["reward"] for d in rs]
        mean, std = sum(R) / len(R), statistics.stdev(R) if len(R) > 1 else 0.0
        for i, d in enumerate(rs):
            A = 0.0 if max(R) == min(R) else (R[i] - mean) / (std + 1e-6)
            for t in d["turns"]:
                w = 1.0 / (len(groups) * len(rs) * len(d["turns"]) * len(t["action"]))
                turns.append(dict(p=t["prompt"], a=t["action"], w=w, A=A, group=name, rollout=(name, i)))
    return turns


def common_prefix(seqs):
    a, b = min(seqs), max(seqs)
    n = min(len(a), len(b))
    return next((i for i in range(n) if a[i] != b[i]), n)


class Seq:
    """Tokens after a cached prefix of length `past`, and the targets of its rows. runs: (start, len, parent) of a token
    tree in row order, None for a plain sequence."""

    def __init__(self, past=0):
        self.past, self.tok, self.pos, self.runs, self.targets = past, [], [], None, []

    def __len__(self):
        return len(self.tok)

    @staticmethod
    def turn(t, past=0):
        s = Seq(past)
        full = t["p"] + t["a"]
        s.tok, s.pos = full[past:], list(range(past, len(full)))
        n = len(t["p"]) - past
        s.targets = [(n - 1 + j, tok, t["w"], t["A"]) for j, tok in enumerate(t["a"])]
        return s

    @staticmethod
    def tree(turns, past=0):
        """The turns of one rollout as a token trie, cut into runs, depth first."""
        s = Seq(past)
        trie = [({}, None)]  # node: children, token; node 0 stands for the last token of the prefix
        marks = {}
        for t in turns:
            n = 0
            for j, tok in enumerate((t["p"] + t["a"])[past:], past):
                if j >= len(t["p"]):
                    marks.setdefault(n, []).append((tok, t["w"], t["A"]))
                if tok not in trie[n][0]:
                    trie.append(({}, tok))
                    trie[n][0][tok] = len(trie) - 1
                n = trie[n][0][tok]
        s.runs, stack = [], [(c, -1, past) for c in reversed(trie[0][0].values())]
        assert 0 not in marks, "a target on the last row of the shared prefix"
        while stack:
            n, parent, depth = stack.pop()
            start, me = len(s.tok), len(s.runs)
            while True:
                s.targets += [(len(s.tok), *m) for m in marks.get(n, ())]
                s.tok.append(trie[n][1])
                s.pos.append(depth)
                depth += 1
                kids = list(trie[n][0].values())
                if len(kids) != 1:
                    break
                n = kids[0]
            s.runs.append((start, len(s.tok) - start, parent))
            stack += [(c, me, depth) for c in reversed(kids)]
        return s


def plan(turns, mode):
    """-> list of (prefix tokens or None, [Seq])"""
    if mode == "rows":
        return [(None, [Seq.turn(t) for t in turns])]
    groups = {}
    for t in turns:
        groups.setdefault(t["group"], []).append(t)
    jobs = []
    for ts in groups.values():
        S = min(common_prefix([t["p"] for t in ts]), min(len(t["p"]) for t in ts) - 1)
        S = S if S >= 16 else 0
        rollouts = {}
        for t in ts:
            rollouts.setdefault(t["rollout"], []).append(t)
        seqs = [Seq.turn(t, S) for t in ts] if mode == "prefix" else [Seq.tree(r, S) for r in rollouts.values()]
        jobs.append((ts[0]["p"][:S] if S else None, seqs))
    return jobs


def micro_batches(seqs, budget):
    """Sorted by length, cut by padded tokens."""
    out, cur = [], []
    for s in sorted(seqs, key=len, reverse=True):
        if cur and len(cur[0]) * (len(cur) + 1) > budget:
            out.append(cur)
            cur = []
        cur.append(s)
    return out + [cur] if cur else out


def useful_gflop(config, body, lora, rows, pairs, actions):
    """Products of an update with 1 multiply-add = 2: reference 2P, policy 2P + 2L, backward 2P + 4L per row; attention 1 + 1 + 2.5 times its
    forward pass; the head three products per action token. No weight gradient of a frozen matrix, no padding."""
    attention = 4 * config.num_hidden_layers * config.hidden_size
    return (rows * 6 * (body + lora) + 4.5 * attention * pairs + 6 * config.vocab_size * config.hidden_size * actions) / 1e9


# ---------------------------------------------------------------- the update

def main():
    o = options()
    os.environ["TRANSFORMERS_SDPA_FORCE_GQA"] = "1"  # no copies of the key/value heads
    os.environ.setdefault("OMP_NUM_THREADS", str(o.threads))
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ["HF_HUB_OFFLINE"] = "1"
    tune_malloc()
    import torch
    import torch.nn.functional as F
    from contextlib import nullcontext
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, DynamicCache
    torch.set_num_threads(o.threads)
    torch.set_flush_denormal(True)
    dtype = {"bf16": torch.bfloat16, "f32": torch.float32}[o.dtype]
    if o.dtype == "f32" and not o.mkl:
        torch.set_float32_matmul_precision("medium")  # products by oneDNN; still f32 on a CPU without AMX
    base = AutoModelForCausalLM.from_pretrained(o.model, dtype=dtype, attn_implementation=o.attn)
    base.requires_grad_(False)
    model = PeftModel.from_pretrained(base, os.path.join(o.model, o.adapter), is_trainable=True)
    amp = nullcontext
    if o.dtype == "bf16":  # f32 LoRA, bf16 products; PEFT's own casts around them are slower
        amp = lambda: torch.autocast("cpu", torch.bfloat16)
        for m in model.modules():
            if hasattr(m, "cast_input_dtype_enabled"):
                m.cast_input_dtype_enabled = False
    model.train()
    params = [p for p in model.parameters() if p.requires_grad]
    backbone, W = base.model, base.lm_head.weight
    turns = load(o.trajectories)
    jobs = [(pre, seqs, micro_batches(seqs, o.batch_tokens)) for pre, seqs in plan(turns, o.mode)]
    opt = torch.optim.AdamW(params, lr=o.lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, fused=True)

    class LogProb(torch.autograd.Function):
        """Log-probs of targets from hidden rows; d lp / d hidden = (W[target] - softmax W) / T is formed at once."""

        @staticmethod
        def forward(ctx, h, tgt):
            need = h.requires_grad
            lp = torch.empty(h.shape[0], dtype=torch.float32)
            dh = torch.empty_like(h) if need else None
            for a in range(0, h.shape[0], o.head_rows):
                hs, ts = h[a:a + o.head_rows].to(W.dtype), tgt[a:a + o.head_rows]
                z = F.linear(hs, W).float().div_(o.temperature)
                top = z.amax(-1, keepdim=True)
                zt = z.gather(1, ts[:, None])
                z = z.sub_(top).exp_()  # in place: no second [rows, vocab] array
                total = z.sum(-1, keepdim=True)
                lp[a:a + o.head_rows] = (zt - top - total.log())[:, 0]
                if need:
                    dh[a:a + o.head_rows] = (W[ts] - (z.to(W.dtype) @ W) / total).div_(o.temperature)
            if need:
                ctx.save_for_backward(dh)
            return lp

        @staticmethod
        def backward(ctx, g):
            dh, = ctx.saved_tensors
            return (dh * g[:, None]).to(dh.dtype), None

    def tensors(batch):
        L, past = max(map(len, batch)), batch[0].past
        ids = torch.zeros(len(batch), L, dtype=torch.long)
        pos = torch.zeros(len(batch), L, dtype=torch.long)
        rows, tgt, w, A = [], [], [], []
        for b, s in enumerate(batch):
            ids[b, :len(s)] = torch.tensor(s.tok)
            pos[b, :len(s)] = torch.tensor(s.pos)
            for r, t, wt, a in s.targets:
                rows.append(b * L + r); tgt.append(t); w.append(wt); A.append(a)
        mask = None
        if any(s.runs for s in batch):
            mask = torch.zeros(len(batch), 1, L, past + L, dtype=torch.bool)
            mask[..., :past] = True
            for b, s in enumerate(batch):
                for start, n, parent in s.runs:
                    q = mask[b, 0, start:start + n, past:]
                    q[:, start:start + n] = torch.ones(n, n, dtype=torch.bool).tril_()
                    while parent >= 0:
                        ps, pn, parent = s.runs[parent]
                        q[:, ps:ps + pn] = True
                mask[b, 0, len(s):, past:] = torch.eye(L, dtype=torch.bool)[len(s):]
            if o.attn == "eager":
                mask = torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
        # weights and advantages in float64: the policy terms of a group cancel
        return ids, pos, mask, torch.tensor(rows), torch.tensor(tgt), torch.tensor(w, dtype=torch.float64), torch.tensor(A, dtype=torch.float64)

    def hidden(ids, pos, mask, rows, kv):
        cache = None
        if kv:
            cache = DynamicCache(config=base.config)
            for i, (k, v) in enumerate(kv):
                cache.update(k.expand(len(ids), -1, -1, -1), v.expand(len(ids), -1, -1, -1), i)
        with amp():
            h = backbone(input_ids=ids, position_ids=pos, attention_mask=mask, past_key_values=cache, use_cache=bool(kv)).last_hidden_state
        return h.reshape(-1, h.shape[-1])[rows]

    def prefix(pre):
        with amp():
            c = backbone(input_ids=torch.tensor([pre]), past_key_values=DynamicCache(config=base.config), use_cache=True).past_key_values
        return [(l.keys, l.values) for l in c.layers]

    def update():
        loss_sum = kl_sum = 0.0
        opt.zero_grad(set_to_none=True)
        for pre, _, batches in jobs:
            ref_kv = kv = leaf = None
            if pre:
                with torch.no_grad(), model.disable_adapter():
                    ref_kv = prefix(pre)
                kv = prefix(pre)
                leaf = [(k.detach().requires_grad_(), v.detach().requires_grad_()) for k, v in kv]
            for b in batches:
                ids, pos, mask, rows, tgt, w, A = tensors(b)
                with torch.no_grad(), model.disable_adapter():
                    lr_ = LogProb.apply(hidden(ids, pos, mask, rows, ref_kv), tgt)
                lp = LogProb.apply(hidden(ids, pos, mask, rows, leaf), tgt)
                rho = (lp - lp.detach()).clamp(-20, 20).exp()
                policy = -torch.minimum(rho * A, rho.clamp(1 - o.clip_low, 1 + o.clip_high) * A)
                x = (lr_ - lp).clamp(-20, 20)
                kl = x.exp() - x - 1
                loss = (w * (policy + o.kl * kl)).sum()
                loss.backward()
                with torch.no_grad():
                    loss_sum += loss.item()
                    kl_sum += (w * kl).sum().item()
            if pre:
                flat, flat_leaf = [x for p in kv for x in p], [x for p in leaf for x in p]
                torch.autograd.backward(flat, [x.grad for x in flat_leaf])
        norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
        if torch.isfinite(norm):
            opt.step()
        return dict(loss=loss_sum, kl=kl_sum, grad_norm=norm.item())

    saved = [p.detach().clone() for p in params]
    times, first = [], None
    for i in range(o.repeat):
        if i:
            with torch.no_grad():
                for p, s in zip(params, saved):
                    p.copy_(s)
            opt.state.clear()
        start = time.perf_counter()
        m = update()
        times.append(time.perf_counter() - start)
        first = first or m
    model.save_pretrained(o.out)

    body = sum(p.numel() for n, p in backbone.named_parameters() if p.dim() == 2 and "embed" not in n and "lora" not in n)
    rows = sum(len(s) for _, ss, _ in jobs for s in ss) + sum(len(p or ()) for p, _, _ in jobs)
    pairs = sum(p + 1 for _, ss, _ in jobs for s in ss for p in s.pos) + sum(len(p) * (len(p) + 1) // 2 for p, _, _ in jobs if p)
    gflop = useful_gflop(base.config, body, sum(p.numel() for p in params), rows, pairs, sum(len(t["a"]) for t in turns))
    print(json.dumps(dict(first, seconds_updates=times, rows=rows, gflop=gflop)))


if __name__ == "__main__":
    main()
