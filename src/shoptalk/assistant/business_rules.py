"""The owner's rules, which go before all models: a TOML file.

    [[rule]]
    name = "a booking number needs a person"
    pattern = "\\\\bHB-[0-9]{5}\\\\b"            # of the last message; case does not matter
    decision = "escalate"
    reason = "unsupported_request"
    text = "I can't look into bookings. I'm passing this on to a colleague."

    [[rule]]
    name = "complaints"
    intents = ["complaint_staff"]
    least = 0.7                              # probability of the intent
    decision = "escalate"

    [[rule]]
    name = "closed in January"
    words = ["january", "winter opening"]    # any of them, as whole words
    from = 2026-12-20
    until = 2027-01-31
    decision = "answer"
    text = "We are closed until 31 January."

A rule applies where all of its conditions hold; the first that applies decides.
"""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from shoptalk.assistant.reply import REASONS, Decision
from shoptalk.assistant.slow_patterns import SECONDS, slow_pattern
from shoptalk.config.settings import did_you_mean, validate
from shoptalk.errors import ConfigError
from shoptalk.records import Frozen

_MOST_CHARACTERS = 4_000
"""Of a message that patterns read: a pattern may need time that grows fast with the text (`slow_patterns.py`)."""


class BusinessRule(Frozen):
    """One rule; conditions that are not given hold always."""

    name: str = Field(min_length=1)
    pattern: str | None = None
    words: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    least: float = Field(default=0.5, ge=0.0, le=1.0)
    begins: date | None = Field(default=None, alias="from")
    ends: date | None = Field(default=None, alias="until")
    open: bool | None = Field(default=None, description="true: only in business hours; false: only outside of them")
    decision: Decision
    reason: str = "policy"
    text: str = ""

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"no regular expression: {error}") from error
        return pattern

    @field_validator("reason")
    @classmethod
    def _known(cls, reason: str) -> str:
        if reason not in REASONS:
            raise ValueError(f"unknown reason. {did_you_mean(reason, REASONS)}")
        return reason

    @model_validator(mode="after")
    def _says_something(self) -> "BusinessRule":
        if not (self.pattern or self.words or self.intents or self.open is not None or self.begins or self.ends):
            raise ValueError("has no condition; give pattern, words, intents, from, until or open")
        if self.decision in ("answer", "clarify") and not self.text:
            raise ValueError(f"decides {self.decision!r} without words for it; give text")
        return self

    def applies(self, message: str, intent: str | None, probability: float, day: date, is_open: bool) -> bool:
        """Whether all of its conditions hold."""
        text = message[:_MOST_CHARACTERS]
        return (
            (self.pattern is None or re.search(self.pattern, text, re.I) is not None)
            and (not self.words or any(_has(text, word) for word in self.words))
            and (not self.intents or (intent in self.intents and probability >= self.least))
            and (self.begins is None or self.begins <= day)
            and (self.ends is None or day <= self.ends)
            and (self.open is None or self.open == is_open)
        )


@dataclass(frozen=True)
class RuleTrial:
    """What the rules say to one message of a test file, and what was expected."""

    text: str
    rule: str | None
    decision: Decision | None
    expected: str | None
    """The expected rule's name or decision, "none" for no rule; None where nothing was expected."""

    @property
    def right(self) -> bool:
        """Whether what was expected came true."""
        if self.expected is None:
            return True
        return self.expected in (self.rule or "none", self.decision or "none")


def load_rules(path: Path) -> tuple[BusinessRule, ...]:
    """The rules of a file, in their order.

    Raises:
        ConfigError: it cannot be read, or a rule is not one, or its pattern is found to be slow or cannot be tried.
    """
    try:
        tree: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"Cannot read the rules {path}: {error}. Expected a TOML file with [[rule]] sections."
        ) from error
    except RecursionError:
        raise ConfigError(
            f"Cannot read the rules {path}: its values are nested too deeply. "
            "Expected a TOML file with [[rule]] sections."
        ) from None
    if set(tree) - {"rule"} or not isinstance(tree.get("rule", []), list):
        raise ConfigError(f"{path} holds {', '.join(sorted(tree))}; expected [[rule]] sections and nothing else.")
    rules = [
        validate(BusinessRule, rule, prefix=f"{path.name} rule {n}") for n, rule in enumerate(tree.get("rule", []), 1)
    ]
    names = [rule.name for rule in rules]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{path} has two rules called {repeated[0]!r}. Give each a name of its own.")
    _refuse_slow(path, [rule for rule in rules if rule.pattern is not None])
    return tuple(rules)


def _refuse_slow(path: Path, rules: Sequence[BusinessRule]) -> None:
    """Refuse a pattern that is found to stop the server at some message; there may be others (`slow_patterns.py`)."""
    slow = slow_pattern([rule.pattern or "" for rule in rules], characters=_MOST_CHARACTERS)
    if slow is not None:
        raise ConfigError(
            f"{path.name}: the pattern of the rule {rules[slow].name!r} takes over {SECONDS:g} second for some "
            f"messages, in which nobody is answered: {rules[slow].pattern}\nExpected repeats that cannot share a "
            "text in many ways: no repeat inside a repeat, such as (\\w+\\s?)*, and no two beside each other for the "
            "same characters, such as .*.*; or give `words` in place of the pattern."
        )


def first_rule(
    rules: Sequence[BusinessRule],
    message: str,
    *,
    intent: str | None,
    probability: float,
    now: datetime,
    is_open: bool,
) -> BusinessRule | None:
    """The first rule that applies to a message; None where none does."""
    for rule in rules:
        if rule.applies(message, intent, probability, now.date(), is_open):
            return rule
    return None


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.I) is not None
