"""lm-evaluation-harness's own task files, rendered by lm-evaluation-harness: templates, records made up for their fields, and the
prompts, answers and right choices that its code makes of them. scripts/peers/lm-eval-tasks.ts renders the same and compares.

    python scripts/peers/lm_eval_tasks.py build/lm-eval-tasks.jsonl
    npx tsx scripts/peers/lm-eval-tasks.ts build/lm-eval-tasks.jsonl

The test suite's share, one in 40 with one record each:

    python scripts/peers/lm_eval_tasks.py test/fixtures/lm-eval/templates.jsonl 40

Needs lm_eval 0.4.13. Files with the same templates count once. Records are the same in each run: texts with quotes, line feeds,
letters beyond ASCII and digits; lists, whole numbers, floats, truth values; objects where a template takes parts of one.
"""

import json
import logging
import random
import re
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import jinja2
import lm_eval
import yaml
from jinja2 import meta, nodes
from lm_eval.api.task import ConfigurableTask, TaskConfig
from lm_eval.utils import env

logging.disable(logging.CRITICAL)
env.from_string = cache(env.from_string)  # compiled once: the rendering is theirs
TASKS = Path(lm_eval.__file__).parent / "tasks"
KEYS = ["output_type", "description", "doc_to_text", "doc_to_choice", "doc_to_target", "target_delimiter", "gen_prefix"]
# They need other code or other models, and stand before anything is rendered.
BLOCKERS = ["process_docs", "process_results", "use_prompt", "doc_to_image", "doc_to_audio", "custom_dataset", "class"]
TEXTS = ["plain words", "it's", 'a "quoted" word', "two\nlines", "naïve Ω 👍", "42", " led by space", "both ' and \"", "A", "B", "tab\tand \\", "x: y; z.", "True", "1.50"]
TRIES = 60
RECORDS = 3


def function(loader, node):
    return {"!function": loader.construct_scalar(node)}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    pass


Loader.add_constructor("!function", function)


@cache
def parsed(path):
    return yaml.load(path.read_bytes(), Loader=Loader)


def has_function(value):
    if isinstance(value, dict):
        return "!function" in value or any(map(has_function, value.values()))
    return isinstance(value, list) and any(map(has_function, value))


def resolved(path, seen=()):
    """The file with what it includes, functions unresolved."""
    config = dict(parsed(path.resolve()))
    merged = {}
    includes = config.pop("include", [])
    for name in includes if isinstance(includes, list) else [includes]:
        if str(path) in seen:
            raise ValueError("includes itself")
        merged.update(resolved(path.parent / name, (*seen, str(path))))
    return {**merged, **config}


def parts_of(tree, names):
    """Attributes and keys that templates take of fields, by field."""
    found = {}
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        if isinstance(node.node, nodes.Name) and node.node.name in names:
            key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
            if isinstance(key, str) and not hasattr(str, key) and not (hasattr(list, key) or key in ("items", "keys", "values", "get")):
                found.setdefault(node.node.name, set()).add(key)
    return found


def value(rng, parts):
    if parts and rng.random() < 0.9:
        return {key: value(rng, ()) for key in sorted(parts)}
    kind = rng.choice(["text", "text", "list", "whole", "whole", "list", "float", "bool"])
    if kind == "text":
        return rng.choice(TEXTS)
    if kind == "list":
        return rng.sample(TEXTS, rng.randint(2, 4))
    return {"whole": rng.randint(0, 3), "float": rng.choice([2.0, 0.5, 1e20]), "bool": rng.random() < 0.5}[kind]


def task_of(config, record):
    task = ConfigurableTask.__new__(ConfigurableTask)
    task._config = TaskConfig(**{key: config[key] for key in KEYS if config.get(key) is not None})
    task.OUTPUT_TYPE = task._config.output_type
    task.features = list(record)
    task.prompt = None
    task.multiple_input = task.multiple_target = 0
    task._metric_fn_list = {"acc": None}
    return task


def rendered(config, record):
    """What lm-evaluation-harness makes of a record, or an exception of its code."""
    task = task_of(config, record)
    prefix = task.doc_to_prefix(record)
    question = task.doc_to_text(record)
    target = task.doc_to_target(record)
    choices = task.doc_to_choice(record) if task._config.doc_to_choice is not None else None
    if isinstance(question, int):
        raise ValueError("several prompts")
    task.multiple_target = len(target) if isinstance(target, list) else 0
    context = task.fewshot_context(record, 0, gen_prefix=prefix)
    made = {"prompt": context}
    if task.OUTPUT_TYPE == "multiple_choice":
        requests = task.construct_requests(record, context)
        if any(not isinstance(choice, str) for choice in choices) or not isinstance(choices, (list, tuple)):
            raise ValueError("choices are no texts")
        made["choices"] = [request.args[1] for request in requests]
        gold = []
        for i in range(len(choices)):
            results = [(0.0 if i == j else -100.0, False) for j in range(len(choices))]
            if task.process_results(record, results)["acc"] == 1.0:
                gold.append(i)
        if not gold:
            raise ValueError("no choice is right")
        made["gold"] = gold
    elif task.OUTPUT_TYPE == "loglikelihood":
        target = task.construct_requests(record, context).args[1]
        if not isinstance(target, str):
            raise ValueError("the target is no text")
        made["completion"] = target
    else:
        answers = target if isinstance(target, list) else [target]
        made["answers"] = len(answers)
        answer = choices[target] if choices is not None and isinstance(target, int) else str(answers[0])
        about = task.resolve_field(record, task._config.description) or ""
        turn = task.build_qa_turn(q=question, c=None, a=answer, gen_prefix=prefix, tgt_delim=task._config.target_delimiter, few_delim="")
        made["whole"] = about + "".join(message.to_text() for message in turn)
    return made


def fields_of(config):
    """Names of fields that the templates use, and the parts that they take of them."""
    names, parts = set(), {}
    for key in KEYS[1:]:
        source = config.get(key)
        if not isinstance(source, str):
            continue
        if re.fullmatch(r"[A-Za-z_]\w*", source) and key not in ("description", "target_delimiter"):
            names.add(source)
            continue
        tree = env.parse(source)
        own = meta.find_undeclared_variables(tree) - set(env.globals)
        names |= own
        for name, found in parts_of(tree, own).items():
            parts.setdefault(name, set()).update(found)
    return sorted(names), parts


def main(out, every=1):
    counts, seen, rows = Counter(), {}, []
    for path in sorted(TASKS.rglob("*.yaml")):
        name = str(path.relative_to(TASKS))
        try:
            config = resolved(path)
        except Exception:
            counts["no task file (its include is none, or no mapping)"] += 1
            continue
        if "group" in config or isinstance(config.get("task"), list) or "task_list" in config or isinstance(config.get("tasks"), list):
            counts["group of tasks"] += 1
            continue
        blocker = next((key for key in BLOCKERS if key in config), None)
        if blocker is not None:
            counts[blocker] += 1
            continue
        if has_function({key: config.get(key) for key in KEYS}):
            counts["!function in a template"] += 1
            continue
        if "doc_to_text" not in config or "doc_to_target" not in config:
            counts["without doc_to_text or doc_to_target"] += 1
            continue
        config = {key: config[key] for key in KEYS if config.get(key) is not None}
        config.setdefault("output_type", "generate_until")
        key = json.dumps(config, sort_keys=True, default=str)
        if key in seen:
            seen[key]["files"] += 1
            counts["same templates as another"] += 1
            continue
        row = seen[key] = {"file": name, "files": 1, "config": config, "records": [], "expected": []}
        rows.append(row)
        try:
            names, parts = fields_of(config)
        except jinja2.TemplateError as error:
            row["error"] = type(error).__name__
            continue
        rng = random.Random(name)
        made = {True: [], False: []}
        for _ in range(TRIES):
            record = {field: value(rng, parts.get(field)) for field in names}
            try:
                expected = rendered(config, record)
            except Exception as error:
                row["error"] = f"{type(error).__name__}: {error}"[:100]
                continue
            # Records with one right answer rather than others.
            is_single = expected.get("answers", len(expected.get("gold", [0]))) == 1
            made[is_single].append((record, expected))
            if len(made[True]) == RECORDS:
                break
        chosen = made[True] or made[False][:RECORDS]
        row["records"], row["expected"] = ([pair[at] for pair in chosen] for at in (0, 1))
    counts["rendered, distinct templates"] = sum(1 for row in rows if row["records"])
    counts["not rendered by lm-evaluation-harness over any record made up"] = sum(1 for row in rows if not row["records"])
    for what, count in counts.most_common():
        print(f"{count:6} {what}")
    if every > 1:
        rows = [{**row, "records": row["records"][:1], "expected": row["expected"][:1]} for row in rows if row["records"]][::every]
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text("".join(json.dumps(row, ensure_ascii=True) + "\n" for row in rows))


main(sys.argv[1], *map(int, sys.argv[2:]))
