"""Curate: from files to a corpus, a label set and what was dropped."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from shoptalk.artifact import Artifact, create, file_digest, key_of, open_artifact
from shoptalk.config import CurateConfig
from shoptalk.curate.bank import HoldBank, close_bank
from shoptalk.curate.clean import printable
from shoptalk.curate.curation import BANK, Written, curate, open_corpora, open_part, read_drops, write_corpus
from shoptalk.curate.groups import without_conversations
from shoptalk.curate.hold_out import HELD_OUT_MOST, HELD_OUT_SHARES, HoldOut, among_sources
from shoptalk.curate.html_tags import HtmlTags
from shoptalk.curate.judged import NOTHING_ASKED, Asked, from_file, mined, without
from shoptalk.curate.labels import labels_digest, refuse_missing
from shoptalk.curate.labels_and_test import LabelsAndTest, read_labels_and_test
from shoptalk.curate.listing import counted
from shoptalk.curate.questions import refuse_missing_pairs
from shoptalk.curate.readable import expected, readable, refuse_unreadable
from shoptalk.curate.sources import source_fingerprint, stream_sources
from shoptalk.errors import AbsentError, SourceError
from shoptalk.nn.product import Kind
from shoptalk.readback import as_written, read_json
from shoptalk.records import Drop, Example, Frozen, Pair
from shoptalk.stages.world import World
from shoptalk.tasks import held_out_shares
from shoptalk.text.corpus import Corpus
from shoptalk.training.replay import general_corpus

F = TypeVar("F", bound=Frozen)

REMARKS = "remarks.json"
PAIRS = "pairs.jsonl"
LAYOUT = 5
"""Of the files in `RUN/corpus`; a corpus of another layout is made anew."""


@dataclass(frozen=True)
class Curated:
    """The curate stage's artifact, read back."""

    artifact: Artifact
    train: Corpus
    held_out: Corpus
    """Conversations that training never sees."""
    examples: tuple[Example, ...]
    tests: tuple[Example, ...]
    drops: Iterable[Drop]
    """Read anew each time they are gone through."""
    remarks: tuple[str, ...]
    """What reading the files has shown, for people: encodings other than UTF-8, inconsistent labels."""
    n_documents: int
    folder: Path
    """Where it is."""
    pairs: tuple[Pair, ...] = ()
    """Questions and the passages of `train` that answer them."""
    bank: Corpus | None = None
    """What training, pool and heads never see, to ask a person about; None where none was held out."""
    general: Corpus | None = None
    """Text of another kind that is replayed against forgetting; None where the settings name none."""


def curate_stage(
    world: World,
    sources: Sequence[Path],
    labels: Path | None,
    test: Path | None,
    *,
    pairs: Path | None = None,
    mine: bool = False,
    tell_labels: bool = True,
    bank: float = 0.0,
    reads: Kind | None = None,
) -> Curated:
    """Read everything, drop what must not be learned from, hold some conversations out; leaves `RUN/corpus`.

    What is wrong with the labels is told, unless the caller has told it already (`tell_labels`). Questions and what
    answers them are read from the file of `pairs`, or mined from the sources' conversations (`mine`). `bank` is the
    share of texts that is held out to ask a person about. Where `reads` names a kind of product, what such a one does
    not read is left out.

    Raises:
        SourceError: a file named by the user cannot be used, labels and test do not fit together, pairs point nowhere,
            or nothing is left to learn from.
    """
    config = world.config
    parents = dict(source_fingerprint(sources, config.curate, out=world.run))
    for role, path in (("labels", labels), ("test", test)):
        if path is not None:
            refuse_missing(path, role)
            parents[f"{role}:{path.name}"] = labels_digest(path, config.curate)
    if pairs is not None:
        refuse_missing_pairs(pairs)
        parents[f"pairs:{pairs.name}"] = file_digest(pairs)
    # What is held out is part of what the artifact holds.
    shares = held_out_shares((config.task, *config.other_tasks)) or HELD_OUT_SHARES
    settings = config.curate.model_dump() | {"held_out": [shares, HELD_OUT_MOST], "layout": LAYOUT}
    settings |= ({"mined": True} if mine else {}) | ({"bank": bank} if bank else {})
    settings |= {"reads": reads} if reads != "text" else {}
    folder, key = world.run / "corpus", key_of(kind="corpus", config=settings, parents=parents)
    if open_artifact(folder, key=key) is None:
        world.report.say(f"curate: reading {', '.join(path.name or str(path) for path in sources)}")
        remarks = _Remarks(world.report.say)
        of_labels = remarks if tell_labels else remarks.silently
        shown = reads in ("image", "pair")
        read = read_labels_and_test(labels, test, config.curate, of_labels, tell_pair=tell_labels, pictures=shown)
        for path, part in ((labels, read.examples), (test, read.tests)):
            if path is not None and reads is not None:
                refuse_unreadable(part, reads, printable(path.name))
        asked = NOTHING_ASKED if pairs is None else from_file(pairs, config.curate, say=remarks)
        if mine:
            world.report.say("curate: looking for agents' turns that quote or link a document")
            asked = mined(lambda: stream_sources(sources, config.curate, out=world.run, pictures=False), config.curate)
        files = among_sources(config.curate.held_out_files, parents)
        hold_out = HoldOut(shares, HELD_OUT_MOST, plain=reads == "lm", files=files)
        # A text that answers a question must stand among the passages.
        hold_bank = HoldBank(bank, plain=asked is NOTHING_ASKED) if bank else None
        written = _make_corpus(
            folder, sources, read, asked, config.curate, settings, parents, remarks, hold_out, hold_bank, reads
        )
        left_out = f"; of files, documents, turns and rows {counted(written.dropped)}" if written.dropped else ""
        world.report.say(f"curate: {written.documents:,} documents{left_out}")
    return open_curated(world)


def open_curated(world: World) -> Curated:
    """What `curate_stage` has left in `RUN/corpus`.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    folder = world.run / "corpus"
    artifact = open_artifact(folder)
    if artifact is None:
        raise AbsentError(f"{folder} is not there. Run the command that makes it again.")
    remarks = read_json(folder / REMARKS, list)
    with as_written(folder):
        train, held_out = open_corpora(folder, digest=artifact.content)
        return Curated(
            artifact=artifact,
            train=train,
            held_out=held_out,
            examples=tuple(_read_records(folder / "labels.jsonl", Example)),
            tests=tuple(_read_records(folder / "test.jsonl", Example)),
            drops=_Drops(folder),
            remarks=tuple(map(str, remarks)),
            n_documents=int(artifact.readings["documents"]),
            folder=folder,
            pairs=tuple(_read_records(folder / PAIRS, Pair)),
            bank=open_part(folder, BANK, digest=artifact.content) if (folder / BANK).is_dir() else None,
        )


def with_general(world: World, curated: Curated) -> Curated:
    """The same with the general text that the settings name, without what the run is judged on."""
    labelled, after = (*curated.examples, *curated.tests), curated.artifact.content
    judged = itertools.chain(curated.held_out.items, (example.item for example in labelled))
    general = general_corpus(world.run, world.config, judged=judged, after=after, say=world.report.say)
    return replace(curated, general=general)


class _Remarks:
    """Tells what reading the files shows, and keeps it."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.kept: list[str] = []

    def __call__(self, sentence: str) -> None:
        self._say(sentence)
        self.silently(sentence)

    def silently(self, sentence: str) -> None:
        """Keep what has been told already."""
        self.kept.append(sentence)


@dataclass(frozen=True)
class _Drops(Iterable[Drop]):
    """There can be as many drops as documents, so they stay on disk."""

    folder: Path

    def __iter__(self) -> Iterator[Drop]:
        return read_drops(self.folder)


def _make_corpus(
    folder: Path,
    sources: Sequence[Path],
    labelled: LabelsAndTest,
    asked: Asked,
    config: CurateConfig,
    settings: Mapping[str, Any],
    parents: dict[str, str],
    remarks: _Remarks,
    hold_out: HoldOut,
    hold_bank: HoldBank | None,
    reads: Kind | None,
) -> Written:
    examples, tests = labelled.examples, labelled.tests
    shown, captioned = reads in (None, "image", "pair"), reads != "image"
    read = stream_sources(sources, config, out=folder.parent, say=remarks, pictures=shown, captions=captioned)
    read = read if reads is None else readable(read, reads)
    left = without_conversations(read, (example.groups for example in (*examples, *tests)))
    items = itertools.chain(labelled.drops, asked.drops, left)
    reserved = [*(example.item for example in (*examples, *tests)), *asked.texts]
    readings: dict[str, float] = {}
    tags = HtmlTags()
    with create(folder, kind="corpus", config=settings, parents=parents, readings=readings) as inside:
        kept = tags.counted(curate(without(items, asked), reserved=reserved, config=config))
        written = write_corpus(
            inside,
            kept if hold_bank is None else hold_bank.looked_ahead(kept),
            passage_characters=config.passage_characters,
            held_out=hold_out,
            bank=hold_bank,
        )
        if hold_bank is not None:
            close_bank(inside, hold_bank, config)
        if not written.documents:
            raise SourceError(
                f"Nothing is left to learn from: every document was dropped ({', '.join(sorted(written.dropped))}). "
                f"{expected(reads, read_drops(inside))}"
            )
        readings["documents"] = written.documents
        if (remark := tags.remark()) is not None:
            remarks(remark)
        _write_records(inside / PAIRS, asked.placed_in(inside, config, say=remarks))
        (inside / REMARKS).write_text(json.dumps(remarks.kept, ensure_ascii=False), encoding="utf-8")
        _write_records(inside / "labels.jsonl", examples)
        _write_records(inside / "test.jsonl", tests)
    return written


def _write_records(path: Path, records: Iterable[Frozen]) -> None:
    rows = (record.model_dump_json(exclude_none=True) + "\n" for record in records)  # a text has no picture
    path.write_text("".join(rows), encoding="utf-8")


def _read_records(path: Path, kind: type[F]) -> list[F]:
    with path.open(encoding="utf-8") as file:
        return [kind.model_validate_json(line) for line in file]
