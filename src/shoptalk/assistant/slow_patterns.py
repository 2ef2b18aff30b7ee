"""Regular expressions that some text keeps busy for seconds or for ever, found before a message does that.

    slow = slow_pattern([r"(\\w+\\s?)*!"], characters=4_000)      # 0: on this text the pattern is too slow

Python's `re` tries one way to match after the other, and each repeat inside or beside another multiplies the ways.
While it does, nothing else of the process runs, and no thread can stop it. So each repeat of a pattern is tried
beforehand, in a process that the system ends: on what may stand before it, then its own text again and again, then an
end that few patterns expect. That finds the usual mistakes. It proves nothing: a pattern may be slow on other texts.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from shoptalk.errors import ConfigError

SECONDS = 1.0
"""Of the processor, for one text."""
_WALL_SECONDS = 60.0
_WALL_SECONDS_OF_A_TEXT = 0.25
"""By the clock, which other programs on the machine use up too: a limit on the wait, and no finding."""
_LONGEST = 16
"""Times that a repeat stands in what is put before another."""
_MOST = 200
"""Repeats of one pattern that are tried, each in one way."""
_ENDS = ("\0", "\0\0", "!!", "\n\n", "!a!")
"""What a pattern is not expected to go on with, although some take one such character, or several of a kind."""
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
_OF_CATEGORY = {op.CATEGORY_DIGIT: "0", op.CATEGORY_SPACE: " ", op.CATEGORY_WORD: "a"}
_ANYTHING = "a0 -.,_!\n~"
_TOO_SLOW = getattr(signal, "SIGVTALRM", None)
_CHILD = """
import json, re, signal, sys
for number, (pattern, tries) in enumerate(json.load(sys.stdin)):
    print(number, flush=True)
    search = re.compile(pattern, re.I).search
    for before, again, end, characters, seconds in tries:
        if hasattr(signal, "setitimer"):  # without a handler its signal ends the process, whatever that is doing
            signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        search((before + again * (characters // len(again)))[: characters - len(end)] + end)
"""


def slow_pattern(patterns: Sequence[str], *, characters: int) -> int | None:
    """The first of these patterns, which compile, that takes over `SECONDS` for a text of so many characters; None
    where none is found. Case does not matter to them.

    Raises:
        ConfigError: they could not all be tried, so that nothing is known.
    """
    tries = [[[*text, characters, SECONDS] for text in _pumped(pattern)] for pattern in patterns]
    if not any(tries):
        return None
    question = json.dumps(list(zip(patterns, tries, strict=True)))
    command = [sys.executable, "-I", "-S", "-c", _CHILD]
    limit = _WALL_SECONDS + _WALL_SECONDS_OF_A_TEXT * sum(map(len, tries))
    try:
        ended = subprocess.run(command, input=question, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"The {len(patterns)} patterns of the rules could not be tried in time: it took over {limit:.0f} seconds. "
            "Expected patterns of few repeats, and a machine with time for them. Give the command again, or `words` "
            "in place of the patterns."
        ) from None
    if ended.returncode == 0:
        return None
    if _TOO_SLOW is not None and ended.returncode == -_TOO_SLOW:
        return int(ended.stdout.split()[-1])
    why = ended.stderr.strip().splitlines()[-1:] or ["without a word"]
    raise ConfigError(
        f"The patterns of the rules could not be tried: the process that tries them ended with status "
        f"{ended.returncode} ({why[0]}). Expected shorter patterns; or give `words` in place of them."
    )


@dataclass(frozen=True)
class _Before:
    """What the parts of a pattern that stand before a place match."""

    text: str = ""
    with_looks: str = ""
    """The same, with what is looked for ahead or behind put where the pattern looks."""
    looks: str = ""
    """That alone."""

    def then(self, code: Any, argument: Any) -> "_Before":
        """With one more part."""
        if code is op.ASSERT:
            look = _text(argument[1], optional=True)
            return replace(self, with_looks=self.with_looks + look, looks=self.looks + look)
        text = _text([(code, argument)], optional=True)
        return replace(self, text=self.text + text, with_looks=self.with_looks + text)

    def around(self) -> Iterator[tuple[str, str]]:
        """What to try before and after a text that is repeated."""
        befores = dict.fromkeys((self.text, self.with_looks, self.text + self.looks))
        ends = dict.fromkeys((*_ENDS, self.looks + _ENDS[0]))
        yield from ((before, end) for before in befores for end in ends)


def _pumped(pattern: str) -> list[tuple[str, str, str]]:
    """What to try a pattern on: a beginning, what comes again and again after it, and an end."""
    different = list(dict.fromkeys(_repeats(_parser.parse(pattern, re.I), _Before())))[:_MOST]
    return list(dict.fromkeys((start, again, end) for before, again in different for start, end in before.around()))


def _repeats(items: Iterable[Any], before: _Before) -> Iterator[tuple[_Before, str]]:
    for code, argument in items:
        if code in _REPEATS and argument[1] > 1:
            for again in _ways(argument[2]):
                yield before, again
        for inner in _inside(code, argument):
            yield from _repeats(inner, before)
        before = before.then(code, argument)


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
    if code is op.GROUPREF_EXISTS:
        return [part for part in argument[1:] if part is not None]
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
            text += _text(argument[2], optional=optional) * min(least, _LONGEST)
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
