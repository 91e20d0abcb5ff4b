"""Ollama's own client for Python."""

import json

import ollama
from check import EXPECTED, MESSAGES, TASK, check_schema, end, raised, step

model, custom = TASK["model"], TASK["custom"]
client = ollama.Client(host=TASK["url"])
OPTIONS = {"temperature": 0, "repeat_penalty": 1, "num_predict": TASK["tokens"]}


@step("models")
def models():
    assert {f"{model}:latest", custom} <= {one.model for one in client.list().models}
    assert "completion" in client.show(model).capabilities
    assert len(client.ps().models) >= 2


@step("chat")
def chat():
    answer = client.chat(model=model, messages=MESSAGES, options=OPTIONS)
    assert answer.message.content == EXPECTED["model"]
    assert answer.done and answer.eval_count > 0 and answer.total_duration > 0


@step("stream")
def stream():
    parts = list(client.chat(model=f"{model}:latest", messages=MESSAGES, options=OPTIONS, stream=True))
    assert "".join(part.message.content for part in parts) == EXPECTED["model"]
    assert parts[-1].done and parts[-1].prompt_eval_count > 0


@step("customised")
def customised():
    assert client.chat(model=custom, messages=MESSAGES, options=OPTIONS).message.content == EXPECTED["custom"]


@step("generate")
def generate():
    answer = client.generate(model=model, prompt=TASK["prompt"], options=OPTIONS)
    assert answer.response == EXPECTED["model"]
    parts = client.generate(model=model, prompt=TASK["prompt"], options=OPTIONS, stream=True)
    assert "".join(part.response for part in parts) == EXPECTED["model"]


@step("embeddings")
def embeddings():
    assert len(client.embed(model=model, input=["a text", "another"]).embeddings) == 2


@step("errors")
def errors():
    missing = raised(ollama.ResponseError, lambda: client.chat(model="nope", messages=MESSAGES))
    assert missing.status_code == 404 and "nope" in missing.error
    hot = {"temperature": 9}
    wrong = raised(ollama.ResponseError, lambda: list(client.chat(model=model, messages=MESSAGES, options=hot, stream=True)))
    assert wrong.status_code == 400


@step("json_schema", needs="schema")
def json_schema():
    options = {**OPTIONS, "num_predict": 64}
    answer = client.chat(model=model, messages=MESSAGES, options=options, format=TASK["schema"])
    check_schema(json.loads(answer.message.content))


@step("tools", needs="tools")
def tools():
    offered = [{"type": "function", "function": {"name": "assign", "description": "x", "parameters": TASK["schema"]}}]
    options = {**OPTIONS, "num_predict": 64}
    answer = client.chat(model=model, messages=MESSAGES, options=options, tools=offered)
    for call in answer.message.tool_calls or []:
        check_schema(call.function.arguments)


end()
