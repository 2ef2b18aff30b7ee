import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.config import Config
from shoptalk.errors import ConfigError, DivergedError
from shoptalk.nn.encoder import embed
from shoptalk.objective import Key, Loss, Objective
from shoptalk.objectives import OBJECTIVES
from shoptalk.objectives.masked.mlm import MlmSpec
from shoptalk.text.packing import pack
from shoptalk.text.spans import SourceTarget
from shoptalk.training import optim
from shoptalk.training.loop import LoopConfig, Step, batch_positions, loop_config, observing, train
from shoptalk.training.schedule import Schedule
from tests.toyworld import MIXTURE, ToyWorld, small_spec, toy_world

NAMES = [*sorted(OBJECTIVES), MIXTURE]
CONFIG = LoopConfig(steps=5, batch=8, lr=1e-3, seed=3)
Run = tuple[list[tuple[int, float, float]], dict[str, torch.Tensor]]


def run(
    world: ToyWorld,
    config: LoopConfig = CONFIG,
    *,
    resume: Path | None = None,
    each: Callable[[ToyWorld, Step], Any] = lambda world, step: None,
) -> Run:
    """Every step's number, loss and rate, and the weights at the end."""
    steps = []
    for step in train(world.objective, world.data, world.collate, config, resume=resume):
        steps.append((step.number, step.loss, step.lr))
        each(world, step)
    return steps, {name: tensor.detach().clone() for name, tensor in world.objective.state_dict().items()}


def same(one: Run, other: Run) -> bool:
    return one[0] == other[0] and all(torch.equal(tensor, other[1][name]) for name, tensor in one[1].items())


def disturbed(world: ToyWorld) -> ToyWorld:
    """Other weights and other random states: what resuming must not depend on."""
    with torch.no_grad():
        for tensor in world.objective.state_dict().values():
            tensor.add_(1)
    torch.manual_seed(99)
    np.random.seed(99)
    return world


# ---------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("name", NAMES)
def test_a_run_resumed_at_any_step_is_bit_identical(name: str, tmp_path: Path):
    spec = small_spec(name)
    whole = run(toy_world(spec), each=lambda world, step: step.save(tmp_path / str(step.number)))
    assert len(whole[0]) == CONFIG.steps
    for number in range(1, CONFIG.steps + 1):
        resumed = run(disturbed(toy_world(spec)), resume=tmp_path / str(number))
        assert same((whole[0][number:], whole[1]), resumed), f"after step {number}"


@pytest.mark.parametrize("name", NAMES)
def test_a_run_resumed_in_bfloat16_is_bit_identical(name: str, tmp_path: Path):
    config, spec = replace(CONFIG, precision="bfloat16", steps=4), small_spec(name)
    whole = run(toy_world(spec), config, each=lambda world, step: step.save(tmp_path / str(step.number)))
    assert same((whole[0][2:], whole[1]), run(disturbed(toy_world(spec)), config, resume=tmp_path / "2"))
    assert not same(whole, run(toy_world(spec), replace(config, precision="float32")))


@pytest.mark.parametrize("save_first", [False, True])
def test_a_steered_run_resumed_is_bit_identical(save_first: bool, tmp_path: Path):
    config, spec = replace(CONFIG, steps=12, warmup=0.0), small_spec("simcse")

    def each(world: ToyWorld, step: Step) -> None:
        if save_first:
            step.save(tmp_path / f"before-{step.number}")
        if step.number == 5:
            step.steer("decay")
        step.save(tmp_path / str(step.number))

    whole = run(toy_world(spec), config, each=each)
    assert len(whole[0]) < 12
    for number in (4, 5, 6) if not save_first else (5,):
        resumed = run(
            disturbed(toy_world(spec)),
            config,
            resume=tmp_path / str(number),
            each=lambda world, step: step.steer("decay") if step.number == 5 else None,
        )
        assert same((whole[0][number:], whole[1]), resumed), f"after step {number}"


def test_a_stopped_run_stays_stopped_when_it_is_resumed(tmp_path: Path):
    world = toy_world(small_spec("simcse"))

    def each(world: ToyWorld, step: Step) -> None:
        if step.number == 2:
            step.steer("stop")
        step.save(tmp_path / str(step.number))

    stopped = run(world, each=each)
    steps, weights = run(disturbed(toy_world(small_spec("simcse"))), resume=tmp_path / "2")
    assert steps == []
    assert all(torch.equal(weights[name], tensor) for name, tensor in stopped[1].items())


# ---------------------------------------------------------------------------------------------- steering


def test_steering_to_decay_shortens_the_run_and_the_rate_nears_zero():
    config = replace(CONFIG, steps=16, decay=0.3)
    steps, _ = run(
        toy_world(small_spec("simcse")), config, each=lambda w, s: s.steer("decay") if s.number == 6 else None
    )
    plan = Schedule.plan(16, warmup=config.warmup, decay=config.decay).decaying_from(6)
    assert len(steps) == plan.steps < 12
    rates = [rate for _, _, rate in steps]
    assert rates[5] == config.lr
    assert all(a > b for a, b in pairwise(rates[5:]))
    assert rates[-1] == pytest.approx(config.lr / (plan.decay + 1))


@pytest.mark.parametrize("at", [1, 3, 5])
def test_stop_stops_after_this_step(at: int):
    steps, _ = run(toy_world(small_spec("simcse")), each=lambda w, s: s.steer("stop") if s.number == at else None)
    assert [number for number, _, _ in steps] == list(range(1, at + 1))


def test_a_planned_early_decay_is_a_steered_one(tmp_path: Path):
    config, spec = replace(CONFIG, steps=12), small_spec("simcse")
    steered = run(toy_world(spec), config, each=lambda w, s: s.steer("decay") if s.number == 5 else None)
    assert same(steered, run(toy_world(spec), replace(config, decay_from=5)))
    # The same from a snapshot of a run that knew nothing of it: every checkpoint of the stable phase can be decayed.
    run(toy_world(spec), config, each=lambda w, s: s.save(tmp_path / str(s.number)) if s.number == 5 else None)
    branch = run(disturbed(toy_world(spec)), replace(config, decay_from=5), resume=tmp_path / "5")
    assert same((steered[0][5:], steered[1]), branch)


# ---------------------------------------------------------------------------------------------- probing


def read_by(product: Any, world: ToyWorld) -> Callable[[], torch.Tensor]:
    """What makes its network's vectors with gradients, after it has embedded the first items."""
    if product.kind == "image":
        pictures = world.tokens.take(range(5))
        product.embed_pixels(pictures)
        return lambda: product.network(product.normalised(pictures))
    if product.kind == "pair":
        pictures, captions = world.tokens.pixels.take([0, 3]), product.batch([world.tokens.tokens[1]])
        product.embed_pixels(pictures)
        product.embed([world.corpus.items[1]])
        encode = product.network.encode_pictures, product.network.encode_texts
        return lambda: torch.cat([encode[0](product.normalised(pictures)), encode[1](captions)])
    if product.kind == "seq2seq":
        product.bits_given(world.corpus.texts[:2], world.corpus.texts[2:4])
        pairs = product.pairs([SourceTarget(world.tokens[0], world.tokens[1])])
        return lambda: product.network.hidden(pairs.groups[0])
    if product.kind == "lm":
        product.score(world.corpus.texts[:5])
        rows = pack([np.array([product.part, *product.tokenizer("where is it?")["input_ids"]])], length=32)
        return lambda: product.network.hidden(rows)
    embed(product, world.corpus.texts[:5])
    return lambda: product.network(product.batch([world.tokens[0]]))


@pytest.mark.parametrize("name", NAMES)
def test_a_probe_leaves_the_training_run_unchanged(name: str):
    def probe(world: ToyWorld, step: Step) -> None:
        states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
        gradients = [p.grad for p in world.objective.parameters()]
        modes = [part.training for part in world.objective.modules()]
        with observing(world.objective) as product:
            assert product is world.objective.product
            assert not any(part.training for part in world.objective.modules())
            vectors_of = read_by(product, world)
            random.random(), np.random.rand(3), torch.rand(3)
            product.network.train()
            next(
                part
                for part in product.network.modules()
                if isinstance(part, torch.nn.LayerNorm | torch.nn.Conv2d | torch.nn.Embedding)
            ).eval()
            with torch.enable_grad():
                vectors_of().sum().backward()
            product.network.zero_grad()
        assert random.getstate() == states[0]
        assert (np.random.get_state()[1] == states[1]).all()
        assert torch.equal(torch.get_rng_state(), states[2])
        assert all(p.grad is grad for p, grad in zip(world.objective.parameters(), gradients, strict=True))
        assert [part.training for part in world.objective.modules()] == modes

    assert same(run(toy_world(small_spec(name))), run(toy_world(small_spec(name)), each=probe))


def test_a_probe_that_fails_leaves_the_training_run_unchanged():
    objective = toy_world(small_spec("simcse")).objective.train()
    state = torch.get_rng_state()
    with pytest.raises(ValueError, match="stop"), observing(objective):
        torch.rand(3)
        raise ValueError("stop")
    assert all(part.training for part in objective.modules())
    assert torch.equal(torch.get_rng_state(), state)


# ---------------------------------------------------------------------------------------------- the steps


def test_a_run_does_not_depend_on_the_global_random_state():
    torch.manual_seed(1)
    one = run(toy_world(small_spec("mlm")))
    torch.manual_seed(2)
    assert same(one, run(toy_world(small_spec("mlm"))))
    assert not same(one, run(toy_world(small_spec("mlm")), replace(CONFIG, seed=4)))


def test_a_step_tells_what_it_did():
    bare = {"context_turns": 1, "anyone": True, "query": "", "reply": ""}  # a turn and the next one, and nothing else
    world = toy_world(small_spec("turns").model_copy(update=bare))
    steps = list(train(world.objective, world.data, world.collate, CONFIG))
    assert [step.number for step in steps] == [1, 2, 3, 4, 5]
    assert [step.last for step in steps] == [False] * 4 + [True]
    for step in steps:
        examples = [world.data[i] for i in batch_positions(len(world.data), 8, Key(3, step.number - 1))]
        assert step.tokens == sum(len(world.tokens[i - 1]) + len(world.tokens[i]) for i in examples)
        assert step.cells >= step.tokens
        assert step.seconds > 0
        assert step.loss == pytest.approx(np.mean(list(step.terms.values())), rel=1e-5)
    factors = [Schedule.plan(5, warmup=0.1, decay=0.2).factor(i) for i in range(5)]
    assert [step.lr for step in steps] == pytest.approx([CONFIG.lr * factor for factor in factors])


def test_training_lowers_the_loss():
    steps, _ = run(toy_world(small_spec("turns")), replace(CONFIG, steps=24, lr=2e-3))
    assert np.mean([loss for _, loss, _ in steps[-5:]]) < 0.8 * np.mean([loss for _, loss, _ in steps[:5]])


def test_gradients_are_clipped():
    world = toy_world(small_spec("turns"))
    for _ in train(world.objective, world.data, world.collate, replace(CONFIG, steps=2, clip=1e-3)):
        gradients = [p.grad for p in world.objective.parameters() if p.grad is not None]
        assert torch.cat([gradient.flatten() for gradient in gradients]).norm() <= 1.001e-3


def test_heads_learn_faster_and_only_matrices_decay():
    world = toy_world(small_spec("mlm"))
    optimizer = optim.make_optimizer(
        world.objective, world.product.network, lr=CONFIG.lr, weight_decay=CONFIG.weight_decay
    )
    settings = {
        id(parameter): (group["base_lr"], group["weight_decay"])
        for group in optimizer.groups
        for parameter in group["params"]
    }
    for name, parameter in world.objective.named_parameters():
        if not parameter.requires_grad:
            continue
        rate = CONFIG.lr if name.startswith("encoder.") else CONFIG.lr * optim.HEAD_LR
        assert settings.pop(id(parameter)) == (rate, CONFIG.weight_decay if parameter.ndim > 1 else 0.0), name
    assert not settings


def test_an_objective_may_say_how_fast_its_heads_learn():
    class AsFast(MlmSpec):
        head_rate: ClassVar[float | None] = 1.0

    config = loop_config(AsFast(batch=8), Config(), name="mlm", steps=1, precision="float32")
    world = toy_world(AsFast(batch=8))
    optimizer = optim.make_optimizer(
        world.objective, world.product.network, lr=0.5, weight_decay=0.0, head_rate=config.head_rate
    )
    assert {group["base_lr"] for group in optimizer.groups} == {0.5}
    assert loop_config(small_spec("mlm"), Config(), name="mlm", steps=1, precision="float32").head_rate is None


class Counting(Objective[Any, Any]):
    """Notes what `after_step` is told."""

    def __init__(self, world: ToyWorld) -> None:
        super().__init__()
        self.product = world.product
        self.encoder = world.product.network
        self.told: list[tuple[float, Any, bool]] = []

    def forward(self, batch: Any) -> Loss:
        vectors = self.encoder(batch)
        return Loss(total=vectors.sum(), terms={}, outputs=vectors)

    def after_step(self, progress: float, outputs: Any) -> None:
        self.told.append((progress, outputs.shape[0], torch.is_grad_enabled()))


class Forgetful(Counting):
    """Has a head to train, and has forgotten the network that it is about."""

    def __init__(self, world: ToyWorld) -> None:
        super().__init__(world)
        del self.encoder
        self.head = torch.nn.Linear(3, 3)


def test_an_objective_that_forgot_its_products_network_is_refused():
    world = toy_world(small_spec("simcse"))
    with pytest.raises(ConfigError, match=r"Forgetful holds a product whose network is not one of its modules"):
        next(train(Forgetful(world), world.data, world.collate, CONFIG))


def test_after_step_is_told_the_progress_and_the_outputs():
    world = toy_world(small_spec("simcse"))
    objective = Counting(world)
    for _ in train(objective, world.data, world.collate, replace(CONFIG, steps=4)):
        pass
    assert objective.told == [(0.25, 16, False), (0.5, 16, False), (0.75, 16, False), (1.0, 16, False)]


# ---------------------------------------------------------------------------------------------- the data


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 200), st.integers(0, 5))
def test_no_example_comes_twice_in_a_batch(n: int, batch: int, step: int, seed: int):
    positions = batch_positions(n, batch, Key(seed, step))
    assert len(positions) == len(set(positions)) == min(n, batch)
    assert all(0 <= position < n for position in positions)
    assert positions == batch_positions(n, batch, Key(seed, step))


@given(st.integers(1, 10), st.integers(1, 8), st.integers(0, 4), st.integers(0, 5))
def test_every_example_comes_once_a_pass_where_batches_divide_it(batch: int, batches: int, number: int, seed: int):
    n = batch * batches
    found = [i for j in range(batches) for i in batch_positions(n, batch, Key(seed, number * batches + j))]
    assert sorted(found) == list(range(n))


@given(st.integers(2, 60), st.integers(1, 60), st.integers(0, 5))
def test_no_example_comes_twice_in_a_pass(n: int, batch: int, seed: int):
    batch = min(batch, n)
    found = [i for j in range(n // batch) for i in batch_positions(n, batch, Key(seed, j))]
    assert len(found) == len(set(found)) > n - batch


def test_every_pass_and_every_seed_has_its_own_order():
    orders = {tuple(batch_positions(50, 50, Key(seed, step))) for seed in range(3) for step in range(3)}
    assert len(orders) == 9


def test_a_loss_that_is_not_finite_stops_the_training_and_says_what_to_change() -> None:
    world = toy_world(small_spec("simcse"))
    with torch.no_grad():
        next(world.objective.parameters()).fill_(float("nan"))
    steps = train(world.objective, world.data, world.collate, LoopConfig(steps=3, batch=8, lr=0.5))
    with pytest.raises(DivergedError, match=r"at step 1 with a learning rate of 0\.5.*Lower it"):
        next(steps)
