import contextlib
import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from shoptalk import artifact
from shoptalk.artifact import (
    MANIFEST,
    append_json,
    create,
    digest,
    file_digest,
    key_of,
    locked,
    open_artifact,
    sound,
    storage_errors,
    write_text,
)
from shoptalk.errors import ArtifactError, SourceError, StorageError
from tests.attacks import STRANGE, replaced

ASKED: dict[str, Any] = {"kind": "corpus", "config": {"a": 1}, "parents": {"source": "0" * 64}}


def make(path: Path, text: str = "hello", **asked: Any) -> Path:
    with create(path, **{**ASKED, **asked}) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "text.txt").write_text(text, encoding="utf-8")
    return path


def test_a_finished_artifact_opens_and_knows_what_it_holds(tmp_path: Path):
    found = open_artifact(make(tmp_path / "deep" / "corpus"))
    assert found is not None
    assert found.kind == "corpus"
    assert found.parents == ASKED["parents"]
    assert found.files == {"inner/text.txt": file_digest(tmp_path / "deep" / "corpus" / "inner" / "text.txt")}
    assert found.key == key_of(**ASKED)
    assert {"python", "torch", "numpy"} <= set(found.versions)
    assert found.seconds >= 0


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_every_file_of_an_artifact_has_the_mode_that_the_umask_gives(tmp_path: Path, mask: int, mode: int):
    before = os.umask(mask)
    try:
        with create(tmp_path / "head", **ASKED) as folder:
            save_file({"weights": np.zeros(3)}, folder / "head.safetensors")  # makes its files 0600
            write_text(folder / "head.json", "{}")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "head").iterdir()} == {mode}


def test_nothing_is_there_where_nothing_was_made(tmp_path: Path):
    assert open_artifact(tmp_path / "corpus") is None
    (tmp_path / "empty").mkdir()
    assert open_artifact(tmp_path / "empty") is None
    (tmp_path / "file").write_text("x")
    assert open_artifact(tmp_path / "file") is None


def test_the_same_key_opens_and_another_does_not(tmp_path: Path):
    path = make(tmp_path / "corpus")
    assert open_artifact(path, key=key_of(**ASKED)) is not None
    for other in ({"kind": "x"}, {"config": {"a": 2}}, {"parents": {"source": "1" * 64}}):
        assert open_artifact(path, key=key_of(**{**ASKED, **other})) is None


def test_the_content_hash_depends_on_the_content_only(tmp_path: Path):
    one, same = make(tmp_path / "one", config={"a": 1}), make(tmp_path / "same", config={"a": 2})
    other = make(tmp_path / "other", text="hello!")
    contents = [open_artifact(path).content for path in (one, same, other)]  # type: ignore[union-attr]
    assert contents[0] == contents[1] != contents[2]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SourceError])
def test_an_error_inside_leaves_nothing_behind(tmp_path: Path, error: type[BaseException]):
    with pytest.raises(error), create(tmp_path / "corpus", **ASKED) as folder:
        (folder / "half.txt").write_text("half")
        raise error("stop")
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_keeps_the_artifact_that_was_there(tmp_path: Path):
    path = make(tmp_path / "corpus", text="old")
    before = open_artifact(path)
    with pytest.raises(ValueError, match="stop"), create(path, **ASKED) as folder:
        (folder / "half.txt").write_text("half")
        raise ValueError("stop")
    assert open_artifact(path) == before
    assert (path / "inner" / "text.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_artifact_appears_only_when_it_is_complete(tmp_path: Path):
    path = tmp_path / "corpus"
    with create(path, **ASKED) as folder:
        assert open_artifact(path) is None
        assert open_artifact(folder) is None
        assert folder != path
    assert open_artifact(path) is not None


def test_a_new_artifact_replaces_the_old_one_whole(tmp_path: Path):
    path = make(tmp_path / "corpus", text="old")
    with create(path, **{**ASKED, "config": {"a": 2}}) as folder:
        (folder / "other.txt").write_text("new")
    assert sorted(file.name for file in path.iterdir()) == sorted(["other.txt", MANIFEST])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("at", ["rename", "delete"])
def test_a_crash_while_replacing_never_leaves_half_an_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
):
    path = make(tmp_path / "corpus", text="old")

    def crash(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if at == "delete":
            patch.setattr(artifact.shutil, "rmtree", crash)
        else:
            patch.setattr(Path, "rename", crash)
        with contextlib.suppress(KeyboardInterrupt):
            make(path, text="new")
    found = open_artifact(path)  # raises where files are missing
    assert found is not None
    assert (path / "inner" / "text.txt").read_text() in {"old", "new"}
    make(path, text="newest")
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_swept_up(tmp_path: Path):
    (tmp_path / ".corpus [1].making-dead").mkdir()
    (tmp_path / ".corpus [1].making-dead" / "half.txt").write_text("half")
    (tmp_path / ".other.making-dead").mkdir()
    make(tmp_path / "corpus [1]")
    assert sorted(file.name for file in tmp_path.iterdir()) == [".other.making-dead", "corpus [1]"]


def test_somebodys_own_files_are_never_replaced(tmp_path: Path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    entered = False
    with (
        pytest.raises(StorageError, match=r"thesis.*not Shoptalk's.*another --out"),
        create(tmp_path / "thesis", **ASKED),
    ):
        entered = True
    assert not entered  # said before the work, not after it
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_a_file_in_the_way_is_never_replaced(tmp_path: Path):
    (tmp_path / "corpus").write_text("mine")
    with pytest.raises(StorageError, match="A file with that name is in the way"):
        make(tmp_path / "corpus")
    assert (tmp_path / "corpus").read_text() == "mine"
    with pytest.raises(StorageError, match="another --out"):
        make(tmp_path / "corpus" / "below")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such file system")
@pytest.mark.parametrize("out", [Path("/proc/x"), Path("/proc/x/y")])
def test_where_no_folder_can_be_made_another_is_asked_for(out: Path):
    with pytest.raises(StorageError, match=f"Cannot write {out}. .*give another --out"), create(out, **ASKED):
        pass
    with pytest.raises(StorageError, match=f"Cannot write {out}. .*give another --out"), artifact.locked(out):
        pass


def test_an_empty_folder_may_be_filled(tmp_path: Path):
    (tmp_path / "corpus").mkdir()
    assert open_artifact(make(tmp_path / "corpus")) is not None


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[]", b'{"kind": "corpus"}'])
def test_a_damaged_manifest_is_an_artifact_error(tmp_path: Path, content: bytes):
    path = make(tmp_path / "corpus")
    (path / MANIFEST).write_bytes(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged.*Delete .*corpus and run again"):
        open_artifact(path)


def test_a_missing_file_is_an_artifact_error(tmp_path: Path):
    path = make(tmp_path / "corpus")
    (path / "inner" / "text.txt").unlink()
    with pytest.raises(ArtifactError, match=r"lacks 'inner/text\.txt'.*Delete"):
        open_artifact(path)


def test_readings_are_kept_even_when_they_are_not_numbers(tmp_path: Path):
    readings: dict[str, float] = {}
    with create(tmp_path / "corpus", **ASKED, readings=readings):
        readings |= {"fine": 0.1, "undefined": math.nan, "endless": math.inf}
    found = open_artifact(tmp_path / "corpus")
    assert found is not None
    assert found.readings["fine"] == 0.1
    assert math.isnan(found.readings["undefined"])
    assert math.isinf(found.readings["endless"])


WORDS = st.text("abcÄ ", max_size=5)


@given(st.dictionaries(WORDS, st.integers() | WORDS, max_size=5))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, Any]):
    assert digest(value) == digest(dict(reversed(list(value.items()))))
    assert len(digest(value)) == 64


# ---------------------------------------------------------------------------------------------- small files


def test_a_text_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "new" / "file.txt"
    write_text(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifact.os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_text_with_half_a_character_can_be_written(tmp_path: Path):
    write_text(tmp_path / "file.txt", "half \ud83d")
    assert (tmp_path / "file.txt").read_text(encoding="utf-8", errors="surrogatepass") == "half \ud83d"


def test_a_folder_in_a_texts_place_is_named(tmp_path: Path):
    (tmp_path / "file.txt").mkdir()
    with pytest.raises(StorageError, match="A folder with that name is in the way"):
        write_text(tmp_path / "file.txt", "x")


def test_rows_are_added_one_line_each(tmp_path: Path):
    for row in ({"step": 1, "text": "zwölf\nLinien"}, {"step": 2}):
        append_json(tmp_path / "log.jsonl", row)
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]


# ---------------------------------------------------------------------------------------------- the disk


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="/dev/full is a Linux device that is always full")
def test_a_full_disk_is_a_storage_error():
    with pytest.raises(StorageError, match=r"Cannot write /dev/full\. The disk is full: free some space"):
        append_json(Path("/dev/full"), {"step": 1})


# Seen on a full tmpfs with safetensors 0.8, tokenizers 0.22 and NumPy 2.4.
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
        OSError("1000000 requested and 8176 written"),
    ],
)
def test_a_full_disk_is_recognised_whichever_library_meets_it(tmp_path: Path, error: Exception):
    with pytest.raises(StorageError, match=f"Cannot write {tmp_path / 'x'}.*disk is full.*finished stages are kept"):
        make_and_raise(tmp_path / "x", error)
    assert list(tmp_path.iterdir()) == []


def make_and_raise(path: Path, error: Exception) -> None:
    with create(path, **ASKED) as folder:
        (folder / "half.txt").write_text("half")
        raise error


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "larger than this process may write"),
        (errno.EROFS, "file system is read-only: give another --out"),
        (errno.EACCES, "No permission to write there"),
        (errno.EPERM, "not permitted"),
    ],
)
def test_the_systems_refusal_says_which_path_and_what_to_do(tmp_path: Path, number: int, advice: str):
    with pytest.raises(StorageError, match=f"Cannot write /given/path.*{advice}"), storage_errors(tmp_path):
        raise OSError(number, os.strerror(number), "/given/path")


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone"), ValueError("x"), SourceError("y")])
def test_other_errors_pass_unchanged(tmp_path: Path, error: Exception):
    with pytest.raises(type(error)) as caught, storage_errors(tmp_path):
        raise error
    assert caught.value is error


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux to give up root's right to write anywhere")
def test_a_read_only_folder_is_a_storage_error(tmp_path: Path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    script = f"""
from pathlib import Path
from shoptalk.artifact import create, locked, write_text
from shoptalk.errors import StorageError
folder = Path({str(folder)!r})
for attempt in (
    lambda: create(folder / "x", kind="", config={{}}, parents={{}}).__enter__(),
    lambda: locked(folder).__enter__(),
    lambda: write_text(folder / "x.txt", "x"),
):
    try:
        attempt()
    except StorageError as error:
        print(error)
"""
    # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE: from the next program on, permissions hold for root too. Refused to others.
    launcher = "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 1, 0, 0, 0); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", launcher, sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert all("Cannot write" in line and "No permission to write there: give another --out" in line for line in lines)


# ---------------------------------------------------------------------------------------------- the lock


def test_a_lock_leaves_nothing_behind_where_an_error_comes_before_anything_is_made(tmp_path: Path):
    def refused(folder: Path, *, made: str = "") -> None:
        with pytest.raises(SourceError), locked(folder):
            if made:
                (folder / made).write_text("x")
            raise SourceError("no")

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "chats.txt").write_text("hello")
    refused(mine)
    refused(tmp_path / "new" / "run")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["chats.txt", "mine"]
    refused(mine, made="question.json")
    refused(mine)  # the lock was there before
    assert sorted(path.name for path in mine.iterdir()) == [".lock", "chats.txt", "question.json"]


def test_a_second_process_cannot_have_the_same_folder(tmp_path: Path):
    script = f"""
from pathlib import Path
from shoptalk.artifact import locked
from shoptalk.errors import StorageError
try:
    with locked(Path({str(tmp_path / "run")!r})):
        print("entered")
except StorageError as error:
    print(error)
"""

    def other() -> str:
        return subprocess.run(
            [sys.executable, "-c", script], capture_output=True, check=False, text=True, timeout=60
        ).stdout

    with locked(tmp_path / "run"):
        assert "in use by another shoptalk process" in other()
    assert other() == "entered\n"


def test_the_lock_is_given_back_after_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match="stop"), locked(tmp_path):
        raise ValueError("stop")
    with locked(tmp_path), pytest.raises(StorageError, match="in use"), locked(tmp_path):
        pass


def test_what_fails_while_the_lock_is_held_is_not_blamed_on_the_folder(tmp_path: Path):
    with pytest.raises(PermissionError), locked(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", "/secret/source.csv")


def test_numpy_still_says_what_storage_errors_looks_for(tmp_path: Path):
    if not Path("/dev/full").is_char_device():
        pytest.skip("no /dev/full")
    # Opened by us: a library that writes aside and renames would put its file in the device's place.
    with (
        pytest.raises(StorageError, match="disk is full"),
        storage_errors(tmp_path),
        Path("/dev/full").open("wb", buffering=0) as file,
    ):
        np.save(file, np.zeros(100_000))


# ---------------------------------------------------------------------------------------- what others may have changed


@pytest.mark.timeout(20)
@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE)
def test_whatever_stands_in_a_manifests_place_is_damage(tmp_path: Path, strange: Callable[[Path], object]):
    path = make(tmp_path / "corpus")
    replaced(path / MANIFEST, strange)
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged.*Delete .*corpus and run again"):
        open_artifact(path)
    assert sound(path) is None


def test_a_manifest_that_names_a_file_of_five_thousand_letters_is_damage_in_a_short_sentence(tmp_path: Path):
    path = make(tmp_path / "corpus")
    manifest = json.loads((path / MANIFEST).read_text())
    files = manifest["files"] | {"x" * 5_000: "0" * 64}
    (path / MANIFEST).write_text(json.dumps(manifest | {"files": files, "content": digest(files)}))
    with pytest.raises(ArtifactError, match=r"lacks 'x+', which its manifest names") as said:
        open_artifact(path)
    assert len(str(said.value)) < 500


@pytest.mark.timeout(20)
@pytest.mark.parametrize("strange", [os.mkfifo, lambda path: path.symlink_to("/dev/null")], ids=["a pipe", "a device"])
def test_what_is_no_file_is_no_lock(tmp_path: Path, strange: Callable[[Path], object]):
    strange(tmp_path / ".lock")
    with pytest.raises(StorageError, match=r"\.lock is a link, a pipe or a device.*Delete it"), locked(tmp_path):
        pass


def test_a_lock_that_is_a_link_does_not_empty_the_file_it_leads_to(tmp_path: Path):
    (tmp_path / "letters.txt").write_text("dear")
    (tmp_path / ".lock").symlink_to(tmp_path / "letters.txt")
    with pytest.raises(StorageError, match=r"is a link"), locked(tmp_path):
        pass
    assert (tmp_path / "letters.txt").read_text() == "dear"


def test_a_folder_that_is_being_filled_is_not_taken_from_who_fills_it(tmp_path: Path):
    path = tmp_path / "corpus"
    with create(path, **ASKED) as folder:
        (folder / "weights").write_text("half")
        with pytest.raises(StorageError, match="corpus is in use by another shoptalk process"), create(path, **ASKED):
            pass
        assert (folder / "weights").read_text() == "half"
    assert set(open_artifact(path).files) == {"weights"}  # type: ignore[union-attr]
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_was_filling_is_swept_up(tmp_path: Path):
    (tmp_path / ".corpus.making-0123abcd").mkdir()
    (tmp_path / ".corpus.making-0123abcd" / "weights").write_text("half")
    make(tmp_path / "corpus")
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]
