"""PEFT's add_weighted_adapter on a pool of adapters: the peer of benchmarks/combine.ts, which starts it.

    python benchmarks/combine_peft.py --pool <dir> --coefficients 0.1,0.9,... --svd-rank 16 [--full-matrices] [--check-cat <dir>]

The pool is in memory before the clock starts; only add_weighted_adapter is timed, nothing is written. The base model has
Qwen2.5-0.5B's layers and a small vocabulary, which takes no part in the work. Prints one JSON line.
"""

import argparse
import json
import os
import time

import peft
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file
from transformers import Qwen2Config, Qwen2ForCausalLM


def base_model():
    config = Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=512,
        tie_word_embeddings=True,
    )
    with torch.device("cpu"):
        return Qwen2ForCausalLM(config)


def timed(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def largest_difference(model, name, ours):
    """Largest |our delta - PEFT's delta| / |PEFT's delta| over all modules."""
    tensors = load_file(os.path.join(ours, "adapter_model.safetensors"))
    worst = 0.0
    for path, module in model.base_model.model.named_modules():
        if not hasattr(module, "lora_A") or name not in module.lora_A:
            continue
        a, b = (tensors[f"base_model.model.{path}.lora_{side}.weight"] for side in "AB")
        theirs = (module.lora_B[name].weight @ module.lora_A[name].weight).detach() * module.scaling[name]
        worst = max(worst, float(torch.linalg.norm(b @ a - theirs) / torch.linalg.norm(theirs)))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", required=True)
    parser.add_argument("--coefficients", required=True)
    parser.add_argument("--svd-rank", type=int, default=16)
    parser.add_argument("--full-matrices", action="store_true", help="PEFT's default; slower, same result")
    parser.add_argument("--skip-svd", action="store_true")
    parser.add_argument("--repeat-cat", type=int, default=3)
    parser.add_argument("--check-cat")
    parser.add_argument("--check-svd")
    options = parser.parse_args()
    weights = [float(value) for value in options.coefficients.split(",")]
    names = [str(n) for n in range(len(weights))]

    model = PeftModel.from_pretrained(base_model(), os.path.join(options.pool, names[0]), adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(os.path.join(options.pool, name), adapter_name=name)

    result = {
        "peft": peft.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "threads": torch.get_num_threads(),
    }
    with torch.no_grad():
        result["cat_seconds"] = []
        for i in range(options.repeat_cat):
            blend = f"cat{i}"
            result["cat_seconds"].append(
                timed(lambda: model.add_weighted_adapter(names, weights, blend, combination_type="cat"))
            )
            if i == 0 and options.check_cat:
                result["cat_difference"] = largest_difference(model, blend, options.check_cat)
            model.delete_adapter(blend)
        if not options.skip_svd:
            result["svd_full_matrices"] = options.full_matrices
            result["svd_seconds"] = timed(
                lambda: model.add_weighted_adapter(
                    names,
                    weights,
                    "svd",
                    combination_type="svd",
                    svd_rank=options.svd_rank,
                    svd_full_matrices=options.full_matrices,
                )
            )
            if options.check_svd:
                result["svd_difference"] = largest_difference(model, "svd", options.check_svd)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
