"""Writes the model card: `card.py --model models/crayon-edge --checkpoint build/crayon-edge/checkpoint.pt --log build/crayon-edge/log.jsonl --check build/crayon-edge/check.json`.

--check is the JSON of check_hf.py; --finetune the finetune.json of the generalist; --scores a JSON of its suite scores.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch

FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--log")
    parser.add_argument("--check", required=True)
    parser.add_argument("--data", default="build/pretrain")
    parser.add_argument("--finetune")
    parser.add_argument("--scores")
    parser.add_argument("--note", default="", help="how it was reached: machine, hours, what was cut short")
    parser.add_argument("--grown-from")
    parser.add_argument("--command", action="append", default=[], help="a command of the generalist's training; repeatable")
    args = parser.parse_args()
    folder = Path(args.model)
    name = folder.name
    saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    check = json.loads(Path(args.check).read_text())
    corpus = json.loads((Path(args.data) / "corpus.json").read_text())
    config = saved["config"]["model"]
    # a run killed between two checkpoints logs some steps twice: the last word on a step counts
    curve = {}
    for line in Path(args.log).read_text().splitlines() if args.log else []:
        record = json.loads(line)
        if "loss" in record and record["step"] <= saved["step"]:
            curve[record["step"]] = (record["tokens"], record["loss"])
    shown = [curve[step] for i, step in enumerate(sorted(curve)) if i % max(1, len(curve) // 10) == 0 or i == len(curve) - 1]
    short = name.removeprefix("crayon-")
    lines = [
        "---", "license: apache-2.0", "language: en", "pipeline_tag: text-generation", "library_name: transformers", "---", "",
        f"# {name}", "",
        f"A Llama of {check['parameters'] / 1e6:.2f} million parameters ({config['layers']} layers, {config['hidden_size']} wide, "
        f"{config['heads']} heads of 32, feed-forward {config['intermediate_size']}, vocabulary {config['vocab_size']}, tied embeddings), stored in F16. "
        + ("The on-device model of crayon's quickstart: it knows simple English and the words of the suite, not the suite's answers. "
           if not args.finetune else
           "The larger model of crayon's quickstart: the generalist, fine-tuned on the training split of every task of the suite. ")
        + "For demonstrations and tests; of no use as a source of facts.", "",
        "## How it was reached", "",
        f"{saved['tokens']:,} tokens of pretraining, {saved['step']} steps of {saved['config']['rows']} x {saved['config']['sequence']} tokens, "
        f"seed {saved['seed']}, Muon for the matrices and AdamW for embeddings and norms, "
        + ("warm-up and stable (the fine-tuning decays)." if args.finetune else "warm-up, stable, decay.")
        + (f" Grown from {args.grown_from} (same function at first; wider and deeper)." if args.grown_from else ""),
    ]
    for stage in json.loads(Path(args.finetune).read_text())["stages"] if args.finetune else []:
        lines.append(f"Then {stage['steps']} steps of fine-tuning at {stage['parameters'] / 1e6:.2f} million parameters ({stage['examples']:,} examples, "
                     f"{stage['epochs']} epochs of the training splits; every fourth step a pretraining batch).")
    if args.note:
        lines.append(args.note)
    lines += ["", "| held-out text | perplexity (a token, transformers, float32) | tokens scored |", "|---|---|---|"]
    what = {"prose": "two whole novels (Treasure Island, A Little Princess)", "synthetic": "every 50th synthetic document"}
    for source, value in check["perplexity"].items():
        lines.append(f"| {what[source]} | {value['value']:.2f} | {value['tokens']:,} |")
    if shown:
        lines += ["", "Training loss (nats a token, mean over the logged interval):", "", "| tokens | loss |", "|---|---|"]
        lines += [f"| {tokens:,} | {loss:.3f} |" for tokens, loss in shown]
    if args.scores:
        lines += ["", "Accuracy on the first 100 items of each of the suite's test splits, zero-shot:", "", "| task | accuracy |", "|---|---|"]
        lines += [f"| {task} | {100 * score:.1f} |" for task, score in json.loads(Path(args.scores).read_text()).items()]
    lines += [
        "", "Samples (temperature 0.7, top 40, seed 0):", "", *[f"> {s.strip()}\n" for s in (x.replace("\n", " ") for x in check["samples"])],
        "## Data and licences", "",
        f"- Prose, {corpus['prose']['tokens']:,} tokens: {corpus['novels']} English novels published before 1924 (github.com/computationalstylistics/100_english_novels), "
        "authors who died before 1950; public domain in the United States and where protection lasts 70 years after death. Two of them are held out. "
        "With them the training problems of GSM8K (github.com/openai/grade-school-math, MIT).",
        f"- Synthetic, {corpus['synthetic']['tokens']:,} tokens: simple English by scripts/suite/corpus.ts (Apache-2.0), seeded, in the suite's vocabulary, its "
        "formats and its skills in other wordings; maps that decide an answer are random in every document.",
        "- In the synthetic text, first sentences of DBpedia articles without their labels (CC BY-SA 3.0, the DBpedia project and the authors of Wikipedia): those of the "
        "suite's training split and of the classes that the suite leaves out.",
        "- No held-out or test prompt of the suite stands in the text: scripts/pretrain/check_leak.py looks for all of them in the token files.",
    ]
    if not args.finetune:
        lines.append("- The answers of the suite's training split are not in the text either: they would give away before the first adapter what adapters are for.")
    lines += [
        "", "## Commands", "", "```sh",
        "npx tsx scripts/suite/generate.ts --dbpedia <O-LoRA>/CL_Benchmark/TC/dbpedia/test.json",
        "npx tsx scripts/suite/corpus.ts --dbpedia <O-LoRA>/CL_Benchmark/TC/dbpedia/test.json",
        "python scripts/pretrain/prepare.py --novels <100_english_novels>/corpus --gsm8k <grade-school-math>/grade_school_math/data/train.jsonl \\",
        "  --synthetic build/synthetic.jsonl --out build/pretrain",
    ]
    if args.finetune:
        lines += args.command + [f"python scripts/pretrain/export.py --checkpoint build/{name}-generalist/checkpoint.pt --out models/{name}"]
    else:
        lines += [f"python scripts/pretrain/pretrain.py --config scripts/pretrain/{short}.json --seed {saved['seed']}",
                  f"python scripts/pretrain/export.py --checkpoint build/{name}/checkpoint.pt --out models/{name}"]
    lines += [f"python scripts/pretrain/check_hf.py --model models/{name}", "```", "", "## Files", "", "| file | sha256 |", "|---|---|"]
    lines += [f"| {file} | {sha256(folder / file)} |" for file in FILES]
    (folder / "README.md").write_text("\n".join(lines) + "\n")
    print(f"{folder}/README.md: {len(lines)} lines")


if __name__ == "__main__":
    main()
