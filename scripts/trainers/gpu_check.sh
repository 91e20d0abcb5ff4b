#!/usr/bin/env bash
# What a GPU makes of torch_trainer.py: a real job beside the losses of crayon's own engine, and the speed at SmolLM2-135M's shapes
# beside PEFT. Needs Python with torch, transformers, safetensors and peft; neither Node nor a network. A few minutes.
#
#   scripts/trainers/gpu_check.sh OUT [--tiny] [--device cpu]
#
# The job lies in gpu-job/; on a machine with Node this makes it:
#   npx tsx scripts/peers/torch-trainer.ts --data suite/quickstart.yaml --data suite/sentiment.yaml --data suite/date-iso.yaml \
#       --limit 300 --clusters 8 --rank 4 --batch-size 32 --steps 60 --keep gpu-job
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
PYTHONUNBUFFERED=1 exec "${PYTHON:-python3}" scripts/trainers/gpu_check.py --out "$@"
