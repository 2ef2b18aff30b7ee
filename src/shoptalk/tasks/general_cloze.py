"""Does a language model still know everyday names and numbers? The cloze of `cloze.py`, in the general text that ships
with the project (`probes/general.jsonl`): what a training on one domain cost of that.

Its sentences are short, and write their numbers as words. So a number here is a word from two to ninety, a gap has at
least `LEAST` characters before it instead of 60, and alternatives are names, or numbers, of the other texts. The two
sentences of a pair are about one thing, and some differ in a number alone: together they are one text, whose score is
the mean over its gaps, and neither has an alternative that stands in the other.

The gaps are the same in every run: nothing of the user's goes into them, and no seed. No look asks them, for a look
reads at most 10,000 tokens and has next to none left: base and challenger are asked once, as for a verdict.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.nn.language_model import LanguageModel
from shoptalk.probes.forgetting import general_pairs
from shoptalk.records import Measure
from shoptalk.tasks.cloze import NAME, OPTIONS, Gap, fits, gap_at, mean_probabilities
from shoptalk.tasks.judge import Final, Judge, Score

KEY = "general_cloze"
LEAST = 12
"""Characters before a gap. Of the shipped text 102 gaps in 69 texts have so many; 20 would leave 89 in 62."""
_UNITS = "two three four five six seven eight nine ten eleven twelve"
_MORE = "thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty"
_NUMBER = re.compile(rf"(?<![\w-])(?:{'|'.join(f'{_UNITS} {_MORE} ninety'.split())})(?![\w-])")
"""Whole words; "one" is left out, which is no number as a rule ("no one", "a new one")."""
MEASURE = Measure(
    name="cloze probability in general text",
    unit="%",
    difference="points",
    finding=f"holds the right name or number of {OPTIONS} in the gaps of everyday sentences {{adapted}} probable, on "
    "average over texts, against {base}",
    examples="texts with names or numbers",
    scale=100.0,
    trained="model",
    grows=False,
)


@dataclass(frozen=True, kw_only=True)
class GeneralCloze(Judge):
    """Gaps in general text. No task: nothing is adopted for it."""

    key: str
    measure: Measure
    tested: Bool[np.ndarray, "1 N"]
    cluster: Int[np.ndarray, " N"]
    gaps: tuple[tuple[Gap, ...], ...]
    """Of each text."""

    def look(self, product: LanguageModel) -> Score:
        """As for a verdict; no stage asks for it."""
        return self.final(product).scores

    def final(self, product: LanguageModel, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """Of each text, how probable what stands in its gaps is among the alternatives, on average."""
        return Final(mean_probabilities(product, self.gaps)[None])


@cache
def general_cloze() -> GeneralCloze:
    """The judge of the shipped text."""
    gaps = general_gaps([(pair.a, pair.b) for pair in general_pairs()])
    return GeneralCloze(
        key=KEY,
        measure=MEASURE,
        tested=np.ones((1, len(gaps)), dtype=bool),
        cluster=np.arange(len(gaps)),
        gaps=tuple(gaps),
    )


def general_gaps(texts: Sequence[Sequence[str]]) -> list[tuple[Gap, ...]]:
    """Every gap of each text, which is one or several sentences; texts without a fitting name or number are left out,
    and the same texts give the same gaps.
    """
    places = [
        (number, sentence, match.start(), match.group(), kind)
        for number, sentences in enumerate(texts)
        for sentence in sentences
        for kind, pattern in enumerate((NAME, _NUMBER))
        for match in pattern.finditer(sentence)
    ]
    by_kind = [sorted({word for *_, word, of in places if of == kind}) for kind in (0, 1)]
    rng = np.random.default_rng(0)
    gaps: dict[int, list[Gap]] = {}
    for number, sentence, begin, answer, kind in places:
        before, text = sentence[:begin], " ".join(texts[number])
        near = [word for word in by_kind[kind] if fits(word, answer) and word not in text]
        if begin < LEAST or answer in before or len(near) < OPTIONS - 1:
            continue
        others = [near[i] for i in rng.permutation(len(near))[: OPTIONS - 1]]
        gaps.setdefault(number, []).append(gap_at(before, answer, others))
    return [tuple(gaps[number]) for number in sorted(gaps)]
