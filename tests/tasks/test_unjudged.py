"""What is said where there is nothing to judge by."""

import pytest

from shoptalk.tasks import unjudged


@pytest.mark.parametrize("named", [("none",), ()])
def test_where_nothing_was_asked_to_be_trained_nothing_is_said_to_have_failed_or_to_be_accepted(
    named: tuple[str, ...],
) -> None:
    assert unjudged("intent", named, "", trained=False) == (
        "Inconclusive: the task intent needs labelled messages, and this run has none, so nothing here shows whether "
        "the assistant gets better. No candidate was named, so nothing was trained. Label about 400 messages to "
        "measure the base."
    )


def test_what_could_not_train_and_what_was_trained_are_told_apart() -> None:
    failed = unjudged("picture", ("simclr", "none"), "", trained=False)
    assert "Nothing could be trained. Label about 400 pictures to measure a gain." in failed
    trained = unjudged("intent", ("mlm",), "It likely helps.", trained=True)
    assert trained.endswith(
        "It likely helps. Label about 400 messages to measure it, or pass --accept-unproven to serve it as it is."
    )
