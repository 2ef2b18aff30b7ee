"""How fast is text written? `python -m benchmarks.generation [--repeats 5] [--tokens 64] [--model smollm2] [--quick]`

Questions of Harbour's visitors, each with the document that answers it as a passage, by the chat template;
greedy, and at most --tokens tokens. The peer is transformers' `generate` in bfloat16 with its defaults. Both have the
same process and threads and take turns in every round; the time of reading the prompt counts for both, and nothing is
kept of an earlier round. Eight users are eight of the questions at once, against `generate` one after the other, and
for all in one padded batch.

Tokens are compared with the peer's one by one. Where a text parts from the peer's, the logits of the peer's model in
float32 tell how near the two tokens are to each other: with more than TOLERANCE between them it is an error.

Prints Markdown; about six minutes on two cores.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks import table
from benchmarks.timing import ROOT, Result, Row, in_turn, ratios, say, spread
from shoptalk.nn.bases import hush, resolve
from shoptalk.nn.decoding.generation import GenerationRequest
from shoptalk.nn.decoding.writer import Writer, open_writer
from shoptalk.nn.machine import prepare
from shoptalk.text.chat import Message

HARBOUR = ROOT / "examples" / "harbour"
USERS = 8
MOST_CHARACTERS = 1_500
"""Of a document."""
ASKED = "{passage}\n\nA visitor asks: {question}\nAnswer with the sentence above that says it, word for word."
TOLERANCE = 0.5
"""Between two logits: bfloat16 has eight bits, so a logit of 20 is rounded to an eighth; layers round, too."""
ONE, EIGHT = 2.0, 4.0


@dataclasses.dataclass(frozen=True)
class Side:
    """One way to write: the tokens of each prompt."""

    name: str
    write: Callable[[Sequence[tuple[int, ...]]], list[list[int]]]

    def timed(self, prompts: Sequence[tuple[int, ...]]) -> Result:
        begun = time.perf_counter()
        texts = self.write(prompts)
        seconds = time.perf_counter() - begun
        tokens = sum(map(len, texts))
        return {"tokens_per_second": tokens / seconds, "texts": texts, "seconds": seconds}


def prompts_of(writer: Writer, count: int) -> list[tuple[int, ...]]:
    """The first questions whose documents differ, with their documents."""
    prompts: list[tuple[int, ...]] = []
    seen: set[str] = set()
    for line in (HARBOUR / "visitor_questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["document"] in seen or len(prompts) == count:
            continue
        seen.add(row["document"])
        text = (HARBOUR / "documents" / row["document"]).read_text(encoding="utf-8")
        place = max(0, text.find(row["passage"]) - MOST_CHARACTERS // 2)
        passage = text[place : place + MOST_CHARACTERS]
        prompts.append(writer.chat([Message("user", ASKED.format(passage=passage, question=row["question"]))]))
    return prompts


def peer(model: Any, ends: frozenset[int], tokens: int, *, batch: bool) -> Callable[[Any], list[list[int]]]:
    """transformers' `generate`, for one prompt after the other or for all in one batch, padded on the left."""

    def write(prompts: Sequence[tuple[int, ...]]) -> list[list[int]]:
        texts: list[list[int]] = []
        for group in [prompts] if batch else [[ids] for ids in prompts]:
            longest = max(map(len, group))
            ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in group])
            mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in group])
            with torch.inference_mode():
                out = model.generate(ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
            texts += [_until(row.tolist(), ends) for row in out[:, longest:]]
        return texts

    return write


def _until(ids: list[int], ends: frozenset[int]) -> list[int]:
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))]


def ours(writer: Writer, tokens: int, *, together: bool) -> Callable[[Any], list[list[int]]]:
    """All at once, or one after the other."""

    def write(prompts: Sequence[tuple[int, ...]]) -> list[list[int]]:
        requests = [GenerationRequest(ids, max_tokens=tokens) for ids in prompts]
        groups = [requests] if together else [[request] for request in requests]
        return [list(text.ids) for group in groups for text in writer.write(group)]

    return write


def measure(given: argparse.Namespace) -> list[Row]:
    """All rows."""
    hush()
    prepare(torch.device("cpu"))
    opened = open_writer(given.model)
    model = AutoModelForCausalLM.from_pretrained(resolve(given.model), dtype=torch.bfloat16).eval()

    def fresh(**options: Any) -> Writer:
        return Writer(opened.product, reuse=False, **options)

    prompts = prompts_of(opened, USERS)
    say(f"prompts of {', '.join(str(len(ids)) for ids in prompts)} tokens; {opened.product.network.table.dtype}")
    ends, tokens = opened.ends, given.tokens
    full = fresh()
    sides = [
        Side("generate, one after the other", peer(model, ends, tokens, batch=False)),
        Side("ours, one after the other", ours(full, tokens, together=False)),
        Side("ours without drafts, one after the other", ours(fresh(drafts=0), tokens, together=False)),
        Side("ours by transformers' pass, one after the other", ours(fresh(compiled=False), tokens, together=False)),
        Side("generate, one batch of eight", peer(model, ends, tokens, batch=True)),
        Side("ours, eight users", ours(full, tokens, together=True)),
    ]
    for side in sides:  # first calls make kernels
        side.write(prompts[:2])
    results = in_turn({side.name: lambda _, side=side: side.timed(prompts) for side in sides}, given.repeats)
    first, batch = sides[0].name, sides[4].name
    rows = [
        _row(results, first, None, None, "peer, one user"),
        _row(results, sides[1].name, first, ONE, "one user"),
        _row(results, sides[2].name, first, None, "one user"),
        _row(results, sides[3].name, first, None, "one user"),
        _row(results, batch, first, None, "peer, eight users, in total"),
        _row(results, sides[5].name, first, EIGHT, "eight users in total, over the peer for one after the other"),
        _row(results, sides[5].name, batch, None, "eight users in total, over the peer's batch"),
    ]
    expected = results[first][0]["texts"]
    for side in (sides[1], sides[5]):
        rows.append(_agreement(side.name, model.float(), prompts, results[side.name][0]["texts"], expected))
    return [*rows, *_next_turn(opened, prompts[0])]


def _row(results: dict[str, list[Result]], name: str, over: str | None, least: float | None, note: str) -> Row:
    speeds = [result["tokens_per_second"] for result in results[name]]
    ratio, ends = ratios(speeds, [result["tokens_per_second"] for result in results[over]]) if over else (None, None)
    written = sum(map(len, results[name][0]["texts"]))
    return Row(
        comparison="generation",
        what=name,
        value=statistics.median(speeds),
        unit="tokens/s",
        spread=spread(speeds),
        ratio=ratio,
        ratio_range=ends,
        at_least=least,
        note=f"{note}; {written:,} tokens a round",
    )


def _agreement(
    name: str, model: Any, prompts: Sequence[tuple[int, ...]], found: list[list[int]], expected: list[list[int]]
) -> Row:
    """The largest gap between two logits at which a text parts from the peer's."""
    gaps, equal = [], 0
    for ids, one, other in zip(prompts, found, expected, strict=True):
        place = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
        equal += place
        if place == len(one) == len(other):
            continue
        with torch.inference_mode():
            logits = model(torch.tensor([[*ids, *other[:place]]])).logits[0, -1]
        tokens = [text[place] if place < len(text) else None for text in (one, other)]
        scores = [float(logits[token]) for token in tokens if token is not None]
        gaps.append(
            float(logits.max()) - min(scores) if len(scores) == 2 else float(logits.topk(2).values.diff().abs())
        )
    return Row(
        comparison="generation",
        what=f"{name}: largest gap of logits where a text parts from the peer's",
        value=max(gaps, default=0.0),
        unit="",
        at_most=TOLERANCE,
        note=f"{len(prompts) - len(gaps)} of {len(prompts)} texts are equal, {equal:,} tokens before any part",
    )


def _next_turn(opened: Writer, first: tuple[int, ...]) -> list[Row]:
    """Milliseconds to the first token of a conversation's second turn, with the states of the first and without."""
    tokenizer = opened.product.tokenizer
    reply = opened.write([GenerationRequest(first, max_tokens=24)])[0]
    more = tokenizer("\nAnd what else is there to know about it?", add_special_tokens=False)["input_ids"]
    rows = []
    for name, reuse in (("without the states of the turn before", False), ("with the states of the turn before", True)):
        taken = []
        for _ in range(5):
            writer = Writer(opened.product, reuse=reuse)
            writer.write([GenerationRequest(first, max_tokens=24)])
            begun = time.perf_counter()
            writer.write([GenerationRequest((*first, *reply.ids, *more), max_tokens=1)])
            taken.append(1000 * (time.perf_counter() - begun))
        what = f"first token of a second turn, {name}"
        rows.append(Row("generation", what, statistics.median(taken), "ms", spread=spread(taken)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--quick", action="store_true", help="one round of few tokens: does it run?")
    given = parser.parse_args()
    if given.quick:
        given.repeats, given.tokens = 1, 8
    print(f"{table.hardware()}. {table.versions()}. `python -m benchmarks.generation {' '.join(sys.argv[1:])}`\n")
    print(table.markdown(measure(given)))


if __name__ == "__main__":
    main()
