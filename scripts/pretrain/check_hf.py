"""Loads an exported model in transformers: held-out perplexity, text samples, and the same logits as model.py's forward.

    python scripts/pretrain/check_hf.py --model models/crayon-edge [--checkpoint build/crayon-edge/checkpoint.pt] [--json out.json]
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from model import Llama

PROMPTS = ["It was a cold morning, and", "The nurse in the ward says that", "Anna names rose, oak, fern. The last is"]


@torch.no_grad()
def perplexity(model, data, windows=256, length=256):
    """exp of the mean next-token loss (nats) over windows spread evenly over the held-out tokens; and the tokens scored."""
    starts = np.linspace(0, len(data) - length - 1, min(windows, (len(data) - 1) // length)).astype(int)
    total = 0.0
    for at in range(0, len(starts), 16):
        w = torch.from_numpy(np.stack([data[s : s + length + 1] for s in starts[at : at + 16]]).astype(np.int64))
        logits = model(input_ids=w[:, :-1]).logits.float()
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), w[:, 1:].flatten(), reduction="sum").item()
    return math.exp(total / (len(starts) * length)), len(starts) * length


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--checkpoint")
    parser.add_argument("--data", default="build/pretrain")
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    result = {"model": Path(args.model).name, "parameters": sum(p.numel() for p in model.parameters()), "perplexity": {}, "samples": []}
    for path in sorted(Path(args.data).glob("*.heldout.bin")):
        value, tokens = perplexity(model, np.fromfile(path, dtype=np.uint16), args.windows)
        result["perplexity"][path.name.split(".")[0]] = {"value": round(value, 4), "tokens": tokens}
    if args.checkpoint:
        saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
        ours = Llama(saved["config"]["model"])
        ours.load_state_dict({k: v.half().float() for k, v in saved["model"].items()})
        ids = torch.randint(0, saved["config"]["model"]["vocab_size"], (2, 64))
        with torch.no_grad():
            a, b = ours(ids), model(input_ids=ids).logits
        result["logits_max_relative_difference"] = ((a - b).abs().max() / b.abs().max()).item()
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        out = model.generate(ids, max_new_tokens=40, do_sample=True, temperature=0.7, top_k=40, pad_token_id=1)
        result["samples"].append(tokenizer.decode(out[0], skip_special_tokens=True))
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
