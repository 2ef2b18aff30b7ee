"""Questions mined from conversations: an agent's turn quotes or links a document, and the turn before it asks.

    mined = mined_pairs(lambda: stream_sources(paths, config), config)

A quote is a run of at least `RUN` words that a passage has too. What agents say again and again is a manner of speaking
and no answer: a run that begins or ends alike in too many turns is passed over, and so is a passage or a title that
several documents have. A link is the address of a document (its column `url`, or its id or the name of its file at the
end of a path), or its title in quotation marks or square brackets. Precision comes before number: what is not certain
is left.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from shoptalk.config import CurateConfig
from shoptalk.curate.answers import title_of
from shoptalk.curate.clean import printable
from shoptalk.curate.dedup import normalise
from shoptalk.curate.passages import units_of
from shoptalk.curate.questions import GivenPair
from shoptalk.records import Document, Drop
from shoptalk.text.dialogue import AGENTS

RUN = 10
"""Words that an agent's turn and a passage must have in common, one after the other."""
_WINDOW, _STRIDE = 6, 5
"""Every fifth window of six words of a passage is looked up, so that no run of ten is missed."""
FEWEST_ASKED = 3
"""Words of a question: "and then?" asks nothing that could be found."""
FEWEST_LINKED = 2
"""Words of a title or of a file's name: "faq.md" could be anybody's."""
_SHARE_OF_CONVERSATIONS, _FEW_TURNS = 0.01, 3
"""A run of words in more turns than the larger of these, the first a share of the conversations, is a manner of
speaking."""
_AGENTS = frozenset(AGENTS) - {"system"}
VISITORS = frozenset({"user", "customer", "visitor", "client", "human", "caller", "guest"})
_ADDRESS = re.compile(r"(?:https?://|www\.)[^\s<>\"')\]]+|(?<![\w/])/[\w./-]+", re.I)
_QUOTED = re.compile(r"[“\"„«\[]([^“”\"„«»\[\]]{4,200})[”\"“»\]]")


@dataclass(frozen=True)
class MinedPair:
    """A pair, and the conversation that it was mined from, which must stay unseen."""

    pair: GivenPair
    conversation: str
    quoted: str
    """The words that agent and passage have in common; empty where the document is linked."""


def mined_pairs(read: Callable[[], Iterable[Document | Drop]], config: CurateConfig) -> list[MinedPair]:
    """The pairs in the order of the conversations. `read` gives the sources' documents anew each time it is called;
    what is held of them is the plain documents.
    """
    articles = Articles(config)
    for item in read():
        if isinstance(item, Document) and not item.turns and item.picture is None:
            articles.add(item)
    articles.close()
    candidates, conversations = list[MinedPair](), 0
    for item in read():
        if isinstance(item, Document) and item.turns:
            conversations += 1
            candidates.extend(_in_conversation(item, articles))
    return list(_without_manners(candidates, conversations))


class Articles:
    """The passages of plain documents by windows of their words, and the documents by what links name."""

    def __init__(self, config: CurateConfig) -> None:
        self._size = config.passage_characters
        self._passages: list[tuple[str, list[str], str]] = []
        self._windows: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._by_address: dict[str, set[str]] = defaultdict(set)
        self._by_title: dict[str, set[str]] = defaultdict(set)
        self._seen: Counter[str] = Counter()

    def add(self, document: Document) -> None:
        """Take a plain document in."""
        for text in units_of(document, self._size):
            normalised = normalise(text)
            self._seen[normalised] += 1
            words = normalised.split()
            for begin in range(0, len(words) - _WINDOW + 1, _STRIDE):
                self._windows[tuple(words[begin : begin + _WINDOW])].append(len(self._passages))
            self._passages.append((text, words, document.id))
        within_file = document.id.partition("#")[2]
        name = within_file or PurePosixPath(document.source).name.removesuffix(".gz").rpartition(".")[0]
        if len([part for part in re.split(r"[\W_]+", name) if not part.isdecimal()]) >= FEWEST_LINKED:
            self._by_address[name.casefold()].add(document.id)
        if isinstance(url := document.metadata.get("url"), str):
            self._by_address[_address(url)].add(document.id)
        if len(normalise(title := title_of(document)).split()) >= FEWEST_LINKED:
            self._by_title[normalise(title)].add(document.id)

    def close(self) -> None:
        """Forget windows that several passages have: boilerplate of documents."""
        self._windows = defaultdict(
            list, {window: numbers for window, numbers in self._windows.items() if len(numbers) == 1}
        )

    def quoted(self, turn: str) -> tuple[str, str, str] | None:
        """The passage that a turn quotes longest, its document's id, and the run of words; None where it quotes none,
        or two documents.
        """
        words = normalise(turn).split()
        runs: dict[int, list[str]] = {}
        for at in range(len(words) - _WINDOW + 1):
            for number in self._windows.get(tuple(words[at : at + _WINDOW]), ()):
                run = _run(words, at, self._passages[number][1])
                if len(run) >= max(RUN, len(runs.get(number, ()))):
                    runs[number] = run
        documents = {self._passages[number][2] for number in runs}
        if len(documents) != 1:
            return None
        longest = max(runs, key=lambda number: len(runs[number]))
        text, words, document = self._passages[longest]
        return (text, document, " ".join(runs[longest])) if self._seen[" ".join(words)] == 1 else None

    def linked(self, turn: str) -> str | None:
        """The id of the one document that a turn links."""
        documents: set[str] = set()
        for match in _ADDRESS.finditer(turn):
            address = _address(match[0])
            named = self._by_address.get(address) or self._by_address.get(_last(address), set())
            documents |= named
        for match in _QUOTED.finditer(turn):
            documents |= self._by_title.get(normalise(match[1]), set())
        return next(iter(documents)) if len(documents) == 1 else None


def _in_conversation(document: Document, articles: Articles) -> Iterator[MinedPair]:
    for number, (before, turn) in enumerate(zip(document.turns, document.turns[1:], strict=False), start=1):
        if turn.role.casefold() not in _AGENTS or before.role.casefold() not in VISITORS:
            continue
        if len(normalise(before.text).split()) < FEWEST_ASKED:
            continue
        id = printable(f"{document.id}#turn{number}")
        if (quote := articles.quoted(turn.text)) is not None:
            passage, quoted, run = quote
            yield MinedPair(GivenPair(id, before.text, passage, quoted), document.id, run)
        elif (linked := articles.linked(turn.text)) is not None:
            yield MinedPair(GivenPair(id, before.text, "", linked), document.id, "")


def _without_manners(candidates: list[MinedPair], conversations: int) -> Iterator[MinedPair]:
    """Without those whose words begin or end alike in too many turns."""
    most = max(_FEW_TURNS, _SHARE_OF_CONVERSATIONS * conversations)
    spoken = Counter(end for mined in candidates for end in _ends(mined.quoted))
    for mined in candidates:
        if all(spoken[end] <= most for end in _ends(mined.quoted)):
            yield mined


def _ends(run: str) -> set[tuple[str, ...]]:
    words = run.split()
    return {tuple(words[:RUN]), tuple(words[-RUN:])} if words else set()


def _run(words: list[str], at: int, passage: list[str]) -> list[str]:
    """The longest run of words around a window of a turn that a passage has too."""
    window, longest = words[at : at + _WINDOW], list[str]()
    for place in range(len(passage) - _WINDOW + 1):
        if passage[place : place + _WINDOW] != window:
            continue
        begin, start = at, place
        while begin and start and words[begin - 1] == passage[start - 1]:
            begin, start = begin - 1, start - 1
        end, stop = at + _WINDOW, place + _WINDOW
        while end < len(words) and stop < len(passage) and words[end] == passage[stop]:
            end, stop = end + 1, stop + 1
        longest = max(longest, words[begin:end], key=len)
    return longest


def _address(url: str) -> str:
    """An address without its protocol, its query and what a sentence puts after it."""
    return re.sub(r"^(https?://)?(www\.)?", "", re.split(r"[?#]", url.strip().rstrip(".,;:!"))[0].casefold()).strip("/")


def _last(address: str) -> str:
    """The last part of an address without its extension: the name of an article's file."""
    return address.rpartition("/")[2].partition(".")[0]
