"""Recipes: the objectives, weights and phases that a candidate's name stands for, as a value.

    Recipe.parse("0.3*mlm+turns-then-neighbours").phases
    (Phase(name="0.3*mlm+turns", weights={"mlm": 0.3, "turns": 1.0}), Phase(name="neighbours", weights={...}))
    Recipe.parse("clm-replay-25").replay_percent
    25

A name is parsed here and nowhere else. `spec_for` checks that its objectives exist.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shoptalk.errors import ConfigError

THEN = "-then-"
REPLAYING = "-replay-"
"""What stands between an objective and how many per cent of its rows are general text that is replayed."""
SUMS: dict[str, dict[str, float]] = {"mosaic": {"turns": 1.0, "mlm": 0.2}}
"""Sums with a name of their own. `mosaic` is masked language modelling and a contrastive loss jointly, which adapts an
encoder to a domain's words while it learns from the domain's pairs (MOSAIC, arXiv 2510.16797).
"""


@dataclass(frozen=True)
class PhaseRecipe:
    """What one training minimises: an objective, or a weighted sum of several."""

    name: str
    weights: Mapping[str, float]
    """Of each objective; a plain one has the weight 1."""
    replay_percent: int = 0
    """Of the rows, those that are replayed general text; 0 where the name says none."""

    @classmethod
    def parse(cls, name: str) -> "PhaseRecipe":
        """Read the objectives that a name joins by `+`, with the weights that stand before `*`; or the name of a sum;
        or an objective with the per cent that it replays.

        Raises:
            ConfigError: a weight is no number above 0, a part is missing or comes twice, or what is replayed is no
                whole number from 1 to 99.
        """
        if name in SUMS:
            return cls(name, SUMS[name])
        if REPLAYING in name:
            objective, _, percent = name.partition(REPLAYING)
            if not percent.isdecimal() or not 0 < int(percent) < 100 or not objective or set(objective) & set("+*"):
                raise ConfigError(
                    f"{name!r} is no objective that replays general text: expected one objective, and how many per "
                    f"cent of its rows are replayed, from 1 to 99, such as clm{REPLAYING}25."
                )
            return cls(name, {objective: 1.0}, int(percent))
        weights: dict[str, float] = {}
        for piece in name.split("+"):
            before, star, part = (word.strip() for word in piece.rpartition("*"))
            weight = _number(before) if star else 1.0
            if not part or not 0 < weight < math.inf or part in weights:
                raise ConfigError(
                    f"{name!r} is no objective: {piece!r} cannot be one of its parts. Give different names joined by "
                    "+, each with a weight above 0 or none before it, such as 0.2*mlm+neighbours."
                )
            weights[part] = weight
        return cls(name, weights)


@dataclass(frozen=True)
class Recipe:
    """One training, or two one after the other (a curriculum)."""

    name: str
    phases: tuple[PhaseRecipe, ...]

    @classmethod
    def parse(cls, name: str) -> "Recipe":
        """Read a candidate's name.

        Raises:
            ConfigError: a phase is missing, there are more than two, or one of them cannot be read.
        """
        phases = tuple(phase.strip() for phase in name.split(THEN))
        if len(phases) > 2 or not all(phases):
            raise ConfigError(
                f"{name!r} is no curriculum: expected two phases, and it has {sum(map(bool, phases))}. Join two "
                f"objectives by {THEN}, such as mlm{THEN}neighbours."
            )
        return cls(name, tuple(map(PhaseRecipe.parse, phases)))

    @property
    def objectives(self) -> tuple[str, ...]:
        """Every objective that it names, in order."""
        return tuple(part for phase in self.phases for part in phase.weights)

    @property
    def replay_percent(self) -> int:
        """Of the rows of its phases, at most how many are replayed."""
        return max(phase.replay_percent for phase in self.phases)


def replay_sentence(candidates: Iterable[str], best: str | None) -> str:
    """Which share of replayed text came furthest of those that were tried; empty where no candidate's name has one."""
    tried = sorted({Recipe.parse(name).replay_percent for name in candidates})
    if best is None or not any(tried):
        return ""
    share = Recipe.parse(best).replay_percent
    if len(tried) == 1:
        return f"Of its rows {share} % were general text that is replayed."
    listed = f"{', '.join(map(str, tried[:-1]))} and {tried[-1]} %"
    return f"Of the shares of replayed general text that were tried ({listed}), {share} % came furthest."


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
