import inspect
from abc import ABC
from typing import Generic

import pytest
from torch import nn

from shoptalk.objective import Objective, Spec


def test_an_objective_adds_exactly_product_forward_after_step_and_unseen_to_a_module():
    added = {name for name in (*vars(Objective), *inspect.get_annotations(Objective)) if not name.startswith("_")}
    assert added == {"product", "forward", "after_step", "unseen"}
    assert Objective.__mro__ == (Objective, nn.Module, ABC, Generic, object)  # no mix-ins


def test_an_objective_without_a_forward_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Objective()  # type: ignore[abstract]


def test_a_spec_must_say_what_it_learns_from_and_how():
    assert Spec.__abstractmethods__ == {"examples", "collate", "build"}
