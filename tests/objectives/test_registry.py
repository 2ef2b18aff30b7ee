import inspect
import re
import runpy
import subprocess
import sys
from typing import Any, get_args

import pytest
import torch

from shoptalk.errors import ConfigError
from shoptalk.objective import Key, Objective
from shoptalk.objectives import OBJECTIVES, make_spec
from shoptalk.objectives.masked.mlm import MlmSpec
from shoptalk.objectives.toy import toy_corpus, toy_material
from tests.toyworld import MIXTURE, small_spec, toy_world

NAMES = sorted(OBJECTIVES)
MIXED = [*NAMES, MIXTURE]
LOOKS_THROUGH = ("sft",)
"""Objectives that look through the words of the corpus beforehand, for which no budget is planned."""
BEGINS = {"moco": 1}
"""Which of the printed losses is the first that counts: a queue begins with random vectors, which no key resembles."""


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_knows_the_name_it_is_registered_under(name: str):
    assert make_spec(name, {}).kind == name  # type: ignore[attr-defined]
    assert get_args(OBJECTIVES[name].model_fields["kind"].annotation) == (name,)


def test_an_unknown_objective_is_told_the_nearest_or_all():
    with pytest.raises(ConfigError, match=r"No objective 'simsce'\. Did you mean 'simcse'\?"):
        make_spec("simsce", {})
    with pytest.raises(ConfigError, match=rf"There is: {', '.join(OBJECTIVES)}\."):
        make_spec("qqq", {})


def test_a_misspelt_or_impossible_setting_names_the_objective():
    with pytest.raises(ConfigError, match=r"Unknown setting 'objectives\.mlm\.mask_rte'\. Did you mean 'mask_rate'\?"):
        make_spec("mlm", {"mask_rte": 0.2})
    with pytest.raises(ConfigError, match=r"objectives\.simcse\.temperature = 0"):
        make_spec("simcse", {"temperature": 0})


@pytest.mark.parametrize(
    ("name", "section"), [("byol", "first_chain"), ("dino", "local_chain"), ("clip", "chain"), ("simclr", "chain")]
)
def test_a_setting_of_an_objectives_chain_leaves_the_papers_other_parameters(name: str, section: str):
    papers = getattr(make_spec(name, {}), section)
    for given in ({section: {"hue": 0.02}}, {section: {"hue": 0.02, "gray": 1.0}}):
        expected = papers.model_copy(update=given[section])
        assert getattr(make_spec(name, given), section) == expected
    with pytest.raises(ConfigError, match=rf"'objectives\.{name}\.{section}\.hu'. Did you mean 'hue'\?"):
        make_spec(name, {section: {"hu": 0.0}})


@pytest.mark.parametrize(
    ("setting", "ends"),
    [("scale", (0.9, 0.1)), ("scale", (0, 1)), ("scale", (0.5, 2)), ("ratio", (0, 1)), ("sigma", (-1, 2))],
)
def test_an_impossible_range_of_a_chain_is_refused_before_the_training(setting: str, ends: tuple[float, float]):
    with pytest.raises(ConfigError, match=rf"objectives\.moco\.chain\.{setting} = .*expected two .*smaller first"):
        make_spec("moco", {"chain": {setting: ends}})


@pytest.mark.parametrize("name", MIXED)
def test_an_objective_overrides_nothing_but_the_contract(name: str):
    objective = type(toy_world(small_spec(name)).objective)
    assert objective.__bases__ == (Objective,)
    public = {key for key in vars(objective) if not key.startswith("_")}
    assert not public & (set(dir(torch.nn.Module)) - {"forward"})
    assert inspect.isfunction(objective.forward)


@pytest.mark.parametrize("name", MIXED)
def test_a_batch_is_a_function_of_its_examples_and_key(name: str):
    world = toy_world(small_spec(name))
    examples = [world.data[i] for i in (3, 0, 7, 11)]

    def batch(key: Key) -> list[torch.Tensor]:
        return tensors_of(world.collate(examples, key))

    torch.manual_seed(1)
    one = batch(Key(0, 5))
    torch.manual_seed(2)
    other = batch(Key(0, 5))
    assert len(one) == len(other) > 0
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def tensors_of(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for item in value for tensor in tensors_of(item)]
    return (
        [tensor for item in vars(value).values() for tensor in tensors_of(item)] if hasattr(value, "__dict__") else []
    )


@pytest.mark.parametrize("name", MIXED)
def test_a_loss_is_a_finite_number_that_every_layer_learns_from(name: str):
    world = toy_world(small_spec(name))
    world.objective.train()
    batch = world.collate(list(world.data[:8]), Key(0, 0))
    assert 0 < batch.tokens <= batch.cells
    loss = world.objective(batch)
    assert loss.total.isfinite()
    assert all(not term.requires_grad for term in loss.terms.values())
    loss.total.backward()
    idle = [n for n, p in world.objective.named_parameters() if p.requires_grad and p.grad is None]
    assert idle == []


@pytest.mark.parametrize("name", MIXED)
def test_a_corpus_too_small_to_learn_from_has_no_examples(name: str):
    tiny = toy_corpus(conversations=1, turns=1)
    learnable = ("mlm", "tsdae", "bow", "clm", "causal", "span")
    assert len(small_spec(name).examples(tiny)) == (1 if name in learnable else 0)


@pytest.mark.parametrize("name", [*MIXED, "0.5*mlm+turns"])
def test_a_spec_says_whether_it_prepares_anything(name: str):
    spec = small_spec(name)
    if not spec.supervised:
        material = toy_material(spec)
        found = spec.prepare(material.corpus, material.product) is not None
        assert found == (spec.prepares or name in LOOKS_THROUGH)


@pytest.mark.slow
def test_the_command_that_an_objective_file_names_warns_of_nothing():
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", MlmSpec.__module__],
        capture_output=True, check=False, text=True, timeout=200,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_no_objective_file_is_imported_by_the_packages_above_it():
    files = {spec.__module__ for spec in OBJECTIVES.values()}
    packages = sorted({file.rpartition(".")[0] for file in files})
    script = f"import sys, {', '.join(packages)}\nprint(*({files!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True, timeout=200)
    assert done.stdout.split() == []


@pytest.mark.filterwarnings("ignore:.*found in sys.modules.*:RuntimeWarning")  # this process has imported it
@pytest.mark.parametrize("name", NAMES)
def test_every_objective_file_runs_alone_and_its_loss_falls(name: str, capsys: pytest.CaptureFixture[str]):
    state = torch.get_rng_state()
    runpy.run_module(OBJECTIVES[name].__module__, run_name="__main__")
    torch.set_rng_state(state)
    losses = [float(loss) for loss in re.findall(r"loss (\S+)", capsys.readouterr().out)]
    assert len(losses) == 5
    assert losses[-1] < 0.92 * losses[BEGINS.get(name, 0)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_objective_file_runs_by_the_command_that_it_names(name: str):
    module = OBJECTIVES[name].__module__
    document = sys.modules[module].__doc__ or ""
    assert f"python -m {module}" in document
    command = [sys.executable, "-W", "error::RuntimeWarning", "-m", module]
    done = subprocess.run(command, capture_output=True, check=False, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    assert "loss" in done.stdout
