"""Fine-tunes a pretrained checkpoint on the training split of every task of the suite: the generalist.

    python scripts/pretrain/finetune.py --checkpoint build/crayon-server/checkpoint.pt --suite suite --minutes 8 \
        --out build/crayon-server-generalist

All weights learn; the loss is taken over the completion and </s> only. Every fourth step is a pretraining batch, so that
the model does not lose its prose. The learning rate falls linearly to zero over the budget (--minutes, or --steps).
"""

import argparse
import json
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from model import Llama, grow
from muon import Muon
from pretrain import batch, heldout_loss
from suite_data import EOS, encode, load_split, task_names

WIDTHS = (40, 64, 96)  # every example is padded to the first of these that holds it: few shapes to compile
ROWS = 64


def bucketed(rows, order):
    """Endless batches of rows of one width."""
    buckets = {width: [] for width in WIDTHS}
    for row in rows:
        width = next((w for w in WIDTHS if len(row[0]) <= w), None)
        if width:
            buckets[width].append(row)
    while True:
        batches = []
        for width, members in buckets.items():
            order.shuffle(members)
            batches += [(width, members[i : i + ROWS]) for i in range(0, len(members) - ROWS + 1, ROWS)]
        order.shuffle(batches)
        yield from batches


def tensors(width, rows):
    """(ROWS, width) inputs and next-token targets; -1 where the target is of the prompt or padding."""
    ids = torch.full((len(rows), width), EOS)
    targets = torch.full((len(rows), width), -1)
    for i, (row, start) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        targets[i, start - 1 : len(row) - 1] = torch.tensor(row[start:])
    return ids, targets


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--suite", default="suite")
    parser.add_argument("--data", default="build/pretrain")
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--grow", metavar="CONFIG", help="grow the checkpoint to the model of this config first")
    parser.add_argument("--no-compile", action="store_true", help="four shapes are compiled otherwise: minutes, on a busy CPU")
    parser.add_argument("--resume", action="store_true", help="go on from progress.pt of --out")
    parser.add_argument("--rate", type=float, default=0.3, help="share of the pretraining learning rates")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", 2)))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    saved = torch.load(args.checkpoint, map_location=device, weights_only=True)
    config = saved["config"]
    torch.manual_seed(args.seed)
    model = Llama(config["model"])
    model.load_state_dict(saved["model"])
    if args.grow:
        config = json.loads(Path(args.grow).read_text())
        larger = Llama(config["model"])
        grow(model, larger)
        model = larger
    model.to(device)
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(args.data) / "tokenizer" / "tokenizer.json"))
    rows = []
    for task in task_names(args.suite):
        for item in load_split(args.suite, task, "train"):
            ids, start = encode(tokenizer, item["prompt"], item["completion"])
            rows.append((ids + [EOS], start))
    tokens = {n: np.fromfile(Path(args.data) / f"{n}.bin", dtype=np.uint16) for n in config["mixture"]}
    heldout = {n: np.fromfile(Path(args.data) / f"{n}.heldout.bin", dtype=np.uint16) for n in config["mixture"]}
    matrices = [model.attention, model.gate_up, model.down]
    others = [model.embed, model.norms, model.norm]
    optimisers = [
        (Muon(matrices, lr=0.0), config["muon_lr"]),
        (torch.optim.AdamW(others, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, fused=True), config["adam_lr"]),
    ]
    run = model if args.no_compile else torch.compile(model, dynamic=False)

    def autocast():
        return torch.autocast(device, dtype=torch.bfloat16)

    source = bucketed(rows, random.Random(args.seed))
    step, seconds, losses, examples = 0, 0.0, [], 0
    if args.resume:
        progress = torch.load(out / "progress.pt", map_location=device, weights_only=True)
        model.load_state_dict(progress["model"])
        for (optimiser, _), state in zip(optimisers, progress["optimisers"]):
            optimiser.load_state_dict(state)
        step, seconds, examples = progress["step"], progress["seconds"], progress["examples"]
        for _ in range(step - step // 4):  # the batches that were seen
            next(source)
    while (spent := step / args.steps if args.steps else seconds / (60 * args.minutes)) < 1:
        started = time.time()
        for optimiser, rate in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * args.rate * min(1, (step + 1) / 20) * (1 - spent)
        keep = step % 4 == 3
        if keep:
            inputs, targets = batch(tokens, config, args.seed + 1, step, config["rows"], device)
        else:
            inputs, targets = (t.to(device) for t in tensors(*next(source)))
            examples += len(inputs)
        with autocast():
            loss = run(inputs, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        for optimiser, _ in optimisers:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        if not keep:
            losses.append(loss.item())
        step += 1
        seconds += time.time() - started
        if step % 50 == 0:
            state = {"model": model.state_dict(), "optimisers": [o.state_dict() for o, _ in optimisers],
                     "step": step, "seconds": seconds, "examples": examples}
            torch.save(state, out / "progress.pt.tmp")
            os.replace(out / "progress.pt.tmp", out / "progress.pt")
        if step % 10 == 0:
            print(json.dumps({"step": step, "loss": round(float(np.mean(losses)), 4), "minutes": round(seconds / 60, 2)}), flush=True)
            losses = []
    final = {n: heldout_loss(run, d, config, autocast, device, 64) for n, d in heldout.items()}
    note = {"steps": step, "examples": examples, "epochs": round(examples / len(rows), 2), "minutes": round(seconds / 60, 2)}
    # "finetune" lists every stage: a generalist may be grown from a smaller one and tuned again
    note["parameters"] = sum(p.numel() for p in model.parameters())
    stages = [*saved.get("finetune", []), note]
    torch.save({**{k: saved[k] for k in ("step", "tokens", "seed")}, "config": config, "model": model.state_dict(), "finetune": stages}, out / "checkpoint.pt")
    record = {"stages": stages, "perplexity": {n: round(float(np.exp(v)), 3) for n, v in final.items()}}
    (out / "finetune.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


if __name__ == "__main__":
    main()
