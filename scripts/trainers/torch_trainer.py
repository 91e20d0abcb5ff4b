"""Trains the adapters of a pool with PyTorch on the job that `crayon build-pool --trainer torch` has written.

    python scripts/trainers/torch_trainer.py --job DIR [--base DIR] [--device auto|cpu|cuda]
    torchrun --nproc_per_node 4 scripts/trainers/torch_trainer.py --job DIR        several GPUs, or processes of one CPU
    python scripts/trainers/torch_trainer.py --versions                            what this Python has, as JSON

The job has everything that was decided: token ids, gates, the batches of every step, every learning rate, the parameters to
begin with. A job whose last adapters are frozen has another job in general/, of the adapter that is trained first and put there.
What is computed is src/train/trainer.ts: the mean cross-entropy of a step's completion tokens, through one mixture
of all N adapters for each example, y = W x + b + (gate * (x A^T)) B^T with the factors of all adapters stacked along the rank;
gradients clipped by their norm; AdamW. Weights and activations are of the job's dtype; the adapters, their moments and the loss
are float32.

Progress goes to standard output, one JSON object a line. `state.safetensors` in the job is the checkpoint and at the end the
result, `scores.safetensors` the losses before and after; a repeated command goes on from there. SIGINT, SIGTERM and, with
--attached, the end of standard input stop it behind the current step, with a checkpoint.

Needs Python 3.10, torch 2.4, transformers 5, safetensors 0.4 or later. One file, though a long one: it is what is carried to another
machine beside a job (docs/trainers.md).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

PACKAGES = ["torch", "transformers", "safetensors"]
#: The exit code of a run that was stopped, with its checkpoint written.
STOPPED = 3


def main() -> None:
    args = parse_args()
    if args.versions:
        print(json.dumps({"python": sys.version.split()[0], **{name: version_of(name) for name in PACKAGES}}))
        return
    stop = stop_event(args.attached)
    with OneAtATime(args.job):
        run(args, stop)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--job", type=Path, help="directory with job.json and job.safetensors")
    parser.add_argument("--base", help="the base model's directory, where it is not at the job's own place")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--attached", action="store_true", help="stop when standard input ends")
    parser.add_argument("--versions", action="store_true", help="print the packages' versions and end")
    args = parser.parse_args()
    if args.job is None and not args.versions:
        parser.error("--job is missing")
    return args


def version_of(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def stop_event(attached: bool) -> threading.Event:
    """Set by the first SIGINT or SIGTERM, or by the end of whoever started this; the second signal ends at once."""
    stop = threading.Event()

    def on_signal(number, _frame):
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    if attached:

        def watch():
            while os.read(0, 4096):
                pass
            stop.set()

        threading.Thread(target=watch, daemon=True).start()
    return stop


class OneAtATime:
    """An earlier process that is still writing its last checkpoint is waited for."""

    def __init__(self, job: Path):
        self.path = job / "running.lock"

    def __enter__(self):
        self.file = None
        if os.environ.get("RANK", "0") == "0":
            try:
                import fcntl
            except ImportError:  # Windows
                return
            self.file = open(self.path, "w")
            fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        if self.file is not None:
            self.file.close()


def run(args: argparse.Namespace, stop: threading.Event) -> None:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    group = Group(args.device)
    job = Job(args.job)
    model = load_base(args.base or job.base, job.dtype, group.device)
    mixture = Mixture(model, job.layout)

    def finish(phase: str, job: Job) -> Training:
        mixture.use(job.layout)
        training = Training(job, mixture, group)
        done = training.resume()
        group.say(
            event="ready",
            phase=phase,
            device=group.name,
            processes=group.size,
            torch=torch.__version__,
            transformers=transformers.__version__,
            step=done,
            totalSteps=job.total_steps,
        )
        if not training.train(stop):
            group.say(event="stopped", step=training.step)
            group.close()
            sys.exit(STOPPED)
        return training

    if job.layout.get("frozen"):
        general = Job(args.job / "general")
        job.begin_beside(general.layout, finish("general", general).parameters)
    training = finish("train", job)
    evaluate(job, mixture, training, group)
    group.say(event="done", step=training.step, peakBytes=group.peak_bytes())
    group.close()


class Group:
    """The processes that work together, one where torchrun has not started more."""

    def __init__(self, device: str):
        import torch

        self.rank = int(os.environ.get("RANK", "0"))
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if cuda else torch.device("cpu")
        if cuda:
            torch.cuda.set_device(self.device)
        self.name = torch.cuda.get_device_name(self.device) if cuda else "cpu"
        if self.size > 1:
            torch.distributed.init_process_group("nccl" if cuda else "gloo")

    def sum(self, tensor):
        """In place, over all processes."""
        if self.size > 1:
            import torch

            torch.distributed.all_reduce(tensor)
        return tensor

    def share(self, items: list) -> list:
        """This process's part of a batch."""
        return items[self.rank :: self.size]

    def say(self, **event) -> None:
        if self.rank != 0:
            return
        try:
            print(json.dumps(event), flush=True)
        except BrokenPipeError:  # nobody listens any more; the end of standard input stops the run
            pass

    def peak_bytes(self) -> int | None:
        if self.device.type == "cuda":
            import torch

            return torch.cuda.max_memory_allocated(self.device)
        try:
            import resource
        except ImportError:  # Windows
            return None
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def close(self) -> None:
        if self.size > 1:
            import torch

            torch.distributed.destroy_process_group()


class Job:
    """job.json and job.safetensors, as src/pool/trainers/torch/job.ts writes them."""

    def __init__(self, path: Path):
        import torch
        from safetensors.torch import load_file

        self.path = path
        head = json.loads((path / "job.json").read_text())
        if head["format"] != "crayon-training-job" or head["version"] not in (1, 2):
            raise SystemExit(f"{path}: a job of version 1 or 2 is expected; use the script of the crayon that wrote it")
        self.id: str = head["id"]
        self.base = str(path / head["base"])  # an absolute path stays what it is
        self.dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[head["dtype"]]
        self.layout = head["layout"]
        self.adamw = head["adamw"]
        self.length_step: int = head["lengthStep"]
        self.checkpoint_seconds: float = head["checkpointSeconds"]
        t = load_file(path / "job.safetensors")
        self.examples = ragged(t["ids"], t["idStarts"])
        self.prompt_lengths = t["promptLengths"].tolist()
        #: (n, N * r): every example's coefficients times the LoRA scale, each repeated r times
        self.gates = t["gates"].view(len(self.examples), -1).repeat_interleave(self.layout["r"], 1)
        batches = [members.tolist() for members in ragged(t["members"], t["batchStarts"])]
        starts = t["stepStarts"].tolist()
        #: of every step the micro-batches, each a list of examples
        self.steps = [batches[a:b] for a, b in zip(starts, starts[1:])]
        self.learning_rates = t["learningRates"].tolist()
        self.initial = t["parameters"]
        #: what of the parameters stays as it is; None where nothing does
        self.frozen = None
        self.evaluated = t["evaluated"].tolist()

    def begin_beside(self, layout: dict, parameters) -> None:
        """Puts the trained general adapter, of a layout of its own, where the frozen adapters lie; what is left there is 0."""
        import torch

        self.frozen = torch.zeros(len(self.initial), dtype=torch.bool)
        first = (self.layout["adapters"] - self.layout["frozen"]) * self.layout["r"]
        of_general = views(parameters.cpu(), layout)
        for (a, b), (mask_a, mask_b), (general_a, general_b) in zip(
            views(self.initial, self.layout), views(self.frozen, self.layout), of_general
        ):
            mask_a[first:], mask_b[:, first:] = True, True
            a[first:], b[:, first:] = 0, 0
            a[first : first + layout["r"]], b[:, first : first + layout["r"]] = general_a, general_b

    @property
    def total_steps(self) -> int:
        return len(self.steps)

    def targets_of(self, members: list[int]) -> int:
        return sum(len(self.examples[i]) - self.prompt_lengths[i] for i in members)

    def batch(self, members: list[int], device):
        """ids (B, T) padded on the right, flat positions (P) whose next token is to be predicted, that token (P), gate (B, 1, R)."""
        import torch

        longest = max(len(self.examples[i]) for i in members)
        # The last token is only ever a target, so the model need not read it.
        width = -(-(longest - 1) // self.length_step) * self.length_step
        ids = torch.zeros(len(members), width, dtype=torch.int64)
        rows, targets = [], []
        for b, i in enumerate(members):
            example, first = self.examples[i], self.prompt_lengths[i] - 1
            ids[b, : len(example) - 1] = example[:-1]
            rows.append(torch.arange(b * width + first, b * width + len(example) - 1))
            targets.append(example[first + 1 :])
        to = lambda x: (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)  # noqa: E731
        return to(ids), to(torch.cat(rows)), to(torch.cat(targets).long()), to(self.gates[members].unsqueeze(1))


def ragged(flat, starts) -> list:
    ends = starts.tolist()
    return [flat[a:b] for a, b in zip(ends, ends[1:])]


def views(flat, layout: dict):
    """A (R, in) and B (out, R) of every module, as views of the flat vector."""
    rank = layout["adapters"] * layout["r"]
    for module in layout["modules"]:
        a, b, size, out = module["aOffset"], module["bOffset"], module["in"], module["out"]
        yield flat[a : a + rank * size].view(rank, size), flat[b : b + out * rank].view(out, rank)


def load_base(path: str, dtype, device):
    from transformers import AutoModelForCausalLM

    if not os.path.isdir(path):
        raise SystemExit(f"{path}: no such directory; give the base model's with --base")
    model, found = AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, attn_implementation="sdpa", local_files_only=True, output_loading_info=True
    )
    # A GGUF may have some biases of an attention and not others: those that are missing are zero.
    missing = [key for key in found["missing_keys"] if not key.endswith((".bias", "lm_head.weight"))]
    if missing:
        raise SystemExit(f"{path}: transformers finds no weights for {', '.join(sorted(missing)[:5])}")
    # Without dropout, as in crayon's own forward pass.
    return model.eval().requires_grad_(False).to(device)


class Mixture:
    """Stacked, gated LoRA on a model's linear layers; without a gate, the model as it was."""

    def __init__(self, model, layout: dict):
        import torch

        mixture = self
        self.model = model
        self.gate = None
        self.rows = None
        self.factors: list = []

        class GatedLinear(torch.nn.Module):
            def __init__(self, linear, index: int):
                super().__init__()
                self.linear = linear
                self.index = index

            def forward(self, x):
                y = self.linear(x)
                if mixture.gate is None:
                    return y
                a, b = mixture.factors[self.index], mixture.factors[self.index + 1]
                u = torch.nn.functional.linear(x, a) * mixture.gate
                return torch.addmm(y.flatten(0, 1), u.flatten(0, 1), b.T).view_as(y)

        for i, module in enumerate(layout["modules"]):
            parent, name = find(model, module["name"])
            linear = getattr(parent, name)
            expected = (module["out"], module["in"])
            if tuple(linear.weight.shape) != expected:
                raise SystemExit(f"{module['name']}: {tuple(linear.weight.shape)}, and the job expects {expected}")
            setattr(parent, name, GatedLinear(linear, 2 * i))
        self.use(layout)
        model.get_output_embeddings().register_forward_pre_hook(self.pick)

    def use(self, layout: dict) -> None:
        """Parameters are of this layout from now on; its modules are those that it was made with."""
        rank = layout["adapters"] * layout["r"]
        self.sizes: list[int] = []
        self.shapes: list[tuple[int, int]] = []
        offset = 0
        for module in layout["modules"]:
            assert module["aOffset"] == offset and module["bOffset"] == offset + rank * module["in"], "layout"
            self.shapes += [(rank, module["in"]), (module["out"], rank)]
            self.sizes += [rank * module["in"], module["out"] * rank]
            offset += self.sizes[-2] + self.sizes[-1]
        assert offset == layout["size"], "layout"

    def pick(self, _module, inputs):
        """Logits are computed where they are needed: (B, T, C) -> (1, P, C)."""
        (hidden,) = inputs
        return (hidden.flatten(0, 1).index_select(0, self.rows).unsqueeze(0),)

    def logits(self, ids, rows, gate, parameters):
        """(P, V) in float32. `parameters`: the flat vector, in the model's dtype; None for the base model alone."""
        self.rows = rows
        self.gate = None if parameters is None else gate.to(parameters.dtype)
        if parameters is not None:
            self.factors = [part.view(shape) for part, shape in zip(parameters.split(self.sizes), self.shapes)]
        try:
            # Padded on the right: a causal model's real positions never see the padding, so no mask is needed.
            return self.model(input_ids=ids, use_cache=False).logits[0].float()
        finally:
            self.gate, self.factors = None, []


def find(model, name: str):
    """The parent and the attribute of `model.layers.0.mlp.up_proj`, also where a language model lies within a larger one."""
    for path in (name, name.replace("model.", "model.language_model.", 1)):
        *above, last = path.split(".")
        try:
            parent = model.get_submodule(".".join(above))
        except AttributeError:
            continue
        if hasattr(parent, last):
            return parent, last
    raise SystemExit(f"{type(model).__name__} has no module {name}")


class Training:
    def __init__(self, job: Job, mixture: Mixture, group: Group):
        import torch

        self.job, self.mixture, self.group = job, mixture, group
        self.parameters = job.initial.to(group.device, copy=True)
        self.frozen = None if job.frozen is None else (job.frozen.to(group.device), job.initial.to(group.device))
        beta1, beta2 = job.adamw["beta1"], job.adamw["beta2"]
        self.optimizer = torch.optim.AdamW(
            [self.parameters], lr=0, betas=(beta1, beta2), eps=job.adamw["epsilon"],
            weight_decay=job.adamw["weightDecay"], fused=group.device.type == "cuda",
        )  # fmt: skip
        self.losses: list[float] = []

    @property
    def step(self) -> int:
        return len(self.losses)

    def resume(self) -> int:
        import torch

        path = self.job.path / "state.safetensors"
        if not path.exists():
            return 0
        saved = load_of(path, self.job.id)
        self.parameters.copy_(saved["parameters"])
        self.losses = saved["losses"].tolist()
        self.optimizer.state[self.parameters] = {
            "step": torch.tensor(float(self.step), device=self.group.device),
            "exp_avg": saved["m"].to(self.group.device),
            "exp_avg_sq": saved["v"].to(self.group.device),
        }
        return self.step

    def save(self) -> None:
        import torch

        if self.group.rank != 0:
            return
        moments = self.optimizer.state.get(self.parameters, {})
        zeros = torch.zeros_like(self.parameters)
        tensors = {
            "parameters": self.parameters,
            "m": moments.get("exp_avg", zeros),
            "v": moments.get("exp_avg_sq", zeros),
            "losses": torch.tensor(self.losses, dtype=torch.float32),
        }
        save_atomic(self.job.path / "state.safetensors", tensors, self.job.id)
        self.group.say(event="checkpoint", step=self.step)

    def train(self, stop: threading.Event) -> bool:
        """True at the end, False where it was stopped; either way with a checkpoint."""
        started = time.perf_counter()
        last_save = started
        tokens = 0
        begun = self.step
        while self.step < self.job.total_steps:
            loss, norm, stopped = self.update(stop)
            if not (abs(loss) < float("inf") and abs(norm) < float("inf")):
                self.group.say(event="not-finite", step=self.step + 1, loss=str(loss), gradientNorm=str(norm))
                raise SystemExit(f"step {self.step + 1}: loss {loss}, gradient norm {norm}")
            members = [i for batch in self.job.steps[self.step] for i in batch]
            self.losses.append(loss)
            tokens += sum(len(self.job.examples[i]) for i in members)
            seconds = time.perf_counter() - started
            self.group.say(
                event="step", step=self.step, totalSteps=self.job.total_steps, loss=loss, gradientNorm=norm,
                tokens=tokens, seconds=seconds,
            )  # fmt: skip
            if stopped and self.step < self.job.total_steps:
                self.save()
                return False
            if time.perf_counter() - last_save > self.job.checkpoint_seconds:
                self.save()
                last_save = time.perf_counter()
        if self.step > begun:
            self.save()
        return True

    def update(self, stop: threading.Event) -> tuple[float, float, bool]:
        """One update of all parameters: the loss, the gradient's norm before clipping, and whether any process was stopped."""
        import torch

        job, group = self.job, self.group
        batches = job.steps[self.step]
        targets = sum(job.targets_of(members) for members in batches)  # every completion token of the step weighs the same
        # Loss and stop behind the gradient, so that the processes meet once a step.
        total = torch.zeros(len(self.parameters) + 2, device=group.device)
        gradient = total[:-2]
        for members in batches:
            share = group.share(members)
            if not share:
                continue
            ids, rows, wanted, gate = job.batch(share, group.device)
            leaf = self.parameters.to(job.dtype, copy=True).requires_grad_()
            logits = self.mixture.logits(ids, rows, gate, leaf)
            loss = torch.nn.functional.cross_entropy(logits, wanted, reduction="sum") / targets
            loss.backward()
            gradient += leaf.grad
            total[-2] += loss.detach()
            group.say(event="alive")
        total[-1] = float(stop.is_set())
        group.sum(total)
        if self.frozen is not None:
            gradient.masked_fill_(self.frozen[0], 0)
        self.parameters.grad = gradient
        most = job.adamw["clipNorm"]
        norm = torch.nn.utils.clip_grad_norm_([self.parameters], float("inf") if most is None else most)
        self.optimizer.param_groups[0]["lr"] = job.learning_rates[self.step]
        self.optimizer.step()
        if self.frozen is not None:  # weight decay moves what has no gradient, too
            mask, initial = self.frozen
            self.parameters.copy_(torch.where(mask, initial, self.parameters))
        loss, norm, stopped = torch.stack([total[-2], norm, total[-1]]).tolist()
        return loss, norm, stopped > 0


def evaluate(job: Job, mixture: Mixture, training: Training, group: Group) -> None:
    """Summed log-probabilities of the evaluated examples' completions, through the base model and through each one's mixture."""
    import torch

    path = job.path / "scores.safetensors"
    if path.exists():
        return
    order = sorted(range(len(job.evaluated)), key=lambda e: len(job.examples[job.evaluated[e]]))
    batches = [order[at : at + 16] for at in range(0, len(order), 16)]
    scores = torch.zeros(2, len(order), dtype=torch.float64)
    parameters = training.parameters.to(job.dtype)
    for done, batch in enumerate(group.share(batches)):
        members = [job.evaluated[e] for e in batch]
        ids, rows, wanted, gate = job.batch(members, group.device)
        counts = [job.targets_of([i]) for i in members]
        for kind, vector in enumerate([None, parameters]):
            with torch.no_grad():
                logprobs = torch.log_softmax(mixture.logits(ids, rows, gate, vector), -1)
                of_targets = logprobs.gather(1, wanted.unsqueeze(1)).double().cpu()
            for e, part in zip(batch, of_targets.split(counts)):
                scores[kind, e] = part.sum()
        group.say(event="evaluate", done=min((done + 1) * group.size, len(batches)), total=len(batches))
    scores = group.sum(scores.to(group.device)).cpu()
    if group.rank == 0:
        save_atomic(path, {"base": scores[0].clone(), "adapted": scores[1].clone()}, job.id)


def load_of(path: Path, job_id: str) -> dict:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        if (file.metadata() or {}).get("job") != job_id:
            raise SystemExit(f"{path}: belongs to another job; remove it")
        return {name: file.get_tensor(name) for name in file.keys()}


def save_atomic(path: Path, tensors: dict, job_id: str) -> None:
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, temporary, {"job": job_id})
    with open(temporary, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)


if __name__ == "__main__":
    main()
