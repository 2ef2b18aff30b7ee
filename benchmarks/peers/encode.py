"""`SentenceTransformer.encode`: at its defaults (float32, batches of 32), or with a type and a batch size."""

import argparse
import time

import numpy as np
import torch
from common import read_texts, report
from sentence_transformers import SentenceTransformer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a sentence-transformers folder")
    parser.add_argument("--texts", required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--vectors", help="where to leave the vectors of the first texts")
    given = parser.parse_args()
    options: dict[str, object] = {"attn_implementation": given.attention}
    if given.bf16:
        options["dtype"] = torch.bfloat16
    model = SentenceTransformer(given.model, model_kwargs=options)
    model.max_seq_length = given.max_length
    texts = read_texts(given.texts)
    rows = model.tokenizer(texts, truncation=True, max_length=given.max_length)["input_ids"]
    model.encode(texts[: 2 * given.batch], batch_size=given.batch)  # warm-up
    begun = time.perf_counter()
    vectors = model.encode(texts, batch_size=given.batch)
    seconds = time.perf_counter() - begun
    if given.vectors:
        np.save(given.vectors, np.asarray(vectors[:1000], dtype=np.float32))
    tokens = sum(len(row) for row in rows)
    report(real_tokens=tokens, seconds=seconds, tokens_per_second=tokens / seconds, losses=[])


if __name__ == "__main__":
    main()
