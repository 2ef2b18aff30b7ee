"""Flags, settings and JSON keys are what they were: people's scripts hold on to them.

The pins in `tests/golden/` were made from 24a6c83. `python -m tests.golden` adds to them.
"""

import pytest

from tests.golden import surface


@pytest.mark.parametrize("name", surface.pins())
def test_what_scripts_hold_on_to_is_as_pinned(name: str) -> None:
    added, broken = surface.differences(surface.pinned(name), surface.pins()[name]())
    assert not broken, "Scripts of users break on this:\n" + "\n".join(broken)
    assert not added, "New, and not pinned yet (`python -m tests.golden` does that):\n" + "\n".join(added)


def test_a_default_that_changes_and_a_key_that_goes_are_breaks_and_a_new_one_is_not() -> None:
    old = {"adapt": {"--out": {"required": True}, "--seed": {"default": 0}}, "verdict.json": ["gain", "choice"]}
    new = {"adapt": {"--seed": {"default": 1}, "--json": {"default": False}}, "verdict.json": ["gain", "ladder"]}
    assert surface.differences(old, new) == (
        ["adapt: --json", "verdict.json: ladder"],
        ["adapt: --out is gone", "adapt: --seed: default was 0 and is 1", "verdict.json: choice is gone"],
    )
