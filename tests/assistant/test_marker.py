from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from shoptalk.artifact import create, open_artifact
from shoptalk.assistant.ground import ground
from shoptalk.assistant.marker import Marker, opened_marker
from shoptalk.assistant.retrieve import Found
from shoptalk.assistant.sections import passages_of
from shoptalk.errors import ArtifactError
from shoptalk.nn.encoder import TextEncoder
from shoptalk.nn.heads import grounding_files
from shoptalk.nn.heads.grounding import Grounding, GroundingHead
from shoptalk.records import Document
from shoptalk.text import aligned_words
from shoptalk.text.evidence_rows import OF_TOKENS
from tests.tiny import tiny_product

TEXT = (
    "# Tariffs\n\n## Bicycles\n\nA bicycle costs 4 crowns.\n\n## Dogs\n\nA dog costs 6 crowns. It may travel on deck."
)


@pytest.fixture
def found() -> list[Found]:
    passages = passages_of(Document(id="t.md", source="t.md", text=TEXT))
    return [Found(n, passage, 1.0, 0.5, 1.0) for n, passage in enumerate(passages)]


class Recorder:
    """Marks a word wherever it stands, and remembers what it was asked."""

    def __init__(self, word: str) -> None:
        self.word, self.asked = word, list[tuple[tuple[str, ...], tuple[str, ...]]]()

    def marked(self, sentences: Sequence[str], passages: Sequence[str]) -> tuple[str, ...]:
        self.asked.append((tuple(sentences), tuple(passages)))
        return tuple(self.word if self.word in sentence else "" for sentence in sentences)


def test_a_sentence_with_a_marked_word_goes_and_the_reason_names_the_word(found: list[Found]) -> None:
    said = "A bicycle costs 4 crowns. [1] It may travel on deck. [2] A dog costs 6 crowns. [2]"
    marks = Recorder("deck")
    grounded = ground(said, found, marks)
    assert [s.text for s in grounded.sentences] == ["A bicycle costs 4 crowns.", "A dog costs 6 crowns."]
    assert grounded.refused == (("It may travel on deck.", "says 'deck', which no passage that it cites says"),)
    assert [sentences for sentences, _ in marks.asked] == [
        ("A bicycle costs 4 crowns.",), ("It may travel on deck.", "A dog costs 6 crowns."),
    ]  # fmt: skip
    assert all("Tariffs" in passage for _, passages in marks.asked for passage in passages)


def test_what_the_rules_refuse_is_not_read_again(found: list[Found]) -> None:
    marks = Recorder("crowns")
    ground("A bicycle costs 9 crowns. [1]", found, marks)
    assert marks.asked == []


def grounding_on(product: TextEncoder, *, bias: float) -> Grounding:
    head = GroundingHead(product.dim, hidden=4)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.zero_()
        # Marks a token unless it stands in the passages: the first feature counts against the bias.
        assert head.words is not None
        head.shared.weight[0, 0] = head.words[0].weight[0, 0] = 10.0
        head.score.weight[0, 0] = head.words[2].weight[0, 0] = -10.0
        head.score.bias.fill_(bias)
        head.words[2].bias.fill_(bias)
    return Grounding(product, head.eval(), 0.5)


def marking_where(product: TextEncoder, feature: int) -> Grounding:
    """On a head of zeros that marks a token where this feature is set, and no other."""
    grounding = grounding_on(product, bias=-5.0)
    head = grounding.head
    with torch.no_grad():
        assert head.words is not None
        for inner, outer in ((head.shared, head.score), (head.words[0], head.words[2])):
            inner.weight.zero_()
            inner.weight[0, feature] = outer.weight[0, 0] = 10.0
    return grounding


def saved(run: Path, *, parent: str | None = None) -> Path:
    grounding = grounding_on(tiny_product(), bias=5.0)
    with create(run / "grounding" / "encoder", kind="encoder", config={}, parents={}) as folder:
        grounding.product.save(folder, card="# a test's\n")
    encoder = open_artifact(run / "grounding" / "encoder")
    assert encoder is not None
    parents = {"encoder": parent or encoder.content}
    with create(run / "grounding" / "grounding_head", kind="grounding", config={}, parents=parents) as folder:
        grounding_files.save(grounding, folder)
    return run


def test_a_run_with_a_grounding_head_marks_the_words_of_each_sentence(tmp_path: Path) -> None:
    marker = opened_marker(saved(tmp_path))
    assert marker is not None
    said = ("the card is lost", "the fee is high", "call the bank")
    assert marker.marked(said, ("the card is lost", "the fee is low , call the bank")) == ("", "high", "")
    assert marker.marked((), ("the card",)) == ()


def test_how_a_word_stands_beside_the_passages_decides_whether_the_gate_marks_it(found: list[Found]) -> None:
    """The passages have both numbers, and every word; one stands in the place of the other."""
    instead = OF_TOKENS + aligned_words.AROUND * aligned_words.FEATURES + 5
    marker = Marker(marking_where(tiny_product(), instead))
    passages = ("the fee is 2 today", "the bus is 9")
    assert marker.marked(("the fee is 9 today",), passages) == ("9",)
    assert marker.marked(("the fee is 2 today",), passages) == ("",)
    said = "A bicycle costs 6 crowns. [1][2] A dog costs 6 crowns. [2]"
    assert [sentence.text for sentence in ground(said, found, marker).sentences] == ["A dog costs 6 crowns."]
    assert len(ground(said, found, None).sentences) == 2


def test_marks_are_the_same_whichever_way_the_encoder_is_opened(tmp_path: Path) -> None:
    opened, direct = opened_marker(saved(tmp_path)), Marker(grounding_on(tiny_product(), bias=5.0))
    assert opened is not None
    for said in (("a new ticket today",), ("the fee", "is 9 now")):
        assert opened.marked(said, ("a ticket is new",)) == direct.marked(said, ("a ticket is new",))


def test_a_run_without_one_has_no_marker(tmp_path: Path) -> None:
    assert opened_marker(tmp_path) is None


def test_a_head_of_another_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"no encoder with a grounding head that was fitted on it"):
        opened_marker(saved(tmp_path, parent="0" * 64))
