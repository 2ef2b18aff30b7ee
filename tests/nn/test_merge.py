"""Averages of a base's weights and an adapted encoder's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.bases import open_base
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.merge import average
from tests.tiny import tiny_product

BASE, ADAPTED = tiny_product(seed=0), tiny_product(seed=1)


def weights(product: TextEncoder) -> dict[str, np.ndarray]:
    return {name: parameter.detach().numpy().copy() for name, parameter in product.network.named_parameters()}


@pytest.mark.parametrize(("share", "end"), [(0.0, BASE), (1.0, ADAPTED)])
def test_the_ends_are_the_base_and_the_adapted_encoder_bit_for_bit(share: float, end: TextEncoder):
    for name, tensor in weights(average(BASE, ADAPTED, share)).items():
        np.testing.assert_array_equal(tensor, weights(end)[name])


@given(st.floats(min_value=0.0, max_value=1.0, width=32))
@settings(max_examples=10, deadline=None)
def test_between_them_every_weight_is_the_weighted_mean(share: float):
    before, after = weights(BASE), weights(ADAPTED)
    for name, tensor in weights(average(BASE, ADAPTED, share)).items():
        expected = (1 - share) * before[name].astype(np.float64) + share * after[name].astype(np.float64)
        np.testing.assert_allclose(tensor, expected, rtol=1e-5, atol=1e-6)


def test_neither_encoder_is_changed_by_being_averaged():
    before, after = weights(BASE), weights(ADAPTED)
    average(BASE, ADAPTED, 0.5)
    for name in before:
        np.testing.assert_array_equal(weights(BASE)[name], before[name])
        np.testing.assert_array_equal(weights(ADAPTED)[name], after[name])


def test_networks_of_other_shapes_cannot_be_averaged():
    other = tiny_product()
    other.network.backbone.embeddings.word_embeddings.weight = torch.nn.Parameter(torch.zeros(3, 32))
    with pytest.raises(ValueError, match="do not have the same parameters"):
        average(BASE, other, 0.5)


def test_running_statistics_of_batch_norms_are_averaged_too_and_counts_are_the_adapted_ones():
    base, adapted = (open_base("scratch:resnet-mini", seed=seed) for seed in (0, 1))
    norm = next(name for name, _ in adapted.network.named_buffers() if name.endswith("running_var"))
    count = next(name for name, _ in adapted.network.named_buffers() if name.endswith("num_batches_tracked"))
    with torch.no_grad():
        dict(adapted.network.named_buffers())[norm].fill_(9.0)
        dict(adapted.network.named_buffers())[count].fill_(40)
    merged = dict(average(base, adapted, 0.25).network.named_buffers())
    assert merged[norm].unique().tolist() == [3.0]  # a quarter of 9 and three of 1
    assert int(merged[count]) == 40
