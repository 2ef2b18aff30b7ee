from pathlib import Path

import numpy as np
import pytest
import torch

from shoptalk.errors import ConfigError
from shoptalk.nn.encoder import embed
from shoptalk.objective import Key
from shoptalk.objectives.distillation.distil import Distil, DistilSpec
from shoptalk.objectives.toy import toy_corpus
from tests.tiny import tiny_product
from tests.toyworld import ToyWorld, toy_world

TEXTS = list(range(16))


def distil(world: ToyWorld) -> Distil:
    assert isinstance(world.objective, Distil)
    return world.objective


def distribution(vectors: np.ndarray, i: int, temperature: float) -> np.ndarray:
    scores = np.array([np.exp(vectors[i] @ other / temperature) for other in vectors])
    scores[i] = 0
    return scores / scores.sum()


def masked_loss(world: ToyWorld, batch: object) -> float:
    """Mean cross-entropy at the chosen positions, from the whole grid of logits."""
    objective = distil(world)
    head = {name: value.detach().double().numpy() for name, value in objective.named_parameters()}
    table = head["encoder.backbone.embeddings.word_embeddings.weight"]
    losses = []
    corrupted = batch.corrupted  # type: ignore[attr-defined]
    for group, positions, labels in zip(corrupted.texts.groups, corrupted.positions, corrupted.labels, strict=True):
        with torch.no_grad():
            hidden = objective.encoder.hidden(group).flatten(0, 1).double()
        for position, label in zip(positions.tolist(), labels.tolist(), strict=True):
            inner = head["head.transform.0.weight"] @ hidden[position].numpy() + head["head.transform.0.bias"]
            inner = torch.nn.functional.gelu(torch.from_numpy(inner)).numpy()
            inner = (inner - inner.mean()) / np.sqrt(inner.var() + 1e-5)
            logits = table @ inner + head["head.bias"]
            losses.append(np.log(np.exp(logits).sum()) - logits[label])
    assert len(losses) > len(TEXTS) / 2
    return float(np.mean(losses))


@pytest.mark.parametrize(
    ("temperature", "soft", "cosine", "mlm"), [(0.05, 1.0, 5.0, 0.0), (0.5, 2.0, 0.0, 0.0), (0.2, 1.0, 1.0, 0.5)]
)
def test_the_loss_is_the_weighted_sum_of_the_papers_three_terms(
    temperature: float, soft: float, cosine: float, mlm: float
):
    spec = DistilSpec(temperature=temperature, soft_weight=soft, cosine_weight=cosine, mlm_weight=mlm)
    world = toy_world(spec)
    objective = distil(world).eval()
    with torch.no_grad():  # the toy's layers change so little that a student without one is nearly its teacher
        for parameter in objective.encoder.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    batch = world.collate(TEXTS, Key(0, 0))
    loss = objective(batch)
    texts = [world.corpus.texts[i] for i in TEXTS]
    teachers = embed(world.product, texts).astype(np.float64)
    students = embed(objective.product, texts).astype(np.float64)
    assert not np.allclose(teachers, students, atol=1e-2)
    kl = 0.0
    for i in range(len(texts)):
        p, q = distribution(teachers, i, temperature), distribution(students, i, temperature)
        kl += sum(p[j] * np.log(p[j] / q[j]) for j in range(len(texts)) if j != i) / len(texts)
    distance = np.mean([1 - s @ t for s, t in zip(students, teachers, strict=True)])
    expected = soft * kl + cosine * distance
    if mlm:
        masked = masked_loss(world, batch)
        assert loss.terms["mlm"].item() == pytest.approx(masked, rel=1e-4)
        expected += mlm * masked
    assert ("mlm" in loss.terms) == bool(mlm)
    assert loss.terms["kl"].item() == pytest.approx(kl, rel=1e-3, abs=1e-5)
    assert loss.terms["cosine_distance"].item() == pytest.approx(distance, rel=1e-3, abs=1e-5)
    assert loss.total.item() == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_product_is_the_student_and_the_teacher_is_left_as_it_was():
    world = toy_world(DistilSpec(batch=8))
    before = {name: value.clone() for name, value in world.product.network.state_dict().items()}
    objective = distil(world).train()
    assert objective.product is not world.product
    assert objective.product.network is objective.encoder
    optimizer = torch.optim.SGD(objective.parameters(), lr=1.0)
    objective(world.collate(TEXTS, Key(0, 0))).total.backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in world.product.network.state_dict().items())
    own = objective.encoder.state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in own.items() if name in before)
    assert len(objective.encoder.backbone.encoder.layer) == 1  # type: ignore[union-attr, arg-type]


def test_a_student_with_all_the_layers_has_nothing_to_learn():
    world = toy_world(DistilSpec(layers=2))
    assert distil(world).eval()(world.collate(TEXTS, Key(0, 0))).total.item() == pytest.approx(0, abs=1e-5)


def test_masking_is_anew_at_every_step_and_counted_as_tokens():
    world = toy_world(DistilSpec(mlm_weight=1.0))
    plain = toy_world(DistilSpec()).collate(TEXTS, Key(0, 0))
    one, other = (world.collate(TEXTS, Key(0, step)) for step in (0, 1))
    assert plain.corrupted is None
    assert (one.tokens, one.cells) == (2 * plain.tokens, 2 * plain.cells)
    pairs = zip(one.corrupted.texts.groups, other.corrupted.texts.groups, strict=True)
    assert any(not torch.equal(a.ids, b.ids) for a, b in pairs)


def test_another_teacher_gives_the_targets(tmp_path: Path):
    other = tiny_product(seed=5)
    other.save(tmp_path, card="# x\n")
    corpus = toy_corpus(conversations=2)
    targets = DistilSpec(teacher=str(tmp_path)).prepare(corpus, tiny_product())
    np.testing.assert_allclose(targets["vectors"], embed(other, corpus.texts), atol=1e-6)


def test_a_teacher_of_another_width_is_refused(tmp_path: Path):
    tiny_product().save(tmp_path, card="# x\n")
    product = tiny_product()
    product.network.backbone.config.hidden_size = 48  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"32 dimensions, and the student's have 48.*the same width"):
        DistilSpec(teacher=str(tmp_path)).prepare(toy_corpus(conversations=1), product)
