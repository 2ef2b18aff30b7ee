"""General text that a model goes on reading while it learns a domain: any text of the user's choice, without what the
run is judged on.

    for item in general_text(stream_sources(paths, config), judged=[...], guarded=[...], config=config):
        ...                                                           # a Document, or a Drop with its reason
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import sample
from shoptalk.curate.curation import curate
from shoptalk.curate.dedup import normalise
from shoptalk.curate.rules import RESERVED, texts_among, words_in
from shoptalk.curate.seen import Table
from shoptalk.records import Document, Drop, Item
from shoptalk.text.plain_sentences import sentences

JUDGED = "judged-text"
"""The reason of what is left out because the run is judged on it."""
TELLING_WORDS = 8
"""A sentence of fewer words is written by many who have not read each other."""
MOST_SHARED = 3
"""Sentences that a document may share with judged texts, unless they are a tenth of its own."""
# Unlike those of `text.plain_sentences` they end whatever comes next, so that case and line breaks change nothing.
_ENDS = re.compile(r"[.!?…]+[\"'”’»)\]*_]*\s+|(?<=[。！？])|\n\s*\n")


def general_text(
    items: Iterable[Document | Drop], *, judged: Sequence[Item], guarded: Sequence[str], config: CurateConfig
) -> Iterator[Document | Drop]:
    """The documents that may be replayed, and what is left out with its reason, as they come.

    The rules are those of `curate`; besides, a document that has a guarded sentence among its own is left out whole,
    for a sentence in a long passage is no near duplicate of it. So is one in which more than `MOST_SHARED` sentences of
    `TELLING_WORDS` words or more are judged ones, or a tenth of all: where line breaks differ, passages are cut
    elsewhere, and none is a near duplicate. Of each judged sentence a hash of 64 bits is kept.

    Args:
        items: what was read, and what reading left out already, which is passed on.
        judged: held-out, labelled and test texts.
        guarded: sentences that a guard reads.
        config: similarity that counts as a near duplicate, and the size of passages.
    """
    quoted = {normalise(sentence) for sentence in guarded}
    known = Table()
    for text in texts_among(judged):
        for sentence in _telling(_parts(text)):
            known.set(sentence, 1)
    apart = (item if isinstance(item, Drop) else _unshared(item, known) for item in _unquoted(items, quoted))
    for item in curate(apart, reserved=[*judged, *guarded], config=config):
        if isinstance(item, Drop) and item.reason == RESERVED:
            detail = "a near duplicate of held-out text or of what the guard reads, on which the run is judged"
            yield item.model_copy(update={"reason": JUDGED, "detail": detail})
        else:
            yield item


def _unshared(document: Document, known: Table) -> Document | Drop:
    """The document, or a drop where too many of its sentences are judged ones."""
    parts = [part for text in _texts(document) for part in _parts(text)]
    shared = [part for part in parts if any(known.get(sentence) for sentence in _telling([part]))]
    if not shared or (len(shared) <= MOST_SHARED and 10 * len(shared) < len(parts)):
        return document
    detail = f"{len(shared):,} of its {len(parts):,} sentences stand in held-out text, on which the run is judged"
    return Drop(id=document.id, source=document.source, reason=JUDGED, detail=detail, sample=sample(shared[0]))


def _parts(text: str) -> list[str]:
    """The sentences of a text."""
    return [part for part in _ENDS.split(text) if part.strip()]


def _telling(parts: Iterable[str]) -> Iterator[bytes]:
    """Those of the sentences that are long enough to be known by, normalised."""
    for part in parts:
        sentence = normalise(part)
        if words_in(sentence) >= TELLING_WORDS:
            yield sentence.encode("utf-8", "surrogatepass")


def _unquoted(items: Iterable[Document | Drop], quoted: set[str]) -> Iterator[Document | Drop]:
    for item in items:
        quotation = None if isinstance(item, Drop) else _quotation(item, quoted)
        if isinstance(item, Drop) or quotation is None:
            yield item
        else:
            detail = "it has a sentence that the guard on general text reads, on which the run is judged"
            yield Drop(id=item.id, source=item.source, reason=JUDGED, detail=detail, sample=sample(quotation))


def _quotation(document: Document, quoted: set[str]) -> str | None:
    """The first of a document's sentences that is quoted; None where none is."""
    return next((part for text in _texts(document) for part in sentences(text) if normalise(part) in quoted), None)


def _texts(document: Document) -> list[str]:
    return [turn.text for turn in document.turns] or [document.text]
