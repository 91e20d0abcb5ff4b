"""Proves that no held-out or test prompt of the suite stands in the pretraining text.

    python scripts/pretrain/check_leak.py --suite suite --synthetic build/synthetic.jsonl --tokens build/pretrain

Looks for every prompt as a substring (lower case, runs of other characters than letters and digits as one space) of
the synthetic documents and of the decoded token files themselves: what the model was fed, not what was meant for it.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from suite_data import load_split, task_names


def normalise(text):
    return " " + re.sub(r"[^a-z0-9]+", " ", text.lower()).strip() + " "


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="suite")
    parser.add_argument("--synthetic", default="build/synthetic.jsonl")
    parser.add_argument("--tokens", default="build/pretrain")
    args = parser.parse_args()
    prompts = {}
    for task in task_names(args.suite):
        for split in ("heldout", "test"):
            for item in load_split(args.suite, task, split):
                prompts[normalise(item["prompt"])] = (task, split, item["prompt"])
    # index by the first three words: one pass over the text, whatever the number of prompts
    width = 3
    index = {}
    for key in prompts:
        index.setdefault(" ".join(key.split()[:width]), []).append(key.strip())
    tokenizer = Tokenizer.from_file(str(Path(args.tokens) / "tokenizer" / "tokenizer.json"))
    texts = {"synthetic documents": (json.loads(line) for line in open(args.synthetic, encoding="utf-8"))}
    for name in ("prose", "synthetic"):
        ids = np.fromfile(Path(args.tokens) / f"{name}.bin", dtype=np.uint16)
        ends = np.flatnonzero(ids == tokenizer.token_to_id("</s>")) + 1
        texts[f"{name}.bin"] = (tokenizer.decode(part.tolist()) for part in np.split(ids, ends) if len(part))
    leaks = 0
    for name, documents in texts.items():
        words_seen = 0
        for document in documents:
            words = normalise(document).split()
            words_seen += len(words)
            for i in range(len(words) - width + 1):
                for key in index.get(" ".join(words[i : i + width]), ()):
                    if " ".join(words[i : i + len(key.split())]) == key:
                        leaks += 1
                        print(f"leak in {name}: {prompts[' ' + key + ' ']}")
        print(f"{name}: {words_seen} words looked through")
    print(f"{len(prompts)} held-out and test prompts, {leaks} found in the pretraining text")
    sys.exit(1 if leaks else 0)


if __name__ == "__main__":
    main()
