"""Fine-tuning on parallel text: what is learned, and what is not."""

import numpy as np
import pytest
import torch

from shoptalk.errors import ConfigError
from shoptalk.nn.tiny_t5 import tiny_encoder_decoder
from shoptalk.objective import Key, Material
from shoptalk.objectives import make_spec, spec_for
from shoptalk.objectives.registry import make_pretext
from shoptalk.objectives.supervised.translate import TranslateSpec, Translator
from shoptalk.text.corpus import Corpus
from tests.toyworld import toy_world

SPEC = TranslateSpec(batch=4)
PAIRS = Corpus(
    items=("a dog", "ein hund", "two cats", "zwei katzen"),
    conversation=np.array([0, 0, 1, 1]),
    turn=np.array([0, 1, 0, 1]),
    digest="pairs",
)


def test_a_batch_holds_each_source_with_its_target() -> None:
    model = tiny_encoder_decoder()
    assert list(SPEC.examples(PAIRS)) == [0, 2]
    batch = SPEC.collate(Material(PAIRS, model, model.inputs(PAIRS), None))([2, 0], Key(0, 0))
    decoded = {}
    for group in batch.groups:
        for row, number in enumerate(group.numbers.tolist()):
            sides = ((group.source, group.seen), (group.target, group.counted))
            decoded[number] = [
                model.tokenizer.decode(ids[row][cells[row]], skip_special_tokens=True) for ids, cells in sides
            ]
    assert decoded == {0: ["two cats", "zwei katzen"], 1: ["a dog", "ein hund"]}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_the_smoothed_cross_entropy_of_the_targets_alone(smoothing: float) -> None:
    world = toy_world(SPEC.model_copy(update={"smoothing": smoothing}), corpus=PAIRS)
    backbone, tokenizer = world.product.network.backbone.eval(), world.product.tokenizer
    total = nats = 0.0
    count = 0
    for source, target in (PAIRS.items[:2], PAIRS.items[2:]):
        labels = tokenizer(target)["input_ids"]
        written = torch.tensor([[tokenizer.pad_token_id, *labels[:-1]]])
        ids = torch.tensor([tokenizer(source)["input_ids"]])
        with torch.inference_mode():
            logits = backbone(input_ids=ids, decoder_input_ids=written).logits[0].double().numpy()
        log_p = logits - np.log(np.exp(logits - logits.max()).sum(-1, keepdims=True)) - logits.max()
        for place, label in enumerate(labels):
            nats -= log_p[place, label]
            total -= (1 - smoothing) * log_p[place, label] + smoothing * log_p[place].mean()
            count += 1
    loss = world.objective.eval()(world.collate([0, 2], Key(0, 0)))
    np.testing.assert_allclose(loss.total.item(), total / count, rtol=1e-5)
    np.testing.assert_allclose(loss.terms["bits"].item(), nats / count / np.log(2), rtol=1e-5)


def test_a_model_learns_a_few_pairs_by_heart() -> None:
    world = toy_world(TranslateSpec(smoothing=0.0), corpus=PAIRS)
    optimizer = torch.optim.AdamW(world.objective.parameters(), lr=1e-2)
    for step in range(120):
        loss = world.objective(world.collate([0, 2], Key(0, step)))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    from shoptalk.nn.rewriting import rewritten

    assert rewritten(world.product, ["two cats", "a dog"]) == ["zwei katzen", "ein hund"]
    assert rewritten(world.product, ["two cats", "a dog"], beams=3) == ["zwei katzen", "ein hund"]


def test_it_is_no_pretext_and_says_what_to_do_instead() -> None:
    assert isinstance(SPEC.build(tiny_encoder_decoder()), Translator)
    with pytest.raises(ConfigError, match=r"finetune MODEL PAIRS --task translate`, or `span`"):
        make_pretext("translate", {})
    with pytest.raises(ConfigError, match=r"learns from pairs"):
        spec_for("translate+span", {})
    with pytest.raises(ConfigError, match=r"objectives\.translate\.smoothing"):
        make_spec("translate", {"smoothing": 1.0})
