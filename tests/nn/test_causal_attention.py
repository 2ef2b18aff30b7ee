"""Attention of decoders in blocks: against NumPy, under any packing, and where it must keep out of the way."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import AutoModelForCausalLM, FalconConfig

from shoptalk.nn import causal_attention
from shoptalk.nn.causal_attention import BLOCK, attend_in_blocks, causal_blocks
from shoptalk.nn.language_model import CausalNetwork, next_token_loss
from shoptalk.nn.precision import autocast
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.text.packing import pack

CPU = torch.device("cpu")
BFLOAT16 = 2.0**-8
"""Its relative rounding."""


def by_hand(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, out: np.ndarray, *, seen: np.ndarray
) -> list[np.ndarray]:
    """softmax(QKᵀ / sqrt(d)) V of one head in float64, and the gradients of its sum with weights `out`."""
    scale = query.shape[-1] ** -0.5
    scores = np.where(seen, query @ key.T * scale, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    to_weights = out @ value.T
    to_scores = weights * (to_weights - (to_weights * weights).sum(-1, keepdims=True))
    return [weights @ value, to_scores @ key * scale, to_scores.T @ query * scale, weights.T @ out]


@settings(deadline=None, max_examples=12)
@given(
    length=st.sampled_from([1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 30]),
    shared=st.integers(1, 3),
    parts=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_blocks_and_their_gradients_are_those_of_numpy(length: int, shared: int, parts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_keys = 2
    query, key, value, out = (
        torch.tensor(rng.normal(size=(1, heads, length, 8)), dtype=torch.bfloat16)
        for heads in (n_keys * shared, n_keys, n_keys, n_keys * shared)
    )
    of = np.sort(rng.integers(0, parts, length))
    seen = (of[:, None] == of[None]) & np.tri(length, dtype=bool)
    leaves = [states.clone().requires_grad_() for states in (query, key, value)]
    first, second, third = leaves
    attended, _ = attend_in_blocks(torch.nn.Module(), first, second, third, torch.tensor(seen)[None, None])
    attended.transpose(1, 2).backward(out)  # type: ignore[no-untyped-call]
    expected = [np.zeros((heads, length, 8)) for heads in (n_keys * shared, n_keys * shared, n_keys, n_keys)]
    for head in range(n_keys * shared):
        of_key = head // shared
        one = [states[0, number].double().numpy() for states, number in
               ((query, head), (key, of_key), (value, of_key), (out, head))]  # fmt: skip
        values, to_query, to_key, to_value = by_hand(*one, seen=seen)
        expected[0][head], expected[1][head] = values, to_query
        expected[2][of_key] += to_key
        expected[3][of_key] += to_value
    got = [attended.transpose(1, 2), *(leaf.grad for leaf in leaves)]
    for theirs, ours in zip(expected, got, strict=True):
        assert ours is not None
        error = np.abs(ours[0].detach().double().numpy() - theirs).max()
        assert error <= 8 * BFLOAT16 * max(1.0, np.abs(theirs).max())


def test_a_decoder_trained_in_bfloat16_attends_in_blocks_and_loses_what_it_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _count(monkeypatch)
    model = tiny_language_model(max_length=192)
    rows = pack([np.arange(2, 2 + n) for n in (150, 90, 60, 40)], length=192)
    with autocast("bfloat16", CPU):
        loss = next_token_loss(model.network, rows)
    loss.backward()  # type: ignore[no-untyped-call]
    ours = {name: weight.grad.clone() for name, weight in model.network.named_parameters() if weight.grad is not None}
    assert asked == [2]  # layers
    model.network.zero_grad()
    exact = next_token_loss(model.network, rows)
    exact.backward()  # type: ignore[no-untyped-call]
    assert asked == [2]
    assert loss.item() == pytest.approx(exact.item(), rel=0.01)
    for name, weight in model.network.named_parameters():
        if weight.grad is not None:
            assert float((ours[name] - weight.grad).norm() / weight.grad.norm()) < 0.03, name


def test_reading_without_gradients_and_layers_computed_again_keep_the_fused_kernel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = _count(monkeypatch)
    model = tiny_language_model()
    rows = pack([np.arange(2, 40)], length=64)
    with torch.no_grad(), autocast("bfloat16", CPU):
        model.network.hidden(rows)
    model.network.backbone.train()
    model.network.backbone.activation_checkpointing_enable(  # type: ignore[operator]
        activation_checkpointing_kwargs={"use_reentrant": False}
    )
    with autocast("bfloat16", CPU):
        next_token_loss(model.network, rows).backward()  # type: ignore[no-untyped-call]
    assert asked == [0]


def test_more_than_a_causal_mask_is_left_to_the_fused_kernel() -> None:
    query, key, value = (torch.randn(1, 2, 6, 4) for _ in range(3))
    bias = torch.randn(1, 2, 6, 6)
    seen = torch.ones(6, 6, dtype=torch.bool).tril()[None, None]
    attended, _ = attend_in_blocks(torch.nn.Module(), query, key, value, bias)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    torch.testing.assert_close(attended.transpose(1, 2), expected)
    one, _ = attend_in_blocks(torch.nn.Module(), query[:, :, -1:], key, value, seen[:, :, -1:])
    alone = torch.nn.functional.scaled_dot_product_attention(query[:, :, -1:], key, value)
    torch.testing.assert_close(one.transpose(1, 2), alone)


def test_a_decoder_that_does_not_ask_the_interface_sees_nothing_after_a_cell() -> None:
    config = FalconConfig(
        vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, multi_query=True, alibi=False,
        new_decoder_architecture=False,
    )  # fmt: skip
    network = CausalNetwork(AutoModelForCausalLM.from_config(config, attn_implementation="sdpa"))
    ids = np.arange(2, 42)
    with autocast("bfloat16", CPU):
        before, after = (
            network.hidden(pack([sequence], length=40))[0, :39].detach() for sequence in (ids, np.append(ids[:-1], 60))
        )
    torch.testing.assert_close(before, after)


def test_a_decoder_attends_as_before_after_an_error() -> None:
    backbone: Any = tiny_language_model().network.backbone
    with pytest.raises(ZeroDivisionError), autocast("bfloat16", CPU), causal_blocks(backbone):
        assert backbone.config._attn_implementation == causal_attention.NAME
        raise ZeroDivisionError
    assert backbone.config._attn_implementation == "sdpa"


def _count(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often blocks were computed."""
    counted, real = [0], causal_attention._Blocks.apply

    def apply(*given: Tensor) -> Tensor:
        counted[0] += 1
        out: Tensor = real(*given)  # type: ignore[no-untyped-call]
        return out

    monkeypatch.setattr(causal_attention._Blocks, "apply", apply)
    return counted
