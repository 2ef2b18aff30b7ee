"""The knowledge of a run: added to and taken from while replies go on.

    knowledge = Knowledge.open(run, encoder, ...)     # RUN/knowledge; made from the run's documents where there is none
    knowledge.add([Path("tariffs.md")], encoder)
    knowledge.shelf                                   # the present one; a reply keeps the one that it began with

A new shelf is written beside the present one and takes its place as a whole, on disk and then in memory.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from shoptalk.artifact import Artifact, create, handed_out, locked, open_artifact
from shoptalk.assistant.document_facts import facts_of, stated_days
from shoptalk.assistant.shelf import Embeds, Shelf, Shelved, write_shelf
from shoptalk.assistant.table_files import KNOWLEDGE_READERS
from shoptalk.config.settings import CurateConfig
from shoptalk.curate.clean import printable
from shoptalk.curate.curation import read_documents
from shoptalk.curate.files import SourceFile
from shoptalk.curate.listing import list_files
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import ArtifactError, InputError
from shoptalk.readback import MANIFEST, as_written
from shoptalk.records import Document, Drop

FOLDER = "knowledge"
Tell = Callable[[int, int], None]
"""Is called while texts are embedded: with how many are, and how many are to be."""
_LAYOUT = 1


def _silent(done: int, texts: int) -> None:
    pass


@dataclass(frozen=True)
class KnowledgeChange:
    """What `add` or `remove` did."""

    documents: int
    passages: int
    embedded: int
    """Passages that were embedded: those that were not there before."""
    replaced: tuple[str, ...] = ()
    """Ids of documents that gave way to new ones of the same id."""
    removed: tuple[str, ...] = ()
    dropped: tuple[Drop, ...] = ()
    remarks: tuple[str, ...] = ()
    """Such as a date in a document's front matter that is no date."""


class Knowledge:
    """The present shelf of a run, and how it is changed."""

    def __init__(self, run: Path, shelf: Shelf, artifact: Artifact, tell: Tell = _silent) -> None:
        self._run = run
        self._tell = tell
        self._present = (shelf, artifact)
        self._changing = Lock()

    @classmethod
    def open(cls, run: Path, encoder: Embeds, *, encoder_content: str, dim: int, tell: Tell = _silent) -> "Knowledge":
        """The knowledge of a run; made from the documents of its corpus where there is none for its encoder yet.

        Raises:
            ArtifactError: neither is there, or one of them is damaged.
        """
        artifact = open_artifact(run / FOLDER)
        if artifact is not None and artifact.parents.get("encoder") == encoder_content:
            return cls(run, Shelf(run / FOLDER, content=handed_out(run / FOLDER).content), artifact, tell)
        # Knowledge of another encoder: the same documents, embedded anew.
        documents = _of_corpus(run) if artifact is None else Shelf(run / FOLDER).documents()
        with locked(run):
            shelf, artifact, _ = _write(run, documents, encoder, encoder_content, dim, earlier=None, tell=tell)
        return cls(run, shelf, artifact, tell)

    @property
    def shelf(self) -> Shelf:
        """The present shelf."""
        return self._present[0]

    def refresh(self) -> bool:
        """Take over what another process has written since; whether there was anything."""
        _, artifact = self._present
        if not (self._run / FOLDER / MANIFEST).is_file():  # at this moment it is being replaced
            return False
        there = open_artifact(self._run / FOLDER)
        if there is None or there.content == artifact.content:
            return False
        if there.parents.get("encoder") != artifact.parents.get("encoder"):
            return False  # of an encoder that this process has not opened
        self._present = (Shelf(self._run / FOLDER, content=there.content), there)
        return True

    def add(self, sources: Sequence[Path], encoder: Embeds) -> KnowledgeChange:
        """Read sources and add their documents; each takes the place of what the knowledge has of that name or file.

        Raises:
            SourceError: a source cannot be read.
            StorageError: another process is changing the knowledge.
        """
        items = list(stream_sources(sources, CurateConfig(), out=self._run, readers=KNOWLEDGE_READERS, pictures=False))
        files, _ = list_files(sources, out=self._run)
        known = {document.source for document in self.shelf.documents()}
        known_as = _known_as(files, known)
        documents = [_called(item, known_as) for item in items if isinstance(item, Document) and not item.turns]
        dropped = [item for item in items if isinstance(item, Drop)]
        dropped += [
            Drop(id=item.id, source=item.source, reason="conversation", detail="knowledge is documents")
            for item in items
            if isinstance(item, Document) and item.turns
        ]
        change = self.put(documents, encoder, dropped=dropped, whole={document.source for document in documents})
        given = [known_as.get(file.name, file.name) for file in files if file.given]
        return replace(change, remarks=(*change.remarks, *_namesakes(given, known)))

    def put(
        self,
        documents: Sequence[Document],
        encoder: Embeds,
        *,
        dropped: Sequence[Drop] = (),
        whole: Set[str] = frozenset(),
    ) -> KnowledgeChange:
        """Add documents that are already read; one whose id is there already takes its place.

        Of the sources in `whole` these are all documents: earlier ones of the same sources, such as rows that a file
        has no more, are removed.

        Raises:
            InputError: there are none, or two of them have one id.
        """
        if not documents:
            reasons = ", ".join(sorted({drop.reason for drop in dropped})) or "nothing was read"
            raise InputError(f"No document to add: {reasons}. Give files with text, such as .md, .txt or .csv.")
        ids: set[str] = set()
        for document in documents:
            if document.id in ids:
                raise InputError(
                    f"Of those to add, two documents have the id {document.id!r}. Give each an id of its own."
                )
            ids.add(document.id)
        with self._changed() as present:
            replaced = tuple(document.id for document in present.documents() if document.id in ids)
            removed = tuple(
                document.id for document in present.documents() if document.source in whole and document.id not in ids
            )
            gone = ids | set(removed)
            kept = (document for document in present.documents() if document.id not in gone)
            written = self._swap(_chained(kept, documents), encoder)
        return KnowledgeChange(
            documents=len(documents),
            passages=written.passages,
            embedded=written.embedded,
            replaced=replaced,
            removed=removed,
            dropped=tuple(dropped),
            remarks=tuple(_remarks(documents)),
        )

    def remove(self, names: Sequence[str], encoder: Embeds, *, ids: bool = False) -> KnowledgeChange:
        """Take documents away, by their ids or by the names of the files or folders that they are from. Where names
        are said to be `ids`, they are nothing else: one document goes for each.

        Raises:
            InputError: a name is that of no document.
        """
        with self._changed() as present:
            documents = list(present.documents())
            gone: set[str] = set()
            for name in names:
                named = {x.id for x in documents if (x.id == name if ids else _named(x, name))}
                if not named:
                    some = ", ".join(document.id for document in documents[:5])
                    raise InputError(
                        f"The knowledge has no document {name!r}. `shoptalk knowledge status` lists them: {some}"
                        f"{', ...' if len(documents) > 5 else ''}."
                    )
                gone |= named
            written = self._swap((document for document in documents if document.id not in gone), encoder)
        return KnowledgeChange(0, written.passages, written.embedded, removed=tuple(sorted(gone)))

    def status(self) -> dict[str, object]:
        """What is there: documents with their passages, days and pins."""
        shelf, artifact = self._present
        counts: dict[str, int] = {}
        for number in range(len(shelf)):
            id = shelf.passage(number).document
            counts[id] = counts.get(id, 0) + 1
        rows = []
        for document in shelf.documents():
            facts, _ = facts_of(document)
            row: dict[str, object] = {"id": document.id, "passages": counts.get(document.id, 0), **stated_days(facts)}
            if facts.official:
                row["official"] = True
            rows.append(row)
        return {
            "documents": len(rows),
            "passages": len(shelf),
            "index": artifact.content[:12],
            "changed": artifact.created,
            "sources": rows,
        }

    @contextmanager
    def _changed(self) -> Iterator[Shelf]:
        with self._changing, locked(self._run):
            self.refresh()
            yield self.shelf

    def _swap(self, documents: Iterable[Document], encoder: Embeds) -> Shelved:
        shelf, artifact = self._present
        content = artifact.parents["encoder"]
        new, there, written = _write(self._run, documents, encoder, content, shelf.dim, earlier=shelf, tell=self._tell)
        self._present = (new, there)
        return written


def _write(
    run: Path,
    documents: Iterable[Document],
    encoder: Embeds,
    encoder_content: str,
    dim: int,
    *,
    earlier: Shelf | None,
    tell: Tell,
) -> tuple[Shelf, Artifact, Shelved]:
    with create(
        run / FOLDER, kind="knowledge", config={"layout": _LAYOUT}, parents={"encoder": encoder_content}
    ) as folder:
        written = write_shelf(folder, documents, encoder, earlier=earlier, dim=dim, tell=tell)
    artifact = open_artifact(run / FOLDER)
    assert artifact is not None
    return Shelf(run / FOLDER, content=artifact.content), artifact, written


def _of_corpus(run: Path) -> Iterator[Document]:
    """The documents of a run's corpus that are texts; rows of a file with labels are messages, and no knowledge."""
    corpus = run / "corpus"
    if open_artifact(corpus) is None:
        raise ArtifactError(
            f"{run} has neither knowledge nor a corpus to make it from. Give the folder of a run that `shoptalk adapt` "
            "left."
        )
    of_labels = _files_with_labels(corpus)
    documents = (document for document in read_documents(corpus) if document.source not in of_labels)
    return (document for document in documents if document.text and not document.turns)


def _files_with_labels(corpus: Path) -> set[str]:
    """The names of the files that labelled examples came from: what else stands there is what customers wrote, too."""
    files = set()
    for path in filter(Path.is_file, (corpus / "labels.jsonl", corpus / "test.jsonl")):
        with as_written(corpus), path.open(encoding="utf-8") as rows:
            files |= {str(json.loads(row)["id"]).rpartition("#")[0] for row in rows}
    return files


def _named(document: Document, name: str) -> bool:
    name = name.rstrip("/")
    return name in (document.id, document.source) or document.source.startswith(f"{name}/")


def _known_as(files: Sequence[SourceFile], known: Set[str]) -> dict[str, str]:
    """Files by the names that the knowledge has them under: `documents/faq.md` where only `faq.md` would be its name.

    A source is named from the folder that was given down, so one file has another name when it is given by itself.
    """
    known_as = {}
    for file in files:
        parts = file.path.absolute().parts
        longer = (printable("/".join(parts[-depth:])) for depth in range(len(parts) - 1, file.name.count("/") + 1, -1))
        if earlier := next((name for name in longer if name in known), None):
            known_as[file.name] = earlier
    names = Counter(known_as.get(file.name, file.name) for file in files)
    return {name: earlier for name, earlier in known_as.items() if names[earlier] == 1}


def _called(document: Document, known_as: Mapping[str, str]) -> Document:
    earlier = known_as.get(document.source)
    if earlier is None:
        return document
    return document.model_copy(update={"id": earlier + document.id.removeprefix(document.source), "source": earlier})


def _namesakes(given: Sequence[str], known: Set[str]) -> Iterator[str]:
    """Of files that were given by themselves: others of the same file name, which may be earlier states of them."""
    for name in given:
        file_name = name.rpartition("/")[2]
        others = sorted(other for other in known if other != name and other.rpartition("/")[2] == file_name)
        if others:
            yield (
                f"{name}: {', '.join(others)} stays beside it. Where that is the same document, take it away with "
                "`shoptalk knowledge remove`."
            )


def _chained(*parts: Iterable[Document]) -> Iterator[Document]:
    for part in parts:
        yield from part


def _remarks(documents: Sequence[Document]) -> Iterator[str]:
    for document in documents:
        for unread in facts_of(document)[0].unread:
            wanted = "address of a web page and is passed over; write it as https://example.com/page"
            if not unread.startswith("link: "):
                wanted = "date and is passed over; write it as 2026-05-01"
            yield f"{document.id}: {unread!r} is no {wanted}."
