"""Writes a checkpoint as a Hugging Face directory: `export.py --checkpoint build/crayon-edge/checkpoint.pt --out models/crayon-edge`.

config.json, model.safetensors (F16), tokenizer files, generation_config.json. The model card is written by card.py.
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from model import Llama, hf_config, to_hf


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--tokenizer", default="build/pretrain/tokenizer")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    saved = torch.load(args.checkpoint, map_location="cpu", weights_only=True)
    model = Llama(saved["config"]["model"])
    model.load_state_dict(saved["model"])
    state = {name: tensor.half() for name, tensor in to_hf(model).items()}
    bad = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    assert not bad, f"not finite in float16: {bad}"
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(hf_config(saved["config"]["model"]), indent=2) + "\n")
    generation = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    (out / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    for path in Path(args.tokenizer).iterdir():
        shutil.copy(path, out / path.name)
    print(f"{out}: {sum(t.numel() for t in state.values()) / 1e6:.2f} M parameters, step {saved['step']}, {saved['tokens']} tokens")


if __name__ == "__main__":
    main()
