"""Learning to converse: `python -m benchmarks.language_chat [--sets sgd,star] [--steps 40] [--tests 125] [--quick]`

SmolLM2 is fine-tuned (`sft`) on conversations of the Schema-Guided Dialogue set, and of STAR; then base and result
read one reply in each of --tests unseen conversations, after all that was said before, written by the chat template.

    bits per byte of replies     over all their bytes, the end of turn included; lower is better
    values foretold              of the numbers, times and names in a reply that stand in the conversation before it,
                                 the share whose every token is the likeliest given the tokens before

Intervals are over conversations (percentile bootstrap). One seed, the last step. Needs SHOPTALK_DATA.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from benchmarks import data, table
from benchmarks.language_models import gained, row
from benchmarks.timing import Row, say
from shoptalk.config import load
from shoptalk.nn.bases import open_model
from shoptalk.nn.encoder import evaluating
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.precision import Precision, autocast, choose_precision
from shoptalk.objectives import make_spec
from shoptalk.stages.world import best_device
from shoptalk.text.chat import Message, Rendered, rendered
from shoptalk.text.corpus import Corpus
from shoptalk.text.packing import pack
from shoptalk.training.advance import Training
from shoptalk.training.loop import loop_config, train

VALUE = re.compile(r"\d[\d.,:/-]*(?:\s?[ap]m\b)?|(?<=[a-z,] )[A-Z][\w'&.-]*(?: [A-Z][\w'&.-]*)*")
"""Numbers and times; and names, which are capitals that begin no sentence."""
Chats = list[list[Message]]


def conversations(name: str) -> tuple[Chats, Chats]:
    """Those to learn from, and those that are judged."""
    if name == "sgd":
        return _messages(data.rows("dialogues/sgd/train.jsonl.gz")), _messages(data.rows("dialogues/sgd/test.jsonl.gz"))
    chats = _messages(data.rows("dialogues/star/all.jsonl.gz"))
    return chats[::2], chats[1::2]


def _messages(rows: Sequence[dict[str, Any]]) -> Chats:
    """Turns of user and assistant that alternate; others are passed over."""
    chats: Chats = []
    for dialogue in rows:
        messages: list[Message] = []
        for turn in dialogue["turns"]:
            if turn["role"] not in ("user", "assistant") or not turn["text"].strip():
                continue
            if messages and messages[-1].role == turn["role"]:
                messages[-1] = Message(turn["role"], f"{messages[-1].text}\n{turn['text']}")
            elif messages or turn["role"] == "user":
                messages.append(Message(turn["role"], turn["text"]))
        if sum(message.role == "assistant" for message in messages) > 1:
            chats.append(messages)
    return chats


def asked(chats: Chats, most: int) -> Chats:
    """Each up to one of its replies, the first excepted, which has nothing to repeat."""
    rng = np.random.default_rng(0)
    chosen = []
    for number in sorted(rng.permutation(len(chats))[:most].tolist()):
        replies = [place for place, message in enumerate(chats[number]) if message.role == "assistant"][1:]
        chosen.append(chats[number][: replies[int(rng.integers(len(replies)))] + 1])
    return chosen


def judged(
    product: LanguageModel, chats: Chats, precision: Precision
) -> tuple[Float[np.ndarray, " N"], Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
    """Of each conversation's last reply: its bits, its values, and those of them that are foretold."""
    written = [rendered(product.tokenizer, chat, most=product.max_length) for chat in chats]
    replies = [chat.spoken == chat.spoken.max() for chat in written]
    bits = product.bits_of([chat.ids for chat in written], counted=replies, precision=precision)
    values, foretold = np.zeros(len(chats), dtype=int), np.zeros(len(chats), dtype=int)
    with torch.inference_mode(), evaluating(product.network), autocast(precision, product.network.device):
        for number, (chat, ids) in enumerate(zip(chats, written, strict=True)):
            places = _values(product, chat, ids)
            if places:
                states = product.network.hidden(pack([ids.ids], length=len(ids.ids)))[0]
                likeliest = torch.nn.functional.linear(states, product.network.table).argmax(dim=1).numpy()
                right = [bool((likeliest[place - 1] == ids.ids[place]).all()) for place in places]
                values[number], foretold[number] = len(right), sum(right)
    return bits, values, foretold


def _values(product: LanguageModel, chat: list[Message], ids: Rendered) -> list[Int[np.ndarray, " _"]]:
    """The tokens of each value of the last reply that was said before."""
    before = " ".join(message.text for message in chat[:-1]).lower()
    reply = np.flatnonzero(ids.spoken == ids.spoken.max())
    text = product.tokenizer.decode(ids.ids[reply])
    ends = [len(product.tokenizer.decode(ids.ids[reply[: n + 1]])) for n in range(len(reply))]
    begins = [0, *ends[:-1]]
    found = []
    for match in VALUE.finditer(text):
        if match.group().strip().lower().rstrip(".,") in before:
            inside = [n for n in range(len(reply)) if ends[n] > match.start() and begins[n] < match.end()]
            found.append(reply[inside])
    return found


def tuned(chats: Chats, *, steps: int, precision: Precision) -> LanguageModel:
    """SmolLM2 after so many steps on the conversations."""
    turns = [message for chat in chats for message in chat]
    numbers = [number for number, chat in enumerate(chats) for _ in chat]
    corpus = Corpus(
        items=tuple(turn.text for turn in turns),
        conversation=np.array(numbers),
        turn=np.array([place for chat in chats for place in range(len(chat))]),
        digest="benchmark",
        roles=("assistant", "user"),
        role=np.array([("assistant", "user").index(turn.role) for turn in turns]),
    )
    product: Any = open_model("smollm2")
    spec = make_spec("sft", {})
    with tempfile.TemporaryDirectory() as folder:
        training = Training.build(
            spec,
            corpus=corpus,
            inputs=product.inputs(corpus),
            product=product,
            targets=None,
            config=loop_config(spec, load(), name="sft", steps=steps, precision=precision),
            folder=Path(folder),
            snapshot_seconds=float("inf"),
        )
        for step in train(training.objective, training.data, training.collate, training.config):
            if step.number % 10 == 0:
                say(f"sft: step {step.number} of {steps}, loss {step.loss:.3f}")
    return product


def measure(name: str, *, steps: int, tests: int, precision: Precision) -> Iterator[Row]:
    """Base and result on one set."""
    learned, unseen = conversations(name)
    chats = asked(unseen, tests)
    base: Any = open_model("smollm2")
    before, values, foretold = judged(base, chats, precision)
    after, _, foretold_after = judged(tuned(learned, steps=steps, precision=precision), chats, precision)
    sizes = np.array([len(chat[-1].text.encode()) for chat in chats], dtype=float)
    for title, bits in (("base", before), ("after sft", after)):
        yield row(f"{name}: bits per byte of replies, {title}", float(bits.sum() / sizes.sum()), "bits")
    gain, low, high = gained(before, after, sizes)
    note = f"{low:.3f} to {high:.3f}, {len(chats)} conversations, {steps} steps"
    yield row(f"{name}: bits per byte of replies saved", gain, "bits", at_least=0.0, note=note)
    counts = values.astype(float)
    for title, right in (("base", foretold), ("after sft", foretold_after)):
        yield row(f"{name}: values foretold, {title}", 100 * float(right.sum() / counts.sum()), "%")
    kept = counts > 0
    gain, low, high = gained(-100.0 * foretold[kept], -100.0 * foretold_after[kept], counts[kept])
    note = f"{low:+.1f} to {high:+.1f}; {int(counts.sum())} values in {int(kept.sum())} conversations"
    yield row(f"{name}: values foretold, difference", gain, "points", note=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", default="sgd,star")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--tests", type=int, default=125)
    parser.add_argument("--quick", action="store_true", help="does it run?")
    given = parser.parse_args()
    print(f"{table.hardware()}. {table.versions()}. `python -m benchmarks.language_chat {' '.join(sys.argv[1:])}`\n")
    steps, tests = (2, 6) if given.quick else (given.steps, given.tests)
    precision = choose_precision(best_device())[0]
    table.printed(
        measured
        for name in given.sets.split(",")
        for measured in measure(name, steps=steps, tests=tests, precision=precision)
    )


if __name__ == "__main__":
    main()
