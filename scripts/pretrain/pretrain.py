"""Pretrains one model: `python scripts/pretrain/pretrain.py --config scripts/pretrain/edge.json --seed 1`.

Warm-up, stable, decay: the learning rate stays flat until the last quarter of the budget, then falls to zero. The
budget is --steps, or --minutes of training time (kept across resumes). `--decay-now` starts the decay of a resumed run
at once, over the minutes that are given.

The batch of a step depends on the seed and the step alone, so a resumed run sees what an uninterrupted one would have.
With a GPU: bfloat16 and more rows a step. Without: bfloat16 autocast where the CPU has it (measured: 10,200 tokens/s
against 6,400 in float32, two cores, both compiled), float32 weights and optimiser everywhere.

Everything written goes to build/<name>/: checkpoint.pt (every --save-minutes, atomically), log.jsonl.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch

from model import Llama, grow
from muon import Muon


def batch(tokens, config, seed, step, rows, device):
    """(rows, T) inputs and the same shifted by one; each row a random window of a source drawn by the mixture."""
    rng = np.random.default_rng((seed, step))
    names = list(config["mixture"])
    shares = np.array([config["mixture"][name] for name in names])
    T = config["sequence"]
    windows = np.empty((rows, T + 1), dtype=np.int64)
    for row, source in enumerate(rng.choice(len(names), size=rows, p=shares / shares.sum())):
        data = tokens[names[source]]
        start = rng.integers(0, len(data) - T - 1)
        windows[row] = data[start : start + T + 1]
    windows = torch.from_numpy(windows).to(device)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


@torch.no_grad()
def heldout_loss(model, data, config, autocast, device, max_windows=32):
    """Mean cross-entropy (nats a token) over consecutive, non-overlapping windows spread over the held-out file."""
    T = config["sequence"]
    count = min(max_windows, (len(data) - 1) // T)
    starts = np.linspace(0, len(data) - T - 1, count).astype(int)
    total = 0.0
    for i in range(0, count, 16):
        w = torch.from_numpy(np.stack([data[s : s + T + 1] for s in starts[i : i + 16]]).astype(np.int64)).to(device)
        with autocast():
            total += model(w[:, :-1].contiguous(), w[:, 1:].contiguous()).item() * len(w)
    return total / count


def learning_rate(step, done, config, decay_share):
    """Factor on the base rates; `done` is the share of the budget that is spent."""
    warm = min(1.0, (step + 1) / config["warmup_steps"])
    return warm * min(1.0, max(0.0, (1 - done) / decay_share))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", default="build/pretrain")
    parser.add_argument("--out", help="default build/<name>")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="budget in steps (instead of minutes)")
    parser.add_argument("--minutes", type=float, help="budget in minutes of training")
    parser.add_argument("--decay-now", type=float, metavar="MINUTES", help="resume and decay over these minutes, then end")
    parser.add_argument("--init-from", help="checkpoint of a smaller model to grow from")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", 2)))
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--save-minutes", type=float, default=4)
    args = parser.parse_args()

    config = json.loads(Path(args.config).read_text())
    out = Path(args.out or f"build/{config['name']}")
    out.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rows = config["gpu_rows"] if device == "cuda" else config["rows"]
    sources = Path(args.data)
    tokens = {name: np.fromfile(sources / f"{name}.bin", dtype=np.uint16) for name in config["mixture"]}
    heldout = {name: np.fromfile(sources / f"{name}.heldout.bin", dtype=np.uint16) for name in config["mixture"]}

    model = Llama(config["model"])
    if args.init_from and not args.resume:
        small = torch.load(args.init_from, map_location="cpu", weights_only=True)
        smaller = Llama(small["config"]["model"])
        smaller.load_state_dict(small["model"])
        grow(smaller, model)
    model.to(device)
    matrices = [model.attention, model.gate_up, model.down]
    others = [model.embed, model.norms, model.norm]
    optimisers = [
        Muon(matrices, lr=config["muon_lr"], weight_decay=config["weight_decay"]),
        torch.optim.AdamW(others, lr=config["adam_lr"], betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]
    base_rates = [config["muon_lr"], config["adam_lr"]]
    step, seconds, seen = 0, 0.0, 0
    if args.resume:
        saved = torch.load(out / "checkpoint.pt", map_location=device, weights_only=True)
        model.load_state_dict(saved["model"])
        for optimiser, state in zip(optimisers, saved["optimisers"]):
            optimiser.load_state_dict(state)
        step, seconds, seen = saved["step"], saved["seconds"], saved["tokens"]

    minutes = args.minutes or config["minutes"]
    decay_share = config["decay_share"]
    resumed_at = seconds
    if args.decay_now:
        decay_share = 1.0

    def spent():
        if args.decay_now:
            return (seconds - resumed_at) / (60 * args.decay_now)
        return step / args.steps if args.steps else seconds / (60 * minutes)

    def autocast():
        return torch.autocast(device, dtype=torch.bfloat16, enabled=not args.fp32)

    run = model if args.no_compile else torch.compile(model)
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{config['name']}: {parameters / 1e6:.2f} M parameters, {device}, {rows} x {config['sequence']} tokens a step, "
          f"{'float32' if args.fp32 else 'bfloat16 autocast'}", flush=True)

    def save():
        temporary = out / "checkpoint.pt.tmp"
        torch.save({"config": config, "model": model.state_dict(), "optimisers": [o.state_dict() for o in optimisers],
                    "step": step, "seconds": seconds, "tokens": seen, "seed": args.seed}, temporary)
        os.replace(temporary, out / "checkpoint.pt")

    def report(record):
        with open(out / "log.jsonl", "a") as log:
            log.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)

    report.at = seconds
    saved_at, losses = time.time(), []
    while spent() < 1:
        started = time.time()
        factor = learning_rate(step, spent(), config, decay_share)
        for optimiser, rate in zip(optimisers, base_rates):
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        inputs, targets = batch(tokens, config, args.seed, step, rows, device)
        with autocast():
            loss = run(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        step += 1
        seen += inputs.numel()
        seconds += time.time() - started
        if step % args.log_every == 0 or (args.steps and step == args.steps):
            mean = torch.stack(losses).mean().item()
            report({"step": step, "loss": round(mean, 5), "rate": round(factor, 4), "tokens": seen,
                    "minutes": round(seconds / 60, 2), "tokens_per_second": round(len(losses) * inputs.numel() / (seconds - report.at))})
            losses, report.at = [], seconds
        if time.time() - saved_at > 60 * args.save_minutes:
            save()
            saved_at = time.time()
            report({"step": step, "heldout": {n: round(heldout_loss(run, d, config, autocast, device), 4) for n, d in heldout.items()}})

    save()
    final = {n: heldout_loss(run, d, config, autocast, device, 512) for n, d in heldout.items()}
    report({"step": step, "tokens": seen, "minutes": round(seconds / 60, 2), "final": True,
            "heldout": {n: round(v, 4) for n, v in final.items()},
            "perplexity": {n: round(float(np.exp(v)), 3) for n, v in final.items()}})


if __name__ == "__main__":
    main()
