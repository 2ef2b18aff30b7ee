"""A head on disk: what somebody may have changed in it, hashes and all, is refused with what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shoptalk.errors import ArtifactError
from shoptalk.nn.heads.classifier import train
from shoptalk.nn.heads.head_files import load, save
from tests.attacks import STRANGE, replaced
from tests.nn.heads.test_classifier import APART, NAMES, POOL, STRANGERS, TEXTS

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a head with everything that one may have."""
    folder = tmp_path_factory.mktemp("head")
    save(train(TEXTS, NAMES, APART, unlabelled=POOL, kinds=("smoothed",), outside=STRANGERS[:40]), folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def head(saved: dict[str, bytes], tmp_path: Path) -> Path:
    for name, content in saved.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def with_tensors(folder: Path, change: Change) -> None:
    tensors = load_file(folder / "head.safetensors")
    change(tensors)
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, folder / "head.safetensors")


TENSORS: dict[str, Change] = {
    "no weights": lambda found: found.pop("weights"),
    "no intercepts": lambda found: found.pop("intercepts"),
    "no intercepts of none": lambda found: found.pop("none.intercepts"),
    "weights of one dimension": lambda found: found.update(weights=found["weights"][0]),
    "one number": lambda found: found.update(weights=np.float32(1.0)),
    "fewer rows than labels": lambda found: found.update(weights=found["weights"][1:]),
    "too few intercepts": lambda found: found.update(intercepts=found["intercepts"][1:]),
    "whole numbers": lambda found: found.update(weights=found["weights"].astype(np.int64)),
    "not a number": lambda found: found["weights"].__setitem__((0, 0), np.nan),
    "infinity": lambda found: found["intercepts"].__setitem__(0, np.inf),
    "numbers that overflow": lambda found: found["weights"].fill(1e30),
    "a narrow pool": lambda found: found.update(pool=found["pool"][:, 1:]),
    "a pool of one": lambda found: found.update(pool=found["pool"][:1]),
    "an empty pool": lambda found: found.update(pool=found["pool"][:0]),
    "a pool that is no table": lambda found: found.update(pool=found["pool"][0]),
    "narrow examples": lambda found: found.update(examples=found["examples"][:, 1:]),
    "a narrow head of none": lambda found: found.update({"none.weights": found["none.weights"][:, 1:]}),
    "no width": lambda found: found.update(weights=found["weights"][:, :0]),
}


@pytest.mark.parametrize("change", TENSORS.values(), ids=TENSORS)
def test_tensors_that_do_not_belong_to_the_head_are_refused(head: Path, change: Change) -> None:
    with_tensors(head, change)
    with pytest.raises(ArtifactError, match=r"holds no readable head: .*Delete it, and run the `shoptalk finetune`"):
        load(head)


ABOUT: dict[str, Any] = {
    "labels": [None, "card", 3, ["card"], [1, 2, 3, 4], [["card"], "fee", "pin", "visa"]],
    "temperature": [None, "hot", 0.0, -1.0, 1e-300, 1e300, float("nan"), []],
    "threshold": [None, "high", float("inf"), {}],
    "gate": [
        3,
        "open",
        [],
        {},
        {"weights": [1.0], "bias": 0.0, "threshold": 0.0},
        {"weights": 3, "bias": 0, "threshold": 0},
    ],
    "neighbours": ["many", 0, -3, 1.5, []],
    "multi_label": [None, "perhaps", []],
    "kind": [None, 3, []],
    "dev": [None, 3, {"linear": []}],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in ABOUT.items() for value in values])
def test_a_description_of_the_wrong_types_is_refused_and_the_field_is_named(head: Path, name: str, value: Any) -> None:
    about = json.loads((head / "head.json").read_text())
    (head / "head.json").write_text(json.dumps(about | {name: value}))
    with pytest.raises(ArtifactError, match=rf"holds no readable head: .*{name}.*Delete it, and run"):
        load(head)
    (head / "head.json").write_text(json.dumps({key: about[key] for key in about if key != name}))
    with pytest.raises(ArtifactError, match=rf"holds no readable head: .*{name}"):
        load(head)


def test_labels_with_half_a_character_are_refused(head: Path) -> None:
    text = (head / "head.json").read_text()
    (head / "head.json").write_text(text.replace('"card"', '"\\ud800"'))
    with pytest.raises(ArtifactError, match="holds no readable head"):
        load(head)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["head.json", "head.safetensors"])
@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_whatever_stands_in_a_files_place_is_refused(head: Path, name: str, strange: Callable[[Path], object]) -> None:
    replaced(head / name, strange)
    with pytest.raises(ArtifactError, match=r"head.*Delete"):
        load(head)


def test_what_a_later_version_adds_is_passed_over(head: Path) -> None:
    about = json.loads((head / "head.json").read_text())
    (head / "head.json").write_text(json.dumps(about | {"colour": "blue"}))
    assert load(head).kind == "smoothed"
