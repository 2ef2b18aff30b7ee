"""What tests of whole runs share: a tiny base model on disk and a small labelled world."""

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from shoptalk.config import Budget
from shoptalk.nn import precision as nn_precision
from shoptalk.nn.precision import Precision
from shoptalk.nn.tiny import WORDS, tiny_product
from shoptalk.records import Look
from shoptalk.stages import world as stages_world

# One state of the code has one outcome: what a search finds by chance stops whoever comes next, on another's change.
# `make test-search` draws other examples each time, for those who go looking. Nor has an example a deadline, which on a
# busy machine any may miss; pytest-timeout ends what hangs.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("searching", derandomize=False, deadline=None)
settings.load_profile("repeatable")

BOTH_PRECISIONS = pytest.mark.parametrize("precision", ["float32", "bfloat16"], indirect=True, scope="module")
"""Of tests that hold whatever this machine is faster in: they run on both kinds of machine, wherever they run."""


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny tensors gain nothing from threads, and two test runs on two cores would wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def precision(request: pytest.FixtureRequest) -> Iterator[Precision]:
    """What this machine is said to be faster in, whatever it is: float32, but for tests of `BOTH_PRECISIONS`.

    Else a suite that passes on a machine without bfloat16 units may fail on one with them. What a fixture of a wider
    scope computes must ask for this one. Processes of their own time the machine: tests give them a precision.
    """
    choice: Precision = getattr(request, "param", "float32")
    with pytest.MonkeyPatch.context() as patch:
        rates = {getattr(torch, name): 100.0 if name == choice else 10.0 for name in ("float32", "bfloat16")}
        patch.setattr(nn_precision, "matmul_rate", lambda dtype, device, *, size: rates[dtype])
        stages_world._timed.cache_clear()
        yield choice
    stages_world._timed.cache_clear()


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny random BERT as an encoder folder."""
    folder = tmp_path_factory.mktemp("base")
    tiny_product().save(folder, card="# tiny\n")
    return folder


class SmallWorld:
    """Conversations about four topics, and labels that tell the topic; every text is unlike the others."""

    topics = ("card", "delivery", "refund", "ticket")

    def __init__(self, folder: Path, *, labels_per_class: int = 30) -> None:
        rng = random.Random(0)
        self.conversations = folder / "conversations.jsonl"
        self.labels = folder / "labels.csv"
        rows = []
        for number in range(40):
            turns = [
                {"role": "user" if i % 2 == 0 else "assistant", "text": self._text(rng, self.topics[number % 4])}
                for i in range(4)
            ]
            rows.append(json.dumps({"id": f"c{number}", "turns": turns}))
        self.conversations.write_text("\n".join(rows) + "\n", encoding="utf-8")
        lines = ["text,label"]
        lines += [f"{self._text(rng, topic)},{topic}" for topic in self.topics for _ in range(labels_per_class)]
        self.labels.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @staticmethod
    def _text(rng: random.Random, topic: str) -> str:
        return " ".join([topic, *rng.sample(WORDS, 6)])


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld(tmp_path)


class Listener:
    """A reporter that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.stages: list[str] = []
        self.candidates: list[str] = []
        self.looks: list[Look] = []
        self.winner: str | None = None

    def say(self, text: str) -> None:
        self.said.append(text)

    def track(self, steps: Iterable[Any], *, done: int, total: int, name: str) -> Iterator[Any]:
        for step in steps:
            self.said.append(f"{name} {step.number}/{total}")
            yield step

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def planned(self, candidates: Sequence[str], *, seconds: float, before: float, budget: Budget) -> None:
        self.candidates = list(candidates)

    def looked(self, look: Look) -> None:
        self.looks.append(look)

    def chosen(self, candidate: str) -> None:
        self.winner = candidate


@pytest.fixture
def listener() -> Listener:
    return Listener()
