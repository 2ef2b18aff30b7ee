import numpy as np
import pytest
import torch

from shoptalk.nn.encoder import embed
from shoptalk.nn.teacher import cosine_momentum
from shoptalk.objective import Key
from shoptalk.objectives.noncontrastive.byol_text import ByolText, ByolTextSpec
from tests.toyworld import ToyWorld, toy_world


def byol(world: ToyWorld) -> ByolText:
    assert isinstance(world.objective, ByolText)
    return world.objective


def predicted(weights: dict[str, np.ndarray], vector: np.ndarray) -> np.ndarray:
    """The predictor on one vector: linear, layer norm, ReLU, linear."""
    inner = weights["0.weight"] @ vector + weights["0.bias"]
    inner = (inner - inner.mean()) / np.sqrt(inner.var() + 1e-5) * weights["1.weight"] + weights["1.bias"]
    return weights["3.weight"] @ np.maximum(inner, 0) + weights["3.bias"]


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Grill et al. 2020, equation 2: the squared distance of the two, each of length 1."""
    one, other = one / np.sqrt((one**2).sum()), other / np.sqrt((other**2).sum())
    return float(((one - other) ** 2).sum())


def test_the_loss_is_the_papers_of_both_views_against_the_target_network():
    world = toy_world(ByolTextSpec(hidden=48))
    objective = byol(world)
    with torch.no_grad():  # a target that is not the student, and a norm that does something
        for parameter in (*objective.target.parameters(), *objective.predictor.parameters()):
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    examples = list(range(12))
    batch = world.collate(examples, Key(0, 0))
    objective.train()
    torch.manual_seed(3)
    loss = objective(batch)
    torch.manual_seed(3)
    with torch.no_grad():
        views = world.product.network(batch.texts).double().numpy()
    assert not np.allclose(views[:12], views[12:])
    objective.eval()
    wanted = objective.target.encoder(batch.once).double().detach().numpy()
    weights = {name: value.detach().double().numpy() for name, value in objective.predictor.named_parameters()}
    losses = []
    for i in range(12):
        first, second = (predicted(weights, views[j]) for j in (i, i + 12))
        losses.append(distance(first, wanted[i]) + distance(second, wanted[i]))
    assert loss.total.item() == pytest.approx(np.mean(losses), rel=1e-4)
    assert loss.terms["cosine"].item() == pytest.approx(1 - np.mean(losses) / 4, abs=1e-4)
    assert 0 <= loss.total.item() <= 8


def test_the_target_network_sees_each_text_once_and_without_dropout():
    world = toy_world(ByolTextSpec())
    objective = byol(world).train()
    batch = world.collate(list(range(9)), Key(0, 0))
    assert (batch.texts.n, batch.once.n) == (18, 9)
    wanted = objective.target(batch.once).numpy()
    np.testing.assert_allclose(wanted, embed(world.product, [world.corpus.texts[i] for i in range(9)]), atol=1e-5)


def test_after_a_step_the_target_network_follows_by_the_momentum_of_its_time():
    world = toy_world(ByolTextSpec(momentum=0.9))
    objective = byol(world)
    student, target = (next(part.parameters()) for part in (objective.encoder, objective.target))
    before = target.detach().clone()
    with torch.no_grad():
        student.add_(1)
    for progress in (0.5, 1.0):
        objective.after_step(progress, None)
    # At progress 1 the momentum is 1: nothing moves any more.
    expected = before + (1 - cosine_momentum(0.5, start=0.9)) * (student.detach() - before)
    torch.testing.assert_close(target.detach(), expected)


def test_only_the_online_network_learns():
    world = toy_world(ByolTextSpec())
    objective = byol(world).train()
    objective(world.collate(list(range(6)), Key(0, 0))).total.backward()
    assert all(parameter.grad is None for parameter in objective.target.parameters())
    assert objective.encoder.backbone.encoder.layer[0].output.dense.weight.grad.abs().sum() > 0  # type: ignore[union-attr, index]
