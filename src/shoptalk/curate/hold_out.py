"""Which documents are kept from training, so that models are asked about unseen ones."""

import hashlib
from collections.abc import Collection, Iterable, Sequence

from shoptalk.curate.clean import printable
from shoptalk.errors import ConfigError
from shoptalk.records import Document

_MOST_SHOWN = 5
HELD_OUT_SHARES, HELD_OUT_MOST = ((0, 0.1),), 1000
"""Of conversations, and of pictures with captions, kept from training so that retrieval is asked of unseen ones: the
share, from so many on that are held out already. A task may have shares of its own.
"""


class HoldOut:
    """Chooses the first `most` conversations of a share of all: a function of a conversation's id, and of how many are
    held out before it, so that new conversations at the end move no old one.

    `shares` are pairs of a number held out already, ascending from 0, and the share from there on. With `plain`,
    documents without turns are among those that it chooses from. Where `files` are named, it takes whatever these hold,
    and nothing else.
    """

    def __init__(
        self, shares: Sequence[tuple[int, float]], most: int, *, plain: bool = False, files: Collection[str] = ()
    ) -> None:
        self._shares, self._most, self._plain, self._files, self._held_out = shares, most, plain, files, 0

    def __call__(self, document: Document) -> bool:
        """Whether the document is held out; to be asked of every document once, in their order."""
        if self._files:
            return document.source in self._files
        if not (document.turns or self._plain) or self._held_out >= self._most:
            return False
        place = int.from_bytes(hashlib.sha256(document.id.encode("utf-8", "surrogatepass")).digest()[:4], "big")
        share = max((since, share) for since, share in self._shares if since <= self._held_out)[1]
        chosen = place < share * 2**32
        self._held_out += chosen
        return chosen


def among_sources(files: Sequence[str], sources: Iterable[str]) -> Sequence[str]:
    """The files of `curate.held_out_files`, which must be among the sources.

    Raises:
        ConfigError: one is not.
    """
    known = list(sources)
    if (missing := next((name for name in files if name not in known), None)) is not None:
        shown = ", ".join(map(printable, known[:_MOST_SHOWN])) + ", ..." * (len(known) > _MOST_SHOWN)
        raise ConfigError(
            f"curate.held_out_files names {missing!r}, and no source is called so: there is {shown}. Name files as "
            "they are called there."
        )
    return files
