import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from shoptalk.artifact import handed_out
from shoptalk.assistant.marker import opened_marker
from shoptalk.cli.app import app
from shoptalk.commands.ground import apart, finetune_grounding, make_replies
from shoptalk.config import load
from shoptalk.errors import SourceError, StorageError
from shoptalk.nn.heads.answering import belongs
from shoptalk.objectives.supervised.ground_tokens import GroundSpec
from shoptalk.stages.world import World
from shoptalk.text.corpus import Corpus
from shoptalk.training.reporter import Silent
from tests.conftest import WORDS
from tests.tiny import tiny_product


def documents(folder: Path, n: int = 14) -> Path:
    """Rules that share a form and differ in words and numbers."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for number in range(n):
        lines = []
        for _ in range(3):
            one, two, three = rng.choice(WORDS, 3, replace=False)
            lines.append(f"The {one} is {two} and costs {rng.integers(10, 99)} cash. You can {three} it in 7 days.")
        (folder / f"{number}.txt").write_text("\n\n".join(lines))
    return folder


def world_of(run: Path, **settings: object) -> World:
    overrides = [f"objectives.ground.{name}={value}" for name, value in {"batch": 8, **settings}.items()]
    return World(run=run, config=load(overrides=overrides), report=Silent())


def test_documents_alone_make_a_reader_that_an_assistant_opens(tmp_path: Path, tiny_base: Path) -> None:
    sources, run = documents(tmp_path / "docs"), tmp_path / "run"
    world = world_of(run / "grounding", lr=1e-3)
    result = finetune_grounding(world, str(tiny_base), [sources], steps=6)
    assert set(result["kinds"]) >= {"number", "word", "sentence"}
    assert result["documents"] == {"train": 10, "dev": 2, "test": 2}
    assert 0 < result["test"]["f1"] <= 1 and f"F1 {result['test']['f1']:.2f}" in result["sentence"]
    head, encoder = (handed_out(run / "grounding" / name) for name in ("grounding_head", "encoder"))
    assert belongs(head, encoder)
    assert json.loads((run / "grounding" / "grounding_head" / "result.json").read_text()) == result
    marker = opened_marker(run)
    assert marker is not None and marker.grounding.threshold == result["threshold"]
    assert len(marker.marked(("The card is lost.",), ("The card is lost.",))) == 1
    again = finetune_grounding(world, str(tiny_base), [sources], steps=6)
    assert again == result and handed_out(run / "grounding" / "grounding_head").content == head.content
    assert not (run / "grounding" / "work").exists()


@pytest.mark.slow
def test_what_another_question_left_unfinished_is_not_gone_on_with(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, worlds = documents(tmp_path / "docs"), []
    for name, seed in (("run", 0), ("run", 1), ("clean", 1)):
        config = load(overrides=["objectives.ground.batch=8", "objectives.ground.lr=1e-3"], seed=seed)
        worlds.append(World(run=tmp_path / name, config=config, report=Silent()))
    with monkeypatch.context() as context, pytest.raises(KeyboardInterrupt):
        context.setattr("shoptalk.commands.ground.best_threshold", _interrupted)
        finetune_grounding(worlds[0], str(tiny_base), [sources], steps=4)
    for world in worlds[1:]:
        finetune_grounding(world, str(tiny_base), [sources], steps=4)
    tensors = [(world.run / "grounding_head" / "grounding.safetensors").read_bytes() for world in worlds[1:]]
    assert tensors[0] == tensors[1]
    with pytest.raises(StorageError, match=r"holds a finished grounding head for another question \(seed: 1 -> 0\)"):
        finetune_grounding(worlds[0], str(tiny_base), [sources], steps=4)
    warmer = load(overrides=["objectives.ground.batch=8", "objectives.ground.lr=1e-3", "train.warmup=0.9"], seed=1)
    with pytest.raises(StorageError, match=r"for another question \(train.warmup: 0.1 -> 0.9\)"):
        finetune_grounding(World(worlds[1].run, warmer, Silent()), str(tiny_base), [sources], steps=4)


def _interrupted(*_: object) -> float:
    raise KeyboardInterrupt


def corpus_of(n: int) -> Corpus:
    texts = tuple(f"The fee is {i} cash today. You can cancel it by phone." for i in range(2 * n))
    return Corpus(items=texts, conversation=np.repeat(np.arange(n), 2), turn=np.full(2 * n, -1), digest=f"{n}")


def test_no_document_is_in_two_parts() -> None:
    parts = apart(corpus_of(20), seed=0)
    numbers = [set(part.conversation.tolist()) for part in (parts.train, parts.dev, parts.test)]
    assert [len(part) for part in numbers] == [14, 2, 4]
    assert set.union(*numbers) == set(range(20))
    assert apart(corpus_of(20), seed=1).train.digest != parts.train.digest


def test_too_few_documents_to_hold_any_out_are_told() -> None:
    with pytest.raises(SourceError, match=r"hold 4 documents.*at least 10"):
        apart(corpus_of(4), seed=0)


def test_judged_replies_are_three_with_a_mistake_to_two_without_and_never_change() -> None:
    corpus, spec = corpus_of(20), GroundSpec(kinds=("number",))
    replies = make_replies(tiny_product(), corpus, spec, most=30, seed=0)
    assert sum(bool(reply.wrong.any()) for reply in replies) == 30
    assert len(replies) == 50
    again = make_replies(tiny_product(), corpus, spec, most=30, seed=0)
    assert all(np.array_equal(one.row.ids, other.row.ids) for one, other in zip(replies, again, strict=True))


def test_the_command_takes_sources_for_this_task_and_labels_for_others(tmp_path: Path, tiny_base: Path) -> None:
    sources, out = documents(tmp_path / "docs"), tmp_path / "out"
    command = ["finetune", str(tiny_base), str(sources), "--task", "ground", "--out", str(out)]
    ended = CliRunner().invoke(app, [*command, "--budget", "2ktok", "--set", "objectives.ground.batch=8"])
    assert ended.exit_code == 0, ended.output
    assert "words that passages do not support are" in ended.output and "grounding_head" in ended.output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--task", "ground"], "give one or more SOURCE"),
        (["docs", "--task", "ground", "--labels", "l.csv"], "leave --labels"),
        (["docs", "--labels", "l.csv"], "learns from labels"),
        ([], "give --labels FILE"),
    ],
)
def test_sources_and_labels_are_not_mixed_up(words: list[str], reason: str, tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["finetune", "minilm", *words, "--out", str(tmp_path / "out")])
    assert ended.exit_code != 0
    assert reason in " ".join(str(ended.exception).split())
