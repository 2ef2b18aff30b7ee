import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from shoptalk.errors import CollapsedError
from shoptalk.nn.losses import spread, squared_distance
from shoptalk.nn.teacher import cosine_momentum
from shoptalk.objective import Key
from shoptalk.objectives.noncontrastive.byol import Byol, ByolSpec
from shoptalk.probes.collapse import SPREAD_LIMIT, collapsed
from shoptalk.probes.rank import rank
from shoptalk.records import Picture
from shoptalk.training.advance import Training, advance, read_log
from shoptalk.training.loop import LoopConfig
from tests.objectives.pictures import by_numpy, features, reordered, stirred, swapped, unit
from tests.toyworld import ToyWorld, toy_world

SPEC = ByolSpec(batch=8, hidden=24, dimensions=16)


def byol(world: ToyWorld) -> Byol:
    assert isinstance(world.objective, Byol)
    return world.objective.train()


def distance(one: np.ndarray, other: np.ndarray) -> float:
    """Grill et al. 2020, equation 2, averaged over rows."""
    return float(((unit(one) - unit(other)) ** 2).sum(1).mean())


@pytest.mark.parametrize("predictor", [True, False])
def test_the_loss_is_the_papers_of_both_views_against_the_target_of_the_other(predictor: bool):
    world = toy_world(SPEC.model_copy(update={"predictor": predictor}))
    objective = byol(world)
    stirred(world, [objective.target, objective.predictor])
    batch = world.collate(list(range(10)), Key(0, 0))
    loss = objective(batch)
    layers = list(objective.predictor) if predictor else []  # type: ignore[call-overload]
    online, target = (
        [by_numpy(head, features(network, view)) for view in batch.views]
        for network, head in (objective.online, objective.target.encoder)  # type: ignore[misc]
    )
    expected = distance(by_numpy(layers, online[0]), target[1]) + distance(by_numpy(layers, online[1]), target[0])
    assert loss.total.item() == pytest.approx(expected, rel=1e-4)
    assert loss.terms["cosine"].item() == pytest.approx(1 - expected / 4, abs=1e-4)
    assert loss.terms["spread"].item() == pytest.approx(np.sqrt(unit(online[0]).var(0).sum()), rel=1e-4)


def test_neither_the_order_of_the_pictures_nor_that_of_the_views_matters():
    objective = byol(world := toy_world(SPEC))
    stirred(world, [objective.target])
    batch = world.collate(list(range(12)), Key(0, 0))
    loss = objective(batch).total.item()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    for other in (reordered(batch, order), swapped(batch)):
        assert objective(other).total.item() == pytest.approx(loss, rel=1e-5)


def test_the_gradient_is_that_of_the_online_side_alone():
    world = toy_world(SPEC)
    objective = byol(world)
    batch = world.collate(list(range(8)), Key(0, 0))
    objective(batch).total.backward()
    assert all(p.grad is None and not p.requires_grad for p in objective.target.parameters())
    # The target shares no weight with the online network: what it gives is a constant.
    online, predictor = copy.deepcopy((objective.online, objective.predictor))
    constants = [torch.tensor(objective.target(view).numpy()) for view in batch.views]
    online.zero_grad()
    first, second = (predictor(online(view)) for view in batch.views)
    (squared_distance(first, constants[1]) + squared_distance(second, constants[0])).backward()
    for one, other in zip(objective.online.parameters(), online.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad)


def test_after_a_step_the_target_network_follows_by_the_momentum_of_its_time():
    objective = byol(toy_world(SPEC.model_copy(update={"momentum": 0.9})))
    student, target = (next(part.parameters()) for part in (objective.online, objective.target))
    before = target.detach().clone()
    with torch.no_grad():
        student.add_(1)
    for progress in (0.5, 1.0):
        objective.after_step(progress, None)
    # At progress 1 the momentum is 1: nothing moves any more.
    expected = before + (1 - cosine_momentum(0.5, start=0.9)) * (student.detach() - before)
    torch.testing.assert_close(target.detach(), expected)


def test_the_two_views_are_by_two_chains():
    world = toy_world(SPEC.model_copy(update={"second_chain": SPEC.first_chain}))
    theirs = toy_world(SPEC).collate(list(range(40)), Key(0, 0))
    ours = world.collate(list(range(40)), Key(0, 0))
    assert torch.equal(ours.views[0], theirs.views[0]) and not torch.equal(ours.views[1], theirs.views[1])


def test_the_spread_is_one_all_over_the_sphere_and_zero_in_a_point():
    generator = torch.Generator().manual_seed(0)
    assert spread(torch.randn(4000, 64, generator=generator)).item() == pytest.approx(1.0, abs=1e-3)
    assert spread(torch.ones(5, 4)).item() == pytest.approx(0.0, abs=1e-3)
    around = spread(torch.randn(4000, 64, generator=generator) + 5.0)
    assert around.item() == pytest.approx(np.sqrt(1 / 26), abs=0.01)


def trained(folder: Path, *, predictor: bool, steps: int) -> tuple[list[dict[str, float]], ToyWorld, str]:
    """The log of a training on the toy pictures, the world after it, and what ended it."""
    world, ended = toy_world(ByolSpec(batch=32, hidden=256, predictor=predictor)), ""
    training = Training.build(
        world.spec,
        corpus=world.corpus,
        inputs=world.tokens,
        product=world.product,
        targets=None,
        config=LoopConfig(steps=steps, batch=32, lr=1e-3, head_rate=1.0, name="byol"),
        folder=folder,
        snapshot_seconds=1e9,
    )
    try:
        list(advance(training, until=steps))
    except CollapsedError as error:
        ended = str(error)
    return read_log(folder), world, ended


def alarms(world: ToyWorld, folder: Path) -> bool:
    """Whether the encoder's own vectors of the toy pictures have collapsed."""
    pictures = []
    for number, pixels in enumerate(world.tokens.array):
        path = folder / f"{number}.png"
        Image.fromarray(pixels).save(path)
        pictures.append(Picture(path=str(path), sha256=str(number)))
    return collapsed(rank(pictures)(world.product))


def test_without_its_predictor_the_collapse_alarm_ends_the_training_and_says_what_to_do(tmp_path: Path):
    log, _, ended = trained(tmp_path, predictor=False, steps=200)
    assert len(log) < 200 and log[-1]["spread"] < SPREAD_LIMIT <= min(row["spread"] for row in log[:-1])
    assert f"almost one at step {len(log)}" in ended and "objectives.byol" in ended


@pytest.mark.slow
def test_a_healthy_training_never_raises_the_alarm(tmp_path: Path):
    log, world, ended = trained(tmp_path / "run", predictor=True, steps=400)
    assert ended == "" and len(log) == 400
    assert min(row["spread"] for row in log) > 3 * SPREAD_LIMIT
    assert not alarms(world, tmp_path)


def test_the_predictor_is_the_only_thing_that_its_setting_takes_away():
    with_it, without = (byol(toy_world(SPEC.model_copy(update={"predictor": on}))) for on in (True, False))
    assert isinstance(without.predictor, nn.Identity)
    names = [{name for name, _ in part.named_parameters() if "predictor" not in name} for part in (with_it, without)]
    assert names[0] == names[1]
