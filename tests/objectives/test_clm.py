"""Causal language modelling: its loss by hand, what it sees, and its windows."""

from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.tiny_lm import tiny_language_model
from shoptalk.objective import Key, Material
from shoptalk.objectives.autoregressive.clm import CausalLanguageModel, ClmSpec, parts_of, window_begins
from shoptalk.objectives.toy import toy_corpus
from shoptalk.text.corpus import Corpus
from shoptalk.training.loop import LoopConfig, train
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
    batches = (world.collate([window], Key(0, 0)) for window in world.data)
    batch = next(batch for batch in batches if int(batch.segments.max()) == 0)  # one that fits
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
    corpus = documents(("a" * 30, "b" * 30, "c" * 30))
    spec = ClmSpec(context=16)  # 48 bytes
    begins = spec.examples(corpus)
    assert list(begins) == [0, 1, 2]
    batch = spec.collate(material(corpus))([0], Key(0, 0))
    assert batch.ids.shape == (2, 16) and batch.ids[batch.segments >= 0].tolist().count(0) == 1


@given(st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=8), min_size=1, max_size=6), st.integers(1, 120))
def test_windows_cover_every_text_and_hold_texts_of_one_document(sizes: list[list[int]], size_of_window: int) -> None:
    corpus = documents(*(tuple("x" * size for size in parts) for parts in sizes))
    begins = window_begins(corpus, size=size_of_window)
    ends = [*begins[1:].tolist(), len(corpus)]
    assert begins[0] == 0 and (np.diff(begins) > 0).all()
    for begin, end in zip(begins.tolist(), ends, strict=True):
        assert len(set(corpus.conversation[begin:end].tolist())) == 1
        assert end - begin == 1 or sum(len(corpus.texts[place]) for place in range(begin, end)) <= size_of_window


def test_a_text_longer_than_a_context_is_read_in_parts_and_a_context_is_at_most_the_models_own() -> None:
    letters = "".join(chr(97 + place % 26) for place in range(200))
    corpus, model = documents((letters,)), tiny_language_model()
    batch = ClmSpec(context=512).collate(material(corpus, model))([0], Key(0, 0))
    assert batch.ids.shape == (4, 64) and batch.tokens == 202
    parts = [batch.ids[batch.segments == number] for number in range(4)]
    assert model.tokenizer.decode(torch.cat(parts)) == f"<|endoftext|>{letters}<|endoftext|>"


def test_of_a_text_of_many_contexts_every_part_has_its_turn() -> None:
    ids = np.arange(1_000)
    read = [parts_of(ids, 50, Key(0, step), 7) for step in range(200)]
    assert all(len(parts) == 4 and (np.diff(np.concatenate(parts)) == 1).all() for parts in read)
    assert {int(number) for parts in read for part in parts for number in part} == set(range(1_000))


def test_windows_are_laid_out_by_bytes_of_which_other_scripts_have_more() -> None:
    assert list(window_begins(documents(("\u4f60" * 10, "\u597d" * 10)), size=50)) == [0, 1]
    assert list(window_begins(documents(("y" * 10, "n" * 10)), size=50)) == [0]


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
