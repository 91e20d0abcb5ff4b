"""Zero-shot accuracy of a model on every task's test split: `score_suite.py --model models/crayon-server --out build/server-scores.json`."""

import argparse
import json
import os
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from learnability import scorer
from model import from_hf
from suite_data import accuracy, load_split, task_names


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--suite", default="suite")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--out")
    args = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))
    folder = Path(args.model)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    model = from_hf(load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text()))
    scores = {task: accuracy(scorer(model), tokenizer, load_split(args.suite, task, "test")[: args.limit]) for task in task_names(args.suite)}
    print(json.dumps(scores, indent=2))
    if args.out:
        Path(args.out).write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
