"""Pretrains twice with the same seed and compares the loss curves, step by step.

    python scripts/pretrain/repeat.py --config scripts/pretrain/edge.json --steps 50

Every loss must be the same number in both runs, on the CPU with the same number of threads. Exits with 1 if one differs.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def losses(out, args, seed):
    command = [sys.executable, str(Path(__file__).parent / "pretrain.py"), "--config", args.config, "--data", args.data]
    command += ["--steps", str(args.steps), "--seed", str(seed), "--threads", str(args.threads), "--log-every", "1"]
    subprocess.run([*command, "--no-compile", "--out", out], check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (Path(out) / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--data", default="build/pretrain")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, again = (losses(f"{folder}/{n}", args, args.seed) for n in ("first", "again"))
        other = losses(f"{folder}/other", args, args.seed + 1)
    assert len(first) == args.steps, f"{len(first)} losses logged, expected {args.steps}"
    assert first != other, "another seed gave the same curve: the comparison shows nothing"
    differing = [step for step, pair in enumerate(zip(first, again), 1) if pair[0] != pair[1]]
    shown = " ".join(f"{first[i]:.4f}" for i in range(0, args.steps, max(1, args.steps // 5)))
    print(f"{args.steps} steps, loss {shown} ... {first[-1]:.4f}; seed {args.seed + 1} ends at {other[-1]:.4f}")
    print("the same curve twice" if not differing else f"the curves differ at steps {differing}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
