"""What a table may have meant that names a picture where there is none.

near = NearbyPictures(Path("/data"))
near.of("/data/img/a.jpg")          # "images/a.png": the picture that /data holds
"""

import os
from functools import cached_property
from pathlib import Path

from shoptalk.image.decode import SUFFIXES

_DEPTH = 2
"""Folders below the given one that are looked into."""
_MOST = 50_000
"""Files that are looked at."""


class NearbyPictures:
    """The pictures in a folder by their names, looked up once and only where something is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, path: str) -> str | None:
        """A picture, by its path from the folder, whose name is that of `path` but for upper case and ending; one with
        the ending, too, goes first.
        """
        by_name, by_stem = self._pictures
        name = Path(path).name.lower()
        return by_name.get(name) or by_stem.get(_stem(name))

    @cached_property
    def _pictures(self) -> tuple[dict[str, str], dict[str, str]]:
        by_name, by_stem, seen = dict[str, str](), dict[str, str](), 0
        for root, folders, names in os.walk(self._folder):
            inside = os.path.relpath(root, self._folder)
            deep = 0 if inside == "." else inside.count(os.sep) + 1
            folders[:] = sorted(name for name in folders if not name.startswith(".")) if deep < _DEPTH else []
            for name in sorted(names):
                if name.lower().endswith(SUFFIXES):
                    by_name.setdefault(name.lower(), os.path.normpath(os.path.join(inside, name)))  # noqa: PTH118
                    by_stem.setdefault(_stem(name.lower()), by_name[name.lower()])
            seen += len(names)
            if seen > _MOST:
                break
        return by_name, by_stem


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name
