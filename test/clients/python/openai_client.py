"""The official client for Python: chat completions, completions, embeddings, and responses with its stream helper."""

import json

import openai
from check import EXPECTED, MESSAGES, TASK, check_schema, end, raised, step

model, custom, tokens = TASK["model"], TASK["custom"], TASK["tokens"]
client = openai.OpenAI(base_url=f"{TASK['url']}/v1", api_key="none", max_retries=0)
ASK = {"model": model, "messages": MESSAGES, "temperature": 0, "max_tokens": tokens}
RESPOND = {"model": model, "input": TASK["prompt"], "temperature": 0, "max_output_tokens": 16}
FORMAT = {"name": "team", "schema": TASK["schema"]}


@step("models")
def models():
    assert {model, custom} <= {one.id for one in client.models.list()}


@step("chat")
def chat():
    answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == EXPECTED["model"]
    assert answer.usage.completion_tokens > 0


@step("stream")
def stream():
    text = ""
    # The helper raises where an answer was cut off; a customised one ends by itself.
    ask = {**ASK, "model": custom, "stream_options": {"include_usage": True}}
    with client.chat.completions.stream(**ask) as events:
        for event in events:
            if event.type == "content.delta":
                text += event.delta
        final = events.get_final_completion()
    assert text == final.choices[0].message.content == EXPECTED["custom"]
    assert final.usage.total_tokens > 0


@step("customised")
def customised():
    answer = client.chat.completions.create(**{**ASK, "model": custom})
    assert answer.choices[0].message.content == EXPECTED["custom"]


@step("completions")
def completions():
    answer = client.completions.create(model=model, prompt=TASK["prompt"], temperature=0, max_tokens=tokens, logprobs=2)
    assert len(answer.choices[0].logprobs.tokens) > 0


@step("embeddings")
def embeddings():
    assert len(client.embeddings.create(model=model, input=["a text", "another"]).data) == 2


@step("errors")
def errors():
    missing = raised(openai.NotFoundError, lambda: client.chat.completions.create(**{**ASK, "model": "nope"}))
    assert missing.code == "model_not_found"
    wrong = raised(openai.BadRequestError, lambda: client.chat.completions.create(**{**ASK, "temperature": 9}))
    assert wrong.param == "temperature"


@step("responses")
def responses():
    whole = client.responses.create(**RESPOND)
    assert whole.status in ("completed", "incomplete")
    text = ""
    with client.responses.stream(**RESPOND) as events:
        for event in events:
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type in ("response.completed", "response.incomplete"):
                final = event.response
    assert text == whole.output_text == final.output_text
    raised(openai.BadRequestError, lambda: client.responses.create(**RESPOND, previous_response_id=whole.id))


@step("json_schema", needs="schema")
def json_schema():
    answer = client.chat.completions.create(
        **{**ASK, "max_tokens": 64}, response_format={"type": "json_schema", "json_schema": FORMAT}
    )
    check_schema(json.loads(answer.choices[0].message.content))
    text = {"format": {"type": "json_schema", **FORMAT}}
    check_schema(json.loads(client.responses.create(**{**RESPOND, "max_output_tokens": 64}, text=text).output_text))


@step("tools", needs="tools")
def tools():
    offered = [{"type": "function", "function": {"name": "assign", "parameters": TASK["schema"]}}]
    answer = client.chat.completions.create(**{**ASK, "max_tokens": 64}, tools=offered, tool_choice="required")
    check_schema(json.loads(answer.choices[0].message.tool_calls[0].function.arguments))
    flat = [{"type": "function", "name": "assign", "parameters": TASK["schema"], "strict": False}]
    response = client.responses.create(**{**RESPOND, "max_output_tokens": 64}, tools=flat, tool_choice="required")
    check_schema(json.loads(next(item for item in response.output if item.type == "function_call").arguments))


end()
