"""What answers are judged by, put together: questions are read or mined, kept out of training, placed in the corpus.

asked = from_file(Path("questions.jsonl"), config, say=print)   # or mined(read, config)
kept = curate(without(items, asked), reserved=[..., *asked.texts], config=config)
pairs = asked.placed_in(folder, config, say=print)              # once the corpus is written there
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shoptalk.config import CurateConfig
from shoptalk.curate.answers import Passages, placed
from shoptalk.curate.clean import printable, sample
from shoptalk.curate.curation import add_drops, open_corpora, read_drops
from shoptalk.curate.questions import GivenPair, read_pairs
from shoptalk.curate.quotes import mined_pairs
from shoptalk.curate.rules import repeated, without_reserved
from shoptalk.errors import SourceError
from shoptalk.records import Document, Drop, Pair

_SHOWN = 3
_EXPECTED = (
    "A passage must be a text of the sources or a part of one, a document the id, the file name or the title of one."
)


@dataclass(frozen=True)
class Asked:
    """Questions before it is known where their answers stand, and what was left out on the way."""

    given: tuple[GivenPair, ...] = ()
    drops: tuple[Drop, ...] = ()
    name: str = ""
    """Of the file; empty where they are mined."""
    conversations: frozenset[str] = field(default=frozenset(), repr=False)
    """Ids of those that were mined, which must stay unseen."""

    @property
    def texts(self) -> list[str]:
        """The questions, which must stay unseen."""
        return [pair.question for pair in self.given]

    def placed_in(self, folder: Path, config: CurateConfig, *, say: Callable[[str], None]) -> list[Pair]:
        """The questions with their places in the corpus that `write_corpus` has left in a folder; the drops of pairs
        that point nowhere are added there.

        Raises:
            SourceError: pairs were given, and none points anywhere.
        """
        if not self.given:
            return []
        train, _ = open_corpora(folder, digest="")
        repeats = {drop.id: original for drop in read_drops(folder) if (original := repeated(drop)) is not None}
        where = Passages(train, repeats, config)
        pairs, nowhere = placed(self.given, where, config)
        add_drops(folder, nowhere)
        if self.name and not pairs:
            has = f"{len(where):,} passages of documents" if len(where) else "no documents, only conversations"
            raise SourceError(
                f"None of the {len(self.given):,} pairs in {self.name} points to a passage of the sources, which have "
                f"{has}: {_named(nowhere)}. {_EXPECTED}"
            )
        for sentence in self._remarks(pairs, nowhere):
            say(sentence)
        return pairs

    def _remarks(self, pairs: list[Pair], nowhere: list[Drop]) -> Iterator[str]:
        if not self.name:
            example = f", such as “{sample(pairs[0].question)}” ({pairs[0].id})" if pairs else ""
            yield (
                f"{len(pairs):,} questions were mined from agents' turns that quote or link a document{example}. "
                "Their conversations stay unseen."
            )
            return
        documents = len({pair.cluster for pair in pairs})
        yield (
            f"{self.name}: {len(pairs):,} questions, whose answers stand in the sources; by their documents they are "
            f"{documents:,} independent ones."
        )
        if nowhere:
            yield (
                f"{self.name}: {len(nowhere):,} of {len(self.given):,} pairs point to no passage of the sources and "
                f"are left out: {_named(nowhere)}. {_EXPECTED}"
            )


NOTHING_ASKED = Asked()


def from_file(path: Path, config: CurateConfig, *, say: Callable[[str], None]) -> Asked:
    """The pairs of a file.

    Raises:
        SourceError: it cannot be used.
    """
    given, drops = read_pairs(path, config, say=say)
    if drops:
        say(f"{printable(path.name)}: {len(drops):,} rows are left out: {_named(drops)}.")
    return Asked(tuple(given), tuple(drops), printable(path.name))


def mined(read: Callable[[], Iterable[Document | Drop]], config: CurateConfig) -> Asked:
    """What the sources' own conversations ask. `read` gives the sources anew each time it is called."""
    every = mined_pairs(read, config)
    return Asked(tuple(one.pair for one in every), conversations=frozenset(one.conversation for one in every))


def without(items: Iterable[Document | Drop], asked: Asked) -> Iterator[Document | Drop]:
    """The items without the conversations that were mined, each of which becomes a drop."""
    why = "an agent's answer in it quotes or links a document, and its question is asked of every model"
    return without_reserved(items, lambda document: why if document.id in asked.conversations else None)


def _named(drops: Iterable[Drop]) -> str:
    every = list(drops)
    shown = "; ".join(f"{drop.id}: {drop.detail}" for drop in every[:_SHOWN])
    return f"{shown}; and {len(every) - _SHOWN:,} more" if len(every) > _SHOWN else shown
