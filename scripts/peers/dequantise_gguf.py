"""A GGUF file as a Hugging Face directory in float32, by transformers' own dequantising loader.

    python scripts/peers/dequantise_gguf.py MODEL.gguf OUT

What crayon computes from a GGUF is compared with what it, or transformers, computes from this directory.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main(gguf: Path, out: Path) -> None:
    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    config = GgufConfig(gguf_file=gguf.name, dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, quantization_config=config)
    AutoTokenizer.from_pretrained(**where).save_pretrained(out)
    # The loader leaves its own quantisation_config behind, of weights that are plain floats now.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.is_quantized = False
    model.hf_quantizer = None
    model.save_pretrained(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
