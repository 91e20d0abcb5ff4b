"""The ceiling of the suite: one LoRA on each task alone against the base model without an adapter.

    python scripts/pretrain/learnability.py --model models/crayon-edge --suite suite --out suite/learnability

A task stays in the suite when its LoRA (rank 8, all seven projections) gains at least 15 points on the test split.
Writes <out>.json after every task (a task that is there for the same model and settings is not run again), and <out>.md.
"""

import argparse
import hashlib
import json
import math
import os
import random
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file
from torch.func import functional_call
from transformers import PreTrainedTokenizerFast

from model import Llama, from_hf
from suite_data import EOS, accuracy, collate, encode, load_split, task_names

NEEDED = 0.15
ALPHA_OVER_RANK = 2.0
NAMES = {
    "attention": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"],
    "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
    "down": ["mlp.down_proj"],
}


class LoraLlama(nn.Module):
    """LoRA as PEFT defines it, on all seven projections, for the stacked model: W + (alpha / r) B A before each forward.

    Adding the small products to the weights first is the same function as PEFT's two extra products per layer, and
    several times faster on a CPU at this size (--check-peft compares the two).
    """

    def __init__(self, base, rank):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a, self.b = nn.ParameterDict(), nn.ParameterDict()
        for name in NAMES:
            *stack, fan_out, fan_in = getattr(base, name).shape
            bound = fan_in**-0.5  # PEFT's start: kaiming_uniform(a=sqrt(5)) for A, zero for B
            self.a[name] = nn.Parameter(torch.empty(*stack, rank, fan_in).uniform_(-bound, bound))
            self.b[name] = nn.Parameter(torch.zeros(*stack, fan_out, rank))

    def weights(self):
        return {name: getattr(self.base, name) + ALPHA_OVER_RANK * (self.b[name] @ self.a[name]) for name in NAMES}

    def forward(self, ids, targets=None):
        return functional_call(self.base, self.weights(), (ids, targets))


def scorer(model):
    """What suite_data.accuracy calls; the padding stands on the right, so a causal model needs no mask."""
    return lambda input_ids, attention_mask: SimpleNamespace(logits=model(input_ids))


def train(model, tokenizer, items, args):
    rows = []
    for item in items:
        ids, start = encode(tokenizer, item["prompt"], item["completion"])
        rows.append((ids + [EOS], start))
    order = random.Random(args.seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.95), weight_decay=0.0)
    recent = 1.0  # running mean of the loss
    for step in range(args.steps):
        for group in optimiser.param_groups:
            group["lr"] = args.lr * min(1, (step + 1) / 20) * (1 - step / args.steps)
        ids, targets, _ = collate(order.sample(rows, args.batch))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not args.fp32):
            loss = model(ids[:, :-1], targets[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        recent = 0.9 * recent + 0.1 * loss.item()
        if recent < args.stop_loss:
            break
    return recent, step + 1


def save_adapter(model, rank, base_name, folder):
    """A PEFT adapter directory with what was learnt."""
    state = {}
    for name, modules in NAMES.items():
        for half, factors in (("A", model.a[name]), ("B", model.b[name])):
            for layer in range(factors.shape[0]):
                for i, module in enumerate(modules):
                    factor = factors[layer] if name == "down" else factors[layer, i]
                    state[f"base_model.model.model.layers.{layer}.{module}.lora_{half}.weight"] = factor.detach().clone().contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base_name, "r": rank, "lora_alpha": int(ALPHA_OVER_RANK * rank),
              "target_modules": [m.split(".")[1] for group in NAMES.values() for m in group], "bias": "none", "lora_dropout": 0.0, "inference_mode": True}
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")


def check_peft(model, args, folder):
    """Largest relative difference between our logits and PEFT's with the saved adapter."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    peft = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32), str(folder)).eval()
    ids = torch.randint(0, model.base.config["vocab_size"], (2, 48), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = model(ids), peft(input_ids=ids).logits
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def table(result):
    lines = [
        "# What one LoRA on each task alone reaches",
        "",
        f"Model {result['model']} (sha256 {result['sha256'][:16]}), rank {result['settings']['rank']} on all seven projections, "
        f"at most {result['settings']['steps']} steps (fewer where the loss fell below {result['settings']['stop_loss']}) of {result['settings']['batch']} examples, learning rate {result['settings']['lr']}, "
        f"seed {result['settings']['seed']}; accuracy on the test split (n in the table), standard error in brackets.",
        "Multiple choice: summed log-probability of the choices. Generation: the greedy completion is exactly the answer.",
        "",
        f"    {result['command']}",
        "",
        "| task | kind | n | chance | base | LoRA | gain | steps | kept |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["tasks"]:
        error = math.sqrt(row["lora"] * (1 - row["lora"]) / row["n"])
        chance = f"{100 * row['chance']:.1f}" if row["chance"] else "-"
        lines.append(
            f"| {row['task']} | {row['kind']} | {row['n']} | {chance} | {100 * row['base']:.1f} | {100 * row['lora']:.1f} "
            f"({100 * error:.1f}) | {100 * (row['lora'] - row['base']):+.1f} | {row['steps']} | {'yes' if row['kept'] else 'no'} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--suite", default="suite")
    parser.add_argument("--out", default="suite/learnability")
    parser.add_argument("--tasks", help="comma-separated; default all")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--lr", type=float, default=1e-2)
    parser.add_argument("--stop-loss", type=float, default=0.05, help="end a task's training when its mean loss is below")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, help="test items a task")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", 2)))
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--adapters", help="folder for the adapters, in PEFT's format")
    parser.add_argument("--check-peft", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings = {k: getattr(args, k) for k in ("rank", "steps", "batch", "lr", "stop_loss", "seed", "limit")}
    sha256 = hashlib.sha256((Path(args.model) / "model.safetensors").read_bytes()).hexdigest()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(Path(args.model) / "tokenizer.json"))
    state = load_file(Path(args.model) / "model.safetensors")
    config = json.loads((Path(args.model) / "config.json").read_text())
    out = Path(args.out + ".json")
    result = json.loads(out.read_text()) if out.exists() else {}
    if result.get("sha256") != sha256 or result.get("settings") != settings:
        result = {"model": Path(args.model).name, "sha256": sha256, "settings": settings, "tasks": []}
    result["command"] = f"python scripts/pretrain/learnability.py --model {args.model} --suite {args.suite} --out {args.out}"
    done = {row["task"] for row in result["tasks"]}
    for task in args.tasks.split(",") if args.tasks else task_names(args.suite):
        if task in done:
            continue
        started = time.time()
        torch.manual_seed(args.seed)
        base_model = from_hf(state, config)
        test = load_split(args.suite, task, "test")[: args.limit]
        base = accuracy(scorer(base_model), tokenizer, test)
        model = LoraLlama(base_model, args.rank)
        loss, steps = train(model, tokenizer, load_split(args.suite, task, "train"), args)
        lora = accuracy(scorer(model), tokenizer, test)
        if args.adapters:
            save_adapter(model, args.rank, Path(args.model).name, Path(args.adapters) / task)
            if args.check_peft and not done:
                result["peft_logits_max_relative_difference"] = check_peft(model, args, Path(args.adapters) / task)
                print("largest relative difference from PEFT's logits:", result["peft_logits_max_relative_difference"])
        choices = test[0].get("choices")
        row = {"task": task, "kind": "choice" if choices else "generation", "n": len(test), "chance": 1 / len(choices) if choices else None,
               "base": base, "lora": lora, "loss": round(loss, 4), "steps": steps, "kept": lora - base >= NEEDED, "seconds": round(time.time() - started, 1)}
        result["tasks"] = sorted([*result["tasks"], row], key=lambda r: r["task"])
        out.write_text(json.dumps(result, indent=2) + "\n")
        Path(args.out + ".md").write_text(table(result))
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
