import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from shoptalk.errors import BaseModelError
from shoptalk.nn.masked_bits import choose_masked, masked_bits, token_bits
from shoptalk.text.tokens import Tokenised
from tests.tiny import WORDS, tiny_product

TEXTS = ["where is my order", "", "please cancel my card", "ok", "will the shop be open in april or in august", "no"]
TEXTS += [" ".join(WORDS[i : i + 2 + i % 9]) for i in range(50)]


def linear_head(seed: int = 0) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Linear(32, len(tiny_product().tokenizer))


def tokenised(lengths: list[int]) -> Tokenised:
    """Texts of the ids 2, 9, 9, ..., 9, 3: one special token on either side."""
    rows = [[2, *[9] * n, 3] for n in lengths]
    flat = np.array([i for row in rows for i in row], dtype=np.int64)
    return Tokenised(flat=flat, starts=np.cumsum([0, *map(len, rows)]))


def test_bits_are_minus_the_binary_logarithm_of_the_probability() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 7))
    targets = np.array([0, 6, 3, 3, 1])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = [-math.log2(probabilities[i, target]) for i, target in enumerate(targets)]
    found = token_bits(torch.tensor(logits, dtype=torch.float32), torch.tensor(targets))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=8),
    rate=st.floats(0.01, 0.9),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_masks_are_a_share_of_the_ordinary_tokens_and_at_least_one(lengths: list[int], rate: float, seed: int) -> None:
    tokens = tokenised(lengths)
    chosen = choose_masked(tokens, special=[2, 3], mask_rate=rate, seed=seed)
    for i, (length, positions) in enumerate(zip(lengths, chosen, strict=True)):
        assert len(positions) == len(set(positions.tolist()))
        assert (tokens[i][positions] == 9).all()
        assert len(positions) == (max(1, round(rate * length)) if length else 0)


def test_masks_are_fixed_by_the_seed_and_the_texts_before_do_not_matter() -> None:
    first = choose_masked(tokenised([30, 40]), special=[2, 3], mask_rate=0.2, seed=1)
    second = choose_masked(tokenised([7, 40]), special=[2, 3], mask_rate=0.2, seed=1)
    other = choose_masked(tokenised([30, 40]), special=[2, 3], mask_rate=0.2, seed=2)
    assert first[1].tolist() == second[1].tolist() != other[1].tolist()


def test_a_head_that_knows_nothing_needs_the_logarithm_of_the_vocabulary() -> None:
    def blank(hidden: Tensor) -> Tensor:
        return hidden.new_zeros(len(hidden), 256)

    tiny = tiny_product()
    texts = ["where is my order", "cancel it", "pay the bill"]
    assert max(max(ids) for ids in tiny.tokenizer(texts)["input_ids"]) < 256
    reading = masked_bits(texts, seed=0, head=blank)(tiny)
    assert reading.value == pytest.approx(8.0, rel=1e-6)


def test_it_is_the_mean_over_masked_tokens_computed_one_text_at_a_time() -> None:
    product, head = tiny_product(), linear_head()
    reading = masked_bits(TEXTS, seed=5, head=head)(product)
    total, count, by_text = 0.0, 0, []
    for i, text in enumerate(TEXTS):
        ids = np.array(product.tokenizer(text)["input_ids"])
        ordinary = [p for p, token in enumerate(ids) if token not in product.tokenizer.all_special_ids]
        take = max(1, round(0.15 * len(ordinary)))
        positions = sorted(np.random.default_rng((5, i)).permutation(ordinary).astype(int).tolist()[:take])
        masked = ids.copy()
        masked[positions] = product.tokenizer.mask_token_id
        with torch.no_grad():
            hidden = product.network.backbone(input_ids=torch.tensor(masked)[None]).last_hidden_state[0]
            logs = head(hidden).double().log_softmax(-1).numpy()
        bits = [-logs[p, ids[p]] / math.log(2) for p in positions]
        total, count = total + sum(bits), count + len(bits)
        by_text.append(sum(bits))
    assert reading.value == pytest.approx(total / count, rel=1e-5)
    assert reading.detail["masked_tokens"] == count
    np.testing.assert_allclose(reading.outcomes, np.array(by_text) * len(TEXTS) / count, rtol=1e-4)
    assert np.mean(reading.outcomes) == pytest.approx(reading.value)
    assert reading.outcomes[1] == 0.0  # the empty text
    assert (reading.key, reading.unit, reading.n) == ("masked_bits", "bits/token", len(TEXTS))


def test_measuring_leaves_modes_gradients_and_the_random_state_as_they_were() -> None:
    product = tiny_product()
    head = nn.Sequential(nn.Dropout(0.5), linear_head())
    product.network.train()
    product.network.backbone.embeddings.dropout.eval()
    head.train()
    modes = [part.training for part in [*product.network.modules(), *head.modules()]]
    state = torch.get_rng_state()
    probe = masked_bits(TEXTS, seed=0, head=head)
    # Dropout in either would make the two differ.
    assert probe(product) == probe(product)
    assert [part.training for part in [*product.network.modules(), *head.modules()]] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in product.network.parameters())


def test_the_masked_words_are_hidden_from_the_encoder() -> None:
    seen: list[np.ndarray] = []

    def watch(embeddings: nn.Module, _: Any, inputs: dict[str, Tensor]) -> None:
        seen.append(inputs["input_ids"].numpy().copy())

    product = tiny_product()
    product.network.backbone.embeddings.register_forward_pre_hook(watch, with_kwargs=True)  # type: ignore[union-attr, operator]
    reading = masked_bits(["cancel my order please now", "hello"], seed=0, head=linear_head())(product)
    hidden = sum(int((ids == product.tokenizer.mask_token_id).sum()) for ids in seen)
    assert hidden == reading.detail["masked_tokens"] == 2


def test_a_tokenizer_without_a_mask_token_is_refused() -> None:
    product = tiny_product()
    product.tokenizer.mask_token = None
    with pytest.raises(BaseModelError, match="tokenizer of 'gpt' has no mask token"):
        masked_bits(TEXTS, seed=0, head=linear_head())(replace(product, name="gpt"))


def test_nothing_to_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="None of the 2 texts has a token to mask"):
        masked_bits(["", " "], seed=0, head=linear_head())(tiny_product())
    with pytest.raises(ValueError, match=r"0 texts at mask rate 0\.15"):
        masked_bits([], seed=0, head=linear_head())
    with pytest.raises(ValueError, match=r"1 texts at mask rate 1\.0: expected"):
        masked_bits(["hello"], mask_rate=1.0, seed=0, head=linear_head())
