import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from shoptalk.errors import ArtifactError
from shoptalk.nn.native import library
from shoptalk.training import snapshot
from shoptalk.training.advance import Training, advance, read_log
from shoptalk.training.loop import LoopConfig
from shoptalk.training.pace import watched
from tests.attacks import IN_ITS_PLACE, reseal, written
from tests.toyworld import small_spec, toy_world


def training_in(folder: Path, *, steps: int = 6, objective: str = "mlm") -> Training:
    world = toy_world(small_spec(objective))
    return Training.build(
        world.spec,
        corpus=world.corpus,
        inputs=world.tokens,
        product=world.product,
        targets=world.targets,
        config=LoopConfig(steps=steps, batch=8, lr=1e-3),
        folder=folder,
        snapshot_seconds=0.0,
    )


def weights(training: Training) -> np.ndarray:
    return np.concatenate([p.detach().numpy().ravel() for p in training.objective.parameters()])


def test_training_in_pieces_gives_the_log_and_the_weights_of_training_in_one_go(tmp_path: Path) -> None:
    whole, parts = training_in(tmp_path / "whole"), training_in(tmp_path / "parts")
    list(advance(whole, until=6))
    list(advance(parts, until=2))
    later = training_in(tmp_path / "parts")
    list(advance(later, until=6))
    losses = [[row["loss"] for row in read_log(tmp_path / name)] for name in ("whole", "parts")]
    assert losses[0] == losses[1] and len(losses[0]) == 6
    np.testing.assert_array_equal(weights(whole), weights(later))


@pytest.mark.skipif(library() is None, reason="needs a C++ compiler")
def test_a_run_that_goes_on_without_the_kernels_it_began_with_says_so_once_and_its_log_records_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken(until: int) -> list[str]:
        said: list[str] = []
        steps = advance(training_in(tmp_path), until=until)
        list(watched(steps, expected=None, total=6, name="mlm", say=said.append))
        return said

    monkeypatch.setenv("SHOPTALK_NATIVE", "1")
    assert taken(2) == taken(3) == []
    monkeypatch.setenv("SHOPTALK_NATIVE", "0")
    (said,) = taken(4)
    assert "from step 4 on it is computed by kernels of torch alone on cpu, and was by compiled kernels on cpu" in said
    assert taken(6) == []
    recorded = {row["step"]: row["computed"] for row in read_log(tmp_path) if "computed" in row}
    assert recorded == {1: "compiled kernels on cpu", 4: "kernels of torch alone on cpu"}


def test_a_run_of_pictures_that_goes_on_without_kernels_says_nothing_for_they_never_served_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    for native, until in (("1", 2), ("0", 4)):
        monkeypatch.setenv("SHOPTALK_NATIVE", native)
        steps = advance(training_in(tmp_path, objective="mae"), until=until)
        list(watched(steps, expected=None, total=6, name="mae", say=said.append))
    assert said == []


def test_a_snapshot_that_does_not_say_what_computed_it_is_resumed_in_silence(tmp_path: Path) -> None:
    list(advance(training_in(tmp_path), until=2))
    (folder,) = tmp_path.glob("step-*")
    state = json.loads((folder / "state.json").read_text())
    del state["computed"]
    (folder / "state.json").write_text(json.dumps(state))
    reseal(folder)
    steps = list(advance(training_in(tmp_path), until=6))
    assert [step.computed == step.computed_before for step in steps] == [True] * 4


def test_a_finished_training_only_loads_its_weights(tmp_path: Path) -> None:
    first = training_in(tmp_path)
    list(advance(first, until=6))
    again = training_in(tmp_path)
    assert list(advance(again, until=6)) == []
    np.testing.assert_array_equal(weights(first), weights(again))


def test_half_a_row_left_by_a_killed_process_is_dropped_from_the_log(tmp_path: Path) -> None:
    list(islice(advance(training_in(tmp_path), until=6), 3))
    done = snapshot.steps_done(snapshot.newest(tmp_path, most=6) or tmp_path)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    list(advance(training_in(tmp_path), until=6))
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert done in (2, 3)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "strange",
    [
        *IN_ITS_PLACE.values(),
        written(b"\xff"),
        written(b"{}\n"),
        written(b'["step"}\n'),
        written(b'{"step": "one", "loss": 1, "tokens": 1, "seconds": 1, "cells": 1}\n'),
    ],
)
def test_a_log_that_training_has_not_written_is_damage(tmp_path: Path, strange: Callable[[Path], object]) -> None:
    strange(tmp_path / "log.jsonl")
    with pytest.raises(ArtifactError, match=r"log\.jsonl (is damaged|does not hold)"):
        read_log(tmp_path)
    with pytest.raises(ArtifactError, match=r"log\.jsonl (is damaged|does not hold)"):
        next(advance(training_in(tmp_path), until=6))


@pytest.mark.parametrize(
    ("name", "content"),
    [("state.json", b"[]"), ("state.json", b"{}"), ("tensors.safetensors", b""), ("tensors.safetensors", b"8" * 99)],
)
def test_a_snapshot_that_was_changed_with_its_manifest_is_damage(tmp_path: Path, name: str, content: bytes) -> None:
    list(islice(advance(training_in(tmp_path), until=6), 3))
    (folder,) = tmp_path.glob("step-*")
    (folder / name).write_bytes(content)
    reseal(folder)
    with pytest.raises(ArtifactError, match=r"step-.*(is damaged|does not hold).*Delete"):
        list(advance(training_in(tmp_path), until=6))
