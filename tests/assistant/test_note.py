"""The note for a person who takes over."""

import hypothesis
from hypothesis import strategies as st

from shoptalk.assistant.note import note_of


@hypothesis.given(st.lists(st.text(min_size=1), min_size=1, max_size=12), st.integers(2, 6))
def test_a_note_keeps_the_first_and_the_last_message_and_their_order(messages: list[str], most: int) -> None:
    kept = note_of(messages, most=most)
    assert kept[0] == 0 and kept[-1] == len(messages) - 1
    assert len(kept) == min(most, len(messages))
    assert kept == sorted(set(kept))


@hypothesis.given(st.lists(st.text(min_size=1), min_size=3, max_size=12), st.integers(3, 6))
def test_between_them_a_note_keeps_the_longest(messages: list[str], most: int) -> None:
    kept = set(note_of(messages, most=most))
    left_out = [len(messages[place]) for place in range(len(messages)) if place not in kept]
    inner = [len(messages[place]) for place in kept if 0 < place < len(messages) - 1]
    assert not left_out or max(left_out) <= min(inner)


def test_of_no_messages_nothing_is_noted() -> None:
    assert note_of([], most=5) == []
