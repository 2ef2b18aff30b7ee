import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import TextEncoder
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives import make_pretext, make_spec, spec_for
from shoptalk.objectives.mixture import MixedBatch, Mixture, MixtureSpec, Part
from shoptalk.objectives.recipe import PhaseRecipe
from shoptalk.objectives.toy import toy_corpus
from shoptalk.text.corpus import Corpus
from tests.objectives.test_registry import tensors_of
from tests.tiny import tiny_product
from tests.toyworld import MIXTURE, small_spec, toy_world

# ---------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("mlm", {"mlm": 1.0}),
        ("mlm+turns", {"mlm": 1.0, "turns": 1.0}),
        ("0.2*mlm+neighbours", {"mlm": 0.2, "neighbours": 1.0}),
        (" 2 * mlm + .5*turns+nsp ", {"mlm": 2.0, "turns": 0.5, "nsp": 1.0}),
    ],
)
def test_a_name_tells_its_parts_and_their_weights(name: str, parts: dict[str, float]):
    found = PhaseRecipe.parse(name).weights
    assert found == parts
    assert list(found) == list(parts)


@pytest.mark.parametrize(
    "name", ["0*mlm+turns", "-1*mlm", "nan*mlm+turns", "inf*mlm", "a*mlm", "mlm+", "mlm+2*mlm", ""]
)
def test_a_name_that_is_no_sum_is_refused_with_an_example(name: str):
    with pytest.raises(ConfigError, match=rf"{re.escape(repr(name))} is no objective.*such as 0\.2\*mlm\+neighbours"):
        PhaseRecipe.parse(name)


def test_an_unknown_part_is_told_the_nearest():
    with pytest.raises(ConfigError, match=r"No objective 'simsce'\. Did you mean 'simcse'\?"):
        make_spec("mlm+0.5*simsce", {})


def test_a_part_that_learns_from_labels_is_refused():
    with pytest.raises(ConfigError, match=r"In 'mlm\+classify': 'classify' learns from labels"):
        make_pretext("mlm+classify", {})


# ------------------------------------------------------------------------------------------------- settings


def test_parts_have_their_own_settings_and_the_mixture_those_of_its_first():
    settings = {"turns": {"lr": 1e-4, "batch": 12, "passes": 9}, "mlm": {"mask_rate": 0.3, "batch": 7}}
    spec = spec_for("turns+0.2*mlm", settings)
    assert isinstance(spec, MixtureSpec)
    assert (spec.lr, spec.batch, spec.passes) == (1e-4, 12, 9)
    assert [(part.name, part.weight) for part in spec.parts] == [("turns", 1.0), ("mlm", 0.2)]
    assert spec.parts[1].spec == make_spec("mlm", settings["mlm"])
    assert spec_for("mlm", settings) == make_spec("mlm", settings["mlm"])
    assert spec_for("mlm+turns", settings).passes == 9  # mlm alone goes through the corpus ten times


def test_a_mixtures_own_settings_win_and_unknown_ones_are_named():
    spec = spec_for("mlm+turns", {"mlm+turns": {"lr": 2e-4, "batch": 5}, "mlm": {"lr": 1e-6}})
    assert (spec.lr, spec.batch) == (2e-4, 5)
    with pytest.raises(ConfigError, match=r"Unknown setting 'objectives\.mlm\+turns\.mask_rate'"):
        spec_for("mlm+turns", {"mlm+turns": {"mask_rate": 0.2}})
    with pytest.raises(ConfigError, match=r"Unknown setting 'objectives\.mlm\.mask_rte'"):
        spec_for("mlm+turns", {"mlm": {"mask_rte": 0.2}})


def test_what_a_spec_writes_of_itself_holds_every_setting_of_every_part():
    """Artifacts are keyed by it: a changed setting must not find the old ones."""
    one = spec_for("mlm+turns", {"mlm": {"mask_rate": 0.15}}).model_dump()
    other = spec_for("mlm+turns", {"mlm": {"mask_rate": 0.2}}).model_dump()
    assert one != other
    assert one["parts"][1]["spec"]["temperature"] == 0.05
    assert one != spec_for("mlm+2*turns", {}).model_dump()


# ------------------------------------------------------------------------------------------------- examples


def test_a_mixture_has_no_examples_where_a_part_has_none():
    passages = Corpus(("one", "two", "three"), np.arange(3), np.full(3, -1), "x")
    assert len(make_spec("mlm+simcse", {}).examples(passages)) == 3
    assert len(make_spec("mlm+turns", {}).examples(passages)) == 0
    corpus = toy_corpus()
    assert list(make_spec("turns+mlm", {}).examples(corpus)) == list(make_spec("turns", {}).examples(corpus))


def test_each_part_keeps_the_targets_that_it_would_have_alone():
    world, alone = toy_world(small_spec("mlm+neighbours")), toy_world(small_spec("neighbours"))
    assert world.targets is not None and alone.targets is not None
    assert set(world.targets) == {f"neighbours.{name}" for name in alone.targets}
    for name, array in alone.targets.items():
        np.testing.assert_array_equal(world.targets[f"neighbours.{name}"], array)
    assert toy_world(small_spec("mlm+turns")).targets is None


def test_the_first_part_gets_the_loops_examples_and_each_other_draws_its_own():
    world, mlm = toy_world(small_spec("mlm+turns+tsdae")), toy_world(small_spec("mlm"))
    examples, key = [3, 1, 4, 15, 9, 26], Key(2, 5)
    batch = world.collate(examples, key)
    assert same(batch.parts[0], mlm.collate(examples, key))
    assert batch.tokens == sum(part.tokens for part in batch.parts)
    assert batch.cells == sum(part.cells for part in batch.parts)
    assert batch.parts[1].texts.n == 16 and batch.parts[2].whole.n == 8  # their own batch of 8
    other = world.collate([7, 8], key)
    assert all(same(a, b) for a, b in zip(batch.parts[1:], other.parts[1:], strict=True))
    later = world.collate(examples, Key(2, 6))
    assert not any(same(a, b) for a, b in zip(batch.parts, later.parts, strict=True))


def same(one: Any, other: Any) -> bool:
    a, b = tensors_of(one), tensors_of(other)
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Echo(Spec):
    """Its batches are the examples that it was asked for."""

    lr: float = 1.0
    batch: int = 8
    passes: float = 1.0

    def examples(self, corpus: Corpus) -> Examples:
        return corpus.contexts()

    def collate(self, *_: Any) -> Any:
        return lambda examples, key: list(examples)

    def build(self, product: TextEncoder) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("seed", [0, 1])
def test_a_part_goes_through_all_its_examples_before_any_comes_twice(seed: int):
    world = toy_world(make_spec("mlm", {}))
    parts = tuple(Part(name=name, weight=1, spec=Echo()) for name in "abc")
    mixture = MixtureSpec(lr=1, batch=8, passes=1, parts=parts)
    collate = mixture.collate(Material(world.corpus, world.product, world.tokens, None))
    steps = [collate([0], Key(seed, step)).parts for step in range(9)]  # 72 pairs, 9 batches of 8
    assert all(first == [0] for first, _, _ in steps)
    for place in (1, 2):
        assert sorted(i for step in steps for i in step[place]) == list(world.corpus.contexts())
    assert all(second != third for _, second, third in steps)


# ----------------------------------------------------------------------------------------------------- loss


def test_the_loss_is_the_weighted_sum_of_the_parts_losses():
    world = toy_world(small_spec("0.3*mlm+neighbours+2*turns"))
    objective = world.objective.eval()
    batch = world.collate(list(range(8)), Key(0, 1))
    loss = objective(batch)
    alone = [part(own) for part, own in zip(objective.parts.values(), batch.parts, strict=True)]  # type: ignore[union-attr, operator]
    expected = sum(weight * part.total.item() for weight, part in zip((0.3, 1.0, 2.0), alone, strict=True))
    assert loss.total.item() == pytest.approx(expected, rel=1e-6)
    for name, part in zip(("mlm", "neighbours", "turns"), alone, strict=True):
        assert loss.terms[f"{name}.loss"].item() == pytest.approx(part.total.item())
        for term, value in part.terms.items():
            assert loss.terms[f"{name}.{term}"].item() == pytest.approx(value.item())


def test_the_gradient_is_the_weighted_sum_of_the_parts_gradients():
    world = toy_world(small_spec("0.3*mlm+turns"))
    objective = world.objective.eval()
    batch = world.collate(list(range(8)), Key(0, 1))

    def gradients(module: Any, own: Any) -> dict[int, torch.Tensor]:
        objective.zero_grad()
        module(own).total.backward()
        return {id(p): p.grad.clone() for p in objective.parameters() if p.grad is not None}

    whole = gradients(objective, batch)
    mlm, turns = (gradients(p, own) for p, own in zip(objective.parts.values(), batch.parts, strict=True))  # type: ignore[union-attr, operator]
    for key, gradient in whole.items():
        zero = torch.zeros_like(gradient)
        torch.testing.assert_close(gradient, 0.3 * mlm.get(key, zero) + turns.get(key, zero), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["mlm+turns", "turns+mlm", "simcse+tsdae", "simcse+turns"])
def test_rows_of_the_embeddings_are_dense_wherever_a_part_reads_all_of_them(name: str):
    product = tiny_product()
    product.network.read_rows(sparse=True)
    make_spec(name, {}).build(product)
    table = product.network.backbone.get_input_embeddings()  # type: ignore[operator]
    assert table.sparse == (name == "simcse+turns")


@dataclass(frozen=True)
class Nothing:
    tokens: int = 3
    cells: int = 4


class Told(Objective[Any, Nothing]):
    """Notes what `after_step` is told."""

    def __init__(self, product: TextEncoder, answer: float) -> None:
        super().__init__()
        self.product = product
        self.answer, self.told = answer, []  # type: ignore[var-annotated]

    def forward(self, batch: Nothing) -> Loss:
        return Loss(total=torch.tensor(self.answer), terms={}, outputs=f"of {self.answer}")

    def after_step(self, progress: float, outputs: Any) -> None:
        self.told.append((progress, outputs))


def test_every_part_is_told_its_own_outputs_after_a_step():
    product = tiny_product()
    parts: dict[str, Objective[Any, Any]] = {"a": Told(product, 1.0), "b": Told(product, 2.0)}
    mixture = Mixture(product, parts=parts, weights=[1.0, 0.5])
    loss = mixture(MixedBatch((Nothing(), Nothing())))
    assert loss.total.item() == 2.0
    mixture.after_step(0.25, loss.outputs)
    assert [part.told for part in parts.values()] == [[(0.25, "of 1.0")], [(0.25, "of 2.0")]]  # type: ignore[attr-defined]


def test_all_parts_train_one_encoder():
    world = toy_world(small_spec(MIXTURE))
    parts = world.objective.parts.values()  # type: ignore[union-attr, operator]
    assert all(part.product is world.product for part in (world.objective, *parts))


def test_a_part_that_trains_a_student_of_its_own_is_refused() -> None:
    spec = make_spec("mlm+distil", {})
    with pytest.raises(ConfigError, match="distil trains an encoder of its own"):
        spec.build(tiny_product())


def test_no_sum_trains_a_language_model_whose_objectives_draw_rows_of_their_own():
    sum_of_two, text = make_spec("clm+sft", {}), make_spec("mlm+neighbours", {})
    assert make_spec("clm", {}).accepts("lm") and not sum_of_two.accepts("lm")
    assert text.accepts("text")
