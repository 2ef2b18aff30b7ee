"""The quantities of a run, as people read them: time, tokens, memory and money; what was forecast and what it took.

print(Spending(seconds=360, tokens=3_100_000, memory_bytes=1_900_000_000))
6.0 min, 1.9 GB, 3.1 M tokens
"""

import math

from shoptalk.records import Frozen, Published


class Spending(Published):
    """What a run takes, as far as it can be counted."""

    seconds: float
    """Wall-clock seconds."""
    tokens: int
    """Tokens trained on, without padding."""
    memory_bytes: int
    """Peak memory: resident, on a GPU allocated."""
    euros: float | None = None
    """Null where an hour has no price."""

    def priced(self, price_per_hour: float | None) -> "Spending":
        """The same with its cost, at a price in euros per hour; without a cost where no price is known."""
        euros = None if price_per_hour is None else self.seconds / 3600 * price_per_hour
        return self.model_copy(update={"euros": euros})

    def __str__(self) -> str:
        """6.0 min, 1.9 GB, 3.1 M tokens, 0.12 EUR."""
        size, unit = (1e9, "GB") if self.memory_bytes >= 1e9 else (1e6, "MB")
        tokens, letter = (self.tokens / 1e6, "M") if self.tokens >= 1e6 else (self.tokens / 1e3, "k")
        parts = [
            span(self.seconds),
            f"{_digits(self.memory_bytes / size)} {unit}",
            f"{_digits(tokens)} {letter} tokens",
        ]
        return ", ".join(parts if self.euros is None else [*parts, money(self.euros)])


def ratios(fact: Spending, forecast: Spending) -> dict[str, float | None]:
    """Fact divided by forecast, by name; None where the forecast is 0 or unknown."""
    pairs = {name: (getattr(fact, name), getattr(forecast, name)) for name in Spending.model_fields}
    return {name: round(done / said, 3) if done is not None and said else None for name, (done, said) in pairs.items()}


class Forecast(Frozen):
    """What a whole run was expected to take when its plan was made, and the seconds that had passed by then."""

    expected: Spending
    before: float
    price_per_hour: float | None = None

    def __str__(self) -> str:
        """One line, for before the training."""
        done = f" ({span(self.before)} of it gone already)" if self.before >= 1 else ""
        return f"about {self.expected}{done}"

    def against(self, fact: Spending) -> dict[str, object]:
        """What `spent` in `verdict.json` says: the fact, the forecast, and their ratio."""
        fact = fact.priced(self.price_per_hour)
        return fact.model_dump() | {
            "price_per_hour": self.price_per_hour,
            "forecast": self.expected.model_dump(),
            "ratio": ratios(fact, self.expected),
        }


def compared(fact: Spending, forecast: Spending) -> str:
    """One line, for after the run: what it took; what was forecast; and how the two compare."""
    shares = ratios(fact, forecast)
    named = (("time", "seconds"), ("tokens", "tokens"), ("memory", "memory_bytes"))
    comparison = ", ".join(f"{word} {shares[name]:.2f}" for word, name in named if shares[name] is not None)
    return f"{fact}; forecast {forecast} (fact / forecast: {comparison})"


def span(seconds: float) -> str:
    """45 s, 6.2 min, 31 min or 2.5 h."""
    if seconds < 59.5:
        return f"{_digits(seconds)} s"
    if seconds < 90 * 60:
        return f"{_digits(seconds / 60)} min"
    return f"{_digits(seconds / 3600)} h"


def money(euros: float) -> str:
    """1.20 EUR, 0.023 EUR: two decimals, and below that as many as show two digits that matter."""
    decimals = 2 if euros <= 0 else max(2, 1 - math.floor(math.log10(euros)))
    return f"{euros:.{decimals}f} EUR"


def _digits(number: float) -> str:
    """One decimal below ten, none above."""
    return f"{number:.1f}" if number < 9.95 else f"{number:,.0f}"
