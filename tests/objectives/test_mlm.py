import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.objective import Key
from shoptalk.objectives.masked.mlm import MaskedBatch, MlmSpec
from tests.toyworld import toy_world


def batch_of(
    examples: list[int], key: Key, **settings: object
) -> tuple[dict[int, tuple[list[int], list[int]]], MaskedBatch]:
    """What the model sees and must say of each example: (ids, {position: label} as alternating list), by example."""
    world = toy_world(MlmSpec(**settings))  # type: ignore[arg-type]
    batch = world.collate(examples, key)
    seen = {}
    for group, positions, labels in zip(batch.texts.groups, batch.positions, batch.labels, strict=True):
        for i, begin, length in zip(group.rows.tolist(), group.begins.tolist(), group.lengths.tolist(), strict=True):
            mine = (positions >= begin) & (positions < begin + length)
            ids = group.ids.flatten()[begin : begin + length].tolist()
            seen[examples[i]] = (ids, torch.stack([positions[mine] - begin, labels[mine]], 1).flatten().tolist())
    return seen, batch


@given(st.lists(st.integers(0, 95), min_size=2, max_size=40, unique=True), st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_the_mask_of_an_example_does_not_depend_on_its_batch(examples: list[int], step: int):
    together, _ = batch_of(examples, Key(0, step))
    alone, _ = batch_of(examples[-1:], Key(0, step))
    assert together[examples[-1]] == alone[examples[-1]]


def test_the_mask_of_an_example_changes_from_step_to_step_and_seed_to_seed():
    found = [batch_of(list(range(8)), key)[0] for key in (Key(0, 0), Key(0, 1), Key(1, 0))]
    assert found[0] != found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize("whole_word", [False, True])
def test_the_labels_are_the_original_tokens_at_the_chosen_positions(whole_word: bool):
    world = toy_world(MlmSpec(whole_word=whole_word, mask_rate=0.4))
    examples = list(range(40))  # more than one group
    seen, _ = batch_of(examples, Key(0, 3), whole_word=whole_word, mask_rate=0.4)
    for example in examples:
        ids, flat = seen[example]
        original = world.tokens[example].tolist()
        labels = dict(zip(flat[::2], flat[1::2], strict=True))
        assert labels
        assert all(original[position] == label for position, label in labels.items())
        assert all(ids[i] == original[i] for i in range(len(ids)) if i not in labels)


def gelu_and_norm(x: np.ndarray, gain: np.ndarray, shift: np.ndarray) -> np.ndarray:
    gelu = 0.5 * x * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2)))
    centred = gelu - gelu.mean(-1, keepdims=True)
    return centred / np.sqrt(gelu.var(-1, keepdims=True) + 1e-5) * gain + shift


def test_the_loss_is_the_mean_cross_entropy_at_the_chosen_positions():
    world = toy_world(MlmSpec(mask_rate=0.3))
    objective = world.objective.eval()
    with torch.no_grad():
        objective.head.bias.normal_()  # type: ignore[union-attr, operator]
    batch = world.collate(list(range(40)), Key(0, 1))
    loss = objective(batch)
    head = {name: value.detach().numpy().astype(np.float64) for name, value in objective.named_parameters()}
    losses = []
    for group, positions, labels in zip(batch.texts.groups, batch.positions, batch.labels, strict=True):
        with torch.no_grad():
            hidden = world.product.network.hidden(group).numpy().astype(np.float64)
        # The whole grid of logits, as the paper's code computes them, and only then the chosen positions.
        dense = hidden @ head["head.transform.0.weight"].T + head["head.transform.0.bias"]
        dense = gelu_and_norm(dense, head["head.transform.2.weight"], head["head.transform.2.bias"])
        logits = dense @ head["encoder.backbone.embeddings.word_embeddings.weight"].T + head["head.bias"]
        probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        flat = probabilities.reshape(-1, probabilities.shape[-1])
        losses += [-np.log(flat[at, label]) for at, label in zip(positions.tolist(), labels.tolist(), strict=True)]
    assert len(losses) > 40
    assert loss.total.item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert loss.terms["bits"].item() == pytest.approx(np.mean(losses) / np.log(2), rel=1e-4)


def test_a_text_with_nothing_to_predict_costs_nothing():
    corpus = toy_world(MlmSpec()).corpus
    empty = type(corpus)(items=("", ""), conversation=np.array([0, 1]), turn=np.array([-1, -1]), digest="x")
    world = toy_world(MlmSpec(), corpus=empty)
    assert world.objective(world.collate([0, 1], Key(0, 0))).total.item() == 0


def test_the_output_layer_is_the_input_embeddings():
    objective = toy_world(MlmSpec()).objective
    names = [name for name, _ in objective.named_parameters()]
    assert sum("word_embeddings" in name for name in names) == 1
    assert not any("decoder" in name for name in names)
