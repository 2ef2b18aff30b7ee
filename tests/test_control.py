"""Controls are refused where nothing could be measured, before anything is written."""

from pathlib import Path
from typing import Any

import pytest

from shoptalk.config import load
from shoptalk.control import JUDGED, _saved, control
from shoptalk.errors import ConfigError, InputError
from shoptalk.evaluate.foreign import ALL, MOST_TIMES, foreign_documents, foreign_sentences, times_repeated
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.stages.curate import curate_stage
from shoptalk.stages.world import World
from tests.conftest import Listener


@pytest.mark.parametrize(
    ("kind", "labelled", "base", "task", "expected"),
    [
        ("aa", True, "scratch:gpt-nano", "intent", "Give --task language_model for it, or another --base"),
        (
            "wrong-domain",
            False,
            "scratch:gpt-nano",
            "chat",
            r"no control wrong-domain of the task chat.*give --ta",
        ),
        ("aa", False, "scratch:gpt-nano", "language_model", r"worse on every document.*there is the control wrong-dom"),
        ("shuffled-labels", False, "scratch:gpt-nano", "language_model", "no labels that could be shuffled"),
        ("wrong-domain", True, "scratch:gpt-nano", "language_model", "Leave --labels out"),
        ("wrong-domain", False, "scratch:gpt-nano", "language_model", r"random weights.*Give a --base that has read"),
        ("wrong-domain", False, "scratch:t5-nano", "language_model", "no task judges these yet"),
        ("wrong-domain", False, "scratch:mini", "intent", r"control wrong-domain of the task intent.*Give --labels"),
    ],
)
def test_what_cannot_be_a_control_is_refused_with_what_to_give(
    tmp_path: Path, kind: str, labelled: bool, base: str, task: str, expected: str
) -> None:
    (file := tmp_path / "labels.csv").write_text("text,label\na,b\n")
    config, out = load(base=base, task=task), tmp_path / "o"
    with pytest.raises(InputError, match=expected):
        control(kind, [file], labels=file if labelled else None, out=out, config=config, report=Listener())
    assert not out.exists()


def test_text_of_another_domain_is_refused_where_a_control_reads_none(tmp_path: Path) -> None:
    (file := tmp_path / "labels.csv").write_text("text,label\na,b\n")
    given: dict[str, Any] = {"labels": file, "out": tmp_path / "o", "report": Listener()}
    with pytest.raises(InputError, match=r"--foreign is text for the control wrong-domain, and aa reads none"):
        control("aa", [file], foreign=[file], config=load(base="scratch:mini"), **given)


def test_an_interrupted_control_of_documents_reads_nothing_of_its_own_when_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("shoptalk.control.adapt", interrupted)
    tiny_language_model().save(tmp_path / "base", card="")
    (mine := tmp_path / "mine").mkdir()
    for number in range(60):
        (mine / f"{number}.md").write_text(f"# Chapter {number}\n\nWhat stands in chapter {number} of the manual.")
    out, kept, listener = mine / "runs" / "control", [], Listener()
    config = load(base=str(tmp_path / "base"), task="language_model", overrides=["curate.text_column=body"])
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            control("wrong-domain", [mine], labels=None, out=out, config=config, report=listener)
        kept.append([(out / "control" / name).read_text() for name in (JUDGED, "foreign.jsonl")])
    assert kept[0] == kept[1] and kept[0][0].count("What stands in chapter") == kept[0][0].count('"body"') > 3
    assert sum("documents of another domain" in said for said in listener.said) == 2


# What ships of another domain -------------------------------------------------------------------------------------


def test_foreign_documents_are_as_much_text_as_was_asked_for_and_repeat_sentences_evenly() -> None:
    assert len(set(foreign_sentences(2 * ALL))) == ALL
    few = list(foreign_documents(10_000))
    assert 10_000 <= sum(map(len, few)) < 12_500 and times_repeated(len(few)) == 1
    many = list(foreign_documents(1_000_000))
    assert sum(map(len, many)) >= 1_000_000 and len(set(many)) == len(many)
    counts: dict[str, int] = {}
    for sentence in " ".join(many).replace("\n\n", " ").split(". "):
        counts[sentence.rstrip(".")] = counts.get(sentence.rstrip("."), 0) + 1
    assert len(counts) == ALL and max(counts.values()) == times_repeated(len(many)) == min(counts.values()) + 1


def test_foreign_documents_end_where_every_sentence_was_repeated_often_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoptalk.evaluate.foreign.MOST_TIMES", 2)
    documents = list(foreign_documents(10**9))
    assert times_repeated(len(documents)) == 2 < MOST_TIMES


# Files that are held out whole ------------------------------------------------------------------------------------


def test_files_that_are_named_are_held_out_whole_and_nothing_else_is(tmp_path: Path) -> None:
    for name in ("learned", "judged"):
        lines = [f"A sentence of its own, number {number}, which is {name}." for number in range(40)]
        (tmp_path / f"{name}.txt").write_text("\n".join(lines))
    sources = [tmp_path / "learned.txt", tmp_path / "judged.txt"]

    def curated(*names: str) -> tuple[int, int]:
        config = load(overrides=[f"curate.held_out_files={list(names)}".replace("'", '"')])
        corpus = curate_stage(World(tmp_path / "o", config, Listener()), sources, None, None, reads="lm")
        assert not names or all("is judged" in text for text in corpus.held_out.texts)
        return len(corpus.train), len(corpus.held_out)

    assert curated("judged.txt") == (40, 40)
    learned, held_out = curated()
    assert 0 < held_out < 30 and learned + held_out == 80
    with pytest.raises(ConfigError, match=r"names 'jugded.txt', and no source is called so: there is learned.txt, ju"):
        curated("jugded.txt")


@pytest.mark.parametrize(
    ("gain", "interval", "told"),
    [
        (0.04, (0.03, 0.05), "Subtract that from the gain"),
        (-0.004, (-0.012, 0.003), "has brought 0.003 bits a byte at most"),
        (-0.02, (-0.03, -0.01), "Training as such mends nothing here"),
    ],
)
def test_what_another_domain_saved_is_told_with_what_to_subtract(
    gain: float, interval: tuple[float, float], told: str
) -> None:
    verdict = {"gain": gain, "interval": interval, "choice": "keep_base", "n_examples": 40}
    assert told in _saved(verdict)
