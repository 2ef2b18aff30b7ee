"""The bank: unlabelled messages that no training, no pool and no head has seen, of which a person is asked.

    messages = messages_of(corpus)                          # what visitors write, not what agents or manuals say
    apart = apart_from(messages, [train.texts, labelled], 0.8)     # which of them are near no text of those

Messages are the turns of visitors, and plain texts that stand alone; of near duplicates one is a message. Where there
are neither (conversations whose speakers are not named, documents alone) every turn, or every passage, is one.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from shoptalk.config import CurateConfig
from shoptalk.curate.curation import curate, to_corpus
from shoptalk.curate.dedup import Reference, clusters
from shoptalk.curate.passages import is_markdown
from shoptalk.curate.sources import stream_sources
from shoptalk.errors import SourceError
from shoptalk.records import Document
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import Replies

MOST = 20_000
"""Messages in a bank; more sharpen no interval worth the time that embedding them takes."""
FEWEST = 100
"""Messages below which nothing can be settled for those to come."""
ENOUGH = 3_000
"""Messages from which on the bank is not what keeps an asking open (docs/guides/asking.md)."""
_BATCH = 4_000


def messages_of(corpus: Corpus, *, near_duplicate: float, most: int = MOST) -> list[str]:
    """The messages of a corpus in its order, one of each near-duplicate cluster."""
    n = len(corpus)
    turn = np.asarray(corpus.turn)
    by_agent = np.zeros(n, dtype=bool)
    replies = Replies.of(corpus)
    by_agent[replies.positions] = True
    spoken = replies.spoken & ~by_agent & ~_of_agents(corpus)
    alone = (turn < 0) & ~_of_manuals(corpus)
    chosen = spoken | alone
    if not chosen.any():
        chosen = np.ones(n, dtype=bool)
    texts = [corpus.texts[int(i)] for i in np.flatnonzero(chosen)]
    number = clusters(texts, near_duplicate)
    _, first = np.unique(number, return_index=True)
    return [texts[i] for i in np.sort(first)[:most].tolist()]


def _of_agents(corpus: Corpus) -> Bool[np.ndarray, " N"]:
    """Turns of the roles whose other turns are replies: an agent's greeting is no visitor's message either."""
    if corpus.role is None:
        return np.zeros(len(corpus), dtype=bool)
    role, positions = np.asarray(corpus.role), Replies.of(corpus).positions
    named = np.unique(role[positions])
    asked = np.unique(role[(np.asarray(corpus.turn) >= 0)])
    named = named[named >= 0]
    # Where every role replies to others, as between strangers, nobody is the agent.
    return np.asarray(np.isin(role, named) & (len(named) < len(asked)))


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
    items = curate(stream_sources([source], config, out=out), reserved=(), config=config)
    documents = [item for item in items if isinstance(item, Document) and item.picture is None]
    if not documents:
        raise SourceError(f"{source} has no text to ask about. Give unlabelled messages that the run has not seen.")
    return to_corpus(documents, digest="", passage_characters=config.passage_characters)
