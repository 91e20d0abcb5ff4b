"""The work of gpu_check.sh: parity of a real job with crayon's own engine, then tokens per second and memory beside PEFT.

Speed: a Llama of SmolLM2-135M's shapes with random weights, random token sequences (lengths log-normal, 100 tokens on average;
the last 2 to 8 are the completion), N = 8 adapters of rank 8 on all seven projections. `joint` and `independent` are the trainer's
own step, with soft and with one-hot gates; `peft 8` is one step of a PEFT model with eight adapters active at once, without
gates, `peft 1` with one; both compute the loss as their users do, from labels. Tokens are counted without padding.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch
import torch_trainer
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).resolve().parent
N, RANK, ALPHA = 8, 8, 16
PROJECTIONS = [
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
]  # fmt: skip
SMOLLM2 = dict(
    vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
    num_key_value_heads=3, max_position_embeddings=8192, rope_theta=100000.0, rms_norm_eps=1e-5, tie_word_embeddings=True,
)  # fmt: skip
TINY = {**SMOLLM2, "vocab_size": 512, "hidden_size": 72, "intermediate_size": 128, "num_hidden_layers": 2}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--job", type=Path, default=Path("gpu-job"))
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--tiny", action="store_true", help="to try this script where there is no GPU")
    parser.add_argument("--steps", type=int, default=12)
    args = parser.parse_args()
    device = "cuda" if args.device != "cpu" and torch.cuda.is_available() else "cpu"
    machine = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    results: dict = {"device": machine, "torch": torch.__version__, "parity": [], "speed": []}

    def keep() -> None:
        (args.out / "results.json").write_text(json.dumps(results, indent=2))

    for dtype in ["float32", "bfloat16"]:
        if args.job.is_dir():
            results["parity"].append(parity(args.job, dtype, args.device))
            keep()
    for batch in [4] if args.tiny else [16, 64]:
        for dtype in ["float32", "bfloat16"]:
            for what in ["joint", "independent", "peft 8", "peft 1"]:
                results["speed"].append(speed(what, dtype, batch, device, 3 if args.tiny else args.steps, args.tiny))
                print(json.dumps(results["speed"][-1]))
                keep()
    show(results)


def parity(job: Path, dtype: str, device: str) -> dict:
    """Runs the job by the script's own command line, stopped once on its way, and compares the losses of its steps."""
    work = Path(tempfile.mkdtemp())
    for name in ["job.json", "job.safetensors"]:
        shutil.copy(job / name, work / name)
    head = json.loads((work / "job.json").read_text())
    (work / "job.json").write_text(json.dumps({**head, "dtype": dtype, "base": str((job / head["base"]).resolve())}))
    expected = json.loads((job / "expected.json").read_text())["losses"]
    command = [sys.executable, str(HERE / "torch_trainer.py"), "--job", str(work), "--device", device]
    losses: dict[int, float] = {}
    ends = []
    for stop_at in [len(expected) // 2, None]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "step":
                losses[event["step"]] = event["loss"]
                last = event
                if event["step"] == stop_at:
                    process.terminate()
            ends.append(event["event"])
        process.wait()
    differences = [abs(loss - losses[i + 1]) for i, loss in enumerate(expected)]
    result = {
        "dtype": dtype,
        "steps": len(expected),
        "largestDifference": max(differences),
        "of the first 20": max(differences[:20]),
        "lastLosses": [expected[-1], losses[len(expected)]],
        "stoppedAndResumed": "stopped" in ends and "done" in ends,
        "tokensPerSecond": round(last["tokens"] / last["seconds"]),
    }
    print(json.dumps(result))
    shutil.rmtree(work)
    return result


class SyntheticJob(torch_trainer.Job):
    def __init__(self, dtype, layout: dict, batch: int, steps: int, vocab: int, independent: bool):
        generator = torch.Generator().manual_seed(0)
        self.dtype, self.layout = dtype, layout
        self.adamw = {"beta1": 0.9, "beta2": 0.95, "epsilon": 1e-8, "weightDecay": 0, "clipNorm": 1}
        self.length_step = 8
        count = batch * 8
        lengths = (torch.randn(count, generator=generator) * 0.45 + 4.5).exp().clamp(24, 400).int().sort().values.tolist()
        self.examples = [torch.randint(vocab, (n,), generator=generator, dtype=torch.int32) for n in lengths]
        answers = torch.randint(2, 9, (count,), generator=generator).tolist()
        self.prompt_lengths = [n - answer for n, answer in zip(lengths, answers)]
        chances = torch.rand(count, N, generator=generator)
        gates = torch.nn.functional.one_hot(chances.argmax(1), N).float() if independent else torch.softmax(chances / 0.1, 1)
        self.gates = (gates * (ALPHA / RANK)).repeat_interleave(RANK, 1)
        batches = [list(range(at, at + batch)) for at in range(0, count, batch)]
        self.steps = [[batches[(3 * i) % len(batches)]] for i in range(steps)]  # short and long ones in turn
        self.learning_rates = [1e-3] * steps
        self.initial = torch.randn(layout["size"], generator=generator) * 0.02


def layout_of(config: dict) -> dict:
    head = config["hidden_size"] // config["num_attention_heads"]
    wide, narrow = config["hidden_size"], head * config["num_key_value_heads"]
    inner = config["intermediate_size"]
    shapes = dict(zip(PROJECTIONS, [(wide, wide), (narrow, wide), (narrow, wide), (wide, wide), (inner, wide), (inner, wide), (wide, inner)]))  # fmt: skip
    offset, modules = 0, []
    for layer in range(config["num_hidden_layers"]):
        for name, (out, into) in shapes.items():
            modules.append(
                {"name": f"model.layers.{layer}.{name}", "in": into, "out": out, "aOffset": offset, "bOffset": offset + N * RANK * into}
            )  # fmt: skip
            offset += N * RANK * (into + out)
    return {"adapters": N, "r": RANK, "size": offset, "modules": modules}


def speed(what: str, dtype_name: str, batch: int, device: str, steps: int, tiny: bool) -> dict:
    config = TINY if tiny else SMOLLM2
    dtype = getattr(torch, dtype_name)
    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**config, use_cache=False)).to(dtype).eval().requires_grad_(False)
    warm_up = 1 if tiny else 8  # every batch once: the lengths' kernels and the allocator's blocks
    job = SyntheticJob(dtype, layout_of(config), batch, warm_up + steps, config["vocab_size"], what == "independent")
    step = peft_step(model, job, int(what[-1]), device) if what.startswith("peft") else trainer_step(model, job, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times, tokens = [], 0
    loss = float("nan")
    try:
        for i in range(warm_up + steps):
            started = time.perf_counter()
            loss = step(i)  # a number on this side: the device has finished
            if i >= warm_up:
                times.append(time.perf_counter() - started)
                tokens += sum(len(job.examples[m]) for m in job.steps[i][0])
        failed = None
    except torch.OutOfMemoryError as error:
        failed = str(error).split(".")[0]
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    del model, step
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
    if failed:
        return {"what": what, "dtype": dtype_name, "batch": batch, "failed": failed}
    return {
        "what": what,
        "dtype": dtype_name,
        "batch": batch,
        "tokensPerSecond": round(tokens / sum(times)),
        "msPerStep": round(1000 * sorted(times)[len(times) // 2], 1),
        "tokensPerStep": tokens // steps,
        "peakBytes": peak,
        "lastLoss": round(loss, 4),
    }


def trainer_step(model, job: SyntheticJob, device: str):
    group = torch_trainer.Group(device)
    group.say = lambda **_: None
    training = torch_trainer.Training(job, torch_trainer.Mixture(model, job.layout), group)
    stop = threading.Event()

    def step(_i: int) -> float:
        loss, _, _ = training.update(stop)
        training.losses.append(loss)
        return loss

    return step


def peft_step(model, job: SyntheticJob, active: int, device: str):
    from peft import LoraConfig, get_peft_model

    targets = [name.split(".")[1] for name in PROJECTIONS]
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, task_type="CAUSAL_LM")
    names = [str(n) for n in range(active)]
    # Adapters in the model's dtype, which is PEFT's fastest.
    model = get_peft_model(model, config, adapter_name="0", autocast_adapter_dtype=False)
    for name in names[1:]:
        model.add_adapter(name, config, autocast_adapter_dtype=False)
    model.base_model.set_adapter(names)
    parameters = [p for n, p in model.named_parameters() if "lora_" in n and p.requires_grad_() is p]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0, fused=device == "cuda")

    def step(i: int) -> float:
        members = job.steps[i][0]
        longest = -(-max(len(job.examples[m]) for m in members) // 8) * 8
        ids = torch.zeros(len(members), longest, dtype=torch.int64)
        labels = torch.full_like(ids, -100)
        for b, m in enumerate(members):
            n = len(job.examples[m])
            ids[b, :n] = job.examples[m]
            labels[b, job.prompt_lengths[m] : n] = ids[b, job.prompt_lengths[m] : n]
        loss = model(input_ids=ids.to(device), labels=labels.to(device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def show(results: dict) -> None:
    print(f"\n{results['device']}, torch {results['torch']}")
    for row in results["parity"]:
        print(
            f"parity {row['dtype']}: largest difference {row['largestDifference']:.1e} in {row['steps']} steps "
            f"({row['of the first 20']:.1e} in the first 20), stopped and resumed {row['stoppedAndResumed']}, "
            f"{row['tokensPerSecond']} tokens/s"
        )
    print(f"\n{'batch':>5} {'dtype':9} {'what':12} {'tokens/s':>9} {'ms/step':>8} {'peak GB':>8} {'loss':>8}")
    for row in results["speed"]:
        if "failed" in row:
            print(f"{row['batch']:5} {row['dtype']:9} {row['what']:12} {row['failed']}")
            continue
        peak = "" if row["peakBytes"] is None else f"{row['peakBytes'] / 1e9:.2f}"
        print(
            f"{row['batch']:5} {row['dtype']:9} {row['what']:12} {row['tokensPerSecond']:9} {row['msPerStep']:8} {peak:>8} "
            f"{row['lastLoss']:8}"
        )


if __name__ == "__main__":
    main()
