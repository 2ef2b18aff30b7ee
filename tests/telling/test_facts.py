"""What a run's facts are made of."""

from dataclasses import replace

import numpy as np

from shoptalk.objectives.toy import toy_corpus
from shoptalk.telling.facts import _learnable


def test_only_pretexts_that_find_something_to_learn_from_are_advised() -> None:
    conversations = toy_corpus()
    documents = replace(conversations, turn=np.full(len(conversations), -1))
    assert set(_learnable("lm", conversations)) == {"clm", "sft"}
    assert set(_learnable("lm", documents)) == {"clm"}
    assert "turns" in _learnable("text", conversations) and "turns" not in _learnable("text", documents)
