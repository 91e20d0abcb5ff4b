"""LlamaIndex: OpenAILike, and Ollama."""

from check import EXPECTED, TASK, end, step
from llama_index.core.llms import ChatMessage
from llama_index.llms.ollama import Ollama
from llama_index.llms.openai_like import OpenAILike

CONTEXT = 512  # the embedded model's
MESSAGES = [ChatMessage(role="user", content=TASK["prompt"])]


def openai_like(model=TASK["model"]):
    return OpenAILike(
        model=model,
        api_base=f"{TASK['url']}/v1",
        api_key="none",
        is_chat_model=True,
        context_window=CONTEXT,
        temperature=0,
        max_tokens=TASK["tokens"],
        max_retries=0,
    )


def ollama(model=TASK["model"]):
    options = {"num_predict": TASK["tokens"], "repeat_penalty": 1}
    return Ollama(
        model=model, base_url=TASK["url"], temperature=0, context_window=CONTEXT, additional_kwargs=options
    )


for name, make in (("openai-like", openai_like), ("ollama", ollama)):

    @step(f"{name}: chat")
    def chat():
        assert make().chat(MESSAGES).message.content == EXPECTED["model"]

    @step(f"{name}: stream")
    def stream():
        assert "".join(part.delta or "" for part in make().stream_chat(MESSAGES)) == EXPECTED["model"]

    @step(f"{name}: customised")
    def customised():
        assert make(TASK["custom"]).chat(MESSAGES).message.content == EXPECTED["custom"]

    @step(f"{name}: errors")
    def errors():
        try:
            make("nope").chat(MESSAGES)
        except Exception as error:
            assert "nope" in str(error), error
            return
        raise AssertionError("nothing was raised")


end()
