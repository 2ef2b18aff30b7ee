"""A run tells whether its labels have the shares of the traffic."""

import json
import random
from pathlib import Path

import pytest

from shoptalk.adaptation import adapt
from shoptalk.config import load
from shoptalk.report import render, render_markdown
from shoptalk.telling.facts import open_facts
from tests.conftest import WORDS, Listener

TOPICS = ("card", "delivery", "refund", "ticket")


def text(rng: random.Random, topic: str) -> str:
    return " ".join([topic, topic, topic, *rng.sample(WORDS, 3)])


@pytest.mark.slow
def test_labels_of_unlike_shares_are_named_with_the_gain_by_the_traffics(tiny_base: Path, tmp_path: Path) -> None:
    """As many labels of each topic. Seven visitors in ten begin with cards; agents talk of tickets, and in the end all
    say refund.
    """
    rng = random.Random(4)
    topics = ["card"] * 182 + ["delivery", "refund", "ticket"] * 26
    chats = tmp_path / "chats.jsonl"
    lines = []
    for topic in topics:
        said = (topic, "ticket", "refund")
        turns = [{"role": ("user", "assistant")[i % 2], "text": text(rng, about)} for i, about in enumerate(said)]
        lines.append(json.dumps({"turns": turns}) + "\n")
    chats.write_text("".join(lines), encoding="utf-8")
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "text,label\n" + "".join(f"{text(rng, topic)},{topic}\n" for topic in TOPICS for _ in range(12)),
        encoding="utf-8",
    )
    config = load(
        overrides=["objectives.neighbours.batch=8"],
        base=str(tiny_base), budget="3ktok", draws=5, shots=2, candidates=("neighbours", "none"),
    )  # fmt: skip
    listener, out = Listener(), tmp_path / "run"
    adapt([chats], out=out, config=config, report=listener, labels=labels)
    facts = open_facts(out)
    traffic = facts.traffic
    assert traffic is not None and traffic.differs and traffic.kind == "visitors' first turns"
    first = traffic.classes[0]
    assert (first.label, first.labels) == ("card", 0.25)
    assert first.interval[0] < 0.7 < first.interval[1] and abs(first.traffic - 0.7) < 0.1
    assert traffic.gain is not None and traffic.interval is not None
    assert traffic.interval[0] <= traffic.gain <= traffic.interval[1]
    assert traffic.sentence.startswith("Your labels hold 25 % card where your traffic has about ")
    assert "Weighted by these shares, and taking them as known, the gain of training is" in traffic.sentence
    assert f"evidence: {traffic.sentence}" in listener.said
    assert "Labels and traffic" in render(facts) and "## Labels and traffic" in render_markdown(facts)
