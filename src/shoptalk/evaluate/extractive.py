"""Summaries that need no model: what a summary has to beat.

`lead` is the first three sentences of a document (of a conversation its first three turns), which on news no model
beat for years (Nallapati et al. 2017, "SummaRuNNer"); `longest turn` is that of a conversation (Gliwa et al. 2019,
"SAMSum").
"""

from collections.abc import Sequence

from shoptalk.curate.generated_texts import GeneratedText
from shoptalk.text.plain_sentences import sentences

LEAD, LONGEST_TURN = "lead-3", "longest turn"
_LEADING = 3


def lead(row: GeneratedText) -> str:
    """The beginning of a text's source."""
    if row.spoken:
        return " ".join(turn.text for turn in row.context[:_LEADING])
    return " ".join(_leading(row.passages))


def longest_turn(row: GeneratedText) -> str:
    """The longest turn of a conversation."""
    return max((turn.text for turn in row.context), key=len, default="")


def baselines(rows: Sequence[GeneratedText]) -> dict[str, list[str]]:
    """What each baseline says of every row, by its name; the longest turn where all sources are conversations. None
    where a row has no source.
    """
    if not all(row.passages for row in rows):
        return {}
    said = {LEAD: [lead(row) for row in rows]}
    if all(row.spoken for row in rows):
        said[LONGEST_TURN] = [longest_turn(row) for row in rows]
    return said


def _leading(passages: Sequence[str]) -> list[str]:
    leading: list[str] = []
    for passage in passages:
        leading += sentences(passage)[: _LEADING - len(leading)]
        if len(leading) == _LEADING:
            break
    return leading
