"""What may not be learned from: the rules of curation, in the order in which they run.

    for rule in RULES:
        items = rule(items, reserved=["Where is my parcel?"], config=CurateConfig())

Texts are repaired before, where they are read (`clean.repair`). A rule takes what the rule before it has left, drops
included, which it passes on in their place. It holds nothing beyond its own stream: the same items give the same
result.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import sample
from shoptalk.curate.dedup import Reference, normalise
from shoptalk.curate.passages import passages, units_of
from shoptalk.curate.picture_looks import LookTable, look_of
from shoptalk.curate.seen import Table, names
from shoptalk.image.decode import RefusedPicture
from shoptalk.records import Document, Drop, Item, Metadata, Picture

RESERVED = "in-labelled-cluster"
_REPEAT_OF = "same as "
_REPEATS = re.compile(r"same (?:text )?as (?P<id>.*)", re.DOTALL)
"""As it is written, and as earlier versions wrote it."""
# A text of fewer words ("ok thanks") turns up in any conversation and so does not identify one.
IDENTIFYING_WORDS = 4
BATCH = 4_000
"""Turns and passages compared with the reserved texts at once."""
_BATCH_CHARACTERS = 2_000_000

# Scripts written without spaces: kana, Han, Thai, Lao, Burmese, Khmer. Two of their characters count as a word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@runtime_checkable
class CurationRule(Protocol):
    """Leaves documents out, or parts of them, each with its reason."""

    def __call__(
        self, items: Iterable[Document | Drop], *, reserved: Sequence[Item], config: CurateConfig
    ) -> Iterator[Document | Drop]:
        """The items that are left, and a drop for each that is not.

        Args:
            items: documents, and what was left out before.
            reserved: labelled and test texts and pictures, which must stay unseen.
            config: similarity that counts as a near duplicate, and the size of passages.
        """
        ...


def each(judge: Callable[[Document], Document | Drop]) -> CurationRule:
    """The rule that judges each document by itself."""

    def rule(
        items: Iterable[Document | Drop], *, reserved: Sequence[Item], config: CurateConfig
    ) -> Iterator[Document | Drop]:
        for item in items:
            yield item if isinstance(item, Drop) else judge(item)

    return rule


def drop_empty(document: Document) -> Document | Drop:
    """Leave out a document without any text, unless it is a picture."""
    if document.picture is not None or any(text.strip() for text in _texts(document)):
        return document
    return Drop(id=document.id, source=document.source, reason="empty", detail="no text")


def drop_repeats(
    items: Iterable[Document | Drop], *, reserved: Sequence[Item], config: CurateConfig
) -> Iterator[Document | Drop]:
    """Leave out a document whose whole text, normalised, came before, with the same picture if it has one.

    Of each document a hash of 64 bits is kept, and its id.
    """
    first = Table()
    with names() as ids:
        for item in items:
            if isinstance(item, Drop):
                yield item
                continue
            texts = _texts(item)
            parts = [normalise(text) for text in texts] + ([item.picture.sha256] if item.picture else [])
            whole = "\n".join(parts).encode("utf-8", "surrogatepass")
            if earlier := first.get(whole):
                yield Drop(
                    id=item.id,
                    source=item.source,
                    reason="duplicate",
                    detail=f"{_REPEAT_OF}{ids[earlier]}",
                    sample=sample(" ".join(texts)),
                )
            else:
                first.set(whole, ids.add(item.id))
                yield item


def drop_alike_pictures(
    items: Iterable[Document | Drop], *, reserved: Sequence[Item], config: CurateConfig
) -> Iterator[Document | Drop]:
    """Leave out a picture that looks like a reserved one or like one before it, with its captions.

    Of each picture 700 bytes are kept (`picture_looks.py`), and its id.
    """
    table, names_of = LookTable(most_bits=config.near_pictures), list[str]()
    for unseen in reserved:
        if isinstance(unseen, Picture):
            table.add(look_of(unseen))
    n_reserved = len(table)
    for item in items:
        if isinstance(item, Drop) or item.picture is None:
            yield item
            continue
        try:
            look = look_of(item.picture)
        except RefusedPicture as refusal:  # it was read a moment ago
            yield Drop(id=item.id, source=item.source, reason=refusal.reason, detail=refusal.detail)
            continue
        near = table.near(look)
        if near is None:
            table.add(look)
            names_of.append(item.id)
            yield item
            continue
        reason, detail = RESERVED, "looks like a labelled or test picture, which must stay unseen"
        if near >= n_reserved:
            equal = table.pixels_of(near) == look.pixels
            reason = "duplicate" if equal else "near-duplicate"
            detail = f"{'has the pixels of' if equal else 'looks like'} {names_of[near - n_reserved]}"
            detail += "" if equal else "; curate.near_pictures says how alike is too alike"
        yield Drop(id=item.id, source=item.source, reason=reason, detail=detail, sample=_captions(item))


def _captions(document: Document) -> str:
    """The beginning of what is left out with a picture."""
    return sample(" ".join(turn.text for turn in document.turns) or document.text)


def repeated(drop: Drop) -> str | None:
    """The id of the document that a dropped one repeats; None where that is not why it was dropped."""
    repeats = _REPEATS.fullmatch(drop.detail) if drop.reason == "duplicate" else None
    return repeats["id"] if repeats else None


def drop_reserved(
    items: Iterable[Document | Drop], *, reserved: Sequence[Item], config: CurateConfig
) -> Iterator[Document | Drop]:
    """Leave out near duplicates of a reserved text.

    The whole conversation where the matching turn has four words or more, for the other turns are that text's context;
    else the turn or the passage alone. A removed turn leaves an empty one in its place.
    """
    # A document meets a reserved text of several paragraphs only after it was cut into passages. So the passages of
    # reserved texts are reserved from documents too, where they identify the text.
    texts = texts_among(reserved)
    cut = [part for text in texts for part in passages(text, config.passage_characters) if _identifies(part)]
    turns = Reference(texts, config.near_duplicate)
    plain = Reference([*texts, *cut], config.near_duplicate)
    for batch in _batches(items, config.passage_characters):
        _mark(batch, turns, plain)
        for entry in batch:
            yield from _judged(entry)


RULES: tuple[CurationRule, ...] = (
    each(drop_empty),
    drop_repeats,
    drop_alike_pictures,
    drop_reserved,
)
"""All of them, the first to run first."""


def texts_among(items: Iterable[Item]) -> list[str]:
    """Those of the items that are texts."""
    return [item for item in items if isinstance(item, str)]


def _texts(document: Document) -> list[str]:
    return [turn.text for turn in document.turns] or [document.text]


# Near duplicates of reserved texts


@dataclass
class _Entry:
    """A document on its way, its turns or passages, and which of them are too like a reserved text."""

    item: Document | Drop
    units: list[str] = field(default_factory=list)
    matching: list[int] = field(default_factory=list)


def _batches(items: Iterable[Document | Drop], passage_characters: int) -> Iterator[list[_Entry]]:
    """Documents until they have enough turns and passages, or characters; drops keep their place."""
    batch: list[_Entry] = []
    size = characters = 0
    for item in items:
        units = [] if isinstance(item, Drop) else units_of(item, passage_characters)
        batch.append(_Entry(item, units))
        size += max(1, len(units))
        characters += sum(map(len, units)) + (0 if isinstance(item, Drop) else _size(item.metadata))
        if size >= BATCH or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, size, characters = [], 0, 0
    yield batch


def _size(metadata: Metadata) -> int:
    """The characters that are held with a document."""
    return sum(len(value) for value in metadata.values() if isinstance(value, str))


def _mark(batch: Sequence[_Entry], turns: Reference, plain: Reference) -> None:
    """Note the units that are near duplicates of a reserved text."""
    for of_turns, reference in ((True, turns), (False, plain)):
        places = [
            (entry, number)
            for entry in batch
            if isinstance(entry.item, Document) and bool(entry.item.turns) == of_turns
            for number, text in enumerate(entry.units)
            if text
        ]
        hits = reference.near([entry.units[number] for entry, number in places])
        for i in np.flatnonzero(hits).tolist():
            entry, number = places[i]
            entry.matching.append(number)


def _judged(entry: _Entry) -> Iterator[Document | Drop]:
    """What is left of a document, and a drop for each part that is not."""
    document, texts, matching = entry.item, entry.units, entry.matching
    if isinstance(document, Drop) or not matching:
        yield document
    elif rest := _remainder(document, texts, matching):
        yield rest
        kind = "turn" if document.turns else "passage"
        yield from (_reserved(document, f"{document.id}#{kind}{n}", texts[n]) for n in matching)
    else:
        yield _reserved(document, document.id, max((texts[n] for n in matching), key=len))


def _remainder(document: Document, texts: Sequence[str], matching: Sequence[int]) -> Document | None:
    """The document without its matching turns or passages, or None where it must go as a whole."""
    gone = set(matching)
    if not any(text for number, text in enumerate(texts) if number not in gone):
        return None
    if not document.turns:
        rest = "\n\n".join(text for number, text in enumerate(texts) if number not in gone)
        return document.model_copy(update={"text": rest})
    if any(_identifies(texts[number]) for number in matching):
        return None
    turns = (
        turn.model_copy(update={"text": ""}) if number in gone else turn for number, turn in enumerate(document.turns)
    )
    return document.model_copy(update={"turns": tuple(turns)})


def _identifies(text: str) -> bool:
    return words_in(text) >= IDENTIFYING_WORDS


def words_in(text: str) -> int:
    """How many words a text has, in scripts without spaces too."""
    return len(text.split()) + len(_UNSPACED.findall(text)) // 2


def without_reserved(
    items: Iterable[Document | Drop], why: Callable[[Document], str | None]
) -> Iterator[Document | Drop]:
    """The items without the documents that must stay unseen as a whole, each of which becomes a drop.

    `why` says so of a document; None where it may be learned from.
    """
    for item in items:
        if isinstance(item, Document) and (detail := why(item)) is not None:
            text = " ".join(turn.text for turn in item.turns) or item.text
            yield Drop(id=item.id, source=item.source, reason=RESERVED, detail=detail, sample=sample(text))
        else:
            yield item


def _reserved(document: Document, id: str, text: str) -> Drop:
    detail = "a near duplicate of a labelled or test text, which must stay unseen"
    return Drop(id=id, source=document.source, reason=RESERVED, detail=detail, sample=sample(text))
