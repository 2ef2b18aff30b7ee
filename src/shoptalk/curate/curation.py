"""What may be learned from: documents without repeats and without anything that the verdict will be measured on.

    kept = curate(stream_sources(paths, config), reserved=[example.text for example in labelled], config=config)
    write_corpus(folder, kept, passage_characters=600, held_out=lambda document: False)
    corpus = open_corpus(folder / TRAIN, digest=artifact.content)

A stream from end to end: what is held is a batch of documents, and for each document that came by, 30 to 60 bytes (the
hashes of its id and of its text).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from shoptalk.artifact import storage_errors, write_text
from shoptalk.config import CurateConfig
from shoptalk.curate.clean import sample
from shoptalk.curate.dedup import Reference, normalise
from shoptalk.curate.passages import is_markdown, passages
from shoptalk.curate.seen import Table, names
from shoptalk.errors import ArtifactError
from shoptalk.records import Document, Drop, Frozen
from shoptalk.text.corpus import Corpus, CorpusWriter
from shoptalk.text.stored import ArrayWriter

DOCUMENTS = "documents.jsonl"
DROPS = "drops.jsonl"
TRAIN, HELD_OUT = "train", "held_out"
"""Folders of the two corpora."""
IS_HELD_OUT = "is_held_out.npy"
"""Of each document, 1 where it is in the second of them."""
RESERVED = "in-labelled-cluster"
# A text of fewer words ("ok thanks") turns up in any conversation and so does not identify one.
IDENTIFYING_WORDS = 4
BATCH = 4_000
"""Turns and passages compared with the reserved texts at once."""
_BATCH_CHARACTERS = 2_000_000

F = TypeVar("F", bound=Frozen)

# Scripts written without spaces: kana, Han, Thai, Lao, Burmese, Khmer. Two of their characters count as a word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


def curate(
    items: Iterable[Document | Drop], *, reserved: Sequence[str], config: CurateConfig
) -> Iterator[Document | Drop]:
    """The documents that self-supervision may learn from, and what is left out with its reason, as they come.

    Left out are empty documents, repeats of the whole document (equal after normalisation), and near duplicates of a
    reserved text: the whole conversation where the matching turn has four words or more, for the other turns are
    that text's context; else the turn or the passage alone. A removed turn leaves an empty one in its place.

    Args:
        items: what was read, and what reading left out already, which is passed on.
        reserved: labelled and test texts.
        config: similarity that counts as a near duplicate, and the size of passages.
    """
    # A document meets a reserved text of several paragraphs only after it was cut into passages. So the passages of
    # reserved texts are reserved from documents too, where they identify the text.
    cut = [part for text in reserved for part in passages(text, config.passage_characters) if _identifies(part)]
    turns = Reference(reserved, config.near_duplicate)
    plain = Reference([*reserved, *cut], config.near_duplicate)
    for batch in _batches(_without_repeats(items), config.passage_characters):
        _mark(batch, turns, plain)
        for entry in batch:
            yield from _judged(entry)


def to_corpus(documents: Iterable[Document], *, digest: str, passage_characters: int) -> Corpus:
    """The texts that objectives see, in memory: one a turn or passage. Empty turns leave a gap in `turn`."""
    texts: list[str] = []
    conversation: list[int] = []
    turn: list[int] = []
    for number, document in enumerate(documents):
        for place, text in enumerate(_units(document, passage_characters)):
            if text:
                texts.append(text)
                conversation.append(number)
                turn.append(place if document.turns else -1)
    return Corpus(
        texts=tuple(texts),
        conversation=np.array(conversation, dtype=np.int64),
        turn=np.array(turn, dtype=np.int64),
        digest=digest,
    )


@dataclass(frozen=True)
class Written:
    """How many documents went into a corpus, and how many were left out for each reason."""

    documents: int
    dropped: Counter[str]


def write_corpus(
    folder: Path,
    items: Iterable[Document | Drop],
    *,
    passage_characters: int,
    held_out: Callable[[Document], bool],
) -> Written:
    """Write `documents.jsonl` and `drops.jsonl`, one record a line, the texts as two corpora, one of them held out, and
    which documents those of the second are (`IS_HELD_OUT`, in the order of the documents).

    Raises:
        StorageError: the folder cannot be written.
    """
    documents, dropped = 0, Counter[str]()
    with storage_errors(folder), ExitStack() as stack:
        held_out_file = stack.enter_context(ArrayWriter(folder / IS_HELD_OUT, np.uint8))
        train, kept_back = (stack.enter_context(CorpusWriter(folder / name)) for name in (TRAIN, HELD_OUT))
        kept_file, drops_file = (
            stack.enter_context((folder / name).open("w", encoding="utf-8")) for name in (DOCUMENTS, DROPS)
        )
        for item in items:
            if isinstance(item, Drop):
                dropped[item.reason] += 1
                drops_file.write(item.model_dump_json(exclude_defaults=True) + "\n")
                continue
            documents += 1
            kept_file.write(item.model_dump_json(exclude_defaults=True) + "\n")
            is_held_out = held_out(item)
            held_out_file.append(is_held_out)
            writer = kept_back if is_held_out else train
            writer.add(_units(item, passage_characters), are_turns=bool(item.turns))
    return Written(documents, dropped)


def read_documents(folder: Path) -> Iterator[Document]:
    """The documents that `write_corpus` left, one at a time.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    return _records(folder / DOCUMENTS, Document)


def read_drops(folder: Path) -> Iterator[Drop]:
    """The drops that `write_corpus` left, one at a time.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    return _records(folder / DROPS, Drop)


def count_drops(folder: Path) -> dict[str, int]:
    """How many of them there are, by reason.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    return by_reason(read_drops(folder))


def by_reason(drops: Iterable[Drop]) -> dict[str, int]:
    """How many drops there are for each reason, the most frequent first."""
    return dict(Counter(drop.reason for drop in drops).most_common())


def write_drops(folder: Path, drops: Iterable[Drop]) -> None:
    """Write drops where `read_drops` finds them, for a folder that holds no corpus.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_text(folder / DROPS, "".join(drop.model_dump_json(exclude_defaults=True) + "\n" for drop in drops))


# The rules


@dataclass
class _Entry:
    """A document on its way, its turns or passages, and which of them are too like a reserved text."""

    item: Document | Drop
    units: list[str] = field(default_factory=list)
    matching: list[int] = field(default_factory=list)


def _without_repeats(items: Iterable[Document | Drop]) -> Iterator[Document | Drop]:
    first = Table()
    with names() as ids:
        for item in items:
            if isinstance(item, Drop):
                yield item
                continue
            texts = [turn.text for turn in item.turns] or [item.text]
            if not any(text.strip() for text in texts):
                yield Drop(id=item.id, source=item.source, reason="empty", detail="no text")
                continue
            whole = "\n".join(normalise(text) for text in texts).encode("utf-8", "surrogatepass")
            if earlier := first.get(whole):
                yield Drop(
                    id=item.id,
                    source=item.source,
                    reason="duplicate",
                    detail=f"same text as {ids[earlier]}",
                    sample=sample(" ".join(texts)),
                )
            else:
                first.set(whole, ids.add(item.id))
                yield item


def _batches(items: Iterable[Document | Drop], passage_characters: int) -> Iterator[list[_Entry]]:
    """Documents until they have enough turns and passages, or characters; drops keep their place."""
    batch: list[_Entry] = []
    size = characters = 0
    for item in items:
        units = [] if isinstance(item, Drop) else _units(item, passage_characters)
        batch.append(_Entry(item, units))
        size += max(1, len(units))
        characters += sum(map(len, units))
        if size >= BATCH or characters >= _BATCH_CHARACTERS:
            yield batch
            batch, size, characters = [], 0, 0
    yield batch


def _units(document: Document, passage_characters: int) -> list[str]:
    if document.turns:
        return [turn.text for turn in document.turns]
    return passages(document.text, passage_characters, markdown=is_markdown(document.source))


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
    return len(text.split()) + len(_UNSPACED.findall(text)) // 2 >= IDENTIFYING_WORDS


def _reserved(document: Document, id: str, text: str) -> Drop:
    detail = "a near duplicate of a labelled or test text, which must stay unseen"
    return Drop(id=id, source=document.source, reason=RESERVED, detail=detail, sample=sample(text))


# On disk


def _records(path: Path, kind: type[F]) -> Iterator[F]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield kind.model_validate_json(line)
                except ValidationError as error:
                    raise ArtifactError(f"{path}, line {number} is damaged. Run `shoptalk curate` again.") from error
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}). Run `shoptalk curate` again.") from error
