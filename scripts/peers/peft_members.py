"""Trains one LoRA a task with transformers and PEFT alone, of mixed ranks and targets: adapters as other people have them.

    python scripts/peers/peft_members.py --model models/crayon-edge --suite suite --out OUT [--seed 0] [--steps 300]
"""

import argparse
import json
import pathlib
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ALL = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
# task, rank, alpha, targets: no two ranks of neighbours alike
MEMBERS = [
    ("route-hospital", 4, 8, ALL),
    ("route-bank", 8, 16, ALL),
    ("route-farm", 8, 8, ATTENTION),
    ("route-school", 2, 8, ALL),
    ("intent", 4, 8, ["q_proj", "v_proj"]),
    ("list-first", 16, 16, ALL),
]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--tasks", nargs="*")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    for task, r, alpha, targets in MEMBERS:
        if args.tasks and task not in args.tasks:
            continue
        torch.manual_seed(args.seed)
        examples = [json.loads(line) for line in open(pathlib.Path(args.suite, task, "train.jsonl"))]
        base = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
        model = get_peft_model(base, LoraConfig(r=r, lora_alpha=alpha, target_modules=targets, task_type="CAUSAL_LM"))
        losses = train(model, tokenizer, examples, args)
        model.save_pretrained(pathlib.Path(args.out, task))
        print(f"{task}: r {r}, {len(targets)} targets, loss {losses[0]:.3f} to {sum(losses[-10:]) / 10:.3f}", flush=True)


def encode(tokenizer, example):
    prompt = tokenizer(example["prompt"]).input_ids
    ids = tokenizer(example["prompt"] + example["completion"]).input_ids + [tokenizer.eos_token_id]
    return ids, len(prompt)


def train(model, tokenizer, examples, args):
    encoded = [encode(tokenizer, example) for example in examples]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=args.lr, weight_decay=0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.steps, pct_start=0.05)
    random = torch.Generator().manual_seed(args.seed)
    losses = []
    started = time.time()
    model.train()
    while len(losses) < args.steps:
        order = torch.randperm(len(encoded), generator=random).tolist()
        for at in range(0, len(order) - args.batch + 1, args.batch):
            if len(losses) == args.steps:
                break
            members = [encoded[i] for i in order[at : at + args.batch]]
            width = max(len(ids) for ids, _ in members)
            ids = torch.zeros(len(members), width, dtype=torch.long)
            labels = torch.full_like(ids, -100)
            mask = torch.zeros_like(ids)
            for row, (sequence, prompt) in enumerate(members):
                ids[row, : len(sequence)] = torch.tensor(sequence)
                labels[row, prompt : len(sequence)] = torch.tensor(sequence[prompt:])
                mask[row, : len(sequence)] = 1
            loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
    print(f"{time.time() - started:.0f} s", flush=True)
    return losses


if __name__ == "__main__":
    main()
