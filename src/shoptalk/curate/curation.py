"""What may be learned from: documents without repeats and without anything that the verdict will be measured on.

    kept = curate(stream_sources(paths, config), reserved=[example.text for example in labelled], config=config)
    write_corpus(folder, kept, passage_characters=600, held_out=lambda document: False)
    train, held_out = open_corpora(folder, digest=artifact.content)

A stream from end to end: what is held is a batch of documents, and for each document that came by, 30 to 60 bytes (the
hashes of its id and of its text).
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import SupportsIndex, TypeVar, overload

import numpy as np
from pydantic import ValidationError

from shoptalk.artifact import storage_errors, write_text
from shoptalk.config import CurateConfig
from shoptalk.curate.passages import units_of
from shoptalk.curate.rules import RULES
from shoptalk.errors import ArtifactError
from shoptalk.records import Document, Drop, Frozen, Item
from shoptalk.text.corpus import Corpus, CorpusWriter, open_corpus
from shoptalk.text.stored import ArrayWriter, StoredTexts, TextWriter

DOCUMENTS = "documents.jsonl"
"""With `documents.starts.npy`, where each line begins."""
DROPS = "drops.jsonl"
TRAIN, HELD_OUT, BANK = "train", "held_out", "bank"
"""Folders of the corpora. The bank, of which a person is asked, is there where one was held out."""
IS_HELD_OUT = "is_held_out.npy"
"""Of each document, which of them it is in, by their order: 0 where it is trained on."""

F = TypeVar("F", bound=Frozen)


def curate(
    items: Iterable[Document | Drop], *, reserved: Sequence[Item], config: CurateConfig
) -> Iterator[Document | Drop]:
    """The documents that self-supervision may learn from, and what is left out with its reason, as they come.

    `rules.RULES` says what is left out, and in which order.

    Args:
        items: what was read, and what reading left out already, which is passed on.
        reserved: labelled and test texts and pictures.
        config: similarity that counts as a near duplicate, and the size of passages.
    """
    for rule in RULES:
        items = rule(items, reserved=reserved, config=config)
    yield from items


def to_corpus(documents: Iterable[Document], *, digest: str, passage_characters: int) -> Corpus:
    """The items that objectives see, in memory: one a turn or passage. Empty turns leave a gap in `turn`."""
    every = tuple(documents)
    items: list[Item] = []
    conversation: list[int] = []
    turn: list[int] = []
    role: list[int] = []
    roles: dict[str, int] = {}
    for number, document in enumerate(every):
        for place, (item, name) in enumerate(zip(*_items_and_roles(document, passage_characters), strict=True)):
            if item:
                items.append(item)
                conversation.append(number)
                turn.append(place if document.turns else -1)
                role.append(roles.setdefault(name, len(roles)) if name else -1)
    return Corpus(
        items=tuple(items),
        conversation=np.array(conversation, dtype=np.int64),
        turn=np.array(turn, dtype=np.int64),
        digest=digest,
        role=np.array(role, dtype=np.int64),
        roles=tuple(roles),
        documents=every,
    )


def _items_and_roles(document: Document, passage_characters: int) -> tuple[list[Item], list[str]]:
    """A document's picture, then its turns or passages; and the role of each, empty where it has none."""
    items: list[Item] = list(units_of(document, passage_characters))
    roles = [turn.role for turn in document.turns] or [""] * len(items)
    if document.picture is None:
        return items, roles
    return [document.picture, *items], ["", *roles]


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
    bank: Callable[[Document], bool] | None = None,
) -> Written:
    """Write `documents.jsonl` and `drops.jsonl`, one record a line, the items as corpora, one of them held out, where
    `bank` is given another of what that chooses of the rest, and in which of them each document is (`IS_HELD_OUT`, in
    the order of the documents).

    Raises:
        StorageError: the folder cannot be written.
    """
    documents, dropped = 0, Counter[str]()
    with storage_errors(folder), ExitStack() as stack:
        held_out_file = stack.enter_context(ArrayWriter(folder / IS_HELD_OUT, np.uint8))
        parts = (TRAIN, HELD_OUT) if bank is None else (TRAIN, HELD_OUT, BANK)
        writers = [stack.enter_context(CorpusWriter(folder / name)) for name in parts]
        kept = stack.enter_context(TextWriter(folder, "documents", suffix=".jsonl"))
        drops_file = stack.enter_context((folder / DROPS).open("w", encoding="utf-8"))
        for item in items:
            if isinstance(item, Drop):
                dropped[item.reason] += 1
                drops_file.write(item.model_dump_json(exclude_defaults=True) + "\n")
                continue
            kept.append((item.model_dump_json(exclude_defaults=True) + "\n").encode("utf-8"))
            part = 1 if held_out(item) else 2 if bank is not None and bank(item) else 0
            held_out_file.append(part)
            _add(writers[part], item, passage_characters, number=documents)
            documents += 1
    return Written(documents, dropped)


def _add(writer: CorpusWriter, document: Document, passage_characters: int, *, number: int) -> None:
    items, roles = _items_and_roles(document, passage_characters)
    writer.add(items, are_turns=bool(document.turns), roles=roles, document=number)


def move_to_bank(folder: Path, numbers: Iterable[int], *, passage_characters: int) -> None:
    """Move documents, by their numbers among those of the training corpus, to the bank: both are written anew.

    Raises:
        StorageError: the folder cannot be written.
    """
    part = np.array(np.load(folder / IS_HELD_OUT, allow_pickle=False))
    part[np.flatnonzero(part == 0)[list(numbers)]] = 2
    with storage_errors(folder), ExitStack() as stack:
        for name in (TRAIN, BANK):
            shutil.rmtree(folder / name)
        writers = {place: stack.enter_context(CorpusWriter(folder / name)) for place, name in ((0, TRAIN), (2, BANK))}
        for number, document in enumerate(read_documents(folder)):
            if (place := int(part[number])) in writers:
                _add(writers[place], document, passage_characters, number=number)
        np.save(folder / IS_HELD_OUT, part)


def read_documents(folder: Path) -> Iterator[Document]:
    """The documents that `write_corpus` left, one at a time.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    return _records(folder / DOCUMENTS, Document)


class StoredDocuments(Sequence[Document]):
    """The same, each read when it is asked for, and none held.

    Raises:
        ArtifactError: a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = StoredTexts(folder, "documents", suffix=".jsonl")
        self._path = folder / DOCUMENTS

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, at: SupportsIndex) -> Document: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Document, ...]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> Document | tuple[Document, ...]:
        places = range(len(self))[at]
        if isinstance(places, range):
            return tuple(self[place] for place in places)
        return _record(self._lines[places].encode("utf-8"), Document, self._path, places + 1)


def open_corpora(folder: Path, *, digest: str) -> tuple[Corpus, Corpus]:
    """The corpus to train on and the one held out that `write_corpus` left, with their documents.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    train, held_out = (open_part(folder, name, digest=digest) for name in (TRAIN, HELD_OUT))
    return train, held_out


def open_part(folder: Path, name: str, *, digest: str) -> Corpus:
    """One of the corpora that `write_corpus` left, by its folder's name; it raises as `open_corpora` does."""
    return open_corpus(folder / name, digest=digest, documents=StoredDocuments(folder))


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


def add_drops(folder: Path, drops: Iterable[Drop]) -> None:
    """Write further drops after those that `write_corpus` left.

    Raises:
        StorageError: the folder cannot be written.
    """
    with storage_errors(folder), (folder / DROPS).open("a", encoding="utf-8") as file:
        file.writelines(drop.model_dump_json(exclude_defaults=True) + "\n" for drop in drops)


def write_drops(folder: Path, drops: Iterable[Drop]) -> None:
    """Write drops where `read_drops` finds them, for a folder that holds no corpus.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_text(folder / DROPS, "".join(drop.model_dump_json(exclude_defaults=True) + "\n" for drop in drops))


def _records(path: Path, kind: type[F]) -> Iterator[F]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield _record(line, kind, path, number)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}). Run `shoptalk curate` again.") from error


def _record(line: bytes, kind: type[F], path: Path, number: int) -> F:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise ArtifactError(f"{path}, line {number} is damaged. Run `shoptalk curate` again.") from error
