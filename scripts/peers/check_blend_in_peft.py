"""Loads an adapter that crayon wrote with PEFT and compares the logits: does another program agree on what it means?

    python scripts/peers/check_blend_in_peft.py --base MODEL_DIR --adapter ADAPTER_DIR --ids ids.json \
        [--expect crayon.safetensors] [--write peft.safetensors] [--tolerance 1e-4] [--record LABEL]

ids.json: a list of token id lists (rows may differ in length), or an object with `ids` and, where the rows are padded
on the right, `lengths`. --expect: a safetensors file with `logits` (B, T, V) that crayon computed for those ids; values at
padding positions are ignored. The relative difference is the largest absolute difference over the largest |logit|.
Exit code 1 when it passes the tolerance. --record appends the line to RESULTS.md beside this file.

Needs torch, transformers, peft and safetensors (scripts/fixtures/requirements.txt).
"""

import argparse
import hashlib
import json
import sys
from datetime import date
from pathlib import Path

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> int:
    args = parse_args()
    rows = read_rows(args.ids)
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32)
    with torch.no_grad():
        plain = [logits_of(base, row) for row in rows]
        model = PeftModel.from_pretrained(base, args.adapter).eval()
        adapted = [logits_of(model, row) for row in rows]
    scale = max(row.abs().max().item() for row in adapted)
    effect = max((a - b).abs().max().item() for a, b in zip(adapted, plain)) / scale
    report = {
        "peft": peft.__version__,
        "transformers": transformers.__version__,
        "rows": len(rows),
        "modules": sum(hasattr(module, "lora_A") for module in model.modules()),
        "digest": digest(adapted),
        "adapterEffect": effect,  # how far the adapter moves the logits: a match of two untouched models proves nothing
    }
    if args.write:
        save_file({"logits": pad(adapted)}, args.write)
    status = 0
    if args.expect:
        expected = load_file(args.expect)["logits"].float()
        found, wanted = tuple(expected.shape), tuple(pad(adapted).shape)
        if found[0] != wanted[0] or found[1] < wanted[1] or found[2] != wanted[2]:
            sys.exit(f"{args.expect}: logits have shape {found}, expected {wanted}")
        difference = max((e[: len(a)] - a).abs().max().item() for e, a in zip(expected, adapted))
        agree = [(e[: len(a)].argmax(-1) == a.argmax(-1)).float().mean().item() for e, a in zip(expected, adapted)]
        report["maxRelativeDifference"] = difference / scale
        report["sameArgmax"] = sum(agree) / len(agree)
        report["passed"] = report["maxRelativeDifference"] <= args.tolerance  # false for NaN
        status = 0 if report["passed"] else 1
    print(json.dumps(report, indent=2))
    if args.record:
        record(args.record, report)
    return status


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="Hugging Face model directory")
    parser.add_argument("--adapter", required=True, help="PEFT adapter directory")
    parser.add_argument("--ids", required=True, help="JSON file with token ids")
    parser.add_argument("--expect", help="safetensors file with crayon's logits")
    parser.add_argument("--write", help="write PEFT's logits here")
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--record", metavar="LABEL", help="append a line to RESULTS.md")
    return parser.parse_args()


def read_rows(path: str) -> list[torch.Tensor]:
    content = json.loads(Path(path).read_text())
    ids = content["ids"] if isinstance(content, dict) else content
    lengths = content.get("lengths") if isinstance(content, dict) else None
    return [torch.tensor(row[: lengths[i] if lengths else None]) for i, row in enumerate(ids)]


def logits_of(model, row: torch.Tensor) -> torch.Tensor:
    """(T) -> (T, V), one row at a time: no padding, so nothing depends on how padding is masked."""
    return model(input_ids=row[None], use_cache=False).logits[0].float()


def pad(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def digest(rows: list[torch.Tensor]) -> str:
    """sha256 over the logits rounded to 1e-3: equal on machines that round the last digits differently, mostly."""
    rounded = [torch.round(row * 1000).to(torch.int32).numpy().tobytes() for row in rows]
    return hashlib.sha256(b"".join(rounded)).hexdigest()[:16]


def record(label: str, report: dict) -> None:
    def cell(key: str, form: str) -> str:
        return form % report[key] if key in report else "-"

    verdict = {True: "yes", False: "NO"}.get(report.get("passed"), "-")
    line = " | ".join(
        [
            date.today().isoformat(),
            label,
            report["peft"],
            report["transformers"],
            str(report["modules"]),
            cell("adapterEffect", "%.2g"),
            cell("maxRelativeDifference", "%.2g"),
            cell("sameArgmax", "%.4f"),
            verdict,
        ]
    )
    with RESULTS.open("a") as file:
        file.write(f"| {line} |\n")


if __name__ == "__main__":
    sys.exit(main())
