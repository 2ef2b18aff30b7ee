import re

import numpy as np
import pytest
import torch

from shoptalk.assistant.sections import passages_of
from shoptalk.errors import ConfigError
from shoptalk.nn.heads.grounding import STEEP
from shoptalk.objective import Key, Material
from shoptalk.objectives import make_spec
from shoptalk.objectives.supervised.ground_tokens import GroundBatch, GroundSpec, ReplyMaker
from shoptalk.records import Document
from shoptalk.text.corpus import Corpus
from tests.toyworld import ToyWorld, toy_world

TEXTS = (
    "You can cancel an order in 14 days. The fee is 2 cash.",
    "A lost card is not a broken card. Call the bank at 18:30.",
    "The bus is late on every first day of the month. Track it on your phone.",
    "A refund takes 5 days. We send it to your bank.",
)
CORPUS = Corpus(items=TEXTS, conversation=np.arange(4), turn=np.full(4, -1), digest="four")


def world_of(**settings: object) -> ToyWorld:
    return toy_world(GroundSpec.model_validate(settings), corpus=CORPUS)


def gelu(values: np.ndarray) -> np.ndarray:
    return values * torch.special.ndtr(torch.from_numpy(values)).numpy()


def loss_by_hand(world: ToyWorld, batch: GroundBatch) -> float:
    """In NumPy: the mean of two binary cross-entropies, of a two-layer head on the states of the replies' tokens and
    their features, and of one on the features alone.
    """
    head = {name: value.detach().numpy().astype(float) for name, value in world.objective.head.named_parameters()}  # type: ignore[union-attr, operator]
    losses = []
    for group, cells, shared, wrong in zip(
        batch.texts.groups, batch.replies.cells, batch.replies.shared, batch.wrong, strict=True
    ):
        rows = {}
        for begin, length in zip(group.begins.tolist(), group.lengths.tolist(), strict=True):
            ids = group.ids.flatten()[begin : begin + length]
            with torch.no_grad():
                states = world.product.network.backbone(input_ids=ids[None]).last_hidden_state[0]  # type: ignore[operator]
            rows |= {begin + place: state.numpy().astype(float) for place, state in enumerate(states)}
        for cell, features, label in zip(cells.tolist(), shared.numpy(), wrong.tolist(), strict=True):
            of_state = head["states.weight"] @ rows[cell] + head["states.bias"] + head["shared.weight"] @ features
            of_words = head["words.0.weight"] @ (STEEP * features) + head["words.0.bias"]
            z = (head["score.weight"] @ gelu(of_state) + head["score.bias"])[0]
            y = STEEP * (head["words.2.weight"] @ gelu(of_words) + head["words.2.bias"])[0]
            losses += [-np.log(p if label else 1 - p) for p in (1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-y)))]
    return float(np.mean(losses))


def test_the_loss_is_the_mean_cross_entropy_of_the_replies_tokens_alone():
    world = world_of()
    world.objective.eval()
    batch = world.collate([0, 1, 2, 3], Key(0, 5))
    assert 0 < sum(float(wrong.sum()) for wrong in batch.wrong) < sum(map(len, batch.wrong)) < batch.tokens
    assert world.objective(batch).total.item() == pytest.approx(loss_by_hand(world, batch), rel=1e-4)


def test_labels_stand_at_the_cells_of_the_words_that_were_changed():
    world = world_of(kinds=["number"], clean=0.0, more=0)
    tokenizer = world.product.tokenizer
    changed = []
    for step in range(8):
        batch = world.collate([0], Key(1, step))
        (group,), (cells,), (wrong,) = batch.texts.groups, batch.replies.cells, batch.wrong
        pieces = tokenizer.convert_ids_to_tokens(group.ids.flatten()[cells[wrong > 0]].tolist())
        changed += pieces
        assert group.ids.flatten()[cells[0] - 1] == tokenizer.sep_token_id
    assert len(changed) > 4 and all(piece.removeprefix("##").isdigit() for piece in changed)


def test_a_passage_is_told_as_the_gate_reads_it():
    text = "# Tariffs\n\n## Bicycles\n\nA bicycle costs **4 crowns**. Dogs ride free.\n\nSo do cats."
    (passage,) = passages_of(Document(id="t.md", source="t.md", text=text))
    corpus = Corpus(items=(text, TEXTS[0]), conversation=np.arange(2), turn=np.full(2, -1), digest="told")
    maker = ReplyMaker(Material(corpus, world_of().product, None, None), GroundSpec())
    assert maker(0, Key(0, 0)).passage == passage.sought
    assert passage.sought == "Tariffs – Bicycles\nA bicycle costs 4 crowns. Dogs ride free. So do cats."


def test_of_a_passage_longer_than_a_row_a_reply_says_only_what_the_row_shows():
    """Else a reader would learn that words which stand nowhere are supported."""
    passage = " ".join(f"The card {number} is not the card of the bank." for number in range(100, 200))
    corpus = Corpus(items=(passage, TEXTS[0]), conversation=np.arange(2), turn=np.full(2, -1), digest="long")
    world = toy_world(GroundSpec(), corpus=corpus)
    maker = ReplyMaker(
        Material(corpus, world.product, None, None), GroundSpec().model_copy(update={"clean": 1.0, "more": 0})
    )
    tokenizer = world.product.tokenizer
    for step in range(40):
        row = maker(0, Key(0, step)).row
        evidence, reply = (re.findall(r"\d+", tokenizer.decode(part)) for part in np.split(row.ids, [row.reply.start]))
        assert reply and set(reply) <= set(evidence)


def test_of_a_large_corpus_replacements_come_from_a_sample(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shoptalk.objectives.supervised.ground_tokens.MOST_KNOWN", 2)
    world = world_of()
    maker = ReplyMaker(Material(CORPUS, world.product, None, None), GroundSpec())
    assert len(maker.inventory.told) == len(maker.inventory.document) == 2
    assert maker(3, Key(0, 1)).row.ids.size


def test_an_example_does_not_depend_on_its_batch():
    world = world_of()
    alone, among = world.collate([2], Key(3, 1)), world.collate([0, 1, 2, 3], Key(3, 1))
    place = [
        (g, at) for g, group in enumerate(among.texts.groups) for at, i in enumerate(group.rows.tolist()) if i == 2
    ]
    ((number, at),) = place
    group = among.texts.groups[number]
    begin, length = int(group.begins[at]), int(group.lengths[at])
    other = alone.texts.groups[0]
    assert torch.equal(
        group.ids.flatten()[begin : begin + length], other.ids.flatten()[other.begins[0] :][: int(other.lengths[0])]
    )


def test_turns_are_read_where_there_are_no_passages_and_one_document_is_too_few():
    spec = GroundSpec()
    assert list(spec.examples(CORPUS)) == [0, 1, 2, 3]
    turns = Corpus(items=TEXTS, conversation=np.array([0, 0, 1, 1]), turn=np.array([0, 1, 0, 1]), digest="turns")
    assert list(spec.examples(turns)) == [0, 1, 2, 3]
    mixed = Corpus(items=TEXTS, conversation=np.array([0, 0, 1, 2]), turn=np.array([0, 1, -1, -1]), digest="mixed")
    assert list(spec.examples(mixed)) == [2, 3]
    assert not len(
        spec.examples(Corpus(items=TEXTS, conversation=np.zeros(4, dtype=int), turn=np.full(4, -1), digest="one"))
    )


def test_an_unknown_kind_of_corruption_names_those_that_there_are():
    with pytest.raises(ConfigError, match=r"objectives\.ground\.kinds.*'typo'; there is: number, name, negation"):
        make_spec("ground", {"kinds": ["typo"]})
