"""Compares a quantised export of crayon's with what llama.cpp's own quantiser makes of the unquantised one.

    npx crayon export --gguf full.gguf --model MODEL --type F32
    npx crayon export --gguf ours.gguf --model MODEL --type Q4_K_M
    python scripts/peers/compare_quantised.py full.gguf ours.gguf DIR_OF_LLAMA_LIBRARIES

DIR_OF_LLAMA_LIBRARIES holds libllama and libggml, e.g. node_modules/@node-llama-cpp/linux-x64/bins/linux-x64. full.gguf must be exact (F32,
or F16 of float16 weights), since crayon quantises what the directory holds. Exits with 1 when a tensor's type or a byte differs,
or the metadata does.
"""

import ctypes
import sys
import tempfile
from pathlib import Path

from gguf import GGUFReader


class Parameters(ctypes.Structure):
    """`llama_model_quantize_params` of llama.h."""

    _fields_ = [
        ("nthread", ctypes.c_int32),
        ("ftype", ctypes.c_int),
        ("output_tensor_type", ctypes.c_int),
        ("token_embedding_type", ctypes.c_int),
        ("flags", ctypes.c_bool * 6),
        ("pointers", ctypes.c_void_p * 4),
        ("max_buf_size", ctypes.c_size_t),
    ]


def quantised_by_llama_cpp(libraries: Path, source: str, out: str, ftype: int) -> None:
    for pattern in ("libggml-base*", "libggml.*", "libllama.*"):
        library = ctypes.CDLL(str(sorted(libraries.glob(pattern))[0]), mode=ctypes.RTLD_GLOBAL)
    library.llama_model_quantize_default_params.restype = Parameters
    parameters = library.llama_model_quantize_default_params()
    parameters.ftype = ftype
    parameters.nthread = 1
    library.llama_backend_init()
    if library.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(parameters)) != 0:
        sys.exit("llama.cpp could not quantise")


def tensors(path):
    return {t.name: (t.tensor_type.name, [int(n) for n in t.shape], t.data.tobytes()) for t in GGUFReader(path).tensors}


def metadata(path):
    fields = GGUFReader(path).fields
    return {key: field.contents() for key, field in fields.items() if not key.startswith("GGUF.")}


def main():
    full, ours, libraries = sys.argv[1:4]
    ftype = metadata(ours)["general.file_type"]
    with tempfile.TemporaryDirectory() as directory:
        theirs = f"{directory}/theirs.gguf"
        quantised_by_llama_cpp(Path(libraries), full, theirs, ftype)
        a, b = tensors(ours), tensors(theirs)
        x, y = metadata(ours), metadata(theirs)
        keys = {key for key in x.keys() | y.keys() if x.get(key) != y.get(key)}
    types = sorted({kind for kind, _, _ in a.values()})
    other_type = sorted(name for name in a.keys() | b.keys() if a.get(name, [0])[0] != b.get(name, [1])[0])
    equal = sum(len(a[name][2]) for name in a if a[name] == b.get(name))
    total = sum(len(data) for _, _, data in a.values())
    print(f"file type {ftype}: {len(a)} tensors ({', '.join(types)}); other type: {', '.join(other_type) or 'none'};")
    print(f"  bytes in equal tensors: {equal} of {total}; metadata that differs: {', '.join(sorted(keys)) or 'none'}")
    sys.exit(0 if a == b and not keys else 1)


main()
