"""Builds the tokenizer and the token files that pretrain.py reads.

    python scripts/pretrain/prepare.py --novels <folder of .txt> --gsm8k <train.jsonl> \
        --synthetic build/synthetic.jsonl --out build/pretrain

Prose: novels published before 1924 whose author died before 1950, plus the word problems of GSM8K (MIT).
Synthetic: the documents that scripts/suite/corpus.ts wrote.
Held out: two whole novels, and every 50th synthetic document.
Token files are raw uint16, documents as <s> text </s> one after the other.
"""

import argparse
import json
import re
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

HELDOUT_NOVELS = {"Stevenson_Treasure_1883", "Burnett_Princess_1905"}
LAST_YEAR = 1923
DIED_AFTER_1950 = {"Forster"}  # the only author of the collection to whom this applies
VOCAB_SIZE = 3072
PARAGRAPHS_PER_DOCUMENT = 12

ASCII = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "--",
                       "\u00a0": " ", "\ufeff": "", "\u2026": "...", "\u00e6": "ae", "\u0153": "oe"})

def clean(text):
    """Plain quotes and dashes, paragraphs on one line, no page furniture."""
    text = text.translate(ASCII).replace("\r\n", "\n")
    text = re.sub(r"_([^_\n]{1,200})_", r"\1", text)
    # some files break their lines at about 70 characters, in others a line is a paragraph
    wrapped = max(map(len, text.split("\n"))) < 200
    paragraphs = [re.sub(r"\s+", " ", p).strip() for p in re.split(r"\n\s*\n|\n(?=[ \t])" if wrapped else r"\n+", text)]
    # headings, rules and pages of a table of contents are short and have no full stop
    return [p for p in paragraphs if len(p) > 20 and re.search(r"[.!?\"'-]$", p)]


def novels(folder):
    """Yields (name, documents of some paragraphs each)."""
    for path in sorted(Path(folder).glob("*.txt")):
        author, _, year = path.stem.split("_")
        if int(year) > LAST_YEAR or author in DIED_AFTER_1950:
            continue
        paragraphs = clean(path.read_text(encoding="utf-8", errors="replace"))
        starts = range(0, len(paragraphs), PARAGRAPHS_PER_DOCUMENT)
        yield path.stem, ["\n".join(paragraphs[i : i + PARAGRAPHS_PER_DOCUMENT]) for i in starts]


def word_problems(path):
    for line in open(path, encoding="utf-8"):
        record = json.loads(line)
        answer = re.sub(r"<<[^>]*>>", "", record["answer"]).replace("#### ", "The answer is ")
        yield f"{record['question']}\n{answer}.".translate(ASCII)


def train_tokenizer(documents):
    """Byte-level BPE; every digit is a token, so numbers are spelt alike wherever they stand."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 0)]
    )
    return tokenizer


def save_tokenizer(tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "</s>",
        "add_bos_token": True,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def write_tokens(tokenizer, documents, path):
    eos = tokenizer.token_to_id("</s>")
    count = 0
    with open(path, "wb") as out:
        for i in range(0, len(documents), 1000):
            for encoding in tokenizer.encode_batch(documents[i : i + 1000]):
                ids = np.array([*encoding.ids, eos], dtype=np.uint16)
                ids.tofile(out)
                count += len(ids)
    return count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--novels", required=True)
    parser.add_argument("--gsm8k", required=True)
    parser.add_argument("--synthetic", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)

    texts = {"prose": [], "prose.heldout": [], "synthetic": [], "synthetic.heldout": []}
    count_novels = 0
    for name, documents in novels(args.novels):
        texts["prose.heldout" if name in HELDOUT_NOVELS else "prose"].extend(documents)
        count_novels += 1
    texts["prose"].extend(word_problems(args.gsm8k))
    for i, line in enumerate(open(args.synthetic, encoding="utf-8")):
        texts["synthetic.heldout" if i % 50 == 0 else "synthetic"].append(json.loads(line))

    # the tokenizer sees a third of the prose and a fifth of the synthetic text: enough for 3,072 merges
    tokenizer = train_tokenizer(texts["prose"][::3] + texts["synthetic"][::5])
    save_tokenizer(tokenizer, out / "tokenizer")
    report = {"novels": count_novels, "vocab_size": tokenizer.get_vocab_size()}
    for name, documents in texts.items():
        tokens = write_tokens(tokenizer, documents, out / f"{name}.bin")
        report[name] = {"documents": len(documents), "bytes": sum(len(d.encode()) for d in documents), "tokens": tokens}
    (out / "corpus.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
