"""The album: which of a run's pictures a visitor shows, and when it is not sure."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from shoptalk.assistant import album_calibration as album_calibration_file
from shoptalk.assistant.album import Album, _read
from shoptalk.assistant.album_calibration import (
    TRIALS,
    AlbumTrials,
    album_calibration,
    calibrated_album,
    likeness,
    try_copies,
)
from shoptalk.image.decode import MOST_BYTES, RefusedPicture
from shoptalk.image.distort import distort
from shoptalk.records import Document, Picture, Turn

SIDE = 24


class Thumbs:
    """An encoder that sees coarse brightness and colour: near for copies, far for other pictures."""

    size = SIDE

    def embed_pixels(self, pictures: np.ndarray) -> np.ndarray:
        coarse = (
            pictures.reshape(len(pictures), 6, SIDE // 6, 6, SIDE // 6, 3).mean(axis=(2, 4)).reshape(len(pictures), -1)
        )
        coarse = coarse - coarse.mean(axis=1, keepdims=True)
        return (coarse / (np.linalg.norm(coarse, axis=1, keepdims=True) + 1e-9)).astype(np.float32)


class Blind(Thumbs):
    """To which every picture is the same."""

    def embed_pixels(self, pictures: np.ndarray) -> np.ndarray:
        return np.tile(np.array([[1.0, 0.0]], dtype=np.float32), (len(pictures), 1))


def blots(n: int) -> np.ndarray:
    """Pictures of random blots, each unlike the others."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in coarse])


def documents(n: int) -> list[Document]:
    return [
        Document(
            id=f"p{i}",
            source="pictures.zip",
            picture=Picture(path=f"{i}.png", sha256="0" * 64),
            turns=(Turn(role="caption", text=f"Blot number {i}"),),
        )
        for i in range(n)
    ]


def file_of(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def album(encoder: Any, n: int = 400) -> tuple[Album, np.ndarray]:
    pictures = blots(n)
    vectors = encoder.embed_pixels(pictures)
    result = calibrated_album(pictures, vectors, encoder.embed_pixels, max_wrong=0.05)
    return Album(encoder, documents(n), vectors, result), pictures


def test_a_copy_of_a_picture_finds_its_document_and_caption() -> None:
    opened, pictures = album(Thumbs())
    assert opened.calibration.threshold is not None, opened.calibration.sentence
    hits = [opened.recognise(file_of(distort(pictures[i], "cropped", seed=i))) for i in range(40)]
    seen = [(i, hit) for i, hit in enumerate(hits) if hit is not None]
    assert len(seen) > 20
    assert all(hit.document.id == f"p{i}" and hit.caption == f"Blot number {i}" for i, hit in seen)


def test_a_foreign_picture_is_refused() -> None:
    opened, _ = album(Thumbs())
    rng = np.random.default_rng(9)
    foreign = [
        np.asarray(Image.fromarray(one).resize((SIDE, SIDE))) for one in rng.integers(0, 256, (60, 4, 4, 3), np.uint8)
    ]
    assert sum(opened.recognise(file_of(picture)) is not None for picture in foreign) <= 6


def test_an_encoder_that_tells_no_pictures_apart_recognises_none_and_says_why() -> None:
    opened, pictures = album(Blind(), 200)
    assert opened.calibration.threshold is None
    assert opened.recognise(file_of(pictures[0])) is None
    assert "No picture is recognised" in opened.calibration.sentence


def test_a_small_album_is_promised_as_well_since_many_copies_are_tried() -> None:
    opened, pictures = album(Thumbs(), 12)
    assert opened.calibration.threshold is not None, opened.calibration.sentence
    assert opened.recognise(file_of(pictures[3])) is not None


def test_half_of_the_copies_are_of_pictures_that_were_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = blots(60)
    encoder = Thumbs()
    seen: list[int] = []
    monkeypatch.setattr(
        album_calibration_file, "likeness", lambda cosines, same: seen.append(len(cosines)) or likeness(cosines, same)
    )
    trials = try_copies(pictures, encoder.embed_pixels(pictures), encoder.embed_pixels)
    assert abs(int(trials.known.sum()) - TRIALS // 2) < 100, "six standard deviations"
    expected = np.where(trials.known, 60, 59)
    np.testing.assert_array_equal(seen, expected, "the own picture of a foreign copy is not among what is compared")
    near = trials.features[:, 0]
    assert np.median(near[~trials.known]) < np.median(near[trials.known]) - 0.05, "what was taken out is its own"


def test_the_nearest_pictures_lead_is_over_pictures_of_other_captions() -> None:
    cosines = np.array([0.2, 0.9, 0.5, 0.1, 0.3, 0.4, 0.0], dtype=np.float32)
    features = likeness(cosines, np.arange(7))
    np.testing.assert_allclose(features, [0.9, 0.4, 0.9 - np.mean([0.5, 0.4, 0.3, 0.2, 0.1])], atol=1e-6)
    features = likeness(cosines, np.array([0, 1, 1, 2, 3, 4, 5]))
    np.testing.assert_allclose(features, [0.9, 0.5, 0.9 - np.mean([0.4, 0.3, 0.2, 0.1, 0.0])], atol=1e-6)
    np.testing.assert_allclose(likeness(np.array([0.7], dtype=np.float32), np.zeros(1, dtype=int)), 0.7, atol=1e-6)


def test_a_promise_on_copies_whose_risk_is_above_the_budget_is_rarely_made() -> None:
    rng = np.random.default_rng(3)
    broken = 0
    for _ in range(200):
        features = np.column_stack([rng.uniform(size=(400, 3))])
        right = rng.uniform(size=400) > 0.08  # whatever the confidence says, 8 % are wrong
        trials = AlbumTrials(features, np.ones(400, dtype=bool), right)
        broken += album_calibration(trials, max_wrong=0.05).threshold is not None
    assert broken <= 20, "5 % are expected; 20 of 200 has a probability of 0.2 %"


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_picture_is_refused_with_a_reason(data: bytes) -> None:
    opened, _ = album(Thumbs(), 60)
    with pytest.raises(RefusedPicture):
        opened.recognise(data)


def test_in_an_album_of_one_caption_whatever_stays_is_right_and_nothing_that_was_taken_out() -> None:
    pictures, encoder = blots(30), Thumbs()
    vectors = encoder.embed_pixels(pictures)
    same = np.zeros(30, dtype=int)
    trials = try_copies(pictures, vectors, encoder.embed_pixels, same=same)
    assert trials.right[trials.known].all() and not trials.right[~trials.known].any()


def test_an_album_holds_pictures_that_raised_limits_let_into_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, picture in enumerate(blots(3)):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    with (tmp_path / "0.png").open("r+b") as file:
        file.truncate(MOST_BYTES + 1)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    hashes = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    (tmp_path / "2.png").unlink()
    there = [
        entry.model_copy(update={"picture": Picture(path=str(path), sha256=hashes[path])})
        for entry, path in zip(documents(3), paths, strict=True)
    ]
    monkeypatch.setattr("shoptalk.assistant.album.read_documents", lambda folder: there)
    lines: list[str] = []
    kept, squares = _read(tmp_path, SIDE, lines.append)
    assert [document.id for document in kept] == ["p0", "p1"] and np.array_equal(squares, blots(2))
    assert lines == ["pictures: 1 of the run's picture files have gone or hold another picture, and are left out"]
