"""Finding the passage that answers a question: nDCG@10 over all passages of the sources (DESIGN, section 5).

Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", with gains of 0 and 1:

    nDCG@10 = sum over r <= 10 of gain_r / log2(1 + r), divided by what that is where all that answers comes first

Passages are ranked by the cosine of their vectors with the question's. Where any of several passages answers as well
(the text stands in two documents, or the answer is a whole document), the first of them counts and the others are taken
out of the ranking: finding one is enough, and finding more is no mistake. No labels are needed and nothing is drawn.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from shoptalk.nn.encoder import embed_as
from shoptalk.nn.product import Embedder
from shoptalk.records import Measure, Pair
from shoptalk.tasks.judge import Final, Ground, Judge

CUTOFF = 10
"""Ranks that count."""
MOST = 20_000
"""Passages that are ranked; of more, those that answer and others at random."""
QUERY, PASSAGE = ("query",), ("passage", "document", "reply")
"""Names under which encoders have prompts for questions and for passages."""
FEWEST = 10
"""Independent questions; fewer say nothing, and their interval would be wider than the measure."""
_AT_ONCE = 256
"""Questions whose cosines with all passages are held at once."""
NDCG = Measure(
    name="nDCG@10",
    unit="points",
    difference="points",
    finding="finds the passage that answers at an nDCG@10 of {adapted} against {base}",
    examples="questions with their answers",
    scale=100.0,
)


class AnswerJudge(Judge):
    """The questions, and all passages that answers are looked for among."""

    key = "answer"
    measure = NDCG

    def __init__(self, pairs: Sequence[Pair], passages: Sequence[str], *, remark: str | None = None) -> None:
        self.questions = tuple(pair.question for pair in pairs)
        self.passages = tuple(passages)
        self.places = tuple(pair.places for pair in pairs)
        self.items = (*self.questions, *self.passages)
        self.tested = np.ones((1, len(pairs)), dtype=bool)
        self.cluster = np.array([pair.cluster for pair in pairs], dtype=np.int64)
        self.remark = remark

    def look(self, product: Embedder) -> Float[np.ndarray, "1 N"]:
        """nDCG@10 of each question."""
        questions, passages = embed_as(product, self.questions, *QUERY), embed_as(product, self.passages, *PASSAGE)
        rows = []
        for begin in range(0, len(questions), _AT_ONCE):
            part = slice(begin, begin + _AT_ONCE)
            cosines = questions[part].astype(np.float32) @ passages.astype(np.float32).T
            rows += [ndcg(row, places) for row, places in zip(cosines, self.places[part], strict=True)]
        return np.array(rows)[None]

    def final(self, product: Embedder, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The same: nothing is fitted, so there is one way to ship a model."""
        return Final(self.look(product))


def answer(ground: Ground) -> AnswerJudge | None:
    """The judge of answers; None with fewer than `FEWEST` independent pairs, and of products that give no vectors of
    texts.
    """
    if ground.kind != "text" or len({pair.cluster for pair in ground.pairs}) < FEWEST:
        return None
    positions = ground.train.passages().numbers
    kept, remark = np.arange(len(positions)), None
    if len(positions) > MOST:
        kept = _some(ground.pairs, len(positions), seed=ground.seed)
        remark = (
            f"Answers are looked for among {len(kept):,} of {len(positions):,} passages, the others left out at random."
        )
    number = {int(place): i for i, place in enumerate(kept)}
    pairs = [
        pair.model_copy(update={"places": tuple(tuple(number[i] for i in place) for place in pair.places)})
        for pair in ground.pairs
    ]
    return AnswerJudge(pairs, [ground.train.texts[int(i)] for i in positions[kept]], remark=remark)


def ndcg(scores: Float[np.ndarray, " P"], places: Sequence[Sequence[int]]) -> float:
    """nDCG@10 of one ranking. Of each place the best passage counts, at its rank among the best passages of the other
    places and what answers nothing; of equal scores the passage that comes first in the sources is ranked first.
    """
    best = [_first(scores, np.array(place)) for place in places]
    others = np.ones(len(scores), dtype=bool)
    others[[i for place in places for i in place]] = False
    others[best] = True
    # Two places may share their best passage, which then answers for both once.
    ranks = np.sort([_rank(scores, others, i) for i in dict.fromkeys(best)])
    gained = float((1 / np.log2(1 + ranks[ranks <= CUTOFF])).sum())
    ideal = float((1 / np.log2(1 + np.arange(1, min(CUTOFF, len(ranks)) + 1))).sum())
    return gained / ideal


def _first(scores: Float[np.ndarray, " P"], place: Int[np.ndarray, " K"]) -> int:
    return int(place[np.argmax(scores[place])])


def _rank(scores: Float[np.ndarray, " P"], ranked: Bool[np.ndarray, " P"], i: int) -> int:
    """The rank of passage i, from 1, among the passages that are ranked."""
    return 1 + int((ranked & (scores > scores[i])).sum()) + int((ranked[:i] & (scores[:i] == scores[i])).sum())


def _some(pairs: Sequence[Pair], n: int, *, seed: int) -> Int[np.ndarray, " K"]:
    """The passages that answer, and others at random, `MOST` together."""
    answering = np.unique([i for pair in pairs for place in pair.places for i in place])
    others = np.setdiff1d(np.arange(n), answering)
    chosen = np.random.default_rng(seed).permutation(others)[: max(0, MOST - len(answering))]
    return np.sort(np.concatenate([answering, chosen]))
