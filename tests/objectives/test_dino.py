"""DINO: its loss and its schedules as the paper has them, who learns from whom, and collapse without centring."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.errors import CollapsedError
from shoptalk.image.batches import Views
from shoptalk.nn.teacher import cosine_momentum
from shoptalk.objective import Key
from shoptalk.objectives.distillation.dino import Dino, DinoSpec, cross_entropy_of_views, local_side
from shoptalk.probes.collapse import SPREAD_LIMIT, collapsed
from shoptalk.probes.rank import KEY, rankme
from shoptalk.records import Reading
from shoptalk.training.advance import Training, advance, read_log
from shoptalk.training.loop import LoopConfig, train
from tests.toyworld import ToyWorld, toy_world

SMALL = DinoSpec(batch=8, dimensions=40, hidden=24, narrow=12, local_views=3)


def dino(world: ToyWorld) -> Dino:
    assert isinstance(world.objective, Dino)
    return world.objective


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def head(weights: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
    """Caron et al. 2021, appendix C: three layers, a vector of unit length, a weight-normalised layer without bias."""
    hidden = gelu(weights["layers.0.weight"] @ features + weights["layers.0.bias"])
    hidden = gelu(weights["layers.2.weight"] @ hidden + weights["layers.2.bias"])
    narrow = weights["layers.4.weight"] @ hidden + weights["layers.4.bias"]
    narrow /= np.sqrt((narrow**2).sum())
    return np.array([direction @ narrow / np.sqrt(direction @ direction) for direction in weights["directions"]])


def logits_of(network: torch.nn.Module, view: torch.Tensor) -> np.ndarray:
    """The encoder's features by the module itself, and the head in NumPy."""
    network = network.double()
    weights = {name: value.detach().numpy() for name, value in network.head.named_parameters()}  # type: ignore[union-attr, operator]
    with torch.no_grad():
        features = network.encoder(view.double()).double().numpy()  # type: ignore[operator]
    return np.stack([head(weights, row) for row in features])


def test_the_loss_is_the_papers_over_all_pairs_of_a_global_and_another_view():
    world = toy_world(SMALL)
    objective = dino(world).train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # a teacher that is not the student, and a centre that does something
        for parameter in objective.teacher.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
        objective.centre.copy_(0.3 * torch.randn(40, generator=generator))
    batch = world.collate(list(range(5)), Key(0, 0))
    loss = objective(batch)
    assert objective.centre.any()
    centre, warm = objective.centre.double().numpy(), 0.04
    students = [logits_of(objective.student, view) for view in batch.views]
    teachers = [logits_of(objective.teacher.encoder, view) for view in batch.views[:2]]
    terms, entropies = [], []
    for picture in range(5):
        for t in range(2):
            target = softmax((teachers[t][picture] - centre) / warm)
            entropies.append(-(target * np.log(target)).sum())
            for s in range(5):
                if s != t:
                    terms.append(-(target * np.log(softmax(students[s][picture] / 0.1))).sum())
    assert len(terms) == 5 * 2 * 4
    assert loss.total.item() == pytest.approx(np.mean(terms), rel=1e-4)
    assert loss.terms["entropy"].item() == pytest.approx(np.mean(entropies), rel=1e-4)


@given(st.integers(0, 99), st.integers(1, 4), st.integers(2, 6), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_the_order_of_pictures_and_of_local_views_changes_nothing(seed: int, n: int, k: int, local: int):
    rng = np.random.default_rng(seed)
    targets = torch.from_numpy(rng.dirichlet(np.ones(k), (2, n)))
    predicted = torch.from_numpy(rng.normal(size=(2 + local, n, k))).log_softmax(-1)
    loss = cross_entropy_of_views(targets, predicted)
    order, views = rng.permutation(n), [0, 1, *(2 + rng.permutation(local))]
    assert torch.allclose(loss, cross_entropy_of_views(targets[:, order], predicted[views][:, order]))
    # The two global views are alike: exchanged on both sides they give the same.
    swapped = [1, 0, *range(2, 2 + local)]
    assert torch.allclose(loss, cross_entropy_of_views(targets.flip(0), predicted[swapped]))
    # Where the student says what the teacher says, the loss is the teacher's entropy.
    same = targets[:1].expand(2, n, k)
    entropy = -(targets[0] * targets[0].log()).sum(-1).mean()
    assert torch.allclose(cross_entropy_of_views(same, same[:1].log().expand(3, n, k)), entropy)


def test_the_teacher_sees_the_global_views_alone_and_gets_no_gradient():
    world = toy_world(SMALL)
    objective = dino(world).train()
    batch = world.collate(list(range(6)), Key(0, 0))
    assert [view.shape[-1] for view in batch.views] == [16, 16, 8, 8, 8]
    loss = objective(batch)
    elsewhere = Views((*batch.views[:2], *(view + 1 for view in batch.views[2:])))
    torch.testing.assert_close(objective(elsewhere).outputs, loss.outputs)
    loss.total.backward()
    assert all(parameter.grad is None for parameter in objective.teacher.parameters())
    assert not loss.outputs.requires_grad
    assert all(p.grad is not None for p in objective.student.parameters() if p.requires_grad)


def test_the_centre_is_the_moving_average_of_what_the_teacher_gives():
    world = toy_world(SMALL)
    objective = dino(world).train()
    expected = np.zeros(40)
    for step in range(3):
        batch = world.collate(list(range(6)), Key(0, step))
        with torch.no_grad():
            given_logits = torch.stack([objective.teacher([view], objective.learning)[0] for view in batch.views[:2]])
            objective.after_step(0.1, objective(batch).outputs)
        mean = given_logits.double().mean((0, 1)).numpy()
        expected = 0.9 * expected + 0.1 * mean if step else mean
        assert objective.centre.numpy() == pytest.approx(expected, abs=1e-6)


def test_the_first_batch_is_centred_by_its_own_mean():
    world = toy_world(SMALL)
    objective = dino(world).train()
    batch = world.collate(list(range(6)), Key(0, 0))
    first = objective(batch)
    objective.centre.copy_(first.outputs)
    torch.testing.assert_close(objective(batch).total, first.total)


def test_layers_in_bfloat16_leave_logits_and_centre_in_float32():
    world = toy_world(SMALL)
    objective = dino(world).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(world.collate(list(range(6)), Key(0, 0)))
    with torch.no_grad():
        objective.after_step(0.1, loss.outputs)
    assert loss.outputs.dtype == objective.centre.dtype == torch.float32 and bool(loss.total.isfinite())


def test_without_centring_the_centre_stays_at_zero():
    world = toy_world(SMALL.model_copy(update={"centring": False}))
    objective = dino(world).train()
    with torch.no_grad():
        objective.after_step(0.1, objective(world.collate(list(range(6)), Key(0, 0))).outputs)
    assert not objective.centre.any()


def test_temperature_and_momentum_follow_their_schedules():
    objective = dino(toy_world(SMALL))
    temperatures = [objective.teacher_temperature.item()]
    student, teacher = next(objective.student.parameters()), next(objective.teacher.parameters())
    with torch.no_grad():
        student.add_(1)
        for progress in (0.15, 0.3, 0.6, 1.0):
            before = teacher.detach().clone()
            objective.after_step(progress, torch.zeros(40))
            temperatures.append(objective.teacher_temperature.item())
            moved = (1 - cosine_momentum(progress, start=0.996)) * (student - before)
            torch.testing.assert_close(teacher - before, moved)
    assert temperatures == pytest.approx([0.04, 0.055, 0.07, 0.07, 0.07])


def test_the_last_layer_stays_as_it_was_drawn_at_first_and_learns_then():
    world = toy_world(SMALL.model_copy(update={"frozen": 0.5}))
    drawn = dino(world).student.head.directions
    moved = []
    config = LoopConfig(steps=6, batch=8, lr=1e-3, weight_decay=0.0)
    before = drawn.detach().clone()
    for _ in train(world.objective, world.data, world.collate, config):
        moved.append(not torch.equal(before, drawn))
        before = drawn.detach().clone()
    assert moved == [False, False, False, True, True, True]


def test_its_lengths_are_fixed_only_directions_count():
    world = toy_world(SMALL)
    objective = dino(world).train()
    batch = world.collate(list(range(6)), Key(0, 0))
    loss = objective(batch).total
    with torch.no_grad():
        objective.student.head.directions.mul_(torch.linspace(0.5, 3, 40)[:, None])
    torch.testing.assert_close(objective(batch).total, loss)


def test_local_views_are_three_sevenths_of_the_picture_in_whole_patches():
    network = toy_world(SMALL).product.network
    sides = {}
    for size in (16, 32, 64, 96, 224):
        network.size = size
        sides[size] = local_side(network)
    assert sides == {16: 8, 32: 12, 64: 28, 96: 40, 224: 96}


def test_a_resumed_run_has_centre_teacher_and_temperature_to_the_bit(tmp_path: Path):
    config = LoopConfig(steps=6, batch=8, lr=1e-3, seed=3)

    def run(resume: Path | None) -> tuple[list[float], dict[str, torch.Tensor]]:
        world = toy_world(SMALL)
        losses = []
        for step in train(world.objective, world.data, world.collate, config, resume=resume):
            losses.append(step.loss)
            if resume is None and step.number == 3:
                step.save(tmp_path / "3")
        return losses, {name: value.clone() for name, value in world.objective.state_dict().items()}

    whole, state = run(None)
    rest, resumed = run(tmp_path / "3")
    assert rest == whole[3:]
    assert state.keys() == resumed.keys() and {"centre", "teacher_temperature", "learning"} <= state.keys()
    assert all(torch.equal(state[name], resumed[name]) for name in state)
    assert state["centre"].any() and any(a != b for a, b in pairwise(whole))


def trained(folder: Path, *, centring: bool, steps: int = 200) -> tuple[list[dict[str, float]], ToyWorld, str]:
    """The log of a training on the toy pictures, the world after it, and what ended it."""
    spec = DinoSpec(batch=32, dimensions=256, hidden=64, narrow=32, local_views=2, centring=centring)
    world, ended = toy_world(spec), ""
    training = Training.build(
        world.spec,
        corpus=world.corpus,
        inputs=world.tokens,
        product=world.product,
        targets=None,
        config=LoopConfig(steps=steps, batch=32, lr=spec.lr, head_rate=1.0, name="dino"),
        folder=folder,
        snapshot_seconds=1e9,
    )
    try:
        list(advance(training, until=steps))
    except CollapsedError as error:
        ended = str(error)
    return read_log(folder), world, ended


@pytest.mark.slow
def test_without_centring_the_collapse_alarm_ends_the_training_within_200_steps(tmp_path: Path):
    log, _, ended = trained(tmp_path, centring=False)
    assert 1 < len(log) < 200 and log[-1]["spread"] < SPREAD_LIMIT
    assert f"almost one at step {len(log)}" in ended and "objectives.dino" in ended
    # A few of the 256 dimensions dominate.
    assert log[-1]["entropy"] < 0.5 * math.log(256)


@pytest.mark.slow
def test_a_healthy_training_never_raises_the_alarm(tmp_path: Path):
    log, world, ended = trained(tmp_path, centring=True)
    assert ended == "" and len(log) == 200
    assert min(row["spread"] for row in log) > 2 * SPREAD_LIMIT
    vectors = world.product.embed_pixels(world.tokens.array)
    detail = {"most": min(vectors.shape)}
    assert not collapsed(Reading(key=KEY, name="", value=rankme(vectors), unit="", n=len(vectors), detail=detail))


def test_a_student_comes_to_say_what_a_teacher_that_stays_says():
    world = toy_world(SMALL.model_copy(update={"momentum": 1.0}))
    config = LoopConfig(steps=60, batch=8, lr=2e-3, head_rate=1.0)
    divergences = [
        step.loss - step.terms["entropy"] for step in train(world.objective, world.data, world.collate, config)
    ]
    assert np.mean(divergences[-10:]) < 0.5 * np.mean(divergences[:10])
