"""What a table may have meant that names a picture where there is none.

nearby("/data/img/a.jpg", Path("/data"))        # "images/a.png": the file that /data holds
"""

import os
from functools import lru_cache
from pathlib import Path

_DEPTH = 2
"""Folders below the given one that are looked into."""
_MOST = 50_000
"""Files that are looked at."""
_FOLDERS = 8
"""Whose files are kept: every row of a table may be wrong in the same way."""


def nearby(path: str, folder: Path) -> str | None:
    """A file in `folder`, by its path from there, whose name is that of `path` but for upper case and ending; one with
    the ending, too, goes first.
    """
    by_name, by_stem = _files_below(str(folder))
    name = Path(path).name.lower()
    return by_name.get(name) or by_stem.get(_stem(name))


@lru_cache(maxsize=_FOLDERS)
def _files_below(folder: str) -> tuple[dict[str, str], dict[str, str]]:
    by_name, by_stem, seen = dict[str, str](), dict[str, str](), 0
    for root, folders, names in os.walk(folder):
        inside = os.path.relpath(root, folder)
        deep = 0 if inside == "." else inside.count(os.sep) + 1
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if deep < _DEPTH else []
        for name in sorted(names):
            by_name.setdefault(name.lower(), os.path.normpath(os.path.join(inside, name)))  # noqa: PTH118
            by_stem.setdefault(_stem(name.lower()), by_name[name.lower()])
        seen += len(names)
        if seen > _MOST:
            break
    return by_name, by_stem


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
