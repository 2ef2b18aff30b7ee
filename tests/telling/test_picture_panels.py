"""What the report shows of pictures, whatever has become of their files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoptalk import decide
from shoptalk.image.decode import MOST_BYTES
from shoptalk.nn.scratch_pictures import PICTURE_SIZES, scratch_pictures
from shoptalk.records import Picture
from shoptalk.stages.decide import Compared
from shoptalk.tasks.caption import caption
from shoptalk.tasks.judge import Final, Untrained
from shoptalk.telling.picture_panels import _attention, _found, cls_attention, found_both_ways, shown
from shoptalk.text.corpus import Corpus
from tests.tasks.test_caption import Stand, corpus_of, ground_of


def saved(path: Path, *, length: int = 0) -> Picture:
    """A picture's file, filled up with zeros to a length."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(path)
    with path.open("r+b") as file:
        file.truncate(max(length, path.stat().st_size))
    return Picture(path=str(path), sha256=path.stem.ljust(64, "0"))


def test_a_picture_that_raised_limits_let_in_is_shown_and_one_that_is_gone_is_left_out(tmp_path: Path) -> None:
    pictures = [saved(tmp_path / "a.png"), saved(tmp_path / "b.png", length=MOST_BYTES + 1), saved(tmp_path / "c.png")]
    (tmp_path / "c.png").unlink()
    assert [shown(picture, "") is not None for picture in pictures] == [True, True, False]
    network = scratch_pictures(PICTURE_SIZES["scratch:vit-nano"]).network
    maps = _attention(network, pictures, lambda picture: Path(picture.path).name)
    assert [row.picture.name for row in maps] == ["a.png", "b.png"]
    assert _attention(network, pictures[2:], lambda picture: "") == ()


def test_a_map_says_how_much_each_head_attends_to_each_patch() -> None:
    network = scratch_pictures(PICTURE_SIZES["scratch:vit-nano"]).network
    pictures = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    maps = cls_attention(network, pictures)
    assert maps.shape == (3, 4, 8, 8) and maps.min() > 0
    assert (maps.sum((2, 3)) < 1).all()  # the rest is [CLS]'s own


def test_a_caption_that_differs_from_the_pictures_in_case_alone_is_right_as_the_judge_has_it(tmp_path: Path) -> None:
    pictures = [saved(tmp_path / "a.png"), saved(tmp_path / "b.png")]
    numbers = np.array([0, 0, 1, 1])
    held_out = Corpus((pictures[0], "A boat", pictures[1], "a  BOAT"), numbers, numbers, digest="made up")
    sight = {picture.path: [1.0, 0.0] for picture in pictures}
    product = Stand(sight, {"A boat": [1.0, 0.0], "a  BOAT": [0.0, 1.0]})
    rows = _found(product, product, held_out, lambda picture: "")
    assert [row.before for row in rows] == ["A boat"] * 2
    assert all(row.right_before and row.right_after for row in rows)


def test_the_table_of_both_directions_has_the_scores_that_the_verdict_compares() -> None:
    judge = caption(ground_of(corpus_of(["a", "b"], ["c"])))
    assert judge is not None
    base, adapted = (np.array([row]) for row in ([True, False, False, False, False], [True, True, True, True, False]))
    scores = decide.Scores(("clip@1",), np.stack([base, adapted]), judge.tested, judge.cluster)
    compared = Compared(scores, Final(base), Final(adapted), c=2.0)
    to_text, to_image = found_both_ways(judge, compared)
    assert (to_text.direction, to_image.direction) == ("R@1 image to text", "R@1 text to image")
    assert (to_text.asked, to_text.among, to_image.asked, to_image.among) == (2, 3, 3, 2)
    assert (to_text.before, to_text.after) == (50.0, 100.0) and to_image.before == 0.0
    assert to_image.after == pytest.approx(200 / 3)
    assert to_text.chance == 50.0 and to_image.chance == 50.0 and to_text.untrained is None
    rival = replace(judge, untrained=Untrained("others", np.array([[True, False, True, True, True]])))
    assert [row.untrained for row in found_both_ways(rival, compared)] == [50.0, 100.0]
    assert found_both_ways(judge, None) == () and found_both_ways(None, compared) == ()
