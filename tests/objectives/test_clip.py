"""CLIP: its loss as the paper has it, its two sides alike, its temperature, and frozen towers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.nn.losses import info_nce
from shoptalk.objective import Key, Material
from shoptalk.objectives.alignment.clip import Captions, Clip, ClipSpec
from shoptalk.objectives.toy import toy_captions, toy_corpus, toy_pictures
from shoptalk.records import Picture
from shoptalk.text.corpus import Corpus
from shoptalk.training.loop import LoopConfig, train
from tests.toyworld import ToyWorld, toy_world

SMALL = ClipSpec(batch=8, frozen="")


def clip(world: ToyWorld) -> Clip:
    assert isinstance(world.objective, Clip)
    return world.objective


def small_corpus(*captions: tuple[str, ...]) -> Corpus:
    """One picture for each tuple of captions; a document of a text alone stands at the end."""
    items: list[str | Picture] = []
    conversation: list[int] = []
    for number, texts in enumerate(captions):
        items += [Picture(path=f"{number}.png", sha256=str(number)), *texts]
        conversation += [number] * (1 + len(texts))
    return Corpus(
        items=(*items, "a text alone"),
        conversation=np.array([*conversation, len(captions)]),
        turn=np.full(len(items) + 1, -1),
        digest="small",
    )


def cross_entropies(logits: np.ndarray) -> np.ndarray:
    """Of identifying number i in row i."""
    logits = logits - logits.max(1, keepdims=True)
    return np.log(np.exp(logits).sum(1)) - np.diag(logits)


def test_the_loss_is_the_mean_of_rows_and_columns_cross_entropy():
    world = toy_world(SMALL)
    objective = clip(world).eval()
    batch = world.collate([world.data[i] for i in range(7)], Key(0, 0))
    with torch.no_grad():
        pictures = objective.network.encode_pictures(batch.views[0]).double().numpy()
        captions = objective.network.encode_texts(batch.captions).double().numpy()
        loss = objective(batch)
    np.testing.assert_allclose((pictures**2).sum(1), 1, atol=1e-5)
    logits = pictures @ captions.T / 0.07
    related = batch.related.numpy() & ~np.eye(7, dtype=bool)
    logits[related] = -1e9  # captions of both pictures are no negatives
    rows, columns = cross_entropies(logits).mean(), cross_entropies(logits.T).mean()
    assert loss.total.item() == pytest.approx((rows + columns) / 2, rel=1e-5)
    assert loss.terms["picture_to_text"].item() == pytest.approx(rows, rel=1e-5)
    assert loss.terms["text_to_picture"].item() == pytest.approx(columns, rel=1e-5)
    assert loss.terms["temperature"].item() == pytest.approx(0.07)


@given(st.integers(0, 99), st.integers(2, 8), st.floats(0.01, 1.0))
@settings(max_examples=25, deadline=None)
def test_its_two_sides_are_alike_and_the_order_of_pairs_changes_nothing(seed: int, n: int, temperature: float):
    rng = np.random.default_rng(seed)
    left, right = (
        torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, 4))).float(), dim=-1) for _ in range(2)
    )
    scale = torch.tensor(temperature)

    def symmetric(pictures: torch.Tensor, captions: torch.Tensor) -> torch.Tensor:
        return info_nce(pictures, captions, temperature=scale) + info_nce(captions, pictures, temperature=scale)

    order = rng.permutation(n)
    torch.testing.assert_close(symmetric(left, right), symmetric(right, left))
    torch.testing.assert_close(symmetric(left, right), symmetric(left[order], right[order]))


def test_the_temperature_learns_and_cosines_are_multiplied_by_a_hundred_at_most():
    world = toy_world(SMALL)
    objective = clip(world)
    scale = objective.network.logit_scale
    before = scale.item()
    assert before == pytest.approx(math.log(1 / 0.07))
    config = LoopConfig(steps=3, batch=8, lr=1e-3)
    list(train(objective, world.data, world.collate, config))
    assert scale.item() != before
    with torch.no_grad():
        scale.fill_(9.0)
        objective.after_step(0.5, None)
    assert scale.exp().item() == pytest.approx(100)


@pytest.mark.parametrize("frozen", ["picture", "text", ""])
def test_a_frozen_tower_stays_to_the_bit_and_everything_else_learns(frozen: str):
    world = toy_world(SMALL.model_copy(update={"frozen": frozen}))
    network = clip(world).network
    parts = {
        "picture": network.pictures,
        "text": network.texts,
        "picture projection": network.picture_projection,
        "text projection": network.text_projection,
    }
    before = {name: {key: value.clone() for key, value in part.state_dict().items()} for name, part in parts.items()}
    list(train(world.objective, world.data, world.collate, LoopConfig(steps=3, batch=8, lr=1e-2)))
    for name, part in parts.items():
        same = [torch.equal(before[name][key], value) for key, value in part.state_dict().items()]
        assert all(same) if name == frozen else not all(same), name


def test_a_frozen_text_tower_has_no_dropout():
    plain = toy_world(SMALL)
    batch = plain.collate([plain.data[i] for i in range(6)], Key(0, 0))
    objective = clip(toy_world(SMALL.model_copy(update={"frozen": "text"}))).train()
    losses = {objective(batch).total.item() for _ in range(3)}
    assert len(losses) == 1 and objective.network.texts.training
    other = clip(plain).train()
    assert len({other(batch).total.item() for _ in range(3)}) == 3


def test_a_frozen_text_tower_reads_every_caption_once_and_before_the_training():
    spec = SMALL.model_copy(update={"frozen": "text"})
    world = toy_world(spec)
    assert spec.prepares and not SMALL.prepares and world.targets is not None
    vectors, rows = world.targets["vectors"], world.targets["rows"]
    texts = [item for item in world.corpus.items if isinstance(item, str)]
    assert len(vectors) == len(set(texts)) < len(texts)
    examples, key = [world.data[i] for i in range(6)], Key(0, 4)
    prepared = world.collate(examples, key)
    material = Material(world.corpus, world.product, world.tokens, None)
    told = spec.collate(material)(examples, key)
    assert all((rows[place] < 0) == isinstance(item, Picture) for place, item in enumerate(world.corpus.items))
    objective = clip(world).train()
    torch.testing.assert_close(objective(prepared).total, objective(told).total, rtol=1e-5, atol=1e-5)
    assert prepared.tokens == prepared.cells == 6 < told.tokens  # nothing is read but pictures of 16 x 16


def test_only_pictures_with_captions_are_examples():
    corpus = small_corpus(("a red bag",), (), ("a box", "my box"))
    assert list(SMALL.examples(corpus)) == [0, 3]
    assert [list(Captions(corpus).of(picture)) for picture in (0, 2, 3)] == [[1], [], [4, 5]]
    assert list(SMALL.examples(small_corpus(("one",), ()))) == []
    assert list(SMALL.examples(toy_corpus())) == list(SMALL.examples(toy_pictures()[0])) == []


def test_one_caption_of_several_is_drawn_by_seed_step_and_picture():
    captions = Captions(toy_captions(8)[0])
    drawn = {(picture, step): captions.drawn([picture], Key(3, step))[0] for picture in (0, 3, 6) for step in range(40)}
    for (picture, step), caption in drawn.items():
        assert caption in captions.of(picture)
        assert [caption] == captions.drawn([picture], Key(3, step))
    for picture in (0, 3, 6):
        chosen = [drawn[picture, step] for step in range(40)]
        assert 10 < chosen.count(picture + 1) < 30  # each of the two about half of the time


def test_a_caption_of_two_pictures_is_a_negative_of_neither():
    corpus = small_corpus(("a bag", "red bag"), ("a box",), ("red bag", "a box"))
    captions = Captions(corpus)
    # The third picture's drawn caption is one of the first's, though another was drawn for that.
    related = captions.related([0, 3, 5], [1, 4, 6])
    np.testing.assert_array_equal(related, [[True, False, True], [False, True, False], [False, True, True]])


def test_a_resumed_run_has_towers_and_temperature_to_the_bit(tmp_path: Path):
    config = LoopConfig(steps=6, batch=8, lr=1e-3, seed=3)

    def run(resume: Path | None) -> tuple[list[float], list[torch.Tensor]]:
        world = toy_world(SMALL)
        losses = []
        for step in train(world.objective, world.data, world.collate, config, resume=resume):
            losses.append(step.loss)
            if resume is None and step.number == 3:
                step.save(tmp_path / "3")
        return losses, [tensor.clone() for tensor in (*world.objective.parameters(), *world.objective.buffers())]

    whole, state = run(None)
    rest, resumed = run(tmp_path / "3")
    assert rest == whole[3:]
    assert all(torch.equal(one, other) for one, other in zip(state, resumed, strict=True))


def test_captions_that_differ_in_case_and_white_space_alone_are_no_negatives():
    captions = Captions(small_corpus(("A red  Door",), ("a red door",), ("A blue door",)))
    pictures = captions.captioned()
    chosen = [int(captions.of(picture)[0]) for picture in pictures]
    expected = [[True, True, False], [True, True, False], [False, False, True]]
    np.testing.assert_array_equal(captions.related(pictures, chosen), expected)
