#!/usr/bin/env python3
"""The comparison that run.sh makes; it needs nothing but the standard library itself. See README.md.

    compare.py --afctl BINARY --python PYTHON [--full] [--fresh] [--reps N] [--repeat N] [--only NAME ...] [--wait S] [toy q05-4l q05 decode ...]

Programs run one after another, each once before any runs again. JSON lines of the single runs go to <work>/runs.jsonl, progress to stderr,
tables to stdout. Exit 1 if a program fails or the losses disagree.
"""
import argparse, json, os, platform, re, signal, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
DTYPE = {"toy": "f32", "q05-4l": "bf16", "q05": "bf16"}
VOCAB = {"toy": 1024, "q05-4l": 151936, "q05": 151936}
REPS = {"toy": 3, "q05-4l": 2, "q05": 1}
# Losses and gradient norms of the same work. In float32 the order of sums is all that differs. In bf16 each program rounds activations in
# places of its own, 2^-9 relative each; the loss of the first step is kl times the squared difference of two such log-probs.
AGREE = {"f32": 1e-3, "bf16": 1e-2}


def options():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("what", nargs="*", help=f"of {', '.join(DTYPE)}, decode (default: toy q05-4l)")
    ap.add_argument("--afctl", required=True)
    ap.add_argument("--python", required=True, help="interpreter that has torch, transformers, peft and trl")
    ap.add_argument("--work", default=os.path.join(tempfile.gettempdir(), "afctl-peer"), help="folder for models and data, kept")
    ap.add_argument("--full", action="store_true", help="prompts of about 1,500 tokens instead of 300")
    ap.add_argument("--fresh", action="store_true", help="an adapter whose B is zero, as training begins")
    ap.add_argument("--reps", type=int, help="runs of each program")
    ap.add_argument("--repeat", type=int, default=3, help="steps of a run: the first cold, the rest warm")
    ap.add_argument("--peers-f32", action="store_true", help="PyTorch computes in float32 whatever afctl does: faster where the CPU has no bf16")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--only", nargs="+", help="programs whose name begins so, beside afctl")
    ap.add_argument("--wait", type=float, default=0, help="seconds to wait at most, before each run, for other processes to be quiet")
    o = ap.parse_args()
    o.what = o.what or ["toy", "q05-4l"]
    for w in o.what:
        if w not in DTYPE and w != "decode":
            ap.error(f"{w}: expected {', '.join(DTYPE)} or decode")
    return o


def say(*a):
    print(*a, file=sys.stderr, flush=True)


def busy():
    """Seconds that all CPUs were not idle, stolen time included."""
    with open("/proc/stat") as f:
        v = list(map(int, f.readline().split()[1:]))
    return (sum(v[:3]) + sum(v[5:8])) / os.sysconf("SC_CLK_TCK")


def wait_quiet(limit):
    end = time.time() + limit
    while time.time() < end:
        b, t = busy(), time.time()
        time.sleep(2)
        if (busy() - b) / (time.time() - t) < 0.03:
            return


def run(cmd, env):
    """-> seconds, peak MiB, cores that others used meanwhile, stdout"""
    b, start = busy(), time.time()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        p = subprocess.Popen(cmd, stdout=out, stderr=err, env=env)
        try:
            _, status, usage = os.wait4(p.pid, 0)
        except BaseException:
            p.kill()
            p.wait()
            raise
        p.returncode = os.waitstatus_to_exitcode(status)
        wall = time.time() - start
        others = max(0.0, busy() - b - usage.ru_utime - usage.ru_stime) / wall
        out.seek(0), err.seek(0)
        if p.returncode:
            raise RuntimeError(f"{' '.join(cmd)}: exit {p.returncode}\n{err.read()[-3000:]}")
        return wall, usage.ru_maxrss / 1024, others, out.read()


def adapter_of(o):
    return "fresh" if o.fresh else "lora"


def make_model(o, shape, env):
    model = os.path.join(o.work, "models", shape)
    if not os.path.exists(os.path.join(model, adapter_of(o), "adapter_config.json")):
        say("making", model)
        run([o.python, os.path.join(HERE, "make_model.py"), shape, model], env)
    return model


def programs(o, shape, kind, model, data):
    """name -> command; {out} is the folder of the adapter."""
    dtype, long = DTYPE[shape], ["--batch-tokens", "2048" if shape == "q05" else "4096"]
    attn = ["--attn", "sdpa" if o.full else "eager"]
    adapter = adapter_of(o)
    common = ["--model", model, "--adapter", adapter, "--trajectories", data, "--out", "{out}", "--dtype", "f32" if o.peers_f32 else dtype, "--repeat", str(o.repeat), "--threads", str(o.threads)]
    torch = [o.python, os.path.join(HERE, "torch_update.py")] + common + attn + long
    trl = [o.python, os.path.join(HERE, "trl_update.py")] + common + attn + ["--batch", "1" if o.full else "3"]
    p = {"afctl": [o.afctl, "update", "--model", model, "--adapter", os.path.join(model, adapter), "--trajectories", data, "--out", "{out}",
                   "--steps", str(o.repeat), "--set", f"engine.dtype={dtype}", "--set", f"engine.threads={o.threads}"],
         "torch rows": torch + ["--mode", "rows"]}
    if kind == "grouped":
        p |= {"torch prefix": torch + ["--mode", "prefix"], "torch tree": torch + ["--mode", "tree"],
              "TRL": trl, "TRL, head compact": trl + ["--compact-head"]}
    if o.only:
        p = {k: v for k, v in p.items() if k == "afctl" or any(k.startswith(x) for x in o.only)}
    return p


def of_afctl(out):
    """metrics.jsonl as what the other programs print. Only the first of an update's steps takes the reference pass, all of a peer's do: its
    seconds are added to the later ones."""
    with open(os.path.join(out, "metrics.jsonl")) as f:
        m = [json.loads(l) for l in f]
    ref = m[0]["seconds/reference"]
    return dict(seconds_updates=[ref + x["seconds/update"] for x in m], spent=[x["seconds/reference"] + x["seconds/update"] for x in m],
                loss=m[0]["loss"], kl=m[0]["kl"], grad_norm=m[0]["grad_norm"], rows=m[0]["forest/tokens"])


def compare(o, shape, kind, env):
    model = make_model(o, shape, env)
    data = os.path.join(o.work, "data", f"{VOCAB[shape]}-{'full' if o.full else 'short'}-{kind}.jsonl")
    if not os.path.exists(data):
        run([sys.executable, os.path.join(HERE, "make_trajectories.py"), "--vocab", str(VOCAB[shape]), "--out", data]
            + ["--full"] * o.full + ["--unshared"] * (kind == "unshared"), env)
    ps = programs(o, shape, kind, model, data)
    runs = {k: [] for k in ps}
    for rep in range(o.reps or REPS[shape]):
        for name, cmd in ps.items():
            wait_quiet(o.wait)
            with tempfile.TemporaryDirectory(dir=o.work) as out:
                out = os.path.join(out, "adapter")
                wall, mib, others, text = run([w.replace("{out}", out) for w in cmd], env)
                d = of_afctl(out) if name == "afctl" else json.loads(text.splitlines()[-1])
            spent = d.pop("spent", d["seconds_updates"])
            d |= dict(shape=shape, kind=kind, program=name, rep=rep, wall=wall, once=wall - sum(spent[1:]), mib=mib, others=others)
            runs[name].append(d)
            say(f"{shape} {kind}, {name}: first step {d['seconds_updates'][0]:.3f} s, process {d['once']:.2f} s, others {others:.2f} cores")
            with open(os.path.join(o.work, "runs.jsonl"), "a") as f:
                f.write(json.dumps(d | {"when": time.strftime("%FT%TZ", time.gmtime())}) + "\n")
    # Before the first step of all, policy and reference are the same: loss and kl are 0, but for rounding.
    return table(o, shape, kind, data, {k: v for k, v in runs.items() if v}, ["grad_norm"] if o.fresh else ["loss", "kl", "grad_norm"])


def table(o, shape, kind, data, runs, same):
    """Prints it; returns whether all programs did the same work."""
    med = statistics.median
    first = lambda rs: med(r["seconds_updates"][0] for r in rs)
    warm = lambda rs: med(s for r in rs for s in r["seconds_updates"][1:] or r["seconds_updates"])
    once, mib = lambda rs: med(r["once"] for r in rs), lambda rs: max(r["mib"] for r in rs)
    us, g = runs["afctl"], lambda x: f"{x:.3g}"
    dtype = DTYPE[shape] + (" (PyTorch: f32)" if o.peers_f32 and DTYPE[shape] != "f32" else "")
    print(f"\n### {shape}, {dtype}, {kind} trajectories (`{os.path.basename(data)}`)\n")
    print("| program | rows | later steps, s | x afctl | first step, s | x | start to adapter, s | x | peak MiB | x | loss | grad norm | others' cores |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name, rs in runs.items():
        cells = [name, str(rs[0]["rows"])]
        for f in (warm, first, once, mib):
            cells += [f"{f(rs):.0f}" if f is mib else g(f(rs)), f"{f(rs) / f(us):.2f}"]
        cells += [f"{rs[0]['loss']:.6g}", f"{rs[0]['grad_norm']:.6g}", f"{max(r['others'] for r in rs):.2f}"]
        print("| " + " | ".join(cells) + " |")
    good, tolerance = True, AGREE[DTYPE[shape]]
    for name, rs in runs.items():
        for key in same:
            if (a := rs[0][key]) is None:
                continue
            b = us[0][key]
            if name.startswith("TRL") and key == "kl":
                continue  # a mean over tokens, not over turns
            if abs(a - b) > tolerance * abs(b):
                good = False
                print(f"\n{name}: {key} {a:.7g}, afctl has {b:.7g}: {abs(a / b - 1):.1e} apart, {tolerance:.0e} allowed.")
    if good:
        print(f"\nAgreed within {tolerance:.0e}: {', '.join(same)}.")
    sys.stdout.flush()
    return good


def decode(o, env):
    """Sampling after one shared prompt of 300 tokens: transformers on a folder of q05, and engine's benchmark on the same shape."""
    model = make_model(o, "q05", env)
    rates = {}
    for rep in range(o.reps or 2):
        wait_quiet(o.wait)
        _, _, others, text = run(["go", "-C", os.path.join(HERE, "..", ".."), "test", "-count=1", "-run", "^$", "-bench", "Sampler/q05/base",
                                  "-benchtime", "3x", "./engine"], env)
        for batch, rate in re.findall(r"/base/batch(\d+)\S*\s.*?([\d.]+) tokens/s", text):
            rates.setdefault(("afctl", int(batch)), []).append((float(rate), others))
        wait_quiet(o.wait)
        _, _, others, text = run([o.python, os.path.join(HERE, "decode.py"), "--model", model, "--threads", str(o.threads)] + (["--dtype", "f32"] if o.peers_f32 else []), env)
        for line in text.splitlines():
            d = json.loads(line)
            rates.setdefault(("transformers", d["batch"]), []).append((d["tokens_per_second"], others))
        say(f"decode {rep}: {rates}")
    print("\n### Decoding, q05, bf16, after one shared prompt of 300 tokens, 64 new ones\n\n| program | batch | tokens/s | others' cores |\n|---|---|---|---|")
    for (name, batch), v in sorted(rates.items()):
        print(f"| {name} | {batch} | {statistics.median(r for r, _ in v):.1f} | {max(x for _, x in v):.2f} |")
    sys.stdout.flush()
    return True


def machine(o, env):
    cpu = {}
    with open("/proc/cpuinfo") as f:
        for line in f:
            k, _, v = line.partition(":")
            cpu.setdefault(k.strip(), v.strip())
    ask = "import importlib.metadata as m, platform; print(*(p + ' ' + m.version(p) for p in ('torch', 'transformers', 'peft', 'trl')), 'Python', platform.python_version())"
    versions = run([o.python, "-c", ask], env)[3].strip()
    afctl = run([o.afctl, "doctor"], env)[3]
    facts = dict(re.findall(r"(?m)^(\w+)\s+(.*)$", afctl))
    print(f"{cpu.get('model name', platform.machine())} (family {cpu.get('cpu family')}, model {cpu.get('model')}), {os.cpu_count()} cores, "
          f"{o.threads} threads each; peak {facts.get('peak')}; memory {facts.get('memory')}; load {os.getloadavg()[0]:.2f}; "
          f"{time.strftime('%Y-%m-%d %H:%M')}; {facts.get('build')}, products {facts.get('products')}; {versions}")


def main():
    o = options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the program under way ends, too
    os.makedirs(o.work, exist_ok=True)
    env = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": str(o.threads)}
    machine(o, env)
    good = True
    try:
        for what in o.what:
            kinds = [] if what == "decode" else ["grouped", "unshared"]
            for kind in kinds:
                good = compare(o, what, kind, env) and good
            if not kinds:
                good = decode(o, env) and good
    except RuntimeError as e:
        sys.exit(str(e))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
