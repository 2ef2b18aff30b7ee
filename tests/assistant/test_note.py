"""The note for a person who takes over."""

import hypothesis
import numpy as np
from hypothesis import strategies as st

from shoptalk.assistant.note import note_of


@hypothesis.given(st.lists(st.text(min_size=1), min_size=1, max_size=12), st.integers(2, 6))
def test_a_note_keeps_the_first_and_the_last_message_and_their_order(messages: list[str], most: int) -> None:
    kept = note_of(messages, lambda texts: np.eye(len(texts)), most=most)
    assert kept[0] == 0 and kept[-1] == len(messages) - 1
    assert len(kept) == min(most, len(messages))
    assert kept == sorted(set(kept))


def test_between_them_a_note_keeps_what_is_nearest_to_all_that_was_said() -> None:
    vectors = np.array([[0.8, 0.2], [0.0, 1.0], [1.0, 0.0], [0.9, 0.1], [0.8, 0.2]])
    kept = note_of(["a", "off the point", "b", "c", "d"], lambda texts: vectors[: len(texts)], most=3)
    assert kept == [0, 2, 4]
