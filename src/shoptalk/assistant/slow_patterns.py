"""Regular expressions that some text keeps busy for seconds or for ever, found before a message does that.

    slow = slow_pattern([r"(\\w+\\s?)*!"], characters=4_000)      # 0: on this text the pattern is too slow

Python's `re` tries one way to match after the other, and each repeat inside or beside another multiplies the ways.
While it does, nothing else of the process runs, and no thread can stop it. So each repeat of a pattern is tried
beforehand, in a process that the system ends: on what may stand before it, then its own text again and again, then a
character that nothing expects. That finds the usual mistakes. It proves nothing: a pattern may be slow on other texts.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

SECONDS = 1.0
"""Of the processor, for one text."""
_WALL_SECONDS = 60.0
_MANY = 16
"""Repeats that may go on for so long are tried."""
_MOST = 200
"""Texts that one pattern is tried on."""
_END = "\x00"
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
_OF_CATEGORY = {op.CATEGORY_DIGIT: "0", op.CATEGORY_SPACE: " ", op.CATEGORY_WORD: "a"}
_ANYTHING = "a0 -.,_!\n~"
_CHILD = """
import json, re, signal, sys
for number, (pattern, tries) in enumerate(json.load(sys.stdin)):
    print(number, flush=True)
    search = re.compile(pattern, re.I).search
    for before, again, characters, seconds in tries:
        if hasattr(signal, "setitimer"):  # without a handler its signal ends the process, whatever that is doing
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        search((before + again * (characters // len(again)))[: characters - 1] + chr(0))
"""


def slow_pattern(patterns: Sequence[str], *, characters: int) -> int | None:
    """The first of these patterns, which compile, that takes over `SECONDS` for a text of so many characters; None
    where none is found. Case does not matter to them.
    """
    tries = [[[*pair, characters, SECONDS] for pair in _pumped(pattern)] for pattern in patterns]
    if not any(tries):
        return None
    asked = json.dumps(list(zip(patterns, tries, strict=True)))
    command = [sys.executable, "-I", "-S", "-c", _CHILD]
    try:
        ended = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=_WALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as late:
        printed = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
    else:
        printed = ended.stdout if ended.returncode < 0 else ""  # else it has ended by itself
    begun = printed.split()
    return int(begun[-1]) if begun else None


def _pumped(pattern: str) -> list[tuple[str, str]]:
    """What to try a pattern on: a beginning, and what comes again and again after it."""
    different = dict.fromkeys(_repeats(_parser.parse(pattern, re.I), ""))
    return list(different)[:_MOST]


def _repeats(items: Iterable[Any], before: str) -> Iterator[tuple[str, str]]:
    for code, argument in items:
        if code in _REPEATS and argument[1] > _MANY:
            for again in _ways(argument[2]):
                yield before, again
        for inner in _inside(code, argument):
            yield from _repeats(inner, before)
        before += _text([(code, argument)], optional=True)


def _ways(items: Any) -> Iterator[str]:
    """Texts that a repeat may go through again and again; of several, since which one is ambiguous is not known."""
    texts = [_text(items, optional=False), _text(items, optional=True), *_letters(items)]
    yield from (text for text in dict.fromkeys(texts) if text)


def _letters(items: Iterable[Any]) -> Iterator[str]:
    """One letter for each place, and of alternatives the text of each."""
    for code, argument in items:
        if code is op.BRANCH:
            yield from (_text(each, optional=True) for each in argument[1])
        for inner in _inside(code, argument):
            yield from _letters(inner)
        if not _inside(code, argument):
            yield _text([(code, argument)], optional=True)


def _inside(code: Any, argument: Any) -> list[Any]:
    """The patterns within a part of a pattern."""
    if code in _REPEATS:
        return [argument[2]]
    if code is op.BRANCH:
        return list(argument[1])
    if code is op.SUBPATTERN:
        return [argument[3]]
    if code is op.ATOMIC_GROUP:
        return [argument]
    return [argument[1]] if code in (op.ASSERT, op.ASSERT_NOT) else []


def _text(items: Iterable[Any], *, optional: bool) -> str:
    """A short text that these parts match; back references and conditions on places are passed over."""
    text = ""
    for code, argument in items:
        if code is op.LITERAL:
            text += chr(argument)
        elif code in (op.ANY, op.NOT_LITERAL, op.IN):
            members = argument if code is op.IN else [(code, argument)]
            text += _member(members)
        elif code in _REPEATS:
            least = max(argument[0], int(optional and argument[1] > 0))
            text += _text(argument[2], optional=optional) * min(least, _MANY)
        elif code not in (op.ASSERT, op.ASSERT_NOT):
            text += next((_text(inner, optional=optional) for inner in _inside(code, argument)), "")
    return text


def _member(members: Sequence[Any]) -> str:
    """A character of a class such as [a-z_] or [^,]."""
    code, argument = members[0]
    if code is op.LITERAL:
        return chr(argument)
    if code is op.RANGE:
        return chr(argument[0])
    if code is op.CATEGORY and argument in _OF_CATEGORY:
        return _OF_CATEGORY[argument]
    excluded = {chr(value) for kind, value in members if kind in (op.LITERAL, op.NOT_LITERAL)}
    ranges = [value for kind, value in members if kind is op.RANGE]
    categories = {_OF_CATEGORY[value] for kind, value in members if kind is op.CATEGORY and value in _OF_CATEGORY}
    if code is op.CATEGORY:  # \D, \S or \W
        return {op.CATEGORY_NOT_DIGIT: "a", op.CATEGORY_NOT_SPACE: "a"}.get(argument, "-")
    free = (c for c in _ANYTHING if c not in excluded | categories and not any(a <= ord(c) <= b for a, b in ranges))
    return next(free, "~")
