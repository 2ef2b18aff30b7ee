"""What may be learned from: documents without repeats and without anything that the verdict will be measured on.

curated = curate(documents, drops, reserved=[example.text for example in labelled], config=config.curate)
write_corpus(folder, curated)
corpus = to_corpus(curated.documents, digest=artifact.content, passage_characters=600)
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import ValidationError

from shoptalk.artifact import storage_errors
from shoptalk.config import CurateConfig
from shoptalk.curate.clean import sample
from shoptalk.curate.dedup import matches, normalise
from shoptalk.curate.passages import is_markdown, passages
from shoptalk.errors import ArtifactError
from shoptalk.records import Document, Drop, Frozen
from shoptalk.text.corpus import Corpus

DOCUMENTS = "documents.jsonl"
DROPS = "drops.jsonl"
RESERVED = "in-labelled-cluster"
# A text of fewer words ("ok thanks") turns up in any conversation and so does not identify one.
IDENTIFYING_WORDS = 4

F = TypeVar("F", bound=Frozen)

# Scripts written without spaces: kana, Han, Thai, Lao, Burmese, Khmer. Two of their characters count as a word.
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


@dataclass(frozen=True)
class Curated:
    """What is kept, and what was left out with its reason: together, all that was read."""

    documents: list[Document]
    drops: list[Drop]


def curate(
    documents: Sequence[Document], drops: Sequence[Drop], *, reserved: Sequence[str], config: CurateConfig
) -> Curated:
    """The documents that self-supervision may learn from.

    Left out are empty documents, repeats of the whole document (equal after normalisation), and near duplicates of a
    reserved text: the whole conversation where the matching turn has four words or more, for the other turns are
    that text's context; else the turn or the passage alone. A removed turn leaves an empty one in its place.

    Args:
        documents: what was read.
        drops: what reading left out already; they come first in the result.
        reserved: labelled and test texts.
        config: similarity that counts as a near duplicate, and the size of passages.
    """
    left_out = list(drops)
    distinct = _without_repeats(documents, left_out)
    units = [_units(document, config.passage_characters) for document in distinct]
    hits = _matching(distinct, units, reserved, config)
    kept = []
    for number, (document, texts) in enumerate(zip(distinct, units, strict=True)):
        matching = [place for place in range(len(texts)) if (number, place) in hits]
        if not matching:
            kept.append(document)
        elif rest := _remainder(document, texts, matching):
            kept.append(rest)
            kind = "turn" if document.turns else "passage"
            left_out.extend(_reserved(document, f"{document.id}#{kind}{n}", texts[n]) for n in matching)
        else:
            left_out.append(_reserved(document, document.id, max((texts[n] for n in matching), key=len)))
    return Curated(documents=kept, drops=left_out)


def to_corpus(documents: Sequence[Document], *, digest: str, passage_characters: int) -> Corpus:
    """The texts that objectives see: one a turn or passage. Empty turns are passed over and leave a gap in `turn`."""
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


def write_corpus(folder: Path, curated: Curated) -> None:
    """Write `documents.jsonl` and `drops.jsonl`, one record a line.

    Raises:
        StorageError: the folder cannot be written.
    """
    _write(folder / DOCUMENTS, curated.documents)
    _write(folder / DROPS, curated.drops)


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


# The rules


def _without_repeats(documents: Sequence[Document], left_out: list[Drop]) -> list[Document]:
    first: dict[bytes, str] = {}
    kept = []
    for document in documents:
        texts = [turn.text for turn in document.turns] or [document.text]
        if not any(text.strip() for text in texts):
            left_out.append(Drop(id=document.id, source=document.source, reason="empty", detail="no text"))
            continue
        # The digest and not the text: a corpus should be held in memory once.
        whole = "\n".join(normalise(text) for text in texts).encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(whole, digest_size=16).digest()
        if key not in first:
            first[key] = document.id
            kept.append(document)
            continue
        left_out.append(
            Drop(
                id=document.id,
                source=document.source,
                reason="duplicate",
                detail=f"same text as {first[key]}",
                sample=sample(" ".join(texts)),
            )
        )
    return kept


def _units(document: Document, passage_characters: int) -> list[str]:
    if document.turns:
        return [turn.text for turn in document.turns]
    return passages(document.text, passage_characters, markdown=is_markdown(document.source))


def _matching(
    documents: Sequence[Document], units: Sequence[Sequence[str]], reserved: Sequence[str], config: CurateConfig
) -> set[tuple[int, int]]:
    """(document, unit) of every unit that is a near duplicate of a reserved text.

    A document meets a reserved text of several paragraphs only after it was cut into passages. So the passages of
    reserved texts are reserved from documents too, where they identify the text.
    """
    cut = [part for text in reserved for part in passages(text, config.passage_characters) if _identifies(part)]
    found: set[tuple[int, int]] = set()
    for of_turns, reference in ((True, reserved), (False, [*reserved, *cut])):
        places = [
            (number, place)
            for number, document in enumerate(documents)
            if bool(document.turns) == of_turns
            for place, text in enumerate(units[number])
            if text
        ]
        hits = matches([units[number][place] for number, place in places], reference, config.near_duplicate)
        found.update(places[i] for i in np.flatnonzero(hits).tolist())
    return found


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


def _write(path: Path, records: Sequence[Frozen]) -> None:
    with storage_errors(path), path.open("w", encoding="utf-8") as file:
        for record in records:
            file.write(record.model_dump_json(exclude_defaults=True) + "\n")


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
