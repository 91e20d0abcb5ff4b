"""PyTorch's side of train.ts, which starts it: does a job of training with PEFT, of embedding or of scoring, round after round.

    python benchmarks/train_peft.py <job.json>

Training: LoRA on all seven projections by PEFT, AdamW (fused, as the Trainer of transformers has it), gradients clipped to 1. Adapters
that are active together are what `set_adapter` with a list makes them, their scales divided by their number: equal weights, since PEFT
has no coefficients for each example of a training. In turns, every step trains one adapter alone, with an optimizer of its own; changing
the adapter is not timed. With `logits` completion the hidden states are sliced before the output matrix, as crayon does; with `all`
the model computes the loss from labels, as PEFT's users do. Batches are padded on the right, so causal attention needs no mask.
Embedding is the mean of the last hidden states, of length 1; scoring the sum of the completion's log-probabilities.

Prints a JSON line when it is ready (after one round), and one for each line that it reads from stdin: milliseconds and processor time.
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Batch:
    """Examples padded on the right: ids (B, T), the flat positions (P) before the completion's tokens, these tokens (P)."""

    def __init__(self, examples):
        lengths = [len(e["ids"]) for e in examples]
        width = max(lengths)
        self.ids = torch.tensor([e["ids"] + [0] * (width - n) for e, n in zip(examples, lengths)])
        places = [(b, t) for b, e in enumerate(examples) for t in range(e["promptLength"], lengths[b])]
        self.rows = torch.tensor([b * width + t - 1 for b, t in places])
        self.owners = torch.tensor([b for b, _ in places])
        self.targets = torch.tensor([examples[b]["ids"][t] for b, t in places])
        self.mask = torch.arange(width)[None, :] < torch.tensor(lengths)[:, None]
        self.labels = torch.full_like(self.ids, -100)
        for b, t in places:
            self.labels[b, t] = self.ids[b, t]
        self.tokens = sum(lengths)


def logits_at(model, batch):
    """(P, V), of the rows before the completion's tokens alone."""
    hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
    return model.lm_head(hidden.flatten(0, 1)[batch.rows])


class Training:
    def __init__(self, model, peer):
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=peer["r"], lora_alpha=peer["loraAlpha"], target_modules=PROJECTIONS)
        self.names = [str(n) for n in range(peer["count"])]
        self.peft = get_peft_model(model, config, adapter_name="0")
        for name in self.names[1:]:
            self.peft.add_adapter(name, config)
        self.base = model
        self.together = peer["adapters"] == "together"
        self.all_logits = peer["logits"] == "all"
        groups = [self.names] if self.together else [[name] for name in self.names]
        self.optimizers = []
        for group in groups:
            self.activate(group)
            parameters = [p for p in self.peft.parameters() if p.requires_grad]
            self.optimizers.append(torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.95), weight_decay=0, fused=True))
        self.groups = groups
        self.peft.train()
        if self.together and len(self.names) > 1:
            for module in self.peft.modules():
                if hasattr(module, "lora_A"):
                    for name in self.names:
                        module.set_scale(name, 1 / len(self.names))

    def activate(self, names):
        self.peft.base_model.set_adapter(names)

    def loss(self, batch):
        if self.all_logits:
            return self.peft(input_ids=batch.ids, labels=batch.labels, use_cache=False).loss
        return F.cross_entropy(logits_at(self.base, batch).float(), batch.targets)

    def step(self, batch, index, clock):
        which = index % len(self.groups)
        if not self.together:
            self.activate(self.groups[which])
        with clock:
            optimizer = self.optimizers[which]
            loss = self.loss(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
            optimizer.step()
            optimizer.zero_grad()
            return loss.item()


class Forward:
    def __init__(self, model, work):
        self.model = model.eval()
        self.work = work

    @torch.no_grad()
    def step(self, batch, index, clock):
        with clock:
            if self.work == "embed":
                hidden = self.model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
                mask = batch.mask[:, :, None]
                mean = (hidden * mask).sum(1) / mask.sum(1)
                return F.normalize(mean)[0, 0].item()
            logprobs = F.log_softmax(logits_at(self.model, batch).float(), -1)
            chosen = logprobs.gather(1, batch.targets[:, None])[:, 0]
            return torch.zeros(len(batch.ids)).index_add(0, batch.owners, chosen)[0].item()


class Clock:
    """Adds up what is done within it."""

    def __init__(self):
        self.ms = self.cpu_ms = 0.0

    def __enter__(self):
        self.started, self.started_cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_):
        self.ms += (time.perf_counter() - self.started) * 1000
        self.cpu_ms += (time.process_time() - self.started_cpu) * 1000  # of all threads


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    torch.manual_seed(0)
    peer = job["peer"]
    model = AutoModelForCausalLM.from_pretrained(job["base"], dtype=getattr(torch, peer["dtype"]))
    batches = [Batch(examples) for examples in job["batches"]]
    work = Training(model, peer) if job["work"] == "train" else Forward(model, job["work"])

    def round_of(clock):
        return [work.step(batch, i, clock) for i, batch in enumerate(batches)]

    ready = {"check": round_of(Clock())[0], "tokens": sum(batch.tokens for batch in batches)}
    print(json.dumps(ready), flush=True)
    for _ in sys.stdin:
        clock = Clock()
        round_of(clock)
        print(json.dumps({"ms": clock.ms, "cpuMs": clock.cpu_ms}), flush=True)


if __name__ == "__main__":
    main()
