"""How much a run may cost: time, training tokens or money."""

import re
from decimal import Decimal

from shoptalk.errors import ConfigError
from shoptalk.records import Frozen


class Budget(Frozen):
    """How much a run may cost. Exactly one is set: wall-clock seconds of the whole run, training tokens (real ones, no
    padding), or euros, which a price per hour turns into seconds.

    `parse(str(budget), price_per_hour=...)` gives the same budget again.
    """

    seconds: float | None = None
    tokens: int | None = None
    euros: float | None = None
    price_per_hour: float | None = None
    """EUR per hour of this machine, as its user states it; None where that is not known."""

    @classmethod
    def parse(cls, text: str, *, price_per_hour: float | None = None) -> "Budget":
        """Read "10m", "90s", "1.5h" (time), "500ktok", "3Mtok" (tokens), "0.50eur", "2eur@1.20" (at EUR an hour).

        Raises:
            ConfigError: it is none of these, or it is money and there is no price, or there are two.
        """
        match = re.fullmatch(rf"{_NUMBER}\s*({'|'.join(_UNITS)})(?:@{_NUMBER})?", text.strip())
        amount = float(match[1]) * _UNITS[match[2]] if match else 0.0
        if match is None or not 0 < amount < _MOST or (match[3] and match[2] != "eur"):
            raise ConfigError(
                f"budget = {text!r} is not a budget. Give a time such as 90s, 10m or 1.5h, a number of training tokens "
                "such as 500ktok or 3Mtok, or money such as 0.50eur with the price of an hour: --budget 0.50eur "
                "--price 1.20, or 0.50eur@1.20."
            )
        if match[2].endswith("tok"):
            return cls(tokens=max(1, round(amount)), price_per_hour=price_per_hour)
        if match[2] != "eur":
            return cls(seconds=amount, price_per_hour=price_per_hour)
        price = _one_price(text, match[3], price_per_hour)
        if not amount / price * 3600 < _MOST:
            raise ConfigError(
                f"budget = {text!r} at {price:g} EUR per hour sets no limit. Give less money, or the real price."
            )
        return cls(euros=amount, price_per_hour=price)

    @property
    def time(self) -> float | None:
        """The seconds that the run may take, None where it is limited by tokens; money buys hours at their price."""
        if self.euros is not None and self.price_per_hour is not None:
            return self.euros / self.price_per_hour * 3600
        return self.seconds

    def __str__(self) -> str:
        """The value for --budget, in the largest unit that divides it."""
        if self.euros is not None:
            return f"{_plain(self.euros)}eur@{_plain(self.price_per_hour or 0)}"
        if self.tokens is not None:
            size, unit = next(pair for pair in _TOKEN_UNITS if self.tokens % pair[0] == 0)
            return f"{self.tokens // size}{unit}"
        seconds = self.seconds or 0.0
        length, unit = next((pair for pair in _TIME_UNITS if seconds % pair[0] == 0), (1, "s"))
        return f"{_plain(seconds / length)}{unit}"


_NUMBER = r"(\d+(?:\.\d+)?)"


_TIME_UNITS = ((3600, "h"), (60, "m"), (1, "s"))


_TOKEN_UNITS = ((1_000_000, "Mtok"), (1_000, "ktok"), (1, "tok"))


_UNITS = {unit: size for size, unit in (*_TIME_UNITS, *_TOKEN_UNITS, (1, "eur"))}


_MOST = 1e15


def _one_price(text: str, inside: str | None, outside: float | None) -> float:
    """The price of an hour, by which a budget in euros is divided."""
    if inside is None and outside is None:
        raise ConfigError(
            f"budget = {text!r} is money, and the price of an hour of this machine is not known. Expected both: add "
            f"--price 1.20 (EUR per hour; price_per_hour in shoptalk.toml), or write {text.strip()}@1.20."
        )
    price = float(inside) if inside is not None else outside
    if price is None or not price > 0:
        raise ConfigError(f"budget = {text!r}: a price of 0 EUR per hour sets no limit. Give the real price.")
    if outside is not None and price != outside:
        raise ConfigError(
            f"budget = {text!r} states one price of an hour, and --price (price_per_hour) states {outside:g} EUR. "
            "Give one of the two."
        )
    return price


def _plain(number: float) -> str:
    """The shortest decimals that read back as the same number, never with an exponent."""
    return format(Decimal(repr(number)).normalize(), "f")
