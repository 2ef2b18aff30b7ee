"""`verdict.json` as a record: the decision of a run, what it rests on, and what it cost (DESIGN, section 8)."""

from typing import Any, Literal

from pydantic import Field

from shoptalk.quantities import Spending
from shoptalk.records import Frozen

Choice = Literal["adopt", "keep_base", "inconclusive"]
Interval = tuple[float | None, float | None]
"""Lower and upper end, in points."""


class ChosenHeads(Frozen):
    """The kinds of heads that serve base and challenger best, and the gain with a plain head on both."""

    base: str
    adapted: str
    plain_gain: float
    sentence: str


class CandidateRow(Frozen):
    """An entry of the menu: a candidate after some steps. Values and gains are of the plain head."""

    entry: str
    objective: str
    step: int
    tokens: int
    base: float | None
    adapted: float | None
    gain: float | None
    interval: Interval | None
    forgetting: float | None
    """Change of general similarity; None where products do not read texts."""
    inside_guards: bool
    why_not: str
    seconds: float
    over_fitting: str | None
    eliminated: bool
    readings: dict[str, float]


class Share(Frozen):
    """What a part of the run cost; `share` is of the whole run's time."""

    seconds: float
    tokens: int
    share: float


class CandidateShare(Share):
    """What a candidate cost, and whether it went on."""

    objective: str
    went_on: bool


class Spent(Spending):
    """What the run took, beside what was forecast."""

    price_per_hour: float | None
    forecast: Spending | None
    ratio: dict[str, float | None] | None
    candidates: tuple[CandidateShare, ...]
    losers: Share


class Verdict(Frozen):
    """The decision about an adaptation. Numbers of the measure are None where there were no labels."""

    choice: Choice
    objective: str | None
    """Of the best challenger; None where nothing was trained."""
    entry: str | None
    metric: str | None
    ranking: tuple[str, ...] = ()
    """Without labels, the entries by the measures that need none, best first."""
    base: float | None
    adapted: float | None
    gain: float | None
    interval: Interval | None
    confidence: float | None
    n_examples: int
    n_draws: int
    shots: int | None
    labels_needed: int | None
    sentence: str
    rule: str
    smallest_gain: float | None = None
    heads: ChosenHeads | None = None
    on_test: bool = False
    candidates: tuple[CandidateRow, ...]
    left_out: dict[str, str] = Field(default_factory=dict)
    """Candidates that came to no entry or not to their end, and why: they diverged, or cannot train here."""
    spent: Spent

    def told(self) -> dict[str, Any]:
        """As `verdict.json` has it: what was not asked in this run is left out."""
        return self.model_dump(mode="json", exclude_unset=True)
