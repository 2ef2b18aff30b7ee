"""Full-text search with BM25 over passages: tantivy, in process.

write(folder, texts)                       # (heading, text) of each passage, in their order
FullText(folder).search("how much is a bicycle?", 50)      # scores and passages' numbers, best first
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tantivy
from jaxtyping import Float32, Int

from shoptalk.assistant.phrases import COMMON_WORDS
from shoptalk.errors import ArtifactError

_HEADING_WEIGHT = 1.5
_MOST_WORDS = 48
"""Of a question: the longest ones say enough."""
_WORD = re.compile(r"\w+")
_MOST_CHARACTERS = 40  # tantivy drops longer words


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field("number", stored=True, indexed=False, fast=True)
    for name in ("heading", "text"):
        builder.add_text_field(name, stored=False, tokenizer_name="en_stem", index_option="freq")
    return builder.build()


def write(folder: Path, texts: Iterable[tuple[str, str]]) -> None:
    """Index the heading and the text of each passage; one thread, so that the same texts give the same index."""
    folder.mkdir(parents=True, exist_ok=True)
    index = tantivy.Index(_schema(), path=str(folder))
    writer = index.writer(64_000_000, num_threads=1)
    for number, (heading, text) in enumerate(texts):
        document = tantivy.Document()
        document.add_unsigned("number", number)
        document.add_text("heading", heading)
        document.add_text("text", text)
        writer.add_document(document)
    writer.commit()
    writer.wait_merging_threads()


class FullText:
    """An opened index, which may be searched by many threads at once.

    Raises:
        ArtifactError: the folder holds no index, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        try:
            index = tantivy.Index.open(str(folder))
            self._index = index
            self._schema = index.schema
            self._searcher = index.searcher()
        except (ValueError, OSError, FileNotFoundError) as error:
            raise ArtifactError(
                f"{folder} is no readable full-text index ({error}). Delete its parent folder."
            ) from None

    def __len__(self) -> int:
        return int(self._searcher.num_docs)

    def rarity(self, stem: str) -> float:
        """How much a word says: the logarithm of how many times rarer than in every passage it is, at least 0."""
        return math.log((len(self) + 1) / (self._searcher.doc_freq("text", stem) + 1))

    def search(self, question: str, k: int) -> tuple[Float32[np.ndarray, " K"], Int[np.ndarray, " K"]]:
        """BM25 scores and numbers of the passages that share a word with the question, best first; at most `k`."""
        words = _words(question)
        if not words:
            return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int64)
        query, _ = self._index.parse_query_lenient(
            " ".join(words), ["text", "heading"], field_boosts={"heading": _HEADING_WEIGHT}
        )
        hits = self._searcher.search(query, k, count=False).hits
        numbers = self._searcher.fast_field_values("number", [address for _, address in hits])
        return (
            np.array([score for score, _ in hits], dtype=np.float32),
            np.array([int(number) for number in numbers], dtype=np.int64),
        )


_ANALYZER = (
    tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
    .filter(tantivy.Filter.lowercase())
    .filter(tantivy.Filter.stemmer("english"))
    .build()
)


def stems(text: str) -> list[str]:
    """The words of a text as the index has them."""
    return [str(stem) for stem in _ANALYZER.analyze(text)]


COMMON_STEMS = COMMON_WORDS | frozenset(stems(" ".join(COMMON_WORDS)))
"""Of words that say next to nothing of what a question is about, the stems: "doe" of "does"."""


def _words(question: str) -> list[str]:
    """The words of a question, none of them an operator of the query language; of very long ones the longest."""
    words = [word for word in dict.fromkeys(_WORD.findall(question.lower())) if len(word) <= _MOST_CHARACTERS]
    if len(words) > _MOST_WORDS:
        kept = set(sorted(words, key=len, reverse=True)[:_MOST_WORDS])
        words = [word for word in words if word in kept]
    return words
