"""What was written, read back from a folder that anybody may have changed."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.artifact import create
from shoptalk.errors import AbsentError, ArtifactError, SourceError
from shoptalk.readback import as_written, read_bytes, read_json, read_record, read_text, walk
from shoptalk.records import Turn
from tests.attacks import IN_ITS_PLACE, NO_JSON, STRANGE

pytestmark = pytest.mark.timeout(20)
each = pytest.mark.parametrize


@each("make", STRANGE.values(), ids=STRANGE)
def test_whatever_stands_in_a_files_place_is_damage_that_names_the_file(
    make: Callable[[Path], object], tmp_path: Path
) -> None:
    make(tmp_path / "facts.json")
    with pytest.raises(
        ArtifactError, match=r"facts\.json is damaged \(it .*\)\. Delete .*facts\.json and run again"
    ) as said:
        read_json(tmp_path / "facts.json", dict)
    assert len(str(said.value)) < 600


@each("make", [*IN_ITS_PLACE.values(), *NO_JSON.values()], ids=[*IN_ITS_PLACE, *NO_JSON])
def test_no_such_file_is_a_record(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "turn.json")
    with pytest.raises(ArtifactError, match=r"turn\.json is damaged"):
        read_record(tmp_path / "turn.json", Turn)


@each("make", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
def test_what_is_no_file_is_no_text_either(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "log.jsonl")
    with pytest.raises(ArtifactError, match=r"log\.jsonl is damaged"):
        read_text(tmp_path / "log.jsonl")


def test_what_is_not_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "none.json", tmp_path / "file" / "none.json"):
        with pytest.raises(AbsentError, match=r"none\.json is not there"):
            read_bytes(path)


def test_a_file_that_nobody_may_read_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.json").write_text("{}")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ArtifactError, match=r"cannot be read: Permission denied"):
        read_json(tmp_path / "x.json", dict)


def test_a_record_says_which_of_its_fields_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "turn.json").write_text('{"role": "user", "text": 3}')
    with pytest.raises(ArtifactError, match=r"turn\.json is damaged \(text: Input should be a valid string\)"):
        read_record(tmp_path / "turn.json", Turn)


def test_of_an_artifact_the_whole_folder_is_to_be_deleted(tmp_path: Path) -> None:
    with create(tmp_path / "decision", kind="decision", config={}, parents={}) as inside:
        (inside / "facts.json").write_text("{")
    with pytest.raises(ArtifactError, match=rf"Delete {tmp_path}/decision and run again"):
        read_json(tmp_path / "decision" / "facts.json", dict)


def test_errors_that_speak_for_themselves_pass_and_all_others_are_damage(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="mine"), as_written(tmp_path):
        raise SourceError("mine")
    with pytest.raises(MemoryError), as_written(tmp_path):
        raise MemoryError
    said = r"does not hold what Shoptalk writes there \(KeyError: 'seconds'\)"
    with pytest.raises(ArtifactError, match=said), as_written(tmp_path):
        raise KeyError("seconds")


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)))
def test_what_was_written_is_what_is_read(tmp_path_factory: pytest.TempPathFactory, value: dict[str, object]) -> None:
    path = tmp_path_factory.mktemp("read") / "x.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    assert read_json(path, dict) == value


def test_folders_are_walked_in_order_and_links_are_not_followed(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/1.txt", "a/c/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    seen = [(root.relative_to(tmp_path).as_posix(), folders, names) for root, folders, names in walk(tmp_path)]
    assert seen == [
        (".", ["a", "b"], []), ("a", ["c", "up"], []), ("a/c", [], ["3.txt"]), ("b", [], ["1.txt", "2.txt"]),
    ]  # fmt: skip


def test_folders_that_are_taken_out_or_cannot_be_listed_are_not_looked_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/x", "b/y"):
        (tmp_path / name).mkdir(parents=True)
    seen = []
    for root, folders, _ in walk(tmp_path):
        seen.append(root.name)
        if "a" in folders:
            folders.remove("a")
    assert seen[1:] == ["b", "y"]
    refused: list[OSError] = []
    assert list(walk(tmp_path / "none", refused.append)) == [] and len(refused) == 1
