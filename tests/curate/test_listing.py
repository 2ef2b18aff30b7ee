import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.attacks import deep_folders

from shoptalk.artifact import create
from shoptalk.config import CurateConfig
from shoptalk.curate.listing import KNOWN, is_artifact, list_files
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop

Fill = Callable[..., Path]


@pytest.fixture
def fill(tmp_path: Path) -> Fill:
    """Writes files with their own name as text; returns the folder of sources."""

    def fill(*names: str) -> Path:
        for name in names:
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"the text of {name}")
        return tmp_path / "in"

    return fill


def make_artifact(folder: Path, card: str = "# A model card") -> None:
    with create(folder, kind="encoder", config={}, parents={}) as inside:
        (inside / "README.md").write_text(card)


def make_run(folder: Path) -> Path:
    """What the middle of an adapt run leaves."""
    make_artifact(folder / "encoder")
    make_artifact(folder / "candidate" / "encoder")
    (folder / ".lock").touch()
    (folder / "answers.jsonl").write_text('{"text": "what a person answered", "label": "x"}\n')
    return folder


def read(*paths: Path, out: Path | None = None) -> tuple[list[str], dict[str, str]]:
    """The texts, and the reason of each drop by its id."""
    items = list(stream_sources(paths, CurateConfig(), out=out))
    texts = [item.text for item in items if isinstance(item, Document)]
    return texts, {item.id: item.reason for item in items if isinstance(item, Drop)}


# Shoptalk's own folders


def test_a_run_folder_inside_the_source_is_left_out_as_a_whole_and_said_so(fill: Fill) -> None:
    source = fill("chats.txt")
    make_run(source / "runs" / "acme")
    texts, drops = read(source)
    assert texts == ["the text of chats.txt"]
    assert drops == {"in/runs/acme": "made-by-shoptalk"}


def test_a_copied_encoder_is_left_out_and_its_neighbours_are_read(fill: Fill) -> None:
    source = fill("chats.txt", "notes/a.txt")
    make_artifact(source / "notes" / "encoder")
    texts, drops = read(source)
    assert len(texts) == 2
    assert drops == {"in/notes/encoder": "made-by-shoptalk"}


def test_the_folder_of_out_is_never_a_source_even_before_anything_is_in_it(fill: Fill) -> None:
    source = fill("chats.txt", "results/mine.txt")
    texts, drops = read(source, out=source / "results")
    assert texts == ["the text of chats.txt"]
    assert drops == {"in/results": "made-by-shoptalk"}


def test_what_the_run_itself_makes_does_not_change_the_fingerprint(fill: Fill) -> None:
    source = fill("chats.txt")
    before = source_fingerprint([source], out=source / "run")
    make_run(source / "run")
    (source / ".DS_Store").write_bytes(b"\x00")
    assert source_fingerprint([source], out=source / "run") == before
    assert list(before) == ["in/chats.txt"]


def test_a_source_that_is_out_itself_is_refused_with_the_cure(fill: Fill) -> None:
    source = fill("chats.txt")
    with pytest.raises(SourceError, match=r"given as a source and as --out.*Give another --out"):
        list_files([source], out=source / ".." / "in")


@pytest.mark.parametrize("place", ["run", "run/encoder"])
def test_a_run_or_an_artifact_that_is_given_as_a_source_is_refused_with_the_cure(fill: Fill, place: str) -> None:
    source = fill("chats.txt")
    make_run(source / "run")
    with pytest.raises(SourceError, match=r"holds the results of an earlier Shoptalk command.*your own text"):
        list_files([source / place])


def test_a_file_of_a_run_that_the_user_names_is_read(fill: Fill) -> None:
    run = make_run(fill("chats.txt") / "run")
    assert read(run / "answers.jsonl")[0] == ["what a person answered"]


def test_another_tools_manifest_and_lock_are_no_run(fill: Fill) -> None:
    source = fill("app/notes.txt", "app/inner/more.txt")
    (source / "app" / "inner" / "manifest.json").write_text(json.dumps({"name": "an extension", "version": 3}))
    (source / "app" / ".lock").touch()
    texts, drops = read(source)
    assert len(texts) == 2
    assert set(drops.values()) == {"hidden", "unknown-format"}
    assert not is_artifact(source / "app" / "inner")


@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "{", "\x00"])
def test_a_manifest_that_is_not_one_stops_nothing(fill: Fill, content: str) -> None:
    source = fill("app/notes.txt")
    (source / "app" / "manifest.json").write_text(content)
    assert read(source)[0] == ["the text of app/notes.txt"]


def test_the_rows_that_embed_leaves_are_no_source(fill: Fill) -> None:
    source = fill("chats.txt", "v.npy")
    (source / "v.jsonl").write_text('{"id": "a", "turn": -1, "text": "the text of chats.txt"}\n')
    card = {"key": "k", "model": "m", "dtype": "float32", "texts": 1, "sources": {}}
    (source / "v.json").write_text(json.dumps(card))
    texts, drops = read(source)
    assert len(texts) == 1
    assert drops == {"in/v.jsonl": "made-by-shoptalk", "in/v.json": "unknown-format", "in/v.npy": "unknown-format"}


def test_a_folder_of_runs_only_is_an_error_that_says_what_was_found(fill: Fill) -> None:
    source = fill()
    make_run(source / "runs" / "one")
    with pytest.raises(SourceError, match=r"No usable text in .*1 made-by-shoptalk.*in/runs/one: a run folder"):
        list_files([source])


# Links


def test_a_link_to_a_file_outside_of_the_source_is_a_drop_that_names_it(fill: Fill, tmp_path: Path) -> None:
    source = fill("chats.txt")
    (tmp_path / "secret.txt").write_text("the password is swordfish")
    (source / "notes.txt").symlink_to(tmp_path / "secret.txt")
    (source / "users.txt").symlink_to("/etc/passwd")
    items = list(stream_sources([source], CurateConfig()))
    assert [item.text for item in items if isinstance(item, Document)] == ["the text of chats.txt"]
    drops = {item.id: item for item in items if isinstance(item, Drop)}
    assert {drop.reason for drop in drops.values()} == {"link-outside"}
    assert str(tmp_path / "secret.txt") in drops["in/notes.txt"].detail
    assert "give that file as a source of its own" in drops["in/notes.txt"].detail
    assert "in/notes.txt" not in source_fingerprint([source])


def test_a_link_that_leaves_by_way_of_another_link_is_a_drop(fill: Fill, tmp_path: Path) -> None:
    source = fill("chats.txt")
    (tmp_path / "secret.txt").write_text("x")
    (source / "b.txt").symlink_to(tmp_path / "secret.txt")
    (source / "a.txt").symlink_to("b.txt")
    assert read(source)[1] == {"in/a.txt": "link-outside", "in/b.txt": "link-outside"}


def test_a_folder_whose_name_begins_alike_is_outside(fill: Fill, tmp_path: Path) -> None:
    source = fill("chats.txt")
    (tmp_path / "in-secret").mkdir()
    (tmp_path / "in-secret" / "a.txt").write_text("x")
    (source / "a.txt").symlink_to(tmp_path / "in-secret" / "a.txt")
    assert read(source)[1] == {"in/a.txt": "link-outside"}


def test_a_link_inside_the_source_is_read_once(fill: Fill) -> None:
    source = fill("real/chats.txt")
    (source / "shortcut.txt").symlink_to("real/chats.txt")
    (source / "zfolder").symlink_to("real")
    texts, drops = read(source)
    assert texts == ["the text of real/chats.txt"]
    assert not drops


def test_a_link_into_another_given_source_is_fine(fill: Fill, tmp_path: Path) -> None:
    source = fill("chats.txt")
    other = tmp_path / "other"
    other.mkdir()
    (other / "more.txt").write_text("more")
    (source / "more.txt").symlink_to(other / "more.txt")
    assert read(source)[1] == {"in/more.txt": "link-outside"}
    texts, drops = read(source, other)
    assert sorted(texts) == ["more", "the text of chats.txt"] and not drops


def test_a_link_that_the_user_names_is_followed(fill: Fill, tmp_path: Path) -> None:
    source = fill("chats.txt")
    (tmp_path / "link").symlink_to(source)
    (tmp_path / "one.txt").symlink_to(source / "chats.txt")
    assert read(tmp_path / "link")[0] == read(tmp_path / "one.txt")[0] == ["the text of chats.txt"]


def test_a_link_to_a_folder_outside_or_to_a_hidden_one_is_a_drop(fill: Fill, tmp_path: Path) -> None:
    source = fill("chats.txt", ".store/a.txt")
    (source / "system").symlink_to("/etc")
    (source / "visible").symlink_to(".store")
    texts, drops = read(source)
    assert len(texts) == 1
    assert drops == {"in/.store": "hidden", "in/system": "link-outside", "in/visible": "linked-folder"}


def test_links_in_a_circle_are_drops_and_end(fill: Fill) -> None:
    source = fill("a/b/chats.txt")
    (source / "a" / "b" / "up").symlink_to(source)
    (source / "a" / "here").symlink_to(".")
    (source / "x.txt").symlink_to("y.txt")
    (source / "y.txt").symlink_to("x.txt")
    texts, drops = read(source)
    assert texts == ["the text of a/b/chats.txt"]
    assert drops == {
        "in/a/b/up": "linked-folder", "in/a/here": "linked-folder",
        "in/x.txt": "unreadable", "in/y.txt": "unreadable",
    }  # fmt: skip


def test_a_link_into_a_run_is_a_drop(fill: Fill) -> None:
    source = fill("chats.txt")
    run = make_run(source / "run")
    (source / "card.md").symlink_to(run / "encoder" / "README.md")
    (source / "model").symlink_to(run / "encoder")
    assert read(source)[1] == {
        "in/run": "made-by-shoptalk", "in/card.md": "made-by-shoptalk", "in/model": "made-by-shoptalk",
    }  # fmt: skip


# What is hidden, and what is no file


def test_hidden_files_and_folders_are_counted(fill: Fill) -> None:
    source = fill("chats.txt", ".draft.txt", ".git/one.txt", ".git/two.txt")
    texts, drops = read(source)
    assert texts == ["the text of chats.txt"]
    assert drops == {"in/.draft.txt": "hidden", "in/.git": "hidden"}


def test_a_folder_of_hidden_files_only_says_so(fill: Fill) -> None:
    source = fill(".draft.txt")
    with pytest.raises(SourceError, match=r"1 left out \(1 hidden\).*begins with a dot"):
        list_files([source])


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_never_blocks(fill: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = fill("chats.txt")
    os.mkfifo(source / "pipe.txt")
    (source / "zero.txt").symlink_to("/dev/zero")
    monkeypatch.chdir(source)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as endpoint:
        endpoint.bind("socket.txt")
        texts, drops = read(source)
        fingerprint = source_fingerprint([source])
    assert texts == ["the text of chats.txt"]
    assert drops == {"in/pipe.txt": "unreadable", "in/socket.txt": "unreadable", "in/zero.txt": "link-outside"}
    assert fingerprint["in/pipe.txt"] == "unreadable"
    with pytest.raises(SourceError, match="not a regular file"):
        read(source / "pipe.txt")


def test_the_formats_named_in_messages_are_those_that_are_read() -> None:
    texts, pictures = (
        ".txt, .md, .csv, .jsonl (each also with .gz)",
        ".png, .jpg, .jpeg, .webp, .gif, .bmp, .tif, .tiff",
    )
    assert f"{texts}, pictures ({pictures}), .zip of pictures" == KNOWN


@pytest.mark.slow
def test_folders_a_thousand_deep_are_listed_and_what_is_too_deep_for_the_system_is_a_drop(fill: Fill) -> None:
    source = fill("chats.txt")
    # The whole path of the last folders is longer than the system takes.
    with deep_folders(source, depth=1_500, file_at=900, name="deep.txt"):
        files, drops = list_files([source])
        texts, reasons = read(source)
    assert [file.path.name for file in files] == ["chats.txt", "deep.txt"]
    assert [drop.reason for drop in drops] == ["unreadable"] and "File name too long" in drops[0].detail
    assert texts == ["the text of chats.txt"] and sorted(reasons.values()) == ["empty", "unreadable"]
