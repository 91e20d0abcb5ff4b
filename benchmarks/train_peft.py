"""LoRA training speed of PEFT on PyTorch, the peer of crayon's trainer: one JSON line with tokens per second.

    python benchmarks/train_peft.py                            one LoRA of rank 64
    python benchmarks/train_peft.py --adapters 16 --rank 4     16 LoRAs of rank 4, one after the other

The second form is how PEFT users build a pool: each adapter is trained alone, on the batches of its own cluster. The
total number of tokens is the same in both (--steps is the total). Model: a random Llama of about 6M parameters (hidden
256, 6 layers, 8 heads, intermediate 688, vocabulary 4096), 8 sequences of 128 tokens a step, LoRA on all seven
projections, AdamW, loss on the second half of each sequence, float32. Needs torch, transformers and peft.
"""

import argparse
import json
import platform
import time

import peft
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    args = parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    if args.steps % args.adapters:
        raise SystemExit(f"--steps {args.steps} is not a multiple of --adapters {args.adapters}")
    model = make_model(args)
    names = [str(n) for n in range(args.adapters)]
    batches = [
        torch.randint(0, args.vocab, (args.batch, args.tokens), device=args.device) for _ in range(args.steps)
    ]

    # Warm up on a LoRA that is thrown away by starting its optimizer anew below.
    train(model, names[0], [batches[i % len(batches)] for i in range(args.warmup)], args)
    step_ms: list[float] = []
    step_cpu_ms: list[float] = []
    share = args.steps // args.adapters
    loss = float("nan")
    started = time.perf_counter()
    for n, name in enumerate(names):
        loss = train(model, name, batches[n * share : (n + 1) * share], args, step_ms, step_cpu_ms)
    seconds = time.perf_counter() - started

    ordered = sorted(step_ms)
    result = {
        "what": "peft-train",
        "tokensPerSecond": round(args.steps * args.batch * args.tokens / seconds, 1),
        "seconds": round(seconds, 3),
        "stepMs": {
            "median": round(ordered[len(ordered) // 2], 2),
            "min": round(ordered[0], 2),
            "max": round(ordered[-1], 2),
        },
        "cpuMs": round(sorted(step_cpu_ms)[len(step_cpu_ms) // 2], 2),
        "steps": args.steps,
        "adapters": args.adapters,
        "rank": args.rank,
        "batch": args.batch,
        "tokens": args.tokens,
        "parameters": sum(p.numel() for name, p in model.named_parameters() if "lora_" not in name),
        "trainablePerAdapter": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "lastLoss": round(loss, 4),
        "device": torch.cuda.get_device_name() if args.device == "cuda" else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "peft": peft.__version__,
    }
    print(json.dumps(result))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=1)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--steps", type=int, default=32, help="in all, shared equally by the adapters")
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128, help="per sequence")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--intermediate", type=int, default=688)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def make_model(args: argparse.Namespace):
    config = LlamaConfig(
        vocab_size=args.vocab,
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_key_value_heads=args.heads,
        max_position_embeddings=max(args.tokens, 512),
        tie_word_embeddings=True,
        use_cache=False,
    )
    lora = LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=PROJECTIONS, task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM(config), lora, adapter_name="0")
    for n in range(1, args.adapters):
        model.add_adapter(str(n), lora)
    return model.to(args.device).train()


def train(
    model,
    name: str,
    batches: list[torch.Tensor],
    args: argparse.Namespace,
    step_ms: list[float] | None = None,
    step_cpu_ms: list[float] | None = None,
):
    """One optimizer step per batch on the adapter called `name`; returns the last loss."""
    model.set_adapter(name)
    parameters = [p for p in model.parameters() if p.requires_grad]
    adamw = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01)
    last = float("nan")
    for ids in batches:
        started, started_cpu = time.perf_counter(), time.process_time()
        labels = ids.clone()
        labels[:, : args.tokens // 2] = -100
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        adamw.step()
        adamw.zero_grad()
        last = loss.item()  # waits for the device, as a trainer that logs its loss does
        if step_ms is not None:
            step_ms.append((time.perf_counter() - started) * 1000)
            step_cpu_ms.append((time.process_time() - started_cpu) * 1000)  # of all threads
    return last


if __name__ == "__main__":
    main()
