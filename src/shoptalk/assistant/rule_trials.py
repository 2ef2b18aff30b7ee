"""What the owner's rules say to the messages of a file: `shoptalk rules test RUN FILE`."""

from datetime import UTC, datetime
from pathlib import Path

from shoptalk.assistant.asked_rows import rows_of
from shoptalk.assistant.assistant import Assistant
from shoptalk.assistant.business_rules import RuleTrial
from shoptalk.assistant.reply import Decision
from shoptalk.errors import InputError
from shoptalk.records import Turn


def refuse_rules_as_messages(path: Path) -> None:
    """Refuse a file of rules where one of messages is asked for, before anything is opened.

    Raises:
        InputError: it is a TOML file.
    """
    if path.suffix.lower() == ".toml":
        raise InputError(
            f"{path} is a TOML file, and a CSV or JSONL file of messages is expected, with the columns text and, where "
            "wanted, expected. The rules themselves come from the settings: name their file as `rules` below "
            "[assistant] in RUN/assistant.toml, or in a TOML file given with --config."
        )


def try_rules(assistant: Assistant, path: Path, *, now: datetime | None = None) -> list[RuleTrial]:
    """The rule that applies to each message of a file with the column text, and where a row has it, `expected`: a
    rule's name, a decision, or "none".

    Raises:
        InputError: there are no rules or no messages, or a row has no text.
    """
    if not assistant.rules:
        raise InputError(
            "There are no rules. Name their file as `rules` in RUN/assistant.toml, or give a TOML file with --config."
        )
    known = {"none", "answer", "clarify", "escalate", "decline", *(rule.name for rule in assistant.rules)}
    trials = []
    for number, row in rows_of(path):
        text, expected = row.get("text"), row.get("expected") or None
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{path}, line {number}: no text. Expected the columns text and, where wanted, expected.")
        if expected is not None and expected not in known:
            raise InputError(
                f"{path}, line {number}: {expected!r} is neither a rule's name nor a decision nor 'none'. There is: "
                f"{', '.join(sorted(known))}."
            )
        signals = assistant.consider([Turn(role="visitor", text=text)], now=now or datetime.now(UTC)).signals
        rule = signals.rule
        decision: Decision | None = "escalate" if signals.too_slow is not None else rule.decision if rule else None
        trials.append(RuleTrial(number, text, rule.name if rule else None, decision, expected, signals.too_slow))
    if not trials:
        raise InputError(f"{path} holds no message. Expected rows with the column text.")
    return trials
