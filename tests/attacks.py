"""What somebody may have put into a run folder, for tests of everything that reads from one."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shoptalk.artifact import MANIFEST, digest, file_digest

DEEP = "[" * 100_000
HUGE = "1" * 5_000


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    """Put something else in a file's place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    make(path)


def written(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def too_large(path: Path) -> None:
    """A file of a terabyte, which takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(2**40)


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "a terabyte": too_large,
}
"""What is no readable file at all."""

NO_JSON: dict[str, Callable[[Path], object]] = {
    "nothing": written(b""),
    "no UTF-8": written(b'{"a": "\xff"}'),
    "no JSON": written(b"{"),
    "a list": written(b"[]"),
    "a text": written(b'"text"'),
    "depth": written(f'{{"a": {DEEP}'.encode()),
    "a huge number": written(f'{{"a": {HUGE}}}'.encode()),
    "half a character": written(b'{"a": "\\ud800"}'),
}
"""Files whose content is not the object that is expected."""

STRANGE = IN_ITS_PLACE | NO_JSON


@contextlib.contextmanager
def deep_folders(folder: Path, *, depth: int, file_at: int, name: str) -> Iterator[None]:
    """Nested folders, at a depth a file in them, made one from the other: paths of all of them may be too long to use.

    They are removed afterwards, which neither shutil nor pytest can.
    """
    place = os.open(folder, os.O_RDONLY)
    for here in range(depth):
        os.mkdir("abc", dir_fd=place)
        inner = os.open("abc", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
        if here + 1 == file_at:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT, dir_fd=place))
    os.close(place)
    try:
        yield
    finally:
        subprocess.run(["rm", "-rf", folder / "abc"], check=True)


def reseal(folder: Path) -> None:
    """Make an artifact's manifest agree with the files that are there now, as somebody who knows the format can."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    there = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    files = {path.relative_to(folder).as_posix(): file_digest(path, fresh=True) for path in there}
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in there}
    (folder / MANIFEST).write_text(json.dumps(manifest | {"files": files, "sizes": sizes, "content": digest(files)}))
