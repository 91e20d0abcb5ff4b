"""Log-probabilities of fixed texts by transformers, from a GGUF file that its own loader dequantises to float32.

    python scripts/peers/gguf_logprobs.py MODEL.gguf OUT.safetensors

For each text i: `ids.i` (T), as the file's tokenizer gives them, and `logprobs.i` (T, V), float32; the texts themselves are
the file's metadata. gguf-logprobs.ts compares crayon's with them.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

TEXTS = [
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "What is the topic of the following paragraph? Choose one from the option.\nOption: World, Sports, Business, Science or"
    " Technology \nStocks rose on Tuesday after the central bank left its rates at 4.25 % for the third time.\nAnswer: Business",
    "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n",
    "Über den Wolken muss die Freiheit wohl grenzenlos sein. 漢字 naïve café 😀 1234567890",
    # Long enough for positions beyond a hundred.
    " ".join(f"{i} times {i + 3} is {i * (i + 3)}." for i in range(1, 17)),
]


def main(gguf: Path, out: Path) -> None:
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    config = GgufConfig(gguf_file=gguf.name, dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        **where, dtype=torch.float32, quantization_config=config, attn_implementation="eager"
    ).eval()
    tensors = {}
    for i, text in enumerate(TEXTS):
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            logits = model(ids).logits[0].float()
        tensors[f"ids.{i}"] = ids[0].to(torch.int32)
        tensors[f"logprobs.{i}"] = torch.log_softmax(logits, dim=-1).contiguous()
    save_file(tensors, out, {"texts": json.dumps(TEXTS), "transformers": transformers.__version__})
    print(f"{out}: {sum(t.shape[0] for n, t in tensors.items() if n.startswith('ids'))} tokens")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
