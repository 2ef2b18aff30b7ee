"""Causal language modelling: its loss by hand, what it sees, and its windows."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shoptalk.errors import ConfigError
from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.objective import Key, Material
from shoptalk.objectives.autoregressive.clm import CausalLanguageModel, ClmSpec, replayed_rows
from shoptalk.objectives.toy import toy_corpus
from shoptalk.text.corpus import Corpus
from shoptalk.text.packing import PackedRows
from shoptalk.training.loop import LoopConfig, train
from tests.tiny_lms import beginning_with
from tests.toyworld import toy_world

SPEC = ClmSpec(batch=4, context=64)


def documents(*texts: tuple[str, ...], turns: bool = False) -> Corpus:
    """A document of each tuple, whose passages or turns are its strings."""
    counts = [len(parts) for parts in texts]
    return Corpus(
        items=tuple(text for parts in texts for text in parts),
        conversation=np.repeat(np.arange(len(texts)), counts),
        turn=np.concatenate([np.arange(count) if turns else np.full(count, -1) for count in counts]),
        digest="documents",
    )


def material(corpus: Corpus, model: LanguageModel | None = None) -> Material[LanguageModel]:
    model = model or tiny_language_model()
    return Material(corpus, model, model.inputs(corpus), None)


def test_the_loss_is_the_mean_cross_entropy_of_every_next_token() -> None:
    world = toy_world(SPEC)
    batch = world.collate([world.data[i] for i in range(4)], Key(0, 0))
    network = world.product.network.eval()
    nats, count = 0.0, 0
    for number in range(int(batch.segments.max()) + 1):
        ids = batch.ids[batch.segments == number]
        with torch.inference_mode():
            logits = network.backbone(ids[None]).logits[0].double().numpy()
        shifted = logits - logits.max(-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        nats -= sum(log_p[place, int(ids[place + 1])] for place in range(len(ids) - 1))
        count += len(ids) - 1
    assert count > 100
    np.testing.assert_allclose(world.objective(batch).total.detach().item(), nats / count, rtol=1e-5)
    np.testing.assert_allclose(world.objective(batch).terms["bits"].item(), nats / count / np.log(2), rtol=1e-5)


def test_the_gradient_is_that_of_the_stock_models_own_loss() -> None:
    world, stock = toy_world(SPEC), tiny_language_model()
    batch = world.collate([world.data[0]], Key(0, 0))
    world.objective(batch).total.backward()
    ids = batch.ids[batch.segments == 0][None]
    stock.network.backbone(ids, labels=ids).loss.backward()
    ours, theirs = dict(world.product.network.named_parameters()), dict(stock.network.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, parameter in ours.items():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-6)


def test_no_window_sees_another_one() -> None:
    world = toy_world(SPEC)
    batch = world.collate([world.data[i] for i in range(4)], Key(0, 0))
    with torch.inference_mode():
        before = world.product.network.hidden(batch)
        ids = torch.where(batch.segments == 1, 5, batch.ids)
        after = world.product.network.hidden(type(batch)(ids, batch.positions, batch.segments, batch.before))
    others = (batch.segments != 1) & (batch.segments >= 0)
    torch.testing.assert_close(before[others], after[others], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(before[batch.segments == 1], after[batch.segments == 1])


def test_the_order_of_a_batch_changes_nothing() -> None:
    world = toy_world(SPEC)
    chosen = [world.data[i] for i in range(4)]
    losses = [
        world.objective(world.collate(order, Key(0, 0))).total.detach().item() for order in (chosen, chosen[::-1])
    ]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_computing_layers_again_gives_the_same_gradients() -> None:
    gradients = []
    for again in (False, True):
        world = toy_world(SPEC.model_copy(update={"checkpoint_layers": again}))
        batch = world.collate([world.data[i] for i in range(4)], Key(0, 0))
        world.objective.train()
        world.objective(batch).total.backward()
        gradients.append([parameter.grad for parameter in world.product.network.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def test_a_window_is_a_document_between_the_tokens_that_part_documents() -> None:
    corpus = documents(("One.", "Two."), ("Three.",))
    made = material(corpus)
    batch = SPEC.collate(made)([0], Key(0, 0))
    words = made.product.tokenizer.decode(batch.ids[batch.segments == 0].tolist())
    assert words == "<|endoftext|>One.\n\nTwo.<|endoftext|>"
    turns = SPEC.collate(material(documents(("Hi", "Hello"), turns=True)))([0], Key(0, 0))
    assert made.product.tokenizer.decode(turns.ids[turns.segments == 0].tolist()) == (
        "<|endoftext|>Hi\nHello<|endoftext|>"
    )


def test_a_window_that_ends_within_a_document_does_not_say_that_the_document_ended() -> None:
    made = material(documents(("a" * 10, "b" * 10, "c" * 10)))
    spec = ClmSpec(context=16)
    assert list(spec.drawn_from(made)) == [0, 1, 2]
    batch = spec.collate(made)([0, 1, 2], Key(0, 0))
    begin = end = "<|endoftext|>"
    assert windows_in(batch, made) == [f"{begin}{'c' * 10}{end}", f"{begin}{'a' * 10}", f"{begin}{'b' * 10}"]


def windows_in(batch: PackedRows, made: Material[LanguageModel]) -> list[str]:
    numbers = range(int(batch.segments.max()) + 1)
    return [made.product.tokenizer.decode(batch.ids[batch.segments == number].tolist()) for number in numbers]


@settings(deadline=None)  # of a machine that is busy with something else
@given(
    st.lists(st.lists(st.text("abc é", min_size=1, max_size=40), min_size=1, max_size=6), min_size=1, max_size=5),
    st.booleans(),
    st.integers(16, 64),
)
def test_all_rows_together_hold_every_token_of_every_document(
    texts: list[list[str]], turns: bool, context: int
) -> None:
    """Also of texts that are longer than a row: none is left out."""
    made = material(documents(*map(tuple, texts), turns=turns))
    spec = ClmSpec(context=context)
    rows = spec.drawn_from(made)
    batch = spec.collate(made)(list(rows), Key(0, 0))
    assert batch.ids.shape[0] <= len(rows) and batch.ids.shape[1] == context
    windows = [batch.ids[batch.segments == number].tolist() for number in range(int(batch.segments.max()) + 1)]
    assert all(ids[0] == 0 for ids in windows)
    # What parts a document's items is in a window only where both are: so only the items' own tokens are counted.
    counts = np.bincount(np.concatenate([ids[1:] for ids in windows]), minlength=300)
    newline = made.product.tokenizer("\n")["input_ids"][0]
    expected = np.bincount(np.concatenate([made.inputs[i] for i in range(len(made.inputs))]), minlength=300)
    expected[0] = len(texts)  # each document's end
    counts[newline] = expected[newline] = 0
    np.testing.assert_array_equal(counts, expected)


def test_a_row_of_a_batch_is_never_wider_than_the_models_own_context() -> None:
    made = material(documents(("x" * 500,)))
    spec = ClmSpec(context=512)
    batch = spec.collate(made)(list(spec.drawn_from(made)), Key(0, 0))
    assert batch.ids.shape == (8, 64) and batch.tokens == 500 + 8 + 1


def test_windows_are_laid_out_by_tokens_and_no_text_is_read() -> None:
    corpus = documents(("One.", "Two."), ("Three.",))
    made = material(corpus)
    other = Corpus(items=("x" * 900,) * 3, conversation=corpus.conversation, turn=corpus.turn, digest="other")
    unlike = Material(other, made.product, made.inputs, None)
    assert list(SPEC.drawn_from(unlike)) == list(SPEC.drawn_from(made)) == [0]
    batch = SPEC.collate(unlike)([0], Key(0, 0))
    assert batch.tokens == 1 + 4 + 2 + 4 + 1 + 1 + 6 + 1


def test_documents_begin_with_the_token_that_the_tokenizer_puts_before_texts() -> None:
    model = beginning_with("<|begin|>", tiny_language_model())
    made = material(documents(("One.",)), model)
    batch = SPEC.collate(made)([0], Key(0, 0))
    assert windows_in(batch, made) == ["<|begin|>One.<|endoftext|>"]


def test_a_resumed_run_has_the_same_weights_to_the_bit(tmp_path: Path) -> None:
    config = LoopConfig(steps=6, batch=4, lr=1e-3, seed=3)

    def run(resume: Path | None) -> tuple[list[float], list[torch.Tensor]]:
        world = toy_world(SPEC)
        losses = []
        for step in train(world.objective, world.data, world.collate, config, resume=resume):
            losses.append(step.loss)
            if resume is None and step.number == 3:
                step.save(tmp_path / "3")
        return losses, [parameter.detach().clone() for parameter in world.objective.parameters()]

    whole, state = run(None)
    rest, resumed = run(tmp_path / "3")
    assert rest == whole[3:]
    assert all(torch.equal(one, other) for one, other in zip(state, resumed, strict=True))


def test_it_takes_language_models_and_builds_on_them() -> None:
    model = tiny_language_model()
    assert SPEC.takes == {"lm"}
    objective = SPEC.build(model)
    assert isinstance(objective, CausalLanguageModel) and objective.product is model
    assert len(SPEC.examples(toy_corpus())) > 1


OWN, GENERAL = (documents(*((letter * 40,) for letter in letters)) for letters in ("abcdefgh", "ABCDE"))
"""Documents of one letter each, of which a row of 64 tokens holds one: eight rows, and five of general text."""


def replaying(percent: float, *, own: Corpus = OWN) -> tuple[ClmSpec, Material[LanguageModel]]:
    made = material(own)
    spec = ClmSpec(batch=4, context=64, replay_percent=percent)
    return spec, replace(made, general=material(GENERAL, made.product))


def letters_in(batch: PackedRows, made: Material[LanguageModel]) -> str:
    """The letter of each window, those of the corpus first."""
    return "".join(sorted((text.replace("<|endoftext|>", "")[0] for text in windows_in(batch, made)), reverse=True))


def test_replayed_rows_come_on_top_of_those_of_the_corpus_and_are_the_share_that_was_asked_for() -> None:
    spec, made = replaying(20.0)  # of four rows and one
    plain = ClmSpec(batch=4, context=64).collate(made)
    collate = spec.collate(made)
    assert len(spec.drawn_from(made)) == 8
    for step in range(10):
        examples, key = [step % 8, (step + 3) % 8, (step + 5) % 8, (step + 6) % 8], Key(0, step)
        seen = letters_in(collate(examples, key), made)
        assert seen[:4] == letters_in(plain(examples, key), made) and len(seen) == 5 and seen[4] in "ABCDE"
        assert collate(examples, key).ids.equal(collate(examples, key).ids)
    with_general = [letters_in(collate([0, 1, 2, 3], Key(0, step)), made)[4] for step in range(10)]
    assert sorted(with_general[:5]) == sorted(with_general[5:]) == list("ABCDE")  # all of it, before any again
    assert with_general != [letters_in(collate([0, 1, 2, 3], Key(1, step)), made)[4] for step in range(10)]


@settings(deadline=None)  # of a machine that is busy with something else
@given(st.integers(1, 40), st.integers(1, 8), st.floats(0.5, 80.0), st.integers(0, 2**40), st.integers(1, 60))
def test_over_all_steps_the_share_is_within_one_row_of_what_was_asked_for(
    rows: int, beside: int, percent: float, seed: int, steps: int
) -> None:
    drawn = [replayed_rows(rows, beside=beside, percent=percent, key=Key(seed, step)) for step in range(steps)]
    every = [row for step in drawn for row in step]
    assert abs(len(every) - beside * steps * percent / (100 - percent)) < 1 + 1e-6
    assert all(sorted(every[at : at + rows]) == list(range(rows)) for at in range(0, len(every) - rows + 1, rows))
    sizes = [len(step) for step in drawn]
    assert max(sizes) - min(sizes) <= 1  # two shapes of a batch, and no more


def test_tokens_that_are_replayed_count_in_the_loss_and_in_the_budget_as_those_of_the_corpus() -> None:
    spec, made = replaying(20.0)
    batch = spec.collate(made)([0, 1, 2, 3], Key(0, 0))
    assert batch.tokens == 5 * 42  # the token before and the one after included
    network = made.product.network.eval()
    nats = []
    for number in range(5):
        ids = batch.ids[batch.segments == number]
        with torch.inference_mode():
            logits = network.backbone(ids[None]).logits[0].double().numpy()
        log_p = logits - logits.max(-1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(-1, keepdims=True))
        nats += [-log_p[place, int(ids[place + 1])] for place in range(len(ids) - 1)]
    loss = spec.build(made.product).eval()(batch)
    np.testing.assert_allclose(loss.total.item(), np.mean(nats), rtol=1e-5)


def test_without_a_share_general_text_changes_nothing() -> None:
    spec, made = replaying(0.0)
    batch = spec.collate(made)([0, 1, 2, 3], Key(0, 0))
    without = spec.collate(replace(made, general=None))([0, 1, 2, 3], Key(0, 0))
    assert not spec.replays and batch.ids.equal(without.ids) and batch.segments.equal(without.segments)


def test_replaying_without_general_text_is_refused() -> None:
    spec, made = replaying(25.0)
    with pytest.raises(
        ConfigError, match=r"clm\.replay_percent = 25 and there is no general text to replay.*--replay SOURCE"
    ):
        spec.collate(replace(made, general=None))


def test_a_resumed_run_replays_what_the_whole_one_does(tmp_path: Path) -> None:
    config = LoopConfig(steps=6, batch=3, lr=1e-3, seed=3)

    def run(resume: Path | None) -> list[float]:
        spec, made = replaying(30.0)
        objective, losses = spec.build(made.product), []
        for step in train(objective, spec.drawn_from(made), spec.collate(made), config, resume=resume):
            losses.append(step.loss)
            if resume is None and step.number == 2:
                step.save(tmp_path / "2")
        return losses

    whole = run(None)
    assert run(tmp_path / "2") == whole[2:]


def test_a_model_forgets_less_of_what_is_replayed() -> None:
    general = tiny_language_model()
    spec, made = ClmSpec(batch=4, context=64), material(GENERAL, general)
    config = LoopConfig(steps=24, batch=4, lr=1e-2)
    assert list(train(spec.build(general), spec.drawn_from(made), spec.collate(made), config))
    before, bits = general.score(GENERAL.texts).sum(), {}
    for percent in (0.0, 50.0):
        spec, own = replaying(percent)
        model = general.copy()
        own = replace(own, product=model, general=material(GENERAL, model))
        assert list(train(spec.build(model), spec.drawn_from(own), spec.collate(own), config))
        bits[percent] = model.score(GENERAL.texts).sum()
        assert model.score(OWN.texts).sum() < 0.5 * general.score(OWN.texts).sum()
    assert bits[50.0] < 1.5 * before < bits[0.0]
