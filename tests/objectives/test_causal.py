"""Causal language modelling by an encoder."""

import itertools

import numpy as np
import pytest
import torch

from shoptalk.nn import bertlike
from shoptalk.nn.tiny import tiny_product
from shoptalk.objective import Key
from shoptalk.objectives.autoregressive.causal import CausalSpec
from tests.objectives.test_mlm import gelu_and_norm
from tests.toyworld import toy_world

EXAMPLES = list(range(40))  # more than one group


def test_every_token_is_foretold_from_the_one_before_it_and_no_text_from_another():
    world = toy_world(CausalSpec())
    batch = world.collate(EXAMPLES, Key(0, 0))
    pairs = []
    for group, positions, labels in zip(batch.texts.groups, batch.positions, batch.labels, strict=True):
        pairs += list(zip(group.ids.flatten()[positions].tolist(), labels.tolist(), strict=True))
    texts = [world.tokens[example].tolist() for example in EXAMPLES]
    assert sorted(pairs) == sorted(pair for ids in texts for pair in itertools.pairwise(ids))


@pytest.mark.parametrize("stock", [False, True])
def test_a_state_does_not_change_with_the_tokens_after_it(stock: bool, monkeypatch: pytest.MonkeyPatch):
    if stock:  # transformers' layers with our attention
        monkeypatch.setattr(bertlike, "serves", lambda backbone: False)
    product = tiny_product()
    rows = [np.array([2, 7, 8, 9, 3]), np.array([2, 11, 12, 3])]
    changed = [np.array([2, 7, 8, 20, 21]), np.array([2, 11, 12, 3])]
    (one,), (other,) = product.batch(rows).groups, product.batch(changed).groups
    with torch.no_grad():
        before, after = (product.network.hidden(group, causal=True).flatten(0, 1) for group in (one, other))
    begin = int(one.begins[one.rows.tolist().index(0)])
    torch.testing.assert_close(before[begin : begin + 3], after[begin : begin + 3], rtol=0, atol=1e-6)
    assert not torch.allclose(before[begin + 3], after[begin + 3], atol=1e-3)
    with torch.no_grad():
        both_ways = product.network.hidden(one).flatten(0, 1)
    assert not torch.allclose(before[begin], both_ways[begin], atol=1e-3)


def test_both_ways_of_computing_it_agree(monkeypatch: pytest.MonkeyPatch):
    world = toy_world(CausalSpec())
    network = world.product.network.eval()
    groups = world.collate(EXAMPLES, Key(0, 0)).texts.groups
    with torch.no_grad():
        ours = [network.hidden(group, causal=True) for group in groups]
        monkeypatch.setattr(bertlike, "serves", lambda backbone: False)
        stock = [network.hidden(group, causal=True) for group in groups]
    for group, one, other in zip(groups, ours, stock, strict=True):
        torch.testing.assert_close(one[group.mask], other[group.mask], rtol=1e-4, atol=1e-5)


def test_the_loss_is_the_mean_cross_entropy_of_the_next_tokens():
    """Against NumPy, text by text, each read in a batch of its own up to the token that is to foretell."""
    world = toy_world(CausalSpec())
    objective = world.objective.eval()
    with torch.no_grad():
        objective.head.bias.normal_()  # type: ignore[union-attr, operator]
    head = {name: value.detach().numpy().astype(np.float64) for name, value in objective.named_parameters()}
    examples, losses = EXAMPLES[:6], []
    for example in examples:
        ids = world.tokens[example]
        for end in range(1, len(ids)):
            (group,) = world.product.batch([ids[:end]]).groups
            with torch.no_grad():
                states = world.product.network.hidden(group, causal=True).flatten(0, 1)
            hidden = states[int(group.begins[0]) + end - 1].numpy().astype(np.float64)
            dense = hidden @ head["head.transform.0.weight"].T + head["head.transform.0.bias"]
            dense = gelu_and_norm(dense, head["head.transform.2.weight"], head["head.transform.2.bias"])
            logits = dense @ head["encoder.backbone.embeddings.word_embeddings.weight"].T + head["head.bias"]
            losses.append(np.log(np.exp(logits).sum()) - logits[ids[end]])
    loss = objective(world.collate(examples, Key(0, 0)))
    assert float(loss.total.detach()) == pytest.approx(np.mean(losses), rel=1e-4)


def test_an_encoder_whose_attention_takes_no_mask_is_refused_in_words(monkeypatch: pytest.MonkeyPatch):
    from shoptalk.errors import ConfigError
    from shoptalk.nn.encoder import Encoder

    product = tiny_product()
    (group,) = product.batch([np.array([2, 7, 3])]).groups
    monkeypatch.setattr(Encoder, "packed", property(lambda self: False))
    with pytest.raises(ConfigError, match="left to right"):
        product.network.hidden(group, causal=True)
