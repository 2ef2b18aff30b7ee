"""Patterns of the owner's rules that one message could stop a server with are refused; usual ones are not."""

import time
from pathlib import Path

import pytest

from shoptalk.assistant import slow_patterns
from shoptalk.assistant.business_rules import load_rules
from shoptalk.assistant.slow_patterns import slow_pattern
from shoptalk.errors import ConfigError

USUAL = [
    r"\bHB-[0-9]{5}\b",
    r"refund.*booking",
    r"(cancel|refund)\w*\s+(my\s+)?(order|booking)",
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"^\s*(hi|hello)[\s!.]*$",
    r"(?<!\w)\+?\d[\d /-]{6,}\d",
    r"https?://\S+",
    r"(?i:damaged|broken)[^.]*\bphoto",
    r"(\w)\1{3,}",
    r"[^\W\d_]+",
    "",
]


def test_usual_patterns_are_not_slow():
    assert slow_pattern(USUAL, characters=4_000) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a+)+$",
        r"^(\w+\s?)*$",
        r"order no (\d+|\w+)*;",
        r"(.*,)*x",
        r"(ab|a|b)*!",
        r"(?:please )?(?=(?:\s|\n)+x|(\d\d?)*z)",
        r".*.*.*=",
        r"\s*\s*\s*\s*x",
        r"([^,]+,?)+;",
    ],
)
def test_a_pattern_that_some_text_keeps_busy_is_found_among_others_in_a_few_seconds(pattern: str):
    begun = time.monotonic()
    assert slow_pattern([*USUAL[:3], pattern, USUAL[3]], characters=4_000) == 3
    assert time.monotonic() - begun < slow_patterns._WALL_SECONDS / 2


def test_patterns_without_repeats_start_no_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slow_patterns.subprocess, "run", None)
    assert slow_pattern([r"\bHB-[0-9]{5}\b", "late|lost"], characters=4_000) is None


def test_rules_with_a_slow_pattern_are_refused_by_name_with_what_to_write(tmp_path: Path):
    rules = tmp_path / "rules.toml"
    rules.write_text(
        "[[rule]]\nname = 'fine'\npattern = '\\w+@'\ndecision = 'escalate'\n"
        "[[rule]]\nname = 'endless'\npattern = '^(\\w+\\s?)*$'\ndecision = 'escalate'\n",
        encoding="utf-8",
    )
    with pytest.raises(
        ConfigError, match=r"rules\.toml: the pattern of the rule 'endless' takes over 1 second(?s:.*)`words`"
    ):
        load_rules(rules)
