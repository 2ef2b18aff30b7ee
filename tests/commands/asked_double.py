"""A stand-in for the session of `shoptalk ask`: messages in memory, and intervals that narrow as the root does."""

import math
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Literal

from shoptalk.report.question_json import Asks

LABELS = ("card lost", "card arrival", "top up failed", "exchange rate", "refund status", "close account")


@dataclass(frozen=True)
class FakeQuestion:
    key: str
    text: str
    number: int
    options: tuple[str, ...]
    context: tuple[tuple[str, str], ...] = ()


@dataclass
class FakeAsking:
    """The new system is right wherever the first option is answered, the old one where the second is."""

    messages: tuple[str, ...] = tuple(f"message {i}: where has my card gone?" for i in range(40))
    options: tuple[str, ...] = LABELS[:3]
    labels: tuple[str, ...] = LABELS
    context: tuple[tuple[str, str], ...] = ()
    kind: Asks | None = None
    settles_at: int = 12
    most: int = 1000
    guarded: bool = False
    systems: tuple[str, str] = ("base", "adapted")
    smallest_gain: float = 0.5
    given: list[tuple[int, str | None]] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)

    @property
    def asks(self) -> Asks:
        return self.kind or ("labels" if self.labels else "replies")

    @property
    def path(self) -> tuple[SimpleNamespace, ...]:
        return tuple(self._after(n) for n in range(len(self.given) + 1))

    @property
    def standing(self) -> SimpleNamespace:
        return self._after(len(self.given))

    @property
    def choice(self) -> Literal["adopt", "keep_base", "inconclusive"]:
        return "keep_base" if self.guarded and self.standing.choice == "adopt" else self.standing.choice

    @property
    def finished(self) -> bool:
        return self.question() is None

    @property
    def sentence(self) -> str:
        return f"They differ on {len(self.messages)} of 3,080 messages; {len(self.given)} were answered."

    def question(self) -> FakeQuestion | None:
        left = [i for i in range(len(self.messages)) if i not in [place for place, _ in self.given]]
        if not left or self.standing.settled or len(self.given) >= self.most:
            return None
        place = min(left, key=lambda i: (self.skipped.count(i), i))
        return FakeQuestion(str(place), self.messages[place], len(self.given) + 1, self.options, self.context)

    def answer(self, key: str, label: str | None, given: str = "none") -> None:
        self.given.append((int(key), label))

    def skip(self, key: str) -> None:
        self.skipped.append(int(key))

    def undo(self) -> bool:
        return bool(self.given and self.given.pop())

    def neighbours(self, key: str) -> tuple[tuple[str, str | None], ...]:
        return (("my card is gone", "card lost"), (f"near message {key}", None))

    def _after(self, n: int) -> SimpleNamespace:
        labels = [label for _, label in self.given[:n]]
        right, wrong = (labels.count(self.options[place]) for place in (0, 1))
        disagree, bank = len(self.messages), 3080
        share = 100 * disagree / bank * 4  # as if the bank were a quarter, so that there is something to see
        gain = share * (right - wrong) / n if n else None
        half, middle = share * min(1.0, 1.9 / math.sqrt(n + 1)), gain or 0.0
        settled = n >= self.settles_at and n > 0
        low, high = max(-share, middle - half), min(share, middle + half)
        if settled:
            low = max(low, self.smallest_gain + 0.1)
        choice = "adopt" if settled else "inconclusive"
        return SimpleNamespace(
            choice=choice,
            asked=n,
            right=right,
            wrong=wrong,
            neither=n - right - wrong,
            disagree=disagree,
            bank=bank,
            gain=gain,
            low=low,
            high=high,
            bank_low=max(low, middle - half / 1.6),
            bank_high=min(high, middle + half / 1.6),
            settled=settled,
            more=None if n == 0 or settled else self.settles_at - n,
            exhausted=n == disagree,
        )
