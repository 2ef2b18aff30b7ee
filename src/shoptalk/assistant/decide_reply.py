"""What to do with a visitor's turn, decided before anything is worded: answer, ask back, hand over, or decline.

    decided = decide(Signals(message="...", confidence=0.7, ...), settings, threshold=0.5)

The first line of this order that applies decides:

1. the owner's rules, or that a pattern of theirs was not read in time; 2. nothing to read; 3. a wish for a person;
4. strong anger, or anger after an answer; 5. the same question for the third time, or again after an answer; 6. a
greeting or thanks; 7. an official answer to exactly this question; 8. an intent that has a person or an answer of its
own; 9. support that reaches the threshold; 10. out of scope; 11. some support: ask back once; 12. none: hand over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from shoptalk.assistant.assistant_settings import AssistantSettings
from shoptalk.assistant.business_rules import BusinessRule
from shoptalk.assistant.reply import Decision

FURIOUS = 3
"""Signs of anger in one message from which it goes to a person at once."""
Words = Literal["rule", "canned", "greeting", "found", "phrase"]


@dataclass(frozen=True)
class Signals:
    """What is known of a visitor's turn when it is decided."""

    message: str
    rule: BusinessRule | None = None
    """The first of the owner's rules that applies."""
    too_slow: str | None = None
    """The rule at whose pattern the time ran out (`business_rules.py` says why a person gets the message then)."""
    readable: bool = True
    wants_person: bool = False
    anger: int = 0
    """Signs of anger in the message (`wishes.anger`)."""
    angry_before: bool = False
    """Whether the visitor's turn before was angry too."""
    asked_before: int = 0
    """How often the visitor has asked the same before in this conversation."""
    greeting: bool = False
    thanks: bool = False
    intent: str | None = None
    probability: float = 0.0
    in_scope: bool = True
    pinned: bool = False
    """Whether there is an official answer to exactly this question."""
    confidence: float = 0.0
    earlier: Sequence[Decision] = ()
    """What was decided about the turns before, the oldest first."""


@dataclass(frozen=True)
class Decided:
    """A decision, its reason, and where its words come from."""

    decision: Decision
    reason: str
    words: Words
    phrase: str = ""
    """The key of the assistant's own sentence, where the words are one of those."""


def decide(signals: Signals, settings: AssistantSettings, *, threshold: float) -> Decided:
    """The decision about one turn."""
    return (
        _by_rule(signals)
        or _by_message(signals)
        or _by_intent(signals, settings)
        or _by_support(signals, settings, threshold)
    )


def _by_rule(signals: Signals) -> Decided | None:
    if signals.too_slow is not None:
        return Decided("escalate", "tool_failure", "phrase", "escalate")
    if signals.rule is None:
        return None
    has_words = bool(signals.rule.text)
    key = {"escalate": "escalate", "decline": "decline"}.get(signals.rule.decision, "")
    return Decided(
        signals.rule.decision, signals.rule.reason, "rule" if has_words else "phrase", "" if has_words else key
    )


def _by_message(signals: Signals) -> Decided | None:
    if not signals.readable:
        return Decided("clarify", "nothing_to_read", "phrase", "nothing")
    if signals.wants_person:
        return Decided("escalate", "customer_request", "phrase", "escalate")
    answered = bool(signals.earlier) and signals.earlier[-1] == "answer"
    if signals.anger >= FURIOUS or (signals.anger and (signals.angry_before or (answered and signals.anger > 1))):
        return Decided("escalate", "sentiment", "phrase", "escalate")
    if signals.asked_before >= 2 or (signals.asked_before and answered):
        return Decided("escalate", "repetition", "phrase", "escalate")
    if signals.greeting:
        return Decided("answer", "greeting", "greeting", "greeting")
    if signals.thanks:
        return Decided("answer", "greeting", "phrase", "thanks")
    return None


def _by_intent(signals: Signals, settings: AssistantSettings) -> Decided | None:
    if signals.intent is None or signals.pinned:
        return None
    sure = signals.in_scope and signals.probability >= settings.canned_confidence
    if signals.intent in settings.person_intents and sure:
        return Decided("escalate", "unsupported_request", "phrase", "escalate")
    if signals.intent in settings.canned and sure:
        return Decided("answer", "supported", "canned")
    return None


def _by_support(signals: Signals, settings: AssistantSettings, threshold: float) -> Decided:
    if signals.pinned or signals.confidence >= threshold:
        return Decided("answer", "supported", "found")
    if not signals.in_scope:
        return Decided("decline", "out_of_scope", "phrase", "decline")
    asked_back = bool(signals.earlier) and signals.earlier[-1] == "clarify"
    if signals.confidence >= settings.clarify:
        if asked_back:
            return Decided("escalate", "pending_clarification", "phrase", "escalate")
        return Decided("clarify", "ambiguous", "phrase", "clarify")
    return Decided("escalate", "missing_knowledge", "phrase", "escalate")
