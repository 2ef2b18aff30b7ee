"""Pictures and captions matched without any training: a caption is held against those of the training pictures that
look most like a picture.

Nearest neighbours carry captions over from one picture to another (Ordonez, Kulkarni, Berg 2011, "Im2Text"; Devlin et
al. 2015, "Exploring nearest neighbor approaches for image captioning"). Pictures are compared by untrained features
(`hog` of `nn/features.py`), captions by the cosine of their words, each weighted by how rare it is among the training
captions (log n / df). Against this is judged what began with random weights, whose own R@1 is chance.
"""

import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from shoptalk.nn.features import feature_encoder
from shoptalk.records import Picture
from shoptalk.text.corpus import plain_wording

NAME = "the captions of the training pictures that look most alike"
"""What it is, for people."""
NEAREST = 5
"""Training pictures whose captions count as a picture's."""
MOST = 2_000
"""Training pictures, at most, among which those are looked for."""
SIDE = 32
"""Of pictures as they are compared, in pixels."""
_WORD = re.compile(r"\w+")


def likeness(
    known: Sequence[tuple[Picture, Sequence[str]]], pictures: Sequence[Picture], captions: Sequence[str]
) -> Float[np.ndarray, "P T"]:
    """How well each caption fits each picture, by what the most similar of the `known` pictures are called.

    Args:
        known: training pictures with their captions, one at least.
        pictures: P pictures that are asked about.
        captions: T captions; words that no training picture has count for nothing.
    """
    features = feature_encoder("hog", SIDE, name="hog")
    cosines = features.embed(pictures) @ features.embed([picture for picture, _ in known]).T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :NEAREST]
    taught = [" ".join(texts) for _, texts in known]
    number = {word: i for i, word in enumerate(sorted({word for text in taught for word in _words(text)}))}
    if not number:  # captions of signs alone
        return np.zeros((len(pictures), len(captions)))
    counts = _counted(taught, number)
    rarity = np.log((1 + len(taught)) / (1 + np.bincount(counts.indices, minlength=len(number)))) + 1e-3
    rows = _unit(counts * rarity)
    near = csr_array(
        (np.ones(nearest.size), nearest.ravel(), np.arange(0, nearest.size + 1, nearest.shape[1])),
        shape=(len(pictures), len(taught)),
    )
    called = _unit(near @ rows)
    return np.asarray((called @ _unit(_counted(captions, number) * rarity).T).todense())


def _words(text: str) -> list[str]:
    return _WORD.findall(plain_wording(text))


def _counted(texts: Sequence[str], number: dict[str, int]) -> csr_array:
    """Of each text, which of the numbered words it has: [n, W]."""
    rows = [sorted({number[word] for word in _words(text) if word in number}) for text in texts]
    ends = np.cumsum([0, *map(len, rows)])
    columns = np.array([column for row in rows for column in row], dtype=np.int64)
    return csr_array((np.ones(len(columns)), columns, ends), shape=(len(texts), len(number)))


def _unit(rows: csr_array) -> csr_array:
    """The rows at unit length; empty ones stay."""
    lengths = np.sqrt(np.asarray((rows * rows).sum(axis=1)).ravel())
    return csr_array(rows * (1 / np.maximum(lengths, 1e-12))[:, None])
