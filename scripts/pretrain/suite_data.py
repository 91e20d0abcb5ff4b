"""The quickstart suite as token ids, and its two scores. Used by learnability.py and finetune.py."""

import json
from pathlib import Path

import torch

EOS = 1


def load_split(suite, task, split):
    return [json.loads(line) for line in open(Path(suite) / task / f"{split}.jsonl", encoding="utf-8")]


def task_names(suite):
    return sorted(path.parent.name for path in Path(suite).glob("*/test.jsonl"))


def encode(tokenizer, prompt, completion):
    """Ids of <s> prompt + completion, and how many of them are the prompt's (as lm-eval splits them)."""
    whole = tokenizer(prompt + completion).input_ids
    return whole, len(tokenizer(prompt).input_ids)


def collate(rows):
    """rows of (ids, prompt length) -> ids, targets (prompt and padding -1), attention mask; padded on the right."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), EOS)
    targets = torch.full((len(rows), width), -1)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, (row, start) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
        targets[i, start : len(row)] = ids[i, start : len(row)]
    return ids, targets, mask


def continues_word(tokenizer):
    """(V) bool: the token begins with a letter or digit, so it would go on with the word before it."""
    texts = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return torch.tensor([text[:1].isascii() and text[:1].isalnum() for text in texts])


@torch.no_grad()
def accuracy(model, tokenizer, items, batch_size=64):
    """Share of right answers.

    Multiple choice: the choice with the greatest summed log-probability. Generation: the greedy continuation is the
    completion, and does not go on with its last word. Greedy decoding yields the completion exactly when each of its
    tokens is the argmax after the true ones before it, so one forward pass is enough.
    """
    right = 0
    more = continues_word(tokenizer)
    rows, owners = [], []
    for i, item in enumerate(items):
        for completion in item.get("choices", [item["completion"]]):
            rows.append(encode(tokenizer, item["prompt"], completion))
            owners.append(i)
    # choices of one token share one forward pass
    scores = [[] for _ in items]
    single = all(len(ids) == start + 1 for ids, start in rows) and "choices" in items[0]
    if single:
        first = [rows[owners.index(i)] for i in range(len(items))]
        candidates = [[rows[j][0][-1] for j in range(len(rows)) if owners[j] == i] for i in range(len(items))]
        for at in range(0, len(items), batch_size):
            part = [(ids[:-1], len(ids) - 1) for ids, _ in first[at : at + batch_size]]
            ids, _, mask = collate(part)
            logits = model(input_ids=ids, attention_mask=mask).logits.float()
            for j, (row, _) in enumerate(part):
                best = logits[j, len(row) - 1, candidates[at + j]].argmax().item()
                right += best == items[at + j]["answer"]
        return right / len(items)
    for at in range(0, len(rows), batch_size):
        part = rows[at : at + batch_size]
        ids, _, mask = collate(part)
        logits = model(input_ids=ids, attention_mask=mask).logits.float()
        logprobs = logits.log_softmax(-1)
        for j, (row, start) in enumerate(part):
            target = ids[j, start : len(row)]
            if "choices" in items[0]:
                scores[owners[at + j]].append(logprobs[j, start - 1 : len(row) - 1].gather(1, target[:, None]).sum().item())
            else:
                greedy = logits[j, start - 1 : len(row)].argmax(-1)
                exact = torch.equal(greedy[:-1], target) and not more[greedy[-1]]
                right += bool(exact)
    if "choices" in items[0]:
        right = sum(max(range(len(s)), key=s.__getitem__) == item["answer"] for s, item in zip(scores, items))
    return right / len(items)
