"""Drafts: what followed the last tokens when they stood in the text before."""

from hypothesis import given
from hypothesis import strategies as st

from shoptalk.nn.decoding.prompt_lookup import GRAMS, PromptLookup


def by_search(ids: list[int], most: int) -> list[int]:
    """The latest earlier place of the longest run of last tokens, found by looking everywhere."""
    for size in GRAMS:
        for begin in range(len(ids) - size - 1, -1, -1):
            if size <= len(ids) and ids[begin : begin + size] == ids[-size:]:
                return ids[begin + size : begin + size + most]
    return []


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=10), st.integers(0, 6))
def test_a_draft_is_what_followed_the_longest_latest_run(ids: list[int], more: list[int], most: int) -> None:
    lookup = PromptLookup(ids)
    for token in more:
        lookup.append(token)
    assert lookup.draft(most) == by_search([*ids, *more], most)


def test_what_has_not_stood_together_before_has_no_draft() -> None:
    assert PromptLookup([1, 2, 3, 4, 5]).draft(4) == []
    assert PromptLookup([1, 2, 3, 1, 2]).draft(4) == [3, 1, 2]
