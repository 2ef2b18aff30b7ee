"""Is what `shoptalk ask` says right, at every answer? Banks from populations whose gain is known, and one row for each.

Of a population a share `disagree` of messages gets different answers from two systems, and there x is 1, -1 or 0 with
the mean that makes the gain. A trial draws a bank, asks its disagreements in random order until none is left, by the
functions that `ask` calls, and notes at every answer whether the intervals hold, and where the choice fell.

A person who slips answers wrongly with the chance `slips`: half of those who gave one system's answer give the other's
instead and half something else; where neither system is right either is named as often. Every twentieth question is
asked twice. `leaning` slips name the new system, whatever is right: blind questions are there to prevent them.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from shoptalk.decide import Consistency
from shoptalk.decide.disagreements import intervals
from shoptalk.evaluate.harness import wilson

TWICE_EVERY = 20
_POINTS = 100.0


@dataclass(frozen=True)
class Planted:
    """One row: a population in which two systems differ, and the person who is asked. Shares and gains in per cent."""

    name: str
    disagree: float
    gain: float
    bank: int = 3000
    smallest_gain: float = 0.5
    decided: float = 70.0
    """Of the disagreements, those on which one of the two is right; more where the gain needs it."""
    slips: float = 0.0
    leaning: bool = False
    considered: bool = True
    """Whether the person's consistency is taken into account."""

    def rates(self) -> tuple[float, float, float]:
        """Of the disagreements, the shares on which x is 1, -1 and 0."""
        mean = self.gain / self.disagree if self.disagree else 0.0
        if abs(mean) > 1:
            raise ValueError(f"{self.name}: {self.disagree:g} % of disagreements cannot make {self.gain:g} points.")
        decided = max(self.decided / 100, abs(mean))
        return (decided + mean) / 2, (decided - mean) / 2, 1 - decided

    def random_labels(self, power: float) -> float:
        """How many messages, labelled at random, clear the smallest gain with this many standard errors to spare.

        Their paired differences have an interval of 1.96 standard errors, computed once: for a number of labels that
        was right beforehand. Looking on the way costs more.
        """
        right, wrong, _ = self.rates()
        variance = self.disagree / 100 * (right + wrong) - (self.gain / 100) ** 2
        away = abs(self.gain - self.smallest_gain) / 100
        return math.inf if away < 1e-9 else variance * ((1.96 + power) / away) ** 2


class AskingTrial(NamedTuple):
    """One trial."""

    choice: int
    """1 adopted, -1 kept, 0 open to the end."""
    answers: float
    """After which it was settled; infinite where it never was."""
    bank_answers: float
    """After which the bank's own interval lay on one side of the smallest gain."""
    future_holds: bool
    """At every answer."""
    bank_holds: bool


@dataclass(frozen=True)
class AskingRow:
    """All trials of one population."""

    planted: Planted
    trials: tuple[AskingTrial, ...]

    @property
    def wrong(self) -> int:
        """Choices against the true gain; where it is the smallest gain itself, any."""
        away = self.planted.gain - self.planted.smallest_gain
        return sum(t.choice > 0 for t in self.trials if away <= 0) + sum(t.choice < 0 for t in self.trials if away >= 0)


def ask_once(planted: Planted, seed: int) -> AskingTrial:
    """One bank, asked to its end."""
    rng = np.random.default_rng(seed)
    disagree = int(rng.binomial(planted.bank, planted.disagree / 100))
    x = rng.choice(np.array([1, -1, 0]), size=disagree, p=planted.rates())
    if not planted.slips:
        return asked_in_order(x, None, planted)
    answered, again = (_slip(x, planted, rng) for _ in range(2))
    asked_twice = np.arange(disagree) % TWICE_EVERY == TWICE_EVERY - 1
    twice, same = np.cumsum(asked_twice), np.cumsum(asked_twice & (answered == again))
    known = [Consistency(*counts) for counts in zip(twice.tolist(), same.tolist(), strict=True)]
    return asked_in_order(answered, known if planted.considered else None, planted, truth=x)


def asked_in_order(
    answered: Int[np.ndarray, "n"],
    known: Sequence[Consistency] | None,
    planted: Planted,
    *,
    truth: Int[np.ndarray, "n"] | None = None,
) -> AskingTrial:
    """What the answers to all disagreements of a bank, in this order, settled and when.

    `truth` holds the true x where answers are not; the future's gain is that of `planted`.
    """
    ends = intervals(answered, disagree=len(answered), bank=planted.bank, consistency=known)
    settled = np.flatnonzero((ends.low > planted.smallest_gain) | (ends.high < planted.smallest_gain))
    bank = np.flatnonzero((ends.bank_low > planted.smallest_gain) | (ends.bank_high < planted.smallest_gain))
    here = _POINTS * float((answered if truth is None else truth).sum()) / planted.bank
    return AskingTrial(
        choice=(1 if ends.low[settled[0]] > planted.smallest_gain else -1) if len(settled) else 0,
        answers=float(settled[0]) if len(settled) else math.inf,
        bank_answers=float(bank[0]) if len(bank) else math.inf,
        future_holds=_hold(ends.low, ends.high, planted.gain),
        bank_holds=_hold(ends.bank_low, ends.bank_high, here),
    )


def _hold(low: Float[np.ndarray, "t"], high: Float[np.ndarray, "t"], gain: float) -> bool:
    """Whether every interval holds the gain; rounding is forgiven."""
    return bool(((low <= gain + 1e-9) & (high >= gain - 1e-9)).all())


def _slip(x: Int[np.ndarray, "n"], planted: Planted, rng: np.random.Generator) -> Int[np.ndarray, "n"]:
    """What a person who slips now and then answers."""
    slipped = rng.random(len(x)) < planted.slips / 100
    other = np.where(rng.random(len(x)) < 0.5, -x, 0)
    either = np.where(rng.random(len(x)) < 0.5, 1, -1)
    instead = np.ones_like(x) if planted.leaning else np.where(x == 0, either, other)
    return np.where(slipped, instead, x)


def run_asking(planted: Planted, *, trials: int, seed: int = 0, workers: int = 1) -> AskingRow:
    """`trials` independent trials; trial i depends on (seed, i) only, whatever the number of processes."""
    one, seeds = partial(ask_once, planted), [seed * 1_000_003 + i for i in range(trials)]
    if workers == 1:
        return AskingRow(planted, tuple(one(s) for s in seeds))
    with ProcessPoolExecutor(workers) as pool:
        return AskingRow(planted, tuple(pool.map(one, seeds, chunksize=max(1, trials // (8 * workers)))))


def asking_table(rows: Sequence[AskingRow]) -> str:
    """The rows in Markdown; shares in per cent with Wilson 95 % intervals."""
    columns = (
        "population",
        "they differ on",
        "gain",
        "smallest",
        "bank",
        "trials",
        "adopted",
        "kept",
        "wrong",
        "future interval holds at every answer",
        "the bank's",
        "answers to settle: median / 90 %",
        "random labels: median / 90 %",
    )
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        of, n = row.planted, len(row.trials)
        counts = [sum(t.choice > 0 for t in row.trials), sum(t.choice < 0 for t in row.trials)]
        holds = [sum(t.future_holds for t in row.trials), sum(t.bank_holds for t in row.trials)]
        answers = [t.answers for t in row.trials]
        cells = [of.name, f"{of.disagree:g} %", f"{of.gain:+g}", f"{of.smallest_gain:g}", f"{of.bank:,}", f"{n:,}"]
        cells += [f"{100 * hits / n:.1f}" for hits in counts]
        cells += [_with_interval(hits, n) for hits in (row.wrong, holds[0])]
        cells += [f"{100 * holds[1] / n:.1f}"]
        cells += [" / ".join(count(part_of(answers, part)) for part in (0.5, 0.9))]
        cells += [" / ".join(count(of.random_labels(power)) for power in (0.0, 1.2816))]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _with_interval(hits: int, trials: int) -> str:
    low, high = wilson(hits, trials)
    return f"{100 * hits / trials:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def part_of(numbers: Sequence[float], part: float) -> float:
    """The number that this part of them does not exceed."""
    return sorted(numbers)[max(0, math.ceil(part * len(numbers)) - 1)]


def count(number: float) -> str:
    """A number of answers or labels, or that no number does."""
    return "open" if math.isinf(number) else f"{math.ceil(number):,}"


def asking_rows() -> list[Planted]:
    """Every population of the published table."""
    slipping = [
        Planted("slips in 5 %", 6.0, 2.3, slips=5.0),
        Planted("slips in 10 %", 6.0, 2.3, slips=10.0),
        Planted("slips in 10 %, gain = smallest", 6.0, 0.5, slips=10.0),
        Planted("slips in 10 %, none", 6.0, 0.0, slips=10.0),
        Planted("slips in 10 %, harm", 6.0, -2.0, slips=10.0),
        Planted("slips in 10 %, gain = smallest", 6.0, 2.0, smallest_gain=2.0, slips=10.0),
        Planted("slips in 15 %, large bank, gain = smallest", 6.0, 2.0, bank=10_000, smallest_gain=2.0, slips=15.0),
        Planted("the same, not told (control)", 6.0, 2.0, bank=10_000, smallest_gain=2.0, slips=15.0, considered=False),
        Planted("5 % lean to the new one (control)", 6.0, 0.5, slips=5.0, leaning=True),
        Planted("10 % lean to the new one, large bank (control)", 6.0, 0.5, bank=10_000, slips=10.0, leaning=True),
    ]
    return [
        Planted("alike", 0.0, 0.0),
        *(Planted("A/A", share, 0.0) for share in (1.0, 3.0, 6.0, 15.0)),
        Planted("A/A, smallest 0", 6.0, 0.0, smallest_gain=0.0),
        Planted("A/A, bank of 300", 10.0, 0.0, bank=300),
        Planted("A/A, one is always right", 3.0, 0.0, decided=100.0),
        *(Planted("gain = smallest", share, 0.5) for share in (1.0, 3.0, 6.0, 15.0)),
        Planted("gain = smallest, the new one is always right", 0.5, 0.5),
        Planted("gain = smallest, bank of 300", 10.0, 0.5, bank=300),
        Planted("gain = smallest, bank of 1,000", 8.0, 0.5, bank=1000),
        Planted("gain = smallest, bank of 10,000", 6.0, 0.5, bank=10_000),
        Planted("gain = smallest = 2", 6.0, 2.0, smallest_gain=2.0),
        Planted("none, smallest 2", 6.0, 0.0, smallest_gain=2.0),
        *(Planted("harm", share, gain) for share, gain in ((6.0, -3.0), (10.0, -3.0), (6.0, -1.0))),
        Planted("gain", 3.0, 1.0),
        Planted("gain", 4.0, 1.5),
        Planted("gain", 6.0, 2.3),
        Planted("gain, bank of 1,000", 9.0, 2.6, bank=1000),
        *(Planted("gain", share, gain) for share, gain in ((10.0, 3.0), (6.0, 4.0), (15.0, 5.0))),
        *slipping,
    ]
