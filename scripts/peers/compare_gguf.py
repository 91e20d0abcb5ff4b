"""Compares a GGUF file of crayon's with one of llama.cpp's converter, by Python's gguf: tensors byte for byte, metadata.

    python convert_hf_to_gguf.py MODEL --outtype f16 --outfile theirs.gguf     # llama.cpp
    npx crayon export --gguf ours.gguf --model MODEL --type F16
    python scripts/peers/compare_gguf.py ours.gguf theirs.gguf

Exits with 1 when a tensor differs. Metadata is listed: crayon leaves out the model card's, and adds what it knows.
"""

import sys

from gguf import GGUFReader


def tensors(reader):
    return {t.name: (t.tensor_type.name, [int(n) for n in t.shape], t.data.tobytes()) for t in reader.tensors}


def metadata(reader):
    return {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}


def main():
    ours, theirs = (GGUFReader(path) for path in sys.argv[1:3])
    a, b = tensors(ours), tensors(theirs)
    different = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
    print(f"{len(a)} tensors, {len(b)} in the converter's; different: {', '.join(different) or 'none'}")
    a, b = metadata(ours), metadata(theirs)
    for key in sorted(a.keys() | b.keys()):
        if a.get(key) != b.get(key):
            print(f"  {key}: {str(a.get(key))[:60]!r}, converter {str(b.get(key))[:60]!r}")
    sys.exit(1 if different else 0)


main()
