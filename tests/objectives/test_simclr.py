import numpy as np
import pytest
import torch

from shoptalk.image.augment import augment
from shoptalk.objective import Key
from shoptalk.objectives.contrastive.simclr import Simclr, SimclrSpec
from shoptalk.objectives.toy import toy_corpus
from tests.objectives.pictures import by_numpy, features, reordered, stirred, swapped, unit
from tests.toyworld import ToyWorld, toy_world

SPEC = SimclrSpec(batch=8, hidden=24, dimensions=16, temperature=0.3)


def simclr(world: ToyWorld) -> Simclr:
    assert isinstance(world.objective, Simclr)
    return world.objective.train()


def paper(views: np.ndarray, temperature: float) -> float:
    """Chen et al. 2020, algorithm 1, of 2n projected views, the second n of the same pictures as the first."""
    z, n = unit(views), len(views) // 2
    losses = []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = sum(np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
        losses.append(-np.log(np.exp(z[i] @ z[j] / temperature) / others))
    return float(np.mean(losses))


def test_the_loss_is_the_papers_of_projected_views():
    world = toy_world(SPEC)
    objective = simclr(world)
    stirred(world, [objective.projector])
    batch = world.collate(list(range(10)), Key(0, 0))
    loss = objective(batch)
    projected = by_numpy(objective.projector, features(objective.encoder, torch.cat(batch.views)))  # type: ignore[arg-type]
    assert loss.total.item() == pytest.approx(paper(projected, SPEC.temperature), rel=1e-4)


def test_neither_the_order_of_the_pictures_nor_that_of_the_views_matters():
    objective = simclr(world := toy_world(SPEC))
    batch = world.collate(list(range(12)), Key(0, 0))
    loss = objective(batch).total.item()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    for other in (reordered(batch, order), swapped(batch)):
        assert objective(other).total.item() == pytest.approx(loss, rel=1e-5)


def test_both_views_are_by_the_chain_of_the_spec_and_as_the_encoder_reads_them():
    world = toy_world(SPEC)
    examples, network = [5, 3, 17], world.product.network
    batch = world.collate(examples, Key(2, 7))
    assert len(batch.views) == 2 and batch.tokens == 2 * 3 * 1  # 16 x 16 pixels
    for number, view in enumerate(batch.views):
        again = augment(
            world.tokens.take(examples), examples, seed=2, step=7, view=number, chain=SPEC.chain, size=16,
            mean=network.mean, std=network.std,
        )  # fmt: skip
        assert torch.equal(view, again)
    assert not torch.equal(*batch.views)


def test_a_corpus_without_pictures_has_no_examples():
    assert list(SPEC.examples(toy_corpus())) == []
    assert list(SPEC.examples(toy_world(SPEC).corpus)) == list(range(96))
