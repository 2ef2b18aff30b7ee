"""Where the answers to questions stand: pairs are matched with the passages of a corpus.

    pairs, drops = placed(given, Passages(corpus, repeats, config), config)

A passage is matched by its words. It is the one of the sources that says the same, or that holds it; where it is longer
than the passages that sources are cut into, those that it is cut into; else its near duplicates. A document is matched
by its id, then by its file's name, then by its title, and any of its passages answers.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np

from shoptalk.config import CurateConfig
from shoptalk.curate.clean import sample
from shoptalk.curate.dedup import clusters, normalise, similarity
from shoptalk.curate.groups import chained
from shoptalk.curate.passages import passages
from shoptalk.curate.questions import GivenPair
from shoptalk.records import Document, Drop, Pair
from shoptalk.text.corpus import Corpus

NOWHERE = "points-nowhere"
FEWEST_CHARACTERS = 12
"""A shorter text ("yes", "at 8:00") is held by passages that do not answer the question; it must be a whole passage."""
_SHARE_OF_PARTS = 0.5
"""Of a text that is cut into several passages, so many must be a document's for the text to stand there."""
_MOST = 0.5
"""An answer that stands in more than this share of all passages tells none of them from the others."""
_SHARED = 0.5
"""Of the documents that answer a question, so many shared with another make the two one cluster."""
_ID_COLUMNS = ("doc_id", "document_id", "document", "url")
_HEADING = re.compile(r"\s*#{1,6}\s+(.+)")


class Passages:
    """The passages of a corpus' plain documents, by their words and by their documents."""

    def __init__(self, corpus: Corpus, repeats: Mapping[str, str], config: CurateConfig) -> None:
        """`repeats` maps the id of each document that was left out as a repeat to that of the document it repeats."""
        positions = corpus.passages().numbers
        self._config = config
        self._words = [normalise(str(corpus.items[i])) for i in positions.tolist()]
        self.document = np.asarray(corpus.conversation)[positions]
        """The number of each passage's document."""
        self._named = self._names(corpus, positions, repeats)
        self._equal: dict[str, list[int]] = defaultdict(list)
        self._with_word: dict[str, list[int]] = defaultdict(list)
        for number, words in enumerate(self._words):
            self._equal[words].append(number)
            for word in set(words.split()):
                self._with_word[word].append(number)

    def __len__(self) -> int:
        return len(self._words)

    def of_document(self, name: str) -> tuple[int, ...]:
        """The passages of the document, or documents, of that id, file name or title; none where there is none."""
        for names in self._named:
            if (numbers := names.get(_key(name))) is not None:
                return tuple(numbers)
        return ()

    def of_text(self, text: str) -> tuple[int, ...]:
        """The passages that say what a text says, hold it, or are what it is cut into."""
        words = normalise(text)
        if words in self._equal:
            return tuple(self._equal[words])
        holding = self._holding(words) if len(words) >= FEWEST_CHARACTERS else []
        return tuple(holding) or self._parts(text)

    def near(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Of each text the passages that are near duplicates of it."""
        if not texts:
            return []
        threshold = self._config.near_duplicate
        numbers = clusters([*self._words, *texts], threshold)
        members: dict[int, list[int]] = defaultdict(list)
        for place, number in enumerate(numbers[: len(self)].tolist()):
            members[number].append(place)
        near = []
        for text, number in zip(texts, numbers[len(self) :].tolist(), strict=True):
            # A cluster holds what its members chain to; a near duplicate is one of this very text.
            chain = members[number]
            alike = similarity(text, [self._words[place] for place in chain]) >= threshold
            near.append(tuple(place for place, is_near in zip(chain, alike.tolist(), strict=True) if is_near))
        return near

    def _holding(self, words: str) -> list[int]:
        rarest = min((self._with_word.get(word, []) for word in words.split()), key=len, default=[])
        return [number for number in rarest if f" {words} " in f" {self._words[number]} "]

    def _parts(self, text: str) -> tuple[int, ...]:
        """What a long text is cut into, as prose or as Markdown, in each document that has at least half of it."""
        standing: set[int] = set()
        for markdown in (False, True):
            cut = passages(text, self._config.passage_characters, markdown=markdown)
            parts = {normalise(part) for part in cut}
            here = [number for part in parts for number in self._equal.get(part, ())]
            parts_in = Counter(int(self.document[number]) for number in here)
            enough = {document for document, count in parts_in.items() if count >= _SHARE_OF_PARTS * len(parts)}
            standing.update(number for number in here if int(self.document[number]) in enough)
        return tuple(sorted(standing))

    def _names(
        self, corpus: Corpus, positions: np.ndarray, repeats: Mapping[str, str]
    ) -> tuple[dict[str, list[int]], ...]:
        """Passages by ids, by file names, and by titles of their documents."""
        ids, files, titles = (defaultdict[str, list[int]](list) for _ in range(3))
        repeated: dict[str, list[str]] = defaultdict(list)
        for repeat, original in repeats.items():
            repeated[original].append(repeat)
        begins = np.flatnonzero(np.diff(self.document, prepend=-1))
        ends = np.append(begins, len(positions))[1:]
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
            document = corpus.document_of(int(positions[begin]))
            numbers = range(begin, end)
            for id in (document.id, *repeated[document.id]):
                for name in {_key(id), _key(id.partition("#")[2])} - {""}:
                    ids[name].extend(numbers)
            for column in _ID_COLUMNS:
                if column in document.metadata:
                    ids[_key(str(document.metadata[column]))].extend(numbers)
            file = PurePosixPath(document.source)
            for name in {_key(document.source), _key(file.name), _key(file.name.removesuffix(".gz").split(".")[0])}:
                files[name].extend(numbers)
            if title := title_of(document):
                titles[_key(title)].extend(numbers)
        return ids, files, titles


def placed(given: Sequence[GivenPair], where: Passages, config: CurateConfig) -> tuple[list[Pair], list[Drop]]:
    """The questions with the places that answer them, and a drop for each pair that points nowhere.

    Pairs that ask the same are one question with several places. Where both a passage and a document are given, the
    passage is the one in that document; the document decides where no passage says that.
    """
    every: list[tuple[int, ...]] = [_place(pair, where) for pair in given]
    missing = [i for i, place in enumerate(every) if not place and given[i].passage]
    for i, place in zip(missing, where.near([given[i].passage for i in missing]), strict=True):
        every[i] = _within(place, given[i], where)
    questions: dict[str, list[int]] = defaultdict(list)
    drops = []
    for i, pair in enumerate(given):
        place = every[i] = every[i] or (where.of_document(pair.document) if pair.document else ())
        if not place:
            detail = f"the sources have no {pair.named}"
        elif len(place) > _MOST * len(where):
            detail = f"{len(place):,} of the {len(where):,} passages of the sources answer it, which tells nothing"
        else:
            questions[pair.question].append(i)
            continue
        drops.append(
            Drop(id=pair.id, source=pair.id.rpartition("#")[0], reason=NOWHERE, detail=detail,
                 sample=sample(pair.question))
        )  # fmt: skip
    pairs = [
        Pair(
            id=given[rows[0]].id,
            rows=tuple(given[i].id for i in rows),
            question=question,
            places=tuple(dict.fromkeys(every[i] for i in rows)),
        )
        for question, rows in questions.items()
    ]
    numbers = _clusters(pairs, where, config) if pairs else []
    return [pair.model_copy(update={"cluster": n}) for pair, n in zip(pairs, numbers, strict=True)], drops


def title_of(document: Document) -> str:
    """A document's title: its column `title`, else the heading that it begins with; empty where it has neither."""
    title = document.metadata.get("title")
    if isinstance(title, str) and title.strip():
        return title.strip()
    heading = _HEADING.match(document.text.partition("\n")[0])
    return heading[1].strip() if heading else ""


def _place(pair: GivenPair, where: Passages) -> tuple[int, ...]:
    if not pair.passage:
        return where.of_document(pair.document)
    return _within(where.of_text(pair.passage), pair, where)


def _within(place: tuple[int, ...], pair: GivenPair, where: Passages) -> tuple[int, ...]:
    """Of a place the passages of the document that is given; all of them where none is, or none that is known."""
    inside = set(where.of_document(pair.document)) if pair.document else set()
    return tuple(number for number in place if number in inside) if inside else place


def _clusters(pairs: Sequence[Pair], where: Passages, config: CurateConfig) -> list[int]:
    """Questions are in one cluster where they are near duplicates, or where one shares at least half of the documents
    that answer it with the other; and whatever these chain to. (One shared document of dozens makes no two alike.)
    """
    near = clusters([pair.question for pair in pairs], config.near_duplicate)
    edges: list[tuple[int, int]] = []
    first_of: dict[frozenset[int], int] = {}
    sets_with: dict[int, list[frozenset[int]]] = defaultdict(list)
    for pair, cluster in zip(pairs, near.tolist(), strict=True):
        documents = frozenset(int(where.document[number]) for place in pair.places for number in place)
        if documents in first_of:
            edges.append((cluster, first_of[documents]))
            continue
        first_of[documents] = cluster
        shared = Counter(other for document in documents for other in sets_with[document])
        for other, count in shared.items():
            if count >= _SHARED * min(len(documents), len(other)):
                edges.append((cluster, first_of[other]))
        for document in documents:
            sets_with[document].append(documents)
    numbers: list[int] = chained(near, edges, size=len(pairs)).tolist()
    return numbers


def _key(name: str) -> str:
    return " ".join(name.casefold().split())
