from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from shoptalk.errors import DivergedError
from shoptalk.nn.encoder import TextEncoder, embed
from shoptalk.probes.once import Once
from tests.tiny import tiny_product


def counting(product: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    asked: list[int] = []
    stock = TextEncoder.embed

    def spy(self: TextEncoder, items: Sequence[str], **more: Any) -> np.ndarray:
        asked.append(len(items))
        return stock(self, items, **more)

    monkeypatch.setattr(TextEncoder, "embed", spy)
    return asked


def test_items_that_several_probes_ask_for_are_embedded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    product = tiny_product()
    expected = embed(product, ["card", "refund"])
    asked = counting(product, monkeypatch)
    once = Once(product)
    for items in (["card", "refund"], ("card", "refund")):
        np.testing.assert_array_equal(embed(once, items), expected)
    assert asked == [2]
    embed(once, ["refund", "card"])
    embed(once, ["card", "refund"], precision="bfloat16")
    assert asked == [2, 2, 2]


def test_a_second_measurement_sees_weights_that_have_moved() -> None:
    product = tiny_product()
    before = embed(Once(product), ["card", "refund"])
    with torch.no_grad():
        for parameter in product.network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert np.abs(embed(Once(product), ["card", "refund"]) - before).max() > 0.01


def test_vectors_that_are_not_numbers_are_refused() -> None:
    product = tiny_product()
    with torch.no_grad():
        next(product.network.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="2 of 2 texts vectors that are NaN or infinite"):
        embed(Once(product), ["card", "refund"])


def test_what_is_measured_is_not_trained() -> None:
    once = Once(tiny_product())
    assert (once.kind, once.dim) == ("text", 32)
    with pytest.raises(TypeError, match="there to be measured"):
        once.ready_to_train()
