"""Signatures that name shapes are checked while tests run, and only those."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int, TypeCheckError
from torch import Tensor

from shoptalk.decide import pooled
from shoptalk.nn import gather
from shoptalk.text.packing import PackedRows
from tests.shapes import names_a_shape, shapes_checked

Ids = Int[np.ndarray, " N"]


def rows(before: tuple[int, int]) -> PackedRows:
    ids, segments = torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.int64)
    return PackedRows(ids, ids, segments, torch.zeros(before, dtype=torch.int64))


def test_what_has_the_shape_of_the_signature_passes():
    assert rows((2, 3)).continued().all()


def test_a_dataclass_of_another_shape_is_refused():
    with pytest.raises(TypeCheckError):
        rows((2, 4))


def test_a_dataclass_is_refused_by_the_fields_that_it_inherits():
    @shapes_checked
    @dataclass(frozen=True)
    class Known(PackedRows):
        number: int = 0

    with pytest.raises(TypeCheckError):
        Known(*(torch.zeros(shape, dtype=torch.int64) for shape in ((2, 3), (2, 3), (2, 3), (2, 4))))


def test_a_function_with_arguments_of_other_shapes_than_each_other_is_refused():
    with pytest.raises(TypeCheckError):
        pooled.gain(np.ones((5, 3)), np.ones((5, 2)), lambda sums: sums.mean(axis=1), seed=0)


def test_a_result_of_another_shape_is_refused():
    @shapes_checked
    def transposed(values: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "D N"]:
        return values

    assert transposed(np.ones((2, 2))).shape == (2, 2)
    with pytest.raises(TypeCheckError):
        transposed(np.ones((2, 3)))


def test_what_names_no_shape_is_left_as_it_was():
    assert gather.world_size.__module__ == "shoptalk.nn.gather" and not hasattr(gather.world_size, "__wrapped__")
    assert hasattr(pooled.gain, "__wrapped__")


@pytest.mark.parametrize(
    "annotation",
    [
        Ids,
        Ids | None,
        Sequence[Ids],
        Callable[[Float[Tensor, "m D"]], int],
        "PackedRows",  # in quotes, it may be anything
        Sequence["PackedRows"],
        tuple[int, Ids],
    ],
)
def test_a_shape_is_found_wherever_an_annotation_holds_it(annotation):
    assert names_a_shape(annotation)


@pytest.mark.parametrize("annotation", [int, Sequence[int], Callable[[int], str], np.ndarray, None])
def test_other_annotations_name_none(annotation):
    assert not names_a_shape(annotation)
