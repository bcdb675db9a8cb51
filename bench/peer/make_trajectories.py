#!/usr/bin/env python3
"""Input of `afctl update` in AgentFlow's shape: groups of 8 rollouts of 3 planner turns, random tokens. Same arguments, same bytes.

    make_trajectories.py --vocab 1024 --out FILE [--groups 1] [--full] [--unshared]

Tokens                     default                            --full
    first prompt           about 300, 240 of them the group's about 1,500, 1,350 of them the group's
    turn t+1's prompt      turn t's and 20-30 more            turn t's and 100-150 more
    actions                32-48                              160-240
--unshared: the same lengths, every prompt of its own.
"""
import argparse, json, os, random

if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--vocab", type=int, required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--groups", type=int, default=1)
    ap.add_argument("--group-size", type=int, default=8)
    ap.add_argument("--full", action="store_true")
    ap.add_argument("--unshared", action="store_true")
    ap.add_argument("--seed", type=int, default=7)
    o = ap.parse_args()
    r = random.Random(o.seed)
    ids = lambda n: [r.randrange(4, o.vocab - 4) for _ in range(n)]
    S, own, new, act = (1350, (130, 170), (100, 150), (160, 240)) if o.full else (240, (50, 70), (20, 30), (32, 48))
    os.makedirs(os.path.dirname(o.out) or ".", exist_ok=True)
    with open(o.out, "w") as f:
        for g in range(o.groups):
            shared = ids(S)
            right = r.randint(2, o.group_size - 2) if o.group_size > 3 else 1
            rewards = [1.0] * right + [0.0] * (o.group_size - right)
            r.shuffle(rewards)
            for i in range(o.group_size):
                prompt, turns = shared + ids(r.randint(*own)), []
                for t in range(3):
                    if t:
                        prompt = prompt + ids(r.randint(*new))
                    turns.append({"prompt": ids(len(prompt)) if o.unshared else prompt, "action": ids(r.randint(*act))})
                line = {"group": f"q{g}", "sample": i, "reward": rewards[i], "turns": turns}
                f.write(json.dumps(line, separators=(",", ":")) + "\n")
