"""Training a language model by low-rank adaptation: what is trained, what looks see, and that it resumes to the bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shoptalk.errors import ConfigError
from shoptalk.nn.low_rank import LoraSettings, is_adapted
from shoptalk.nn.merge import average
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.objective import Key, Spec
from shoptalk.objectives import make_spec
from shoptalk.objectives.autoregressive.clm import ClmSpec
from shoptalk.objectives.autoregressive.sft import SftSpec
from shoptalk.training import snapshot
from shoptalk.training.advance import Training, advance
from shoptalk.training.loop import LoopConfig, observing, train
from tests.toyworld import ToyWorld, toy_world

LORA = LoraSettings(rank=4, alpha=8)
SPECS: list[Spec] = [ClmSpec(batch=4, context=64, lora=LORA), SftSpec(batch=4, context=64, lora=LORA)]
CONFIG = LoopConfig(steps=6, batch=4, lr=1e-2, seed=3)
TEXTS = ["card ticket", "hello thanks"]


def name_of(spec: Spec) -> str:
    return str(getattr(spec, "kind", ""))


def losses_of(
    world: ToyWorld, *, resume: Path | None = None, saved: Path | None = None, look: Any = None
) -> list[float]:
    losses = []
    for step in train(world.objective, world.data, world.collate, CONFIG, resume=resume):
        losses.append(step.loss)
        if saved is not None and step.number == 3:
            step.save(saved)
        if look is not None:
            with observing(world.objective) as product:
                look(product)
    return losses


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_what_is_added_learns_and_the_models_own_weights_stay_as_they_are(spec: Spec) -> None:
    world, base = toy_world(spec), tiny_language_model()
    fresh = world.product.score(TEXTS)
    np.testing.assert_array_equal(fresh, base.score(TEXTS))
    losses = losses_of(world)
    assert losses[-1] < losses[0]
    own = {
        name.replace(".layer.weight", ".weight"): weight
        for name, weight in world.product.network.named_parameters()
        if not name.endswith((".down", ".up"))
    }
    before = dict(base.network.named_parameters())
    assert own.keys() == before.keys() and all(torch.equal(own[name], before[name]) for name in own)
    assert not np.allclose(world.product.merged().score(TEXTS), fresh)
    # The output table is frozen: its gradient, as large as the vocabulary, is never there.
    assert all(weight.grad is None for weight in world.product.network.parameters() if not weight.requires_grad)


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_a_resumed_training_has_the_same_losses_and_weights_to_the_bit(spec: Spec, tmp_path: Path) -> None:
    whole, rest = toy_world(spec), toy_world(spec)
    losses = losses_of(whole, saved=tmp_path / "3")
    with torch.no_grad():
        for weight in rest.objective.parameters():
            weight.add_(1)  # what resuming must not depend on
    assert losses_of(rest, resume=tmp_path / "3") == losses[3:]
    weights = [world.objective.state_dict() for world in (whole, rest)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("spec", SPECS, ids=name_of)
def test_a_probe_sees_merged_weights_and_leaves_the_training_unchanged(spec: Spec) -> None:
    seen = []

    def look(product: Any) -> None:
        assert not is_adapted(product.network)
        seen.append(product.score(TEXTS))
        np.random.rand(), torch.rand(1)

    watched, alone = toy_world(spec), toy_world(spec)
    assert losses_of(watched, look=look) == losses_of(alone)
    assert all(
        torch.equal(one, other)
        for one, other in zip(watched.objective.parameters(), alone.objective.parameters(), strict=True)
    )
    np.testing.assert_allclose(seen[-1], watched.product.score(TEXTS), rtol=1e-4)
    assert not np.array_equal(seen[0], seen[-1])


def test_computing_layers_again_gives_the_same_gradients() -> None:
    gradients = []
    for again in (False, True):
        world = toy_world(ClmSpec(batch=4, context=64, lora=LORA, checkpoint_layers=again))
        world.objective.train()
        world.objective(world.collate([world.data[i] for i in range(4)], Key(0, 0))).total.backward()
        gradients.append([weight.grad for weight in world.product.network.parameters() if weight.requires_grad])
    assert gradients[0]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_the_gradient_of_the_narrow_matrices_is_that_of_the_whole_matrix_by_the_chain_rule() -> None:
    """With dL/dW = G of the merged model: dL/dB = s G A', and dL/dA = s B' G."""
    world = toy_world(ClmSpec(batch=4, context=64, lora=LORA))
    losses_of(world)  # away from B = 0
    batch = world.collate([world.data[i] for i in range(4)], Key(0, 0))
    world.objective.eval().zero_grad()
    world.objective(batch).total.backward()
    plain = world.product.merged()
    plain.network.requires_grad_(True)
    ClmSpec().build(plain).eval()(batch).total.backward()
    name = "backbone.model.layers.1.mlp.down_proj"
    layer, whole = world.product.network.get_submodule(name), plain.network.get_submodule(name)
    torch.testing.assert_close(layer.up.grad, 2.0 * whole.weight.grad @ layer.down.T, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(layer.down.grad, 2.0 * layer.up.T @ whole.weight.grad, rtol=1e-4, atol=1e-7)


def test_its_snapshot_and_what_is_saved_of_it_are_those_of_a_plain_model_that_averages_with_its_base(
    tmp_path: Path,
) -> None:
    world = toy_world(SPECS[0])
    training = Training.build(
        world.spec, corpus=world.corpus, inputs=world.tokens, product=tiny_language_model(), targets=None,
        config=CONFIG, folder=tmp_path / "work", snapshot_seconds=1e9,
    )  # fmt: skip
    assert len(list(advance(training, until=6))) == 6
    again = Training.build(
        world.spec, corpus=world.corpus, inputs=world.tokens, product=tiny_language_model(), targets=None,
        config=CONFIG, folder=tmp_path / "work", snapshot_seconds=1e9,
    )  # fmt: skip
    assert list(advance(again, until=6)) == []  # read from the snapshot
    trained, read = (one.objective.product.merged() for one in (training, again))
    np.testing.assert_array_equal(trained.score(TEXTS), read.score(TEXTS))
    assert snapshot.newest(tmp_path / "work", most=6) is not None
    half = average(tiny_language_model(), trained, 0.5)
    before, after = (dict(one.network.named_parameters()) for one in (tiny_language_model(), trained))
    for name, weight in half.network.named_parameters():
        torch.testing.assert_close(weight, (before[name] + after[name]) / 2)


def test_settings_are_a_section_and_other_objectives_have_none() -> None:
    spec = make_spec("clm", {"lora": {"rank": 8, "layers": ["q_proj", "v_proj"]}})
    assert spec.lora == LoraSettings(rank=8, layers=("q_proj", "v_proj"))  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"Unknown setting 'objectives\.clm\.lora\.rnk'\. Did you mean 'rank'"):
        make_spec("clm", {"lora": {"rnk": 8}})
    with pytest.raises(ConfigError, match=r"Unknown setting 'objectives\.mlm\.lora'"):  # of encoders
        make_spec("mlm", {"lora": {"rank": 8}})


@pytest.mark.parametrize(
    "spec", [ClmSpec(lora=LoraSettings(rank=33)), SftSpec(lora=LoraSettings(rank=33))], ids=name_of
)
def test_a_rank_that_is_too_large_is_refused_before_anything_is_trained(spec: Spec) -> None:
    with pytest.raises(ConfigError, match=r"lora\.rank = 33 is larger than the matrix of"):
        spec.build(tiny_language_model())
