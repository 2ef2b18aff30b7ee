"""Does a picture find its caption, and a caption its picture? R@1 both ways on held-out documents. It needs no labels.

The task is image-text retrieval (Hodosh, Young, Hockenmaier 2013, "Framing image description as a ranking task"), with
recall at 1 in both directions as in CLIP (Radford et al. 2021, section 3.1). A picture may have several captions, and
pictures may share one: the answer is right if it is any that belongs. A tie with what does not belong is wrong, so that
an encoder gains nothing by putting all in one place. A pair whose weights are random in part scores by chance, so what
is made of it must not fall behind what needs no training (`lookalikes.py`).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from shoptalk import decide
from shoptalk.errors import InputError
from shoptalk.nn.product import Embedder
from shoptalk.records import Measure, Picture
from shoptalk.tasks.judge import Final, Ground, Judge, ReachedShare, Score, Untrained
from shoptalk.tasks.lookalikes import MOST, NAME, likeness
from shoptalk.text.corpus import Corpus, plain_wording

CANDIDATES = 1_000
"""Pictures, at most, among which one is looked for."""
HELD_OUT = ((0, 0.3), (200, 0.1), (600, 0.05))
"""The share of pictures with captions that is held out, from so many on that are held out already: clusters are
documents, so that a small source must give more of them for a verdict.
"""
_AS_ONE = " (pictures that share a caption count as one)"
"""After what is counted, where that is fewer than pictures."""


@dataclass(frozen=True)
class Captioned:
    """P pictures and the T different captions that they have."""

    pictures: tuple[Picture, ...]
    captions: tuple[str, ...]
    belong: Bool[np.ndarray, "P T"]
    """Which caption is one of which picture's."""

    @classmethod
    def of(cls, corpus: Corpus, *, seed: int, most: int = CANDIDATES) -> "Captioned":
        """The pictures of a corpus that have captions, `most` of them at random. Captions that differ in case and white
        space alone are one.
        """
        captions_of = _captions_of(corpus)
        chosen = np.random.default_rng(seed).permutation(len(captions_of))[:most]
        places = np.array(list(captions_of), dtype=np.int64)
        pictures: list[Picture] = []
        number: dict[str, int] = {}
        captions: list[str] = []
        rows: list[tuple[int, int]] = []
        for place in np.sort(places[chosen]).tolist():
            picture = corpus.items[place]
            assert isinstance(picture, Picture)
            for text in (str(corpus.items[i]) for i in captions_of[place]):
                key = plain_wording(text)
                if key not in number:
                    number[key] = len(captions)
                    captions.append(text)
                rows.append((len(pictures), number[key]))
            pictures.append(picture)
        belong = np.zeros((len(pictures), len(captions)), dtype=bool)
        if rows:
            belong[tuple(np.array(rows).T)] = True
        return cls(tuple(pictures), tuple(captions), belong)

    @property
    def clusters(self) -> Int[np.ndarray, " N"]:
        """Of each picture, then of each caption, the number of its document; documents that share a caption are one."""
        n_pictures, n_captions = self.belong.shape
        picture, caption = np.nonzero(self.belong)
        size = n_pictures + n_captions
        linked = coo_array((np.ones(len(picture)), (picture, n_pictures + caption)), shape=(size, size))
        return np.asarray(connected_components(linked, directed=False)[1], dtype=np.int64)

    def scores(self, product: Embedder) -> Bool[np.ndarray, "1 N"]:
        """Whether each picture, then each caption, has one that belongs to it nearer than all that do not."""
        return self.found(product.embed(self.pictures) @ product.embed(self.captions).T)

    def found(self, fits: Float[np.ndarray, "P T"]) -> Bool[np.ndarray, "1 N"]:
        """The same by how well each caption fits each picture."""
        return np.concatenate([_found(fits, self.belong), _found(fits.T, self.belong.T)])[None]

    @property
    def chances(self) -> Float[np.ndarray, " N"]:
        """What a random order scores on average, of each picture, then of each caption."""
        return np.concatenate([self.belong.mean(axis=axis) for axis in (1, 0)])

    @property
    def chance(self) -> float:
        """What a random order scores on average."""
        return float(self.chances.mean())


@dataclass(frozen=True, kw_only=True)
class CaptionJudge(Judge):
    """Held-out pictures and captions, asked once: nothing is drawn, for nothing is learned from them."""

    key: str
    measure: Measure
    tested: Bool[np.ndarray, "1 N"]
    cluster: Int[np.ndarray, " N"]
    items: tuple[Picture | str, ...]
    asked: Captioned
    shares: tuple[ReachedShare, ...]
    remark: str | None = None
    untrained: Untrained | None = None

    def look(self, product: Embedder) -> Score:
        """Whether the first that is found belongs."""
        return self.asked.scores(product)

    def final(self, product: Embedder, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The same: nothing is fitted, so there is one way to ship a model."""
        return Final(self.asked.scores(product))


def caption(ground: Ground) -> CaptionJudge | None:
    """The judge of captions; None of products that do not read both pictures and texts.

    Raises:
        InputError: there are no pictures with captions, or fewer than two of them are held out.
    """
    if ground.kind != "pair":
        return None
    asked = Captioned.of(ground.held_out, seed=ground.seed)
    if len(asked.captions) < 2:
        raise InputError(_nothing_to_ask(len(_captions_of(ground.train)), asked))
    n_pictures, n_captions = asked.belong.shape
    cluster = asked.clusters
    n_independent = int(cluster.max()) + 1
    begun = ground.random or ground.young
    untrained = _without_training(asked, ground.train, seed=ground.seed) if begun else None
    return CaptionJudge(
        key="caption",
        measure=_measure(n_pictures, n_captions, n_independent),
        tested=np.ones((1, n_pictures + n_captions), dtype=bool),
        cluster=cluster,
        items=(*asked.pictures, *asked.captions),
        asked=asked,
        shares=(
            ReachedShare("caption_of_picture", "R@1 image to text", 1.0, of=slice(n_pictures)),
            ReachedShare("picture_of_caption", "R@1 text to image", 1.0, of=slice(n_pictures, None)),
        ),
        remark=_remark(asked, n_independent, untrained, random=ground.random),
        untrained=untrained,
    )


def _without_training(asked: Captioned, train: Corpus, *, seed: int) -> Untrained | None:
    """What the captions of the most similar training pictures find; None where no training picture has a caption."""
    captions_of = _captions_of(train)
    places = np.array(sorted(captions_of), dtype=np.int64)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(places))[:MOST])
    known = [
        (picture, [str(train.items[i]) for i in captions_of[place]])
        for place in places[chosen].tolist()
        if isinstance(picture := train.items[place], Picture)
    ]
    return Untrained(NAME, asked.found(likeness(known, asked.pictures, asked.captions))) if known else None


def _captions_of(corpus: Corpus) -> dict[int, list[int]]:
    """The positions of the captions of each picture, by the picture's own; without those that have none."""
    document = {int(corpus.conversation[place]): int(place) for place in corpus.pictures.numbers}
    captions: dict[int, list[int]] = {}
    for i in np.flatnonzero(np.isin(np.asarray(corpus.conversation), list(document))).tolist():
        place = document[int(corpus.conversation[i])]
        if i != place:
            captions.setdefault(place, []).append(i)
    return captions


def _found(cosines: Float[np.ndarray, "Q C"], belong: Bool[np.ndarray, "Q C"]) -> Bool[np.ndarray, " Q"]:
    """Of each query whether a candidate that belongs to it is nearer than all others."""
    right = np.where(belong, cosines, -np.inf).max(axis=1)
    wrong = np.where(belong, -np.inf, cosines).max(axis=1)
    return np.asarray(right > wrong)


def _measure(n_pictures: int, n_captions: int, n_independent: int) -> Measure:
    """The measure, which says what is counted: pictures, or fewer where some share a caption and are no independent
    examples.
    """
    return Measure(
        name="R@1",
        unit="%",
        difference="points",
        finding=f"finds what belongs first, a picture's caption among {n_captions:,} and a caption's picture among "
        f"{n_pictures:,}, in {{adapted}} of cases against {{base}}",
        examples=f"held-out pictures with their captions{_AS_ONE if n_independent < n_pictures else ''}",
        scale=100.0,
        one="picture",
        unlabelled="pictures with captions",
        by_cluster=True,
    )


def _remark(asked: Captioned, n_independent: int, untrained: Untrained | None, *, random: bool) -> str:
    """What chance gives, what there is too little of, and of what a gain over random weights is no proof."""
    remarks = [f"By chance R@1 is {100 * asked.chance:.1f} %."]
    if n_independent < decide.FEWEST_CLUSTERS:
        n_pictures = len(asked.pictures)
        enough = _documents_for(decide.FEWEST_CLUSTERS * n_pictures / n_independent)
        remarks.append(
            f"Only {n_independent:,} pictures with captions{_AS_ONE if n_independent < n_pictures else ''} are held "
            f"out, and nothing is adopted under {decide.FEWEST_CLUSTERS}: about {enough:,} in the sources give so many."
        )
    if random:
        remarks.append(
            "Weights of the base are random, so its own R@1 is chance: how good the trained encoder is, its R@1 says, "
            "and not how much it gained."
        )
    if untrained is not None:
        share = 100 * float(untrained.scores.mean())
        remarks.append(f"Without any training, {untrained.name} give an R@1 of {share:.1f} %.")
    return " ".join(remarks)


def _documents_for(held_out: float) -> int:
    return round(held_out / HELD_OUT[0][1] / 10) * 10 + 10


def _nothing_to_ask(n_seen: int, asked: Captioned) -> str:
    need = (
        "The task caption needs pictures with captions: a CSV with the columns image,text, whose images are paths from "
        "its folder."
    )
    if len(asked.pictures) > 1:
        return f"{need} All {len(asked.pictures):,} held-out pictures have the same caption. Give captions that differ."
    if n_seen:
        return (
            f"{need} The sources have {n_seen:,} such pictures, and fewer than two happened to be held out. About "
            f"{_documents_for(decide.FEWEST_CLUSTERS):,} are enough for a verdict."
        )
    return f"{need} The sources hold none."
