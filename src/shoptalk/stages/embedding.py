"""Sources to vectors on disk: what `shoptalk embed` does."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shoptalk.artifact import storage_errors
from shoptalk.config import Config
from shoptalk.curate.curate import to_corpus
from shoptalk.curate.sources import read_sources
from shoptalk.errors import InputError
from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import embed
from shoptalk.stages.world import best_device


def embed_sources(model: str, sources: Sequence[Path], out: Path, config: Config) -> int:
    """Write float32 unit vectors [texts, dimensions] of every turn and passage, and `OUT.jsonl` with their texts.

    Nothing is deduplicated: row i of the array is line i of the JSONL file. Returns the number of rows.
    """
    if out.suffix != ".npy":
        raise InputError(f"--out {out}: expected a file that ends in .npy.")
    documents, _ = read_sources(sources, config.curate)
    corpus = to_corpus(documents, digest="", passage_characters=config.curate.passage_characters)
    product = open_base(model)
    product.encoder.to(best_device())
    vectors = embed(product, corpus.texts)
    with storage_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = out.with_name(f".{out.name}")
        np.save(temporary.with_suffix(".npy"), vectors)
        with out.with_suffix(".jsonl").open("w", encoding="utf-8", errors="surrogatepass") as file:
            for text, document, turn in zip(corpus.texts, corpus.conversation, corpus.turn, strict=True):
                row = {"id": documents[int(document)].id, "turn": int(turn), "text": text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        temporary.replace(out)
    return len(vectors)
