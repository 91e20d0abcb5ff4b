"""lm-evaluation-harness beside crayon, on one table: the same examples scored by

- lm_eval's own `hf` model (transformers, with the adapter through PEFT), in float32,
- lm_eval's `local-completions` against `crayon serve-edge`, which is what a user's device serves,
- `crayon score --through both`: our float32 forward pass, and the engine.

Needs lm_eval, transformers, peft, datasets, aiohttp and tenacity. Nothing is fetched: the data are JSONL files of this repository.

    python scripts/peers/lm_eval_table.py --model models/crayon-edge --pool models/crayon-edge-pool \
        --examples suite/examples/bank.jsonl --data suite/route-bank/test.jsonl --type F32
    python scripts/peers/lm_eval_table.py --model SmolLM2.gguf --hf SmolLM2-dequantised --data suite/intent/test.jsonl --limit 40

    python scripts/peers/lm_eval_table.py --model SmolLM2.gguf --hf SmolLM2-dequantised --pool pools/smollm2 --examples agnews.jsonl \
        --data agnews-test.jsonl --chat

`--chat` puts every prompt through the model's chat template (lm_eval's `--apply_chat_template`): for a pool that was trained in that form. lm_eval counts
the white space that ends the rendered prompt as the beginning of the answer, crayon as the end of the prompt: the same summand for
every choice of a question, which is taken out before the two are compared.

`--hf` is a Hugging Face directory of the same weights where --model is a GGUF. Exits 1 past --tolerance: the largest difference
of a choice's log-probability between lm_eval's two models, in nats: by default 0.02 for weights served in floating point (keys and
values are kept in half precision) and 0.6 for quantised ones (llama.cpp's kernels round activations to 8 bits too).
OMP_NUM_THREADS=1 makes transformers several times faster on a machine that is busy.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
ROOT = Path(__file__).resolve().parents[2]
CRAYON = ["npx", "tsx", str(ROOT / "bin" / "crayon.ts")]


def crayon(*args):
    """The command's standard output; its complaints on failure."""
    done = subprocess.run([*CRAYON, *map(str, args)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        sys.exit(f"crayon {args[0]} failed:\n{done.stderr}")
    return done.stdout


class Server:
    """`crayon serve-edge` on a free port, until the block ends."""

    def __init__(self, *args):
        command = [*CRAYON, "serve-edge", "--port", "0", *map(str, args)]
        # A group of its own: npx starts children.
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True)

    def __enter__(self):
        said = ""
        for line in self.process.stderr:
            said += line
            if found := re.search(r"Listens +(http\S+)", said):
                import threading

                threading.Thread(target=self.process.stderr.read, daemon=True).start()
                return found.group(1)
        sys.exit(f"serve-edge did not start:\n{said}")

    def __exit__(self, *_):
        os.killpg(self.process.pid, 15)
        self.process.wait()


def write_tasks(folder, records):
    """The records as lm-eval's tasks: multiple choice, and generation until a line ends."""
    data = folder / "test.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    common = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        "target_delimiter": "",
    }
    choice = {
        **common,
        "task": "crayon_choice",
        "output_type": "multiple_choice",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    generate = {
        **common,
        "task": "crayon_generate",
        "output_type": "generate_until",
        "doc_to_target": "{{completion}}",
        "generation_kwargs": {"until": ["\n", "."], "do_sample": False, "max_gen_toks": 8},
        # The space before the answer is no part of an answer in a conversation.
        "metric_list": [{"metric": "exact_match", "regexes_to_ignore": ["^\\s+"]}],
    }
    for task in (choice, generate):
        # JSON is YAML; lm-eval looks for this ending.
        (folder / f"{task['task']}.yaml").write_text(json.dumps(task))
    return data


def evaluate(folder, model, args, tasks, chat=False):
    import lm_eval
    from lm_eval.tasks import TaskManager

    found = lm_eval.simple_evaluate(
        model=model,
        model_args=args,
        tasks=tasks,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        log_samples=True,
        batch_size=16 if model == "hf" else 1,
        bootstrap_iters=0,
        apply_chat_template=chat or model == "local-chat-completions",
    )
    metrics = {
        name.split(",")[0]: value
        for task in tasks
        for name, value in found["results"][task].items()
        if isinstance(value, float) and "stderr" not in name
    }
    by_doc = {task: sorted(found["samples"][task], key=lambda sample: sample["doc_id"]) for task in tasks}
    return metrics, by_doc


def centred(rows):
    return [[x - sum(row) / len(row) for x in row] for row in rows]


def differences(name, one, other):
    gaps = [abs(a - b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)]
    best = [max(range(len(x)), key=x.__getitem__) for x in one]
    others = [max(range(len(x)), key=x.__getitem__) for x in other]
    agree = sum(a == b for a, b in zip(best, others, strict=True)) / len(best)
    return [name, f"{max(gaps):.2e}", f"{sum(gaps) / len(gaps):.2e}", f"{100 * agree:.1f} %"], max(gaps)


def table(head, rows):
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    print("\n".join(lines) + "\n", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--hf")
    parser.add_argument("--pool")
    parser.add_argument("--examples")
    parser.add_argument("--data", action="append", required=True)
    parser.add_argument("--type", default="F16")
    parser.add_argument("--limit", type=int, default=60, help="records of each file")
    parser.add_argument("--tolerance", type=float)
    parser.add_argument("--tokenizer", choices=["huggingface", "remote"], default="huggingface")
    parser.add_argument("--chat", action="store_true", help="through the model's chat template")
    parser.add_argument("--add-bos", action="store_true", help="as hf does for tokenizers with add_bos_token")
    args = parser.parse_args()
    model = Path(args.model).resolve()
    hf = Path(args.hf or args.model).resolve()
    is_float = model.is_dir() and args.type in ("F32", "F16", "BF16")
    tolerance = args.tolerance if args.tolerance is not None else 0.02 if is_float else 0.6

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ.setdefault("HF_DATASETS_CACHE", str(folder / "datasets"))
        records = [
            record
            for path in args.data
            for record in [json.loads(line) for line in Path(path).read_text().splitlines()][: args.limit]
        ]
        if args.chat:
            # The space that sets an answer off from a plain prompt is no part of an assistant's turn.
            for record in records:
                record["choices"] = [choice.lstrip() for choice in record["choices"]]
                record["completion"] = record["choices"][record["answer"]]
        data = write_tasks(folder, records)
        adapter = None
        if args.pool:
            adapter = folder / "blend"
            crayon("blend", "--pool", args.pool, "--examples", args.examples, "--out", adapter, "--model", model)
        with_adapter = ["--adapter", adapter] if adapter else []
        tasks = ["crayon_choice", "crayon_generate"]

        peft = {"peft": str(adapter)} if adapter else {}
        ours, ours_samples = evaluate(
            folder, "hf", {"pretrained": str(hf), "dtype": "float32", "device": "cpu", **peft}, tasks, args.chat
        )
        with Server("--model", model, *with_adapter, "--type", args.type, "--mode", "only_on_device") as url:
            import requests

            name = requests.get(f"{url}/v1/models", timeout=60).json()["data"][0]["id"]
            info = requests.get(f"{url}/tokenizer_info", timeout=60).json()
            served_args = {
                "model": name,
                "base_url": f"{url}/v1/completions",
                "max_length": info["model_max_length"],
                **({"tokenizer_backend": "remote"} if args.tokenizer == "remote" else {"tokenizer": str(hf)}),
                # Of a conversation lm_eval makes a text only where it has the tokenizer itself.
                **({"tokenizer_backend": "huggingface"} if args.chat else {}),
                "add_bos_token": args.add_bos,
            }
            served, served_samples = evaluate(folder, "local-completions", served_args, tasks, args.chat)
            chat_args = {"model": name, "base_url": f"{url}/v1/chat/completions", "eos_string": info["eos_token"]}
            chat, _ = evaluate(folder, "local-chat-completions", chat_args, ["crayon_generate"])
        report = json.loads(
            crayon("score", "--model", model, *with_adapter, "--data", data, "--through", "both", "--type", args.type, "--prompt-form", "chat" if args.chat else "plain", "--json")
        )

        def of(samples):
            return [[resp[0] for resp in sample["filtered_resps"]] for sample in samples["crayon_choice"]]

        forward = [one["choices"] for one in report["forward"]["perExample"]]
        engine = [one["choices"] for one in report["engine"]["perExample"]]
        print(f"{len(records)} examples; {args.model}, served as {args.type if model.is_dir() else 'it is'}\n")
        columns = ["acc", "acc_norm", "exact_match"]
        table(
            ["scored by", *columns],
            [
                [title, *(f"{100 * found[c]:.1f} %" if c in found else "" for c in columns)]
                for title, found in [
                    ("lm_eval hf, float32", ours),
                    ("lm_eval local-completions, served", served),
                    ("lm_eval local-chat-completions, served", chat),
                    ("crayon score, float32", {"acc": report["forward"]["acc"], "acc_norm": report["forward"]["accNorm"]}),
                    ("crayon score, served", {"acc": report["engine"]["acc"], "acc_norm": report["engine"]["accNorm"]}),
                ]
            ],
        )
        same = [
            a["filtered_resps"][0] == b["filtered_resps"][0]
            for a, b in zip(ours_samples["crayon_generate"], served_samples["crayon_generate"], strict=True)
        ]
        alike = centred if args.chat else list  # see --chat
        first, gap = differences("lm_eval: local-completions and hf", of(served_samples), of(ours_samples))
        rows = [
            first,
            differences("float32: crayon score and lm_eval hf", alike(forward), alike(of(ours_samples)))[0],
            differences(
                "served: crayon score and lm_eval local-completions", alike(engine), alike(of(served_samples))
            )[0],
            differences("crayon score: served and float32", engine, forward)[0],
        ]
        table(["log-probability of a choice", "largest difference", "mean", "same choice"], rows)
        print(f"generated texts alike: {sum(same)} of {len(same)}")
        if gap > tolerance:
            sys.exit(f"the largest difference, {gap:.2e}, is above {tolerance}")


main()
