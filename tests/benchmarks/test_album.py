"""The album's benchmark: what is counted of copies, known and foreign."""

import numpy as np
import pytest
from benchmarks.picture_sets import Emoji

from benchmarks import album, picture_sets
from shoptalk.assistant.album_calibration import AlbumCalibration, AlbumTrials, LikenessWeights
from shoptalk.records import Picture


def calibration(threshold: float | None) -> AlbumCalibration:
    weights = LikenessWeights(weights=(0.0, 10.0, 0.0), bias=0.0)
    return AlbumCalibration(
        weights=weights, threshold=threshold, max_wrong=0.05, tested=5, coverage=0.0, precision=0.0,
        foreign_refused=0.0, sentence="",
    )  # fmt: skip


def test_coverage_is_of_known_copies_and_precision_of_what_is_recognised():
    leads = np.array([0.9, 0.9, 0.0, 0.9, 0.0])
    features = np.stack([leads, leads, leads], axis=1)
    known = np.array([True, True, True, False, False])
    trials = AlbumTrials(features, known, np.array([True, False, True, False, False]))
    told = album.told(calibration(0.9), trials)
    assert told.coverage == pytest.approx(100 / 3) and told.precision == pytest.approx(100 / 3)
    assert told.refused == 50.0
    assert album.told(calibration(None), trials) == (0.0, 0.0, 100.0)


def test_emoji_of_one_name_are_one_thing(monkeypatch):
    def drawn(name: str, *vendors: str) -> Emoji:
        return Emoji(name, (), "train", {vendor: Picture(path=f"{vendor}/{name}", sha256=name) for vendor in vendors})

    concepts = [drawn("ferry", "noto", "twemoji"), drawn("buoy", "noto"), drawn("ferry", "noto")]
    monkeypatch.setattr(picture_sets, "emoji", lambda vendors: concepts)
    collection = album.emoji()
    assert collection.same.tolist() == [0, 0, 1, 0]
    assert [picture.path for picture in collection.pictures][:2] == ["noto/ferry", "twemoji/ferry"]
