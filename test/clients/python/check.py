"""What the scripts of Python's clients share: the task, and steps that are told as JSON lines."""

import json
import os
import sys
import traceback

TASK = json.loads(os.environ["CRAYON_CLIENT_TASK"])
MESSAGES = [{"role": "user", "content": TASK["prompt"]}]
EXPECTED = TASK["expected"]


def step(name, needs=None):
    """Runs what it decorates. `needs`: what the server must have, `schema` or `tools`."""

    def run(function):
        outcome = {"ok": True}
        if needs is not None and not TASK["has"][needs]:
            outcome = {"skipped": "the server has none"}
        else:
            try:
                function()
            except BaseException as error:  # a client may raise what is no Exception
                outcome = {"failed": f"{type(error).__name__}: {error} {traceback.format_exc()[-600:]}"}
        print(json.dumps({"step": name, **outcome}, separators=(",", ":")), flush=True)
        run.failed = run.failed or "failed" in outcome

    run.failed = getattr(step, "failed", False)

    def recorded(function):
        run(function)
        step.failed = run.failed

    return recorded


def end():
    sys.exit(1 if getattr(step, "failed", False) else 0)


def raised(kind, function):
    """The error of that kind which a call raises."""
    try:
        function()
    except kind as error:
        return error
    raise AssertionError("nothing was raised")


def check_schema(value):
    schema = TASK["schema"]
    assert sorted(value) == sorted(schema["required"]), value
    assert value["team"] in schema["properties"]["team"]["enum"], value
    assert isinstance(value["sure"], bool), value
