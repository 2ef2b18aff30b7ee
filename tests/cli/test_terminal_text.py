"""What others have written on a terminal."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from shoptalk.cli.terminal_text import for_terminal


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left_but_line_feeds_and_tabs(text: str) -> None:
    shown = for_terminal(text)
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t"]
    assert "".join(map(for_terminal, text)) == shown  # whatever its pieces
    shown.encode("utf-8")


def test_commands_are_shown_as_escapes_and_all_else_stays() -> None:
    assert for_terminal("a\x1b[2J\r\x9b\u202e\ud800") == "a\\x1b[2J\\r\\x9b\\u202e\\ud800"
    assert for_terminal("Grüße, 你好 \u200f😀\n\tnext") == "Grüße, 你好 \u200f😀\n\tnext"
