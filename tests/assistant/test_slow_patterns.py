"""Patterns of the owner's rules that one message could stop a server with are refused; usual ones are not."""

import re
import subprocess
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
    assert slow_pattern([r"\bHB-?[0-9]\b", "late|lost"], characters=4_000) is None


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


@pytest.mark.parametrize(
    "pattern",
    [
        r"^(\w+\s?)+\W?$",
        r"^(\w+\s?)+[^a-z]$",
        r"^(\w+\s?)+\W*$",
        r"^(?=.*refund)(?:\w+\s?)*$",
        r"^(?=.*refund)dear (?:\w+\s?)*$",
        r"(?<=order )(?:\w+\s?)*$",
        r"(?:\w{1,15}\s?){1,15}!",
        r"(?:\w{0,16}){0,16}\d!",
        r"(order )?(?(1)(?:\w+\s?)*;|x)",
    ],
)
def test_neither_what_ends_a_pattern_nor_what_it_looks_for_nor_a_small_number_of_repeats_hides_that_it_is_slow(
    pattern: str,
):
    assert slow_pattern([USUAL[2], pattern], characters=4_000) == 1


def test_patterns_that_could_not_be_tried_in_time_are_refused_without_blaming_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slow_patterns, "_CHILD", "import time\nprint(1, flush=True)\ntime.sleep(60)")
    monkeypatch.setattr(slow_patterns, "_WALL_SECONDS", 0.2)
    monkeypatch.setattr(slow_patterns, "_WALL_SECONDS_OF_A_TEXT", 0.0)
    with pytest.raises(ConfigError, match="The 2 patterns of the rules could not be tried in time"):
        slow_pattern(["a+", "b+"], characters=4_000)


def test_the_time_that_patterns_may_be_tried_for_grows_with_their_number(monkeypatch: pytest.MonkeyPatch):
    limits: list[float] = []

    def timed(command: list[str], *, timeout: float, **how: object) -> subprocess.CompletedProcess[str]:
        limits.append(timeout)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(slow_patterns.subprocess, "run", timed)
    for patterns in (["a+"], ["a+"] * 100):
        assert slow_pattern(patterns, characters=4_000) is None
    assert limits[1] > limits[0] + 50 > 100


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("raise MemoryError", "status 1 (MemoryError)"),
        ("sys.exit(3)", "status 3 (without a word)"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "status -9 (without a word)"),
    ],
)
def test_a_process_that_ends_before_all_is_tried_does_not_let_a_pattern_pass(
    monkeypatch: pytest.MonkeyPatch, ending: str, words: str
):
    monkeypatch.setattr(slow_patterns, "_CHILD", f"import sys\nprint(0, flush=True)\n{ending}")
    with pytest.raises(ConfigError, match=re.escape(words)):
        slow_pattern(["a+"], characters=4_000)
