"""The task caption: what is asked, who is right, what is one cluster, what needs no training, and bad input."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shoptalk import decide
from shoptalk.errors import InputError
from shoptalk.evaluate.bench import Measured, make_bench, outside, reading_of, shares_of
from shoptalk.nn.product import Embedder, Kind
from shoptalk.records import Picture
from shoptalk.tasks.caption import Captioned, caption
from shoptalk.tasks.judge import Ground
from shoptalk.text.corpus import Corpus


def corpus_of(*captions: Sequence[str]) -> Corpus:
    """A document for each, a picture with these captions."""
    items: list[Any] = []
    conversation: list[int] = []
    turn: list[int] = []
    for number, texts in enumerate(captions):
        items += [Picture(path=f"{number}.png", sha256=f"{number:064}"), *texts]
        conversation += [number] * (1 + len(texts))
        turn += range(1 + len(texts))
    numbers = (np.array(places, dtype=np.int64) for places in (conversation, turn))
    return Corpus(tuple(items), *numbers, digest="made up")


def ground_of(held_out: Corpus, kind: Any = "pair", train: Corpus | None = None) -> Ground:
    return Ground(kind, (), (), train or held_out, held_out, (), n_draws=5, seed=0)


class Stand(Embedder):
    """An encoder whose vectors are given: of pictures by path, of captions by text."""

    kind: ClassVar[Kind] = "pair"

    def __init__(self, pictures: dict[str, Any], captions: dict[str, Any]) -> None:
        self.pictures, self.captions = pictures, captions

    @property
    def dim(self) -> int:
        return len(next(iter(self.pictures.values())))

    def embed(self, items: Sequence[Any], **_: Any) -> np.ndarray:
        found = [self.pictures[one.path] if isinstance(one, Picture) else self.captions[one] for one in items]
        return np.array(found, dtype=np.float32)

    def _unasked(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("a judge of captions only embeds")

    inputs = units = save = copy = in_precision = ready_to_train = _unasked


def test_each_picture_and_each_different_caption_is_asked_once() -> None:
    asked = Captioned.of(corpus_of(["a red boat", "boat"], ["A  red boat"], [], ["a ferry"]), seed=0)
    assert [picture.path for picture in asked.pictures] == ["0.png", "1.png", "3.png"]
    assert asked.captions == ("a red boat", "boat", "a ferry")
    assert asked.belong.tolist() == [[True, True, False], [True, False, False], [False, False, True]]


def test_documents_that_share_a_caption_are_one_cluster() -> None:
    asked = Captioned.of(corpus_of(["boat", "one"], ["boat"], ["ferry"]), seed=0)
    pictures, captions = asked.clusters[:3], asked.clusters[3:]
    assert pictures[0] == pictures[1] != pictures[2]
    assert dict(zip(asked.captions, captions.tolist(), strict=True)) == {
        "boat": pictures[0],
        "one": pictures[0],
        "ferry": pictures[2],
    }


def test_any_caption_that_belongs_is_right_and_a_tie_is_wrong() -> None:
    judge = caption(ground_of(corpus_of(["boat", "one"], ["ferry"], ["sign"])))
    assert judge is not None
    sees = Stand(
        {"0.png": [1, 0, 0], "1.png": [0, 1, 0], "2.png": [0, 1, 0]},
        {"boat": [0, 0, 1], "one": [0.9, 0.1, 0], "ferry": [0, 1, 0], "sign": [0, 0.5, 0]},
    )
    # The second and third picture look alike: "ferry" is first of both, right for one; and it finds neither for sure.
    assert judge.look(sees)[0].tolist() == [True, True, False, False, True, False, False]
    readings = {reading.key: reading.value for reading in shares_of(judge, judge.look(sees))}
    assert readings["caption_of_picture"] == pytest.approx(200 / 3)
    assert readings["picture_of_caption"] == 25.0


def test_an_encoder_that_puts_all_in_one_place_finds_nothing() -> None:
    asked = Captioned.of(corpus_of(*([f"caption {i}"] for i in range(7))), seed=0)
    nowhere = Stand({f"{i}.png": [1, 0] for i in range(7)}, {f"caption {i}": [1, 0] for i in range(7)})
    assert not asked.scores(nowhere).any()


@given(st.integers(2, 12), st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_scores_are_those_of_ranks_counted_one_by_one(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = Captioned.of(corpus_of(*([f"{i}", f"{i % 3} again"] for i in range(n))), seed=0)
    sees = Stand(
        {picture.path: rng.normal(size=4).tolist() for picture in asked.pictures},
        {text: rng.normal(size=4).tolist() for text in asked.captions},
    )
    pictures, captions = sees.embed(asked.pictures), sees.embed(asked.captions)
    expected = []
    for i, row in enumerate(asked.belong):
        cosines = [float(pictures[i] @ one) for one in captions]
        expected.append(bool(row[int(np.argmax(cosines))]))
    for j, column in enumerate(asked.belong.T):
        cosines = [float(captions[j] @ one) for one in pictures]
        expected.append(bool(column[int(np.argmax(cosines))]))
    assert asked.scores(sees)[0].tolist() == expected


def test_chance_is_what_random_orders_score() -> None:
    asked = Captioned.of(corpus_of(["a", "b"], ["c"], ["d"]), seed=0)
    assert asked.chance == pytest.approx(np.mean([2 / 4, 1 / 4, 1 / 4, 1 / 3, 1 / 3, 1 / 3, 1 / 3]))


def test_too_few_documents_are_told_with_how_many_would_do() -> None:
    judge = caption(ground_of(corpus_of(["a"], ["b"])))
    assert judge is not None and judge.remark is not None
    assert judge.remark.startswith("By chance R@1 is 50.0 %. Only 2 pictures with captions are held out")
    assert "about 340 in the sources" in judge.remark


COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}


def coloured(folder: Path, name: str, *, each: int, ends: str) -> Corpus:
    """Plain pictures of three colours, `each` of every one, whose captions name the colour."""
    made = corpus_of(*([f"{colour} {ends}{i}"] for colour in COLOURS for i in range(each)))
    items = list(made.items)
    for number, place in enumerate(np.flatnonzero(made.turn == 0).tolist()):
        path = folder / f"{name}{number}.png"
        shade = np.array(list(COLOURS.values())[number // each]) + number % each
        Image.fromarray(np.full((32, 32, 3), shade, dtype=np.uint8)).save(path)
        items[place] = Picture(path=str(path), sha256=f"{name}{number}".ljust(64, "0"))
    return replace(made, items=tuple(items))


def test_what_needs_no_training_calls_a_picture_as_those_that_look_like_it(tmp_path: Path) -> None:
    train = coloured(tmp_path, "train", each=6, ends="boat ")
    held_out = coloured(tmp_path, "held-out", each=1, ends="thing ")
    judge = caption(replace(ground_of(held_out, train=train), random=True))
    assert judge is not None and judge.untrained is not None and judge.remark is not None
    assert judge.untrained.scores.tolist() == [[True] * 6]
    assert "Weights of the base are random, so its own R@1 is chance" in judge.remark
    assert judge.remark.endswith("the captions of the training pictures that look most alike give an R@1 of 100.0 %.")
    signs = replace(train, items=tuple("?!" if isinstance(item, str) else item for item in train.items))
    wordless = caption(replace(ground_of(held_out, train=signs), random=True))
    assert wordless is not None and wordless.untrained is not None and not wordless.untrained.scores.any()


def test_a_base_without_random_weights_is_the_only_rival() -> None:
    judge = caption(ground_of(corpus_of(["a"], ["b"])))
    assert judge is not None and judge.untrained is None and "random" not in str(judge.remark)


def test_a_folder_that_began_with_random_weights_is_held_against_what_needs_no_training(tmp_path: Path) -> None:
    train = coloured(tmp_path, "train", each=6, ends="boat ")
    judge = caption(replace(ground_of(coloured(tmp_path, "held-out", each=1, ends="thing "), train=train), young=True))
    assert judge is not None and judge.untrained is not None
    assert "Without any training" in str(judge.remark) and "random" not in str(judge.remark)


def test_what_finds_less_than_what_needs_no_training_is_outside_its_guards(tmp_path: Path) -> None:
    train = coloured(tmp_path, "train", each=6, ends="boat ")
    ground = replace(ground_of(coloured(tmp_path, "held-out", each=1, ends="thing "), train=train), random=True)
    judge = caption(ground)
    assert judge is not None
    bench = make_bench(
        ground, {"caption": judge}, goal="caption", sample=(), limits={"forgetting": -1.0, "tasks": -1.0}
    )
    nothing, half, all_ = (
        Measured((reading_of(judge, np.array([[found] * 3 + [every] * 3])),), {})
        for found, every in ((False, False), (True, False), (True, True))
    )
    assert outside(bench.guards, nothing, all_, kind="pair") is None
    why = outside(bench.guards, nothing, half, kind="pair")
    assert why is not None and why.startswith("it does worse than what needs no training, the captions of the training")
    assert why.endswith(": 100.0 % there, -50.0 points here")


@pytest.mark.parametrize(
    ("held_out", "train", "message"),
    [
        (corpus_of(), corpus_of(), "a CSV with the columns image,text, .* The sources hold none"),
        (corpus_of(), corpus_of(["a"], ["b"]), "have 2 such pictures, and fewer than two happened to be held out"),
        (corpus_of(["a"], ["A"]), corpus_of(["a"]), "All 2 held-out pictures have the same caption"),
    ],
)
def test_what_is_missing_is_told(held_out: Corpus, train: Corpus, message: str) -> None:
    with pytest.raises(InputError, match=message):
        caption(ground_of(held_out, train=train))


@pytest.mark.parametrize("kind", ["text", "image", "lm"])
def test_only_what_reads_both_is_judged(kind: str) -> None:
    assert caption(ground_of(corpus_of(["a"], ["b"]), kind=kind)) is None


def test_a_gain_on_captions_counts_pictures_with_their_captions_and_not_each_direction() -> None:
    judge = caption(ground_of(corpus_of(*([f"caption {i}"] for i in range(12)))))
    assert judge is not None and judge.tested.shape == (1, 24)
    values = np.zeros((2, 1, 24), dtype=bool)
    scores = decide.Scores(("clip@1",), values, judge.tested, judge.cluster, judge.measure)
    assert decide.estimate(scores, seed=0).n_examples == 12
    assert judge.measure.examples == "held-out pictures with their captions"


def test_pictures_that_share_a_caption_count_as_one_and_what_is_counted_is_said() -> None:
    judge = caption(ground_of(corpus_of(*([f"caption {i // 2}"] for i in range(12)))))
    assert judge is not None and judge.remark is not None
    values = np.zeros((2, 1, judge.tested.shape[1]), dtype=bool)
    estimate = decide.estimate(decide.Scores(("clip@1",), values, judge.tested, judge.cluster, judge.measure), seed=0)
    ruling = decide.verdict(estimate, guarded={}, smallest_gain=0.5, settle_gain=2.0, n_clusters=6)
    shared = "(pictures that share a caption count as one)"
    assert f"6 independent held-out pictures with their captions {shared} are too few" in ruling.decision.sentence
    assert f"Only 6 pictures with captions {shared} are held out" in judge.remark
    assert "about 680 in the sources give so many" in judge.remark  # twice as many as where none share one
