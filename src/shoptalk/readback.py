"""What Shoptalk has written, read back from a folder that anybody may have changed since.

    verdict = read_record(run / "decision" / "verdict.json", Verdict)
    facts = read_json(run / "decision" / "facts.json", dict)
    with as_written(run / "baseline"):
        ...                                     # put its files' contents back into memory

A pipe, a device, a folder or gigabytes in a file's place, bytes that are no text, JSON of another kind or nested a
hundred thousand deep: each is an ArtifactError that names the file and says what is wrong with it. Nothing here waits
for a pipe's other end.
"""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from shoptalk.errors import AbsentError, ArtifactError, InputError, ShoptalkError, exhausted

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

MANIFEST = "manifest.json"
"""The file that makes a folder an artifact."""
MOST_BYTES = 64_000_000
"""Of a JSON file; the facts of a large run have a few millions."""
MOST_LOG_BYTES = 2**30
"""Of a training's log: some seven million steps."""
_MOST_DIGITS = 300
"""Of a whole number. One with more digits is no quantity, and does not fit into a float."""
_KINDS: dict[type, str] = {dict: "an object", list: "a list", str: "a text"}


def read_bytes(path: Path, *, most: int = MOST_BYTES) -> bytes:
    """What a file holds.

    Raises:
        AbsentError: there is none.
        ArtifactError: it is no regular file, has more than `most` bytes, or cannot be read.
    """
    try:
        # A pipe without a writer opens at once this way, and is then seen to be one.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AbsentError(f"{path} is not there. Run the command that makes it again.") from error
    except OSError as error:
        raise damaged(path, f"it cannot be read: {error.strerror}") from error
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise damaged(path, "it is a folder, a pipe or a device, where a file is expected")
        if about.st_size > most:
            raise damaged(path, f"it has {about.st_size:,} bytes, expected at most {most:,}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(about.st_size)
    except OSError as error:
        raise damaged(path, f"it cannot be read: {error.strerror}") from error
    finally:
        os.close(handle)


def read_text(path: Path, *, most: int = MOST_BYTES) -> str:
    """What a file of UTF-8 holds; it raises as `read_bytes` does."""
    try:
        return read_bytes(path, most=most).decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, f"it is no text: byte {error.start:,} is not UTF-8") from error


def read_json(path: Path, kind: type[T]) -> T:
    """The JSON value in a file, which must be a `kind`; it raises as `read_bytes` does."""
    text = read_text(path)
    try:
        value = json.loads(text, parse_int=_whole_number)
        if "\\ud" in text or "\\uD" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise damaged(path, "it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise damaged(path, "it holds half a character, which cannot be shown or written") from error
    except ValueError as error:
        raise damaged(path, f"it is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise damaged(path, f"it holds {_KINDS.get(type(value), 'one value')}, expected {_KINDS[kind]}")
    return value


def read_record(path: Path, model: type[M]) -> M:
    """The record that a JSON file holds; it raises as `read_bytes` does."""
    content = read_bytes(path)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise damaged(path, complaint(error)) from error


def complaint(error: ValidationError) -> str:
    """The first thing that is wrong with a record, and where."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part)[:40] for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])


@contextlib.contextmanager
def as_written(path: Path) -> Iterator[None]:
    """Around code that turns the contents of a file, or of an artifact's folder, back into what was written: where that
    fails, they are not what Shoptalk writes.

    Raises:
        ArtifactError: anything was raised inside but an error that speaks for itself.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ShoptalkError) or exhausted(error) is not None:
            raise
        detail = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{path} does not hold what Shoptalk writes there ({type(error).__name__}: {detail}). Delete "
            f"{_to_delete(path)} and run the command that made it again."
        ) from error


def walk(folder: Path, refuse: Callable[[OSError], None] | None = None) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder with the names of its folders and of all else in it, sorted, from the top. Links are not followed,
    and folders taken out of the list are not looked into; `refuse` is told of those that cannot be listed.

    As os.walk, which before Python 3.12 is recursive and gives up at a depth of a thousand.
    """
    waiting = [folder]
    while waiting:
        root = waiting.pop()
        try:
            with os.scandir(root) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if refuse is not None:
                refuse(error)
            continue
        folders: list[str] = []
        names: list[str] = []
        for entry in listed:
            (folders if _is_folder(entry) else names).append(entry.name)
        links = {entry.name for entry in listed if entry.is_symlink()}
        yield root, folders, names
        waiting += [root / name for name in reversed(folders) if name not in links]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def damaged(path: Path, reason: str) -> ArtifactError:
    """The error about a file that is there and cannot be used."""
    return ArtifactError(f"{path} is damaged ({reason}). Delete {_to_delete(path)} and run again.")


def _to_delete(path: Path) -> Path:
    """The artifact that a file belongs to: without the file it would be damaged too. Else the file itself."""
    return path.parent if path.name == MANIFEST or os.path.lexists(path.parent / MANIFEST) else path


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a whole number of {len(digits):,} digits")
    return int(digits)


def refuse_no_folder(run: Path) -> None:
    """Say so where the run that a user names is no folder.

    Raises:
        InputError: it is none.
    """
    if not run.is_dir():
        raise InputError(f"{run} is no folder. Give the folder of a run that `shoptalk adapt` left.")


def shipped_in(run: Path) -> str:
    """The folder of a run in which its product is handed out: `model` of a language model, else `encoder`."""
    return "model" if (run / "model" / MANIFEST).is_file() else "encoder"


def refuse_no_run(run: Path) -> None:
    """Say so where the run that a user names is none that can be served.

    Raises:
        InputError: it is no folder, or none of a finished run.
    """
    refuse_no_folder(run)
    if shipped_in(run) == "model":
        raise InputError(
            f"{run} is a run of a language model, and an assistant is served from an encoder, which finds the passages "
            "that it answers from. Give the folder of a run of the task intent, reply or answer."
        )
    if not (run / "encoder" / MANIFEST).is_file():
        raise InputError(
            f"{run} is not the folder of a finished run: it has no encoder in it. Give the folder that `shoptalk adapt "
            "... --out` was given; a run that was broken off goes on with the same command."
        )
