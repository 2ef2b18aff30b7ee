"""The bank: unlabelled messages that no training, no pool and no head has seen, of which a person is asked.

    bank = HoldBank(0.1, plain=True)                          # chooses documents while a corpus is written
    messages = messages_of(corpus)                            # what visitors write, not what agents or manuals say
    apart = apart_from(messages, [train.texts, labelled], 0.8)     # which of them are near no text of those

Messages are the turns of visitors, and plain texts that stand alone; of near duplicates one is asked about. Where there
are neither (conversations whose speakers are not named, documents alone) every turn, or every passage, is a message.
"""

import hashlib
import itertools
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.config import CurateConfig
from shoptalk.curate.curation import BANK, TRAIN, curate, move_to_bank, open_part, to_corpus
from shoptalk.curate.dedup import Reference, clusters
from shoptalk.curate.passages import is_markdown
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import Replies

MOST = 20_000
"""Messages in a bank; more sharpen no interval worth the time that embedding them takes."""
FEWEST = 100
"""Messages below which nothing can be settled for those to come."""
ENOUGH = 3_000
"""Messages from which on the bank is not what keeps an asking open (docs/guides/asking.md)."""
FEWEST_TEXTS = 1_000
"""Texts of a run below which none are held out: training needs them more than a bank too small to settle anything."""
_FULL = 15_000
_SHARE_WHEN_FULL = 0.01
"""Of the documents after so many texts are held out: few, so that a long source's end is in the bank too."""
_BATCH = 4_000


class HoldBank:
    """Chooses the documents of a bank: a share of conversations and of plain texts, by their ids, until it is full.

    None where a run has fewer than `FEWEST_TEXTS` texts that might be chosen, which `looked_ahead` finds out.
    """

    def __init__(self, share: float, *, plain: bool) -> None:
        self._share, self._plain, self._texts = share, plain, 0
        self.open = False
        """Whether there are enough texts."""

    def looked_ahead(self, items: Iterable[Document | Drop]) -> Iterator[Document | Drop]:
        """The same items; the first of them are held until it is known whether there are enough."""
        iterator, held, texts = iter(items), list[Document | Drop](), 0
        while texts < FEWEST_TEXTS and (item := next(iterator, None)) is not None:
            held.append(item)
            texts += self._size(item) if isinstance(item, Document) else 0
        self.open = self._share > 0 and texts >= FEWEST_TEXTS
        yield from held
        yield from iterator

    def __call__(self, document: Document) -> bool:
        """Whether the document is held out; to be asked of every one once, in their order."""
        size = self._size(document)
        if not self.open or not size or self._texts >= MOST:
            return False
        drawn = hashlib.sha256(b"bank " + document.id.encode("utf-8", "surrogatepass")).digest()[:4]
        share = self._share if self._texts < _FULL else min(self._share, _SHARE_WHEN_FULL)
        chosen = int.from_bytes(drawn, "big") < share * 2**32
        self._texts += size if chosen else 0
        return chosen

    def _size(self, document: Document) -> int:
        """The texts that a document would bring into the bank; a manual brings none."""
        if document.turns:
            return 0 if document.picture is not None else len(document.turns)
        return int(self._plain and document.picture is None and not is_markdown(document.source))


def close_bank(folder: Path, held: HoldBank, config: CurateConfig) -> None:
    """Once a corpus is written in `folder`: move into its bank what is left of the bank's near-duplicate clusters among
    plain texts, or take the bank away where there were too few texts for one.

    Conversations stay where they are: a turn of one is like a turn of another in most of them.
    """
    if not held.open:
        shutil.rmtree(folder / BANK)
        return
    bank, train = open_part(folder, BANK, digest=""), open_part(folder, TRAIN, digest="")
    alone = np.flatnonzero(np.asarray(bank.turn) < 0)
    plain = np.flatnonzero((np.asarray(train.turn) < 0) & ~_of_manuals(train))
    if not len(alone) or not len(plain):
        return
    near = Reference([bank.texts[int(i)] for i in alone], config.near_duplicate)
    numbers = [
        int(train.conversation[i])
        for begin in range(0, len(plain), _BATCH)
        for i in _hits(near, train, plain[begin : begin + _BATCH])
    ]
    if numbers:
        move_to_bank(folder, numbers, passage_characters=config.passage_characters)


def _hits(near: Reference, train: Corpus, places: Int[np.ndarray, " P"]) -> Int[np.ndarray, " H"]:
    return np.asarray(places[near.near([train.texts[int(i)] for i in places])])


def messages_of(corpus: Corpus) -> list[str]:
    """The messages of a corpus in its order."""
    turn = np.asarray(corpus.turn)
    by_agent = np.zeros(len(corpus), dtype=bool)
    replies = Replies.of(corpus)
    by_agent[replies.positions] = True
    spoken = replies.spoken & ~by_agent & ~_of_agents(corpus, replies)
    chosen = spoken | ((turn < 0) & ~_of_manuals(corpus))
    if not chosen.any():
        chosen = np.ones(len(corpus), dtype=bool)
    return [corpus.texts[int(i)] for i in np.flatnonzero(chosen)]


def one_of_each(messages: Sequence[str], near_duplicate: float, *, most: int = MOST) -> list[str]:
    """The first message of each near-duplicate cluster: what is alike is no independent evidence."""
    _, first = np.unique(clusters(messages, near_duplicate), return_index=True)
    return [messages[i] for i in np.sort(first)[:most].tolist()]


def _of_agents(corpus: Corpus, replies: Replies) -> Bool[np.ndarray, " N"]:
    """Turns of the roles whose other turns are replies: an agent's greeting is no visitor's message either."""
    if corpus.role is None:
        return np.zeros(len(corpus), dtype=bool)
    role = np.asarray(corpus.role)
    named, speaking = np.unique(role[replies.positions]), np.unique(role[np.asarray(corpus.turn) >= 0])
    # Where every role replies to others, as between strangers, nobody is the agent.
    return np.asarray(np.isin(role, named[named >= 0]) & (len(named) < len(speaking)))


def _of_manuals(corpus: Corpus) -> Bool[np.ndarray, " N"]:
    """Passages of Markdown, and of documents of several passages."""
    number = np.asarray(corpus.conversation)
    if not len(number):
        return np.zeros(0, dtype=bool)
    size = np.bincount(number)
    several = np.asarray(size[number] > 1)
    if not corpus.documents:
        return several
    plain = np.flatnonzero(np.asarray(corpus.turn) < 0)
    marked = {int(c): is_markdown(corpus.documents[int(c)].source) for c in np.unique(number[plain])}
    return np.asarray(several | np.array([marked.get(int(c), False) for c in number], dtype=bool))


def apart_from(
    messages: Sequence[str], others: Iterable[Sequence[str]], near_duplicate: float
) -> Bool[np.ndarray, " N"]:
    """Which messages are near no other text. The others may be millions: none of them is held."""
    near = Reference(messages, near_duplicate)
    close = [
        text
        for texts in others
        for batch in _batches(texts)
        for text, hit in zip(batch, near.near(batch), strict=True)
        if hit
    ]
    return ~Reference(close, near_duplicate).near(messages)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


def read_bank(source: Path, config: CurateConfig, *, out: Path) -> Corpus:
    """A source as a corpus in memory, for a bank: without repeats, and whatever labels it has are not read.

    Raises:
        SourceError: it cannot be used.
    """
    items = curate(stream_sources([source], config, out=out, pictures=False), reserved=(), config=config)
    documents = [item for item in items if isinstance(item, Document)]
    if not documents:
        raise SourceError(f"{source} has no text to ask about. Give unlabelled messages that the run has not seen.")
    return to_corpus(documents, digest="", passage_characters=config.passage_characters)


def bank_line(messages: int) -> str:
    """A line about a bank of so many messages, and when a larger one would help."""
    if not messages:
        return f"bank: nothing is held out for `shoptalk ask`: that takes {FEWEST_TEXTS:,} texts of visitors or more"
    line = f"bank: {messages:,} messages are held out for `shoptalk ask`, which no training sees"
    if messages < FEWEST:
        return f"{line}; fewer than {FEWEST} settle nothing: `ask --bank SOURCE` takes others"
    return line if messages >= ENOUGH else f"{line}; with {ENOUGH:,} or more it could settle smaller gains"
