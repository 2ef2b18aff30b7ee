"""Span corruption as an objective: its loss by hand, what it reads, and its batches."""

import itertools

import numpy as np
import pytest
import torch

from shoptalk.errors import ConfigError
from shoptalk.nn.tiny_t5 import tiny_encoder_decoder
from shoptalk.objective import Key, Material
from shoptalk.objectives import make_spec, pretexts_for
from shoptalk.objectives.masked.span import SpanModel, SpanSpec
from shoptalk.text.corpus import Corpus
from shoptalk.text.source_target import SourceTargetBatch
from shoptalk.text.spans import sentinels_of
from tests.toyworld import ToyWorld, toy_world

SPEC = SpanSpec(batch=4, context=48)


def batch_of(world: ToyWorld, n: int = 4) -> SourceTargetBatch:
    batch: SourceTargetBatch = world.collate([world.data[i] for i in range(n)], Key(0, 0))
    return batch


def rows_of(batch: SourceTargetBatch) -> list[tuple[list[int], list[int]]]:
    """Each pair's ids, in the batch's order."""
    rows: dict[int, tuple[list[int], list[int]]] = {}
    for group in batch.groups:
        for row, number in enumerate(group.numbers.tolist()):
            rows[number] = tuple(
                ids[row][cells[row]].tolist()
                for ids, cells in ((group.source, group.seen), (group.target, group.counted))
            )  # type: ignore[assignment]
    return [rows[number] for number in sorted(rows)]


def test_the_loss_is_the_mean_cross_entropy_of_the_targets_given_their_sources() -> None:
    world = toy_world(SPEC)
    batch, network = batch_of(world), world.product.network.eval()
    nats, count = 0.0, 0
    for source, target in rows_of(batch):
        written = torch.tensor([[network.start_id, *target[:-1]]])
        with torch.inference_mode():
            logits = network.backbone(input_ids=torch.tensor([source]), decoder_input_ids=written).logits[0]
        logits = logits.double().numpy()
        shifted = logits - logits.max(-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        nats -= sum(log_p[place, token] for place, token in enumerate(target))
        count += len(target)
    loss = world.objective.eval()(batch)
    np.testing.assert_allclose(loss.total.detach().item(), nats / count, rtol=1e-5)
    np.testing.assert_allclose(loss.terms["bits"].item(), nats / count / np.log(2), rtol=1e-5)


def test_source_and_target_are_a_stretch_of_a_document_with_spans_moved() -> None:
    corpus = Corpus(
        items=("One two three.", "Four five.", "Another document."),
        conversation=np.array([0, 0, 1]),
        turn=np.full(3, -1),
        digest="three",
    )
    model = tiny_encoder_decoder()
    assert list(SPEC.examples(corpus)) == [0, 2]
    material = Material(corpus, model, model.inputs(corpus), None)
    assert list(SPEC.drawn_from(material)) == [0, 1]
    batch = SPEC.collate(material)([0, 1], Key(0, 0))
    for (source, target), expected in zip(
        rows_of(batch), ("One two three.\n\nFour five.", "Another document."), strict=True
    ):
        assert source[-1] == target[-1] == model.tokenizer.eos_token_id
        text, spans = model.tokenizer.decode(source[:-1]), model.tokenizer.decode(target[:-1])
        number = 0
        while f"<extra_id_{number}>" in text:
            span = spans.split(f"<extra_id_{number}>")[1].split(f"<extra_id_{number + 1}>")[0]
            text, number = text.replace(f"<extra_id_{number}>", span), number + 1
        assert text == expected and number >= 1


def test_a_passage_that_is_longer_than_a_text_may_be_is_cut_and_no_token_of_it_is_lost() -> None:
    words = " ".join(f"number {n}" for n in range(40))
    corpus = Corpus(items=(words,), conversation=np.zeros(1, dtype=int), turn=np.full(1, -1), digest="one")
    model = tiny_encoder_decoder()
    material = Material(corpus, model, model.inputs(corpus), None)
    windows = SPEC.drawn_from(material)
    sentinels = set(sentinels_of(model.tokenizer).tolist())
    read: list[int] = []
    for source, target in rows_of(SPEC.collate(material)(windows, Key(0, 0))):
        assert len(source) <= SPEC.context + 1  # and its end
        spans = {
            sentinel: list(itertools.takewhile(lambda token: token not in sentinels, target[place + 1 :]))
            for place, sentinel in enumerate(target)
            if sentinel in sentinels
        }
        read += [token for id in source[:-1] for token in spans.get(id, [id])]
    assert len(windows) > 4 and read == model.inputs(corpus)[0].tolist()


def test_dropout_is_a_function_of_the_seed() -> None:
    world = toy_world(SPEC)
    batch = batch_of(world)
    world.objective.train()
    losses = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        losses.append(world.objective(batch).total.item())
    assert losses[0] == losses[1] != losses[2]


def test_a_batch_in_several_groups_has_the_loss_of_one_group(monkeypatch: pytest.MonkeyPatch) -> None:
    world = toy_world(SPEC)
    monkeypatch.setattr("shoptalk.text.source_target.GROUP_COST", 10**6)
    whole = batch_of(world, 16)
    monkeypatch.setattr("shoptalk.text.source_target.GROUP_CELLS", 64)
    parts = batch_of(world, 16)
    assert len(whole.groups) == 1 and len(parts.groups) == 2
    losses = [world.objective.eval()(batch).total.item() for batch in (whole, parts)]
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_it_trains_encoder_decoders_alone_and_is_their_pretext() -> None:
    model = tiny_encoder_decoder()
    objective = SPEC.build(model)
    assert SPEC.takes == {"seq2seq"} and isinstance(objective, SpanModel) and objective.product is model
    assert pretexts_for("seq2seq") == ("span",)
    with pytest.raises(ConfigError, match=r"objectives\.span\.rate"):
        make_spec("span", {"rate": 1.5})
