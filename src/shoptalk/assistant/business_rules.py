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

Some patterns need time that doubles with each character of some messages, and whoever knows one may send such a
message. So all patterns together have `SECONDS` for a message. Where that time runs out, nobody knows whether the rule
applies, and a person gets the message, whatever the rule and those after it would decide: to go on as if the rule did
not apply would be a way round a rule that escalates, and to take it as one that applies would let a rule that answers
stand before it. Visitors can ask for a person anyway, so that this opens nothing new to them.
"""

import re
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import regex
from pydantic import Field, field_validator, model_validator

from shoptalk.assistant.reply import REASONS, Decision
from shoptalk.config.settings import did_you_mean, validate
from shoptalk.errors import ConfigError
from shoptalk.records import Frozen

SECONDS = 0.1
"""Of the processor, for all patterns together, for one message.

The library reads the clock of the whole process, which threads at work beside it use up too: with 16 of them, 6
milliseconds are left. Usual patterns need a tenth of one for a usual message (docs/decisions/0041)."""

_MOST_TIMES = 10_000
"""Of a part that must come again and again: the library writes it out so often, which may take all memory."""
_UNREADABLE = (regex.error, ValueError, KeyError, OverflowError, RecursionError, MemoryError)
"""What the library raises, where flags clash too."""
_SET = r"\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]"
_TOKEN = re.compile(rf"\\.|{_SET}|\(|\)|\{{(?P<count>\d+)(?:,\d*)?\}}", re.S)
_VERBOSE = re.compile(r"\(\?[a-zA-Z0-9]*x")
_SILENT = re.compile(rf"(?P<kept>\\.|{_SET})|\s+|#[^\n]*", re.S)


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
            if (times := _most_times(pattern)) > _MOST_TIMES:
                raise ValueError(f"asks for a part {times:,} times in a row; at most {_MOST_TIMES:,} are read")
            try:
                _compiled(pattern)
            except _UNREADABLE as error:
                raise ValueError(f"no regular expression that the library regex can read: {error}") from error
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

    def may_apply(self, message: str, intent: str | None, probability: float, day: date, is_open: bool) -> bool:
        """Whether all of its conditions hold but the pattern, which may take longest to read."""
        return (
            (not self.words or any(_has(message, word) for word in self.words))
            and (not self.intents or (intent in self.intents and probability >= self.least))
            and (self.begins is None or self.begins <= day)
            and (self.ends is None or day <= self.ends)
            and (self.open is None or self.open == is_open)
        )


@dataclass(frozen=True)
class FirstRule:
    """What the rules say to a message."""

    rule: BusinessRule | None = None
    """The first that applies."""
    too_slow: str | None = None
    """The name of the rule at whose pattern the time ran out. No rule is said to apply then."""


@dataclass(frozen=True)
class RuleTrial:
    """What the rules say to one message of a test file, and what was expected."""

    line: int
    text: str
    rule: str | None
    decision: Decision | None
    expected: str | None
    """The expected rule's name or decision, "none" for no rule; None where nothing was expected."""
    too_slow: str | None = None
    """The rule at whose pattern the time ran out."""

    @property
    def right(self) -> bool:
        """Whether what was expected came true, and in time."""
        if self.too_slow is not None or self.expected is None:
            return self.too_slow is None
        return self.expected in (self.rule or "none", self.decision or "none")


def load_rules(path: Path) -> tuple[BusinessRule, ...]:
    """The rules of a file, in their order.

    Raises:
        ConfigError: it cannot be read, or a rule is not one.
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
    return tuple(rules)


def first_rule(
    rules: Sequence[BusinessRule],
    message: str,
    *,
    intent: str | None,
    probability: float,
    now: datetime,
    is_open: bool,
) -> FirstRule:
    """The first rule that applies to a message; none where none does, or where the time for patterns runs out."""
    left = SECONDS
    for rule in rules:
        if not rule.may_apply(message, intent, probability, now.date(), is_open):
            continue
        if rule.pattern is None:
            return FirstRule(rule)
        begun = time.thread_time()
        try:
            # Other threads wait meanwhile. Where they need not (concurrent=True), they take their turns every 256 steps
            # of the search and use its time up: a usual pattern then runs out of it under load (docs/decisions/0041).
            match = _compiled(rule.pattern).search(message, timeout=max(left, 0.0), concurrent=False)
        except TimeoutError:
            return FirstRule(too_slow=rule.name)
        if match:
            return FirstRule(rule)
        left -= time.thread_time() - begun
    return FirstRule()


def _most_times(pattern: str) -> int:
    """How often a part of a pattern is written out when the library compiles it: the least of a count such as {2,50},
    those of a repeat inside a repeat multiplied.
    """
    if _VERBOSE.search(pattern):  # white space and comments say nothing there, not even inside of {2, 50}
        pattern = _SILENT.sub(lambda part: part["kept"] or "", pattern)
    open_groups, inside, at = [1], 1, 0
    for token in _TOKEN.finditer(pattern):
        if token.start() > at:
            inside = 1
        at = token.end()
        if token[0] == "(":
            open_groups.append(1)
        elif token[0] == ")" and len(open_groups) > 1:
            inside = open_groups.pop()
            open_groups[-1] = max(open_groups[-1], inside)
        elif token["count"]:
            inside *= max(1, int(token["count"]))
            open_groups[-1] = max(open_groups[-1], inside)
        else:
            inside = 1
    return max(open_groups)


@cache
def _compiled(pattern: str) -> Any:
    return regex.compile(pattern, regex.IGNORECASE)


def _has(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.I) is not None
