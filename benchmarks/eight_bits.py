"""What do weights of 8 bits cost and save? `python -m benchmarks.eight_bits [--base smollm2] [--documents 100]`.

Bits per byte of documents and of general text by float32 weights, in bfloat16, and with the matrices rounded to 8 bits;
the size of each on disk; and how fast one token follows another, which is what generating costs, beside a prompt of a
few hundred tokens read at once. Speeds are medians of five, in the same process, in turn. Prints a Markdown table.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import data, table
from shoptalk.nn.bases import open_model
from shoptalk.nn.encoder import evaluating
from shoptalk.nn.int8_weights import round_matrices
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.precision import Precision, autocast
from shoptalk.probes.bits_per_byte import general_bits

FORMS: tuple[tuple[str, bool, Precision], ...] = (
    ("float32", False, "float32"),
    ("bfloat16", False, "bfloat16"),
    ("int8 weights, float32", True, "float32"),
    ("int8 weights, bfloat16", True, "bfloat16"),
)
CHARACTERS = 1_600
ROUNDS, TOKENS = 5, 32
PROMPT = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="smollm2", help="a language model")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=TOKENS, help="that follow one another, in each round")
    given = parser.parse_args()
    opened = open_model(given.base)
    assert isinstance(opened, LanguageModel)
    documents = [
        row["text"][:CHARACTERS] for row in data.rows("docs/postgresql15.jsonl.gz")[:: 3_750 // given.documents]
    ]
    models = {name: model_of(opened, is_small, precision) for name, is_small, precision in FORMS}
    seconds = timed(models, tokens=given.tokens)
    print(f"{table.hardware()}\n\n{table.versions()}\n")
    print("| weights | bits per byte, documents | general text | MB on disk | tokens a second, one by one | prompt |")
    print("|---|---|---|---|---|---|")
    for name, model in models.items():
        bits = [general_bits(texts)(model).value for texts in (documents, None)]
        following, reading = (statistics.median(each) for each in seconds[name])
        print(
            f"| {name} | {bits[0]:.4f} | {bits[1]:.4f} | {megabytes(model):.0f} | {given.tokens / following:.1f} | "
            f"{PROMPT / reading:.0f} |",
            flush=True,
        )


def model_of(opened: LanguageModel, is_small: bool, precision: Precision) -> LanguageModel:
    """With its weights in that form and all others in that precision, as whoever generates would hold them."""
    model = opened.copy()
    if is_small:
        round_matrices(model.network.backbone)
    if precision == "bfloat16":
        model.network.to(torch.bfloat16)
    return model.in_precision(precision)


def timed(models: dict[str, LanguageModel], *, tokens: int) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds of following tokens and of reading a prompt, by each, in turn; the first round warms up."""
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in models}
    for number in range(ROUNDS + 1):
        for name, model in models.items():
            both = (clocked(lambda model=model: follow(model, tokens)), clocked(lambda model=model: follow(model, 0)))
            if number:
                seconds[name][0].append(max(both[0] - both[1], 1e-9))
                seconds[name][1].append(both[1])
    return seconds


def clocked(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def follow(model: LanguageModel, tokens: int) -> None:
    """Read a prompt, then so many tokens one after another, each by itself."""
    backbone = model.network.backbone
    ids = torch.arange(PROMPT)[None] % 1000 + 100
    with evaluating(model.network), torch.inference_mode(), autocast(model.precision, model.network.device):
        known = backbone(input_ids=ids, use_cache=True, logits_to_keep=1)
        for _ in range(tokens):
            ids = known.logits[:, -1:].argmax(-1)
            known = backbone(input_ids=ids, past_key_values=known.past_key_values, use_cache=True)


def megabytes(model: LanguageModel) -> float:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder), card="")
        return (Path(folder) / "model.safetensors").stat().st_size / 1e6


if __name__ == "__main__":
    main()
