"""lm-evaluation-harness: the models behind its `local-completions` and `local-chat-completions`, without a task."""

import json

from check import EXPECTED, TASK, end, step
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

GENERATION = {"until": ["\n\n\n"], "max_gen_toks": TASK["tokens"], "temperature": 0}
COMMON = {"model": TASK["custom"], "num_concurrent": 1, "max_retries": 1, "max_length": 512}


def instance(kind, *args):
    return Instance(request_type=kind, doc={}, arguments=args, idx=0)


@step("local-completions")
def completions():
    model = LocalCompletionsAPI(base_url=f"{TASK['url']}/v1/completions", tokenizer_backend="remote", **COMMON)
    choices = [instance("loglikelihood", TASK["prompt"], f" {team}") for team in ("Red", "Blue", "Black")]
    scores = model.loglikelihood(choices)
    assert len(scores) == 3 and all(logprob < 0 for logprob, _ in scores), scores
    best = max(range(3), key=lambda i: scores[i][0])
    assert EXPECTED["custom"].strip().startswith(("Red", "Blue", "Black")[best]), (scores, EXPECTED)
    texts = model.generate_until([instance("generate_until", TASK["prompt"], dict(GENERATION))])
    assert len(texts) == 1 and texts[0].strip() != ""


@step("local-chat-completions")
def chat():
    model = LocalChatCompletion(base_url=f"{TASK['url']}/v1/chat/completions", **COMMON)
    rendered = model.apply_chat_template([{"role": "user", "content": TASK["prompt"]}])
    texts = model.generate_until([instance("generate_until", rendered, dict(GENERATION))])
    assert texts == [EXPECTED["custom"]], (texts, json.dumps(EXPECTED))


end()
