"""General text that a model goes on reading while it learns a domain: any text of the user's choice, without what the
run is judged on.

    for item in general_text(stream_sources(paths, config), judged=[...], guarded=[...], config=config):
        ...                                                           # a Document, or a Drop with its reason
"""

from collections.abc import Iterable, Iterator, Sequence

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import sample
from shoptalk.curate.curation import curate
from shoptalk.curate.dedup import normalise
from shoptalk.curate.rules import RESERVED
from shoptalk.records import Document, Drop, Item
from shoptalk.text.plain_sentences import sentences

JUDGED = "judged-text"
"""The reason of what is left out because the run is judged on it."""


def general_text(
    items: Iterable[Document | Drop], *, judged: Sequence[Item], guarded: Sequence[str], config: CurateConfig
) -> Iterator[Document | Drop]:
    """The documents that may be replayed, and what is left out with its reason, as they come.

    The rules are those of `curate`; besides, a document that has a guarded sentence among its own is left out whole,
    for a sentence in a long passage is no near duplicate of it.

    Args:
        items: what was read, and what reading left out already, which is passed on.
        judged: held-out, labelled and test texts.
        guarded: sentences that a guard reads.
        config: similarity that counts as a near duplicate, and the size of passages.
    """
    quoted = {normalise(sentence) for sentence in guarded}
    for item in curate(_unquoted(items, quoted), reserved=[*judged, *guarded], config=config):
        if isinstance(item, Drop) and item.reason == RESERVED:
            detail = "a near duplicate of held-out text or of what the guard reads, on which the run is judged"
            yield item.model_copy(update={"reason": JUDGED, "detail": detail})
        else:
            yield item


def _unquoted(items: Iterable[Document | Drop], quoted: set[str]) -> Iterator[Document | Drop]:
    for item in items:
        found = None if isinstance(item, Drop) else _quotation(item, quoted)
        if isinstance(item, Drop) or found is None:
            yield item
        else:
            detail = "it has a sentence that the guard on general text reads, on which the run is judged"
            yield Drop(id=item.id, source=item.source, reason=JUDGED, detail=detail, sample=sample(found))


def _quotation(document: Document, quoted: set[str]) -> str | None:
    """The first of a document's sentences that is quoted; None where none is."""
    texts = [turn.text for turn in document.turns] or [document.text]
    return next((part for text in texts for part in sentences(text) if normalise(part) in quoted), None)
