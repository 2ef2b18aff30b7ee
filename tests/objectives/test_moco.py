from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.tiny_pictures import tiny_image_encoder
from shoptalk.objective import Key
from shoptalk.objectives.contrastive.moco import Moco, MocoSpec
from tests.objectives.pictures import by_numpy, features, reordered, stirred, unit
from tests.toyworld import ToyWorld, toy_world

SPEC = MocoSpec(batch=8, queue=20, hidden=24, dimensions=16, temperature=0.3, parts=3)


def moco(world: ToyWorld) -> Moco:
    assert isinstance(world.objective, Moco)
    return world.objective.train()


def vectors(encoder: torch.nn.Module, view: torch.Tensor, parts: list[list[int]]) -> np.ndarray:
    """Unit vectors of a query or key encoder, whose batch norms see one part after the other."""
    network, head = encoder  # type: ignore[misc]
    found = np.zeros((len(view), SPEC.dimensions))
    for part in parts:
        found[part] = unit(by_numpy(head, features(network, view[part])))
    return found


def test_the_loss_is_the_papers_of_queries_keys_and_queue_and_norms_see_shuffled_parts():
    world = toy_world(SPEC)
    objective = moco(world)
    stirred(world, [objective.keys])
    batch = world.collate(list(range(11)), Key(0, 0))
    order = batch.order.tolist()
    assert sorted(order) == list(range(11)) and order != list(range(11))
    loss = objective(batch)
    queries = vectors(objective.encoder, batch.views[0], [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]])
    keys = vectors(objective.keys.encoder, batch.views[1], [order[:4], order[4:8], order[8:]])
    np.testing.assert_allclose(loss.outputs.numpy(), keys, atol=1e-5)
    losses = []
    for query, key in zip(queries, keys, strict=True):
        # He et al. 2020, equation 1.
        scores = np.exp([query @ other / SPEC.temperature for other in (key, *objective.queue.double().numpy())])
        losses.append(-np.log(scores[0] / scores.sum()))
    assert loss.total.item() == pytest.approx(np.mean(losses), rel=1e-4)


def test_in_one_part_the_order_of_the_pictures_and_the_shuffle_do_not_matter():
    objective = moco(world := toy_world(SPEC.model_copy(update={"parts": 1})))
    batch = world.collate(list(range(12)), Key(0, 0))
    loss = objective(batch).total.item()
    assert objective(replace(batch, order=torch.arange(12))).total.item() == pytest.approx(loss, rel=1e-5)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    assert objective(reordered(batch, order)).total.item() == pytest.approx(loss, rel=1e-5)


def test_neither_the_key_encoder_nor_the_queue_gets_a_gradient():
    objective = moco(world := toy_world(SPEC))
    loss = objective(world.collate(list(range(8)), Key(0, 0)))
    loss.total.backward()
    assert not loss.outputs.requires_grad and not objective.queue.requires_grad
    assert all(p.grad is None and not p.requires_grad for p in objective.keys.parameters())
    assert all(p.grad is not None for p in objective.encoder.parameters())


@given(st.integers(1, 9), st.lists(st.integers(1, 12), min_size=1, max_size=8))
@settings(deadline=None, max_examples=40)
def test_the_queue_holds_the_newest_keys_and_drops_the_oldest_first(size: int, batches: list[int]):
    objective = moco(toy_world(SPEC.model_copy(update={"queue": size})))
    begun, number = objective.queue.clone(), 0
    history = [row.clone() for row in begun]
    for n in batches:
        keys = torch.arange(number, number + n, dtype=torch.float32)[:, None].expand(n, SPEC.dimensions)
        objective.after_step(0.5, keys)
        history += list(keys)
        number += n
        oldest = int(objective.oldest)
        in_order = torch.cat([objective.queue[oldest:], objective.queue[:oldest]])
        assert torch.equal(in_order, torch.stack(history[-size:]))


def test_the_key_encoder_follows_by_the_same_momentum_at_all_times():
    objective = moco(toy_world(SPEC.model_copy(update={"momentum": 0.9})))
    student, key = (next(part.parameters()) for part in (objective.encoder, objective.keys))
    expected = key.detach().clone()
    with torch.no_grad():
        student.add_(1)
    for progress in (0.1, 1.0):
        objective.after_step(progress, torch.zeros(2, SPEC.dimensions))
        expected += 0.1 * (student.detach() - expected)
    torch.testing.assert_close(key.detach(), expected)


def test_the_shuffle_is_another_one_in_every_step():
    world = toy_world(SPEC)
    orders = [world.collate(list(range(20)), Key(seed, step)).order.tolist() for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_an_encoder_without_batch_norms_reads_a_batch_in_one_part():
    objective = SPEC.build(tiny_image_encoder("vit"))
    assert objective.parts == 1
    assert moco(toy_world(SPEC)).parts == 3
