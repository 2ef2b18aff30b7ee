"""Where the text came from: each source's documents, texts and drops, and the source of each text."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shoptalk.curate.curation import IS_HELD_OUT, read_documents
from shoptalk.readback import as_written
from shoptalk.report.evidence_json import SourceRow
from shoptalk.stages.curate import Curated

MOST = 50
"""Sources told one by one; a folder may hold a hundred thousand files."""
SAMPLES, SAMPLE_CHARACTERS = 2, 160


@dataclass(frozen=True)
class Tally:
    """The sources of a corpus, most texts first."""

    rows: tuple[SourceRow, ...]
    """As the report's facts have them: `MOST` at most, the others summed in one more."""
    of_text: Int[np.ndarray, " N"]
    """Of each text that is trained on, the row of its source."""


def tally(curated: Curated) -> Tally:
    """Go through the curated documents and the drops once each.

    Documents count whether they are trained on or held out, texts only where they are trained on: as the facts' `kept`
    has them.
    """
    number: dict[str, int] = {}
    samples: dict[int, list[str]] = {}
    documents = Counter[int]()
    trained_on: list[int] = []
    with as_written(curated.folder):
        held_out = np.load(curated.folder / IS_HELD_OUT, mmap_mode="r", allow_pickle=False)
        if held_out.dtype != np.uint8 or held_out.shape != (curated.n_documents,):
            raise ValueError(f"{IS_HELD_OUT} does not have a mark for each of {curated.n_documents:,} documents")
    for document, is_held_out in zip(read_documents(curated.folder), held_out, strict=True):
        source = number.setdefault(document.source, len(number))
        documents[source] += 1
        if len(shown := samples.setdefault(source, [])) < SAMPLES:
            words = " ".join([document.text, *(turn.text for turn in document.turns)]).strip()
            if document.picture is not None:
                words = f"{Path(document.picture.path).name} {words}".strip()
            shown.append(words[:SAMPLE_CHARACTERS])
        if not is_held_out:
            trained_on.append(source)
    dropped = Counter(drop.source for drop in curated.drops)
    for name in files_of(curated.artifact.parents):
        if name in dropped:
            number.setdefault(name, len(number))
    of_text = np.array(trained_on, dtype=np.int64)[np.asarray(curated.train.conversation)]
    texts = np.bincount(of_text, minlength=len(number))
    names = list(number)
    order = sorted(range(len(names)), key=lambda i: (-int(texts[i]), -dropped[names[i]], names[i]))
    rows = [
        SourceRow(
            source=names[i],
            documents=documents[i],
            texts=int(texts[i]),
            dropped=dropped[names[i]],
            share=round(float(texts[i]) / max(1, len(of_text)), 4),
            samples=tuple(samples.get(i, ())),
        )
        for i in order
    ]
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.minimum(np.arange(len(names)), MOST)
    return Tally(_summed(rows), place[of_text])


def files_of(parents: Mapping[str, str]) -> dict[str, str]:
    """Of a corpus artifact's parents, the sources: name and hash. The others are the labels and the test."""
    return {name: hash_ for name, hash_ in parents.items() if not name.startswith(("labels:", "test:"))}


def _summed(rows: Sequence[SourceRow]) -> tuple[SourceRow, ...]:
    rest = rows[MOST:]
    if not rest:
        return tuple(rows)
    others = SourceRow(
        source=f"{len(rest):,} more",
        documents=sum(row.documents for row in rest),
        texts=sum(row.texts for row in rest),
        dropped=sum(row.dropped for row in rest),
        share=round(sum(row.share for row in rest), 4),
        samples=(),
    )
    return (*rows[:MOST], others)
