"""What a candidate costs: how many steps are worth taking."""

import numpy as np
import pytest

from shoptalk.config import load
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.objective import Material
from shoptalk.objectives.autoregressive.clm import ClmSpec
from shoptalk.objectives.autoregressive.sft import SftSpec
from shoptalk.stages import candidate_costs
from shoptalk.stages.candidate import PreparedCandidate
from shoptalk.text.corpus import Corpus


def test_a_second_phase_takes_as_many_steps_as_its_rows_are_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two documents are many rows."""
    corpus = Corpus(
        items=("where is my bag? " * 40,) * 4,
        conversation=np.array([0, 0, 1, 1]),
        turn=np.array([0, 1, 0, 1]),
        digest="two",
    )
    product, spec = tiny_language_model(), ClmSpec(batch=2, passes=2.0)
    inputs = product.inputs(corpus)
    monkeypatch.setattr(candidate_costs, "open_product", lambda config: tiny_language_model())
    candidate = PreparedCandidate("sft-then-clm", SftSpec(), None, spec)
    timing, _ = candidate_costs.time_second(candidate, corpus, inputs, product, load(), "float32")
    rows = len(spec.drawn_from(Material(corpus, product, inputs, None)))
    assert rows > 40 and timing.cost.most_steps == rows
