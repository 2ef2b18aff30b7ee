import numpy as np
import pytest
import torch

from shoptalk.nn.encoder import embed
from shoptalk.objective import Key
from shoptalk.objectives.contrastive.simcse import SimcseSpec
from tests.toyworld import toy_world


def in_batch_loss(one: np.ndarray, other: np.ndarray, temperature: float) -> float:
    """Gao et al. 2021, equation 4, averaged over the batch."""
    scores = np.exp(one.astype(np.float64) @ other.astype(np.float64).T / temperature)
    return float(np.mean(-np.log(np.diag(scores) / scores.sum(axis=1))))


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_without_dropout_the_loss_is_the_papers_equation_of_one_view(temperature: float):
    world = toy_world(SimcseSpec(temperature=temperature))
    examples = list(range(40))
    vectors = embed(world.product, [world.corpus.texts[i] for i in examples])
    loss = world.objective.eval()(world.collate(examples, Key(0, 0)))
    assert loss.total.item() == pytest.approx(in_batch_loss(vectors, vectors, temperature), rel=1e-3)


def test_with_dropout_the_loss_is_the_papers_equation_of_two_views():
    world = toy_world(SimcseSpec())
    batch = world.collate(list(range(12)), Key(0, 0))
    world.objective.train()
    torch.manual_seed(3)
    loss = world.objective(batch).total.item()
    torch.manual_seed(3)
    with torch.no_grad():
        one, other = world.product.network(batch).chunk(2)
        one, other = one.numpy(), other.numpy()
    assert not np.allclose(one, other)
    assert loss == pytest.approx(in_batch_loss(one, other, 0.05), rel=1e-3)
