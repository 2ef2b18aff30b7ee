"""Does the assistant find the reply that was given? The reciprocal rank of the true reply of a held-out context among
1,000 distinct ones. It needs no labels.

The task is next-utterance selection (Lowe et al. 2015, "The Ubuntu Dialogue Corpus"), with other conversations' replies
as candidates (Henderson et al. 2019, "A Repository of Conversational Datasets"; theirs are 100). Of several replies
that are equal or nearly so one is a candidate: the others would be no wrong answers.

An encoder that was trained to read a certain number of turns as a context reads that many, under its prompts. Every
other one, the base above all, reads as many as serve it best on conversations that training sees: a base must not look
worse than it is because it was asked in another form than suits it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from shoptalk import decide
from shoptalk.curate.dedup import clusters
from shoptalk.errors import InputError
from shoptalk.nn.encoder import embed_as
from shoptalk.nn.product import Embedder
from shoptalk.probes.retrieval import reciprocal_ranks
from shoptalk.records import Measure
from shoptalk.tasks.judge import Final, Ground, Judge, ReachedShare, Score
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import Replies

CANDIDATES = 1_000
CONTEXTS = (1, 2, 3, 5, 8)
"""Numbers of turns that an encoder is tried with, where it was not trained with one."""
TRIED = 300
"""Replies of training conversations that the number is chosen on."""
ALIKE = 0.8
"""Replies at least this alike (Jaccard, character 5-grams) count as one."""
HELD_OUT = ((0, 0.3), (200, 0.1), (600, 0.05))
"""The share of conversations that is held out, from so many on that are held out already: clusters are conversations,
so that a small source must give more of them for a verdict.
"""
QUERY, REPLY = ("query",), ("reply", "document", "passage")
"""Names under which encoders have prompts for contexts and for replies."""


@dataclass(frozen=True)
class ReplyRanking:
    """Contexts, each with its true reply; every reply is a candidate of every context."""

    replies: Replies
    positions: Int[np.ndarray, " N"]

    @property
    def answers(self) -> list[str]:
        """The candidates."""
        return [self.replies.corpus.texts[i] for i in self.positions.tolist()]

    def contexts(self, turns: int) -> list[str]:
        """What was said before each."""
        return [self.replies.context(i, turns) for i in self.positions.tolist()]

    def first(self, product: Embedder, turns: int) -> Int[np.ndarray, " N"]:
        """Of each context the reply that comes first, as a place among the candidates."""
        questions = embed_as(product, self.contexts(turns), *QUERY)
        return np.asarray((questions @ embed_as(product, self.answers, *REPLY).T).argmax(axis=1))

    def scores(self, product: Embedder, turns: int) -> Score:
        """The reciprocal rank of each true reply."""
        questions = embed_as(product, self.contexts(turns), *QUERY)
        return reciprocal_ranks(questions, embed_as(product, self.answers, *REPLY))[None]


@dataclass(frozen=True, kw_only=True)
class ReplyJudge(Judge):
    """Held-out contexts, asked once: nothing is drawn, for nothing is learned from them."""

    key: str
    measure: Measure
    tested: Bool[np.ndarray, "1 N"]
    cluster: Int[np.ndarray, " N"]
    items: tuple[str, ...]
    asked: ReplyRanking
    tried: ReplyRanking
    """Of training conversations: what the number of turns is chosen on."""
    shares: tuple[ReachedShare, ...] = (ReachedShare("reply_recall_at_1", "R@1", 1.0),)
    remark: str | None = None

    def look(self, product: Embedder) -> Score:
        """Reciprocal ranks."""
        return self.asked.scores(product, self.turns(product))

    def final(self, product: Embedder, *, beside: Final | None = None, seconds: float | None = None) -> Final:
        """The same: there is no head to choose."""
        turns = self.turns(product)
        return Final(self.asked.scores(product, turns), way=f"{turns} turns of context")

    def turns(self, product: Embedder) -> int:
        """How many turns a context has for this encoder."""
        return turns_for(product, self.tried)


def turns_for(product: Embedder, tried: ReplyRanking) -> int:
    """How many turns a context has for an encoder, by how it ranks the replies of training conversations."""
    if product.context_turns is not None:
        return product.context_turns
    if not len(tried.positions):
        return CONTEXTS[0]
    means = {turns: float(tried.scores(product, turns).mean()) for turns in CONTEXTS}
    return max(means, key=lambda turns: means[turns])


def tried_on(train: Corpus, *, seed: int) -> ReplyRanking:
    """The replies of training conversations that the number of turns is chosen on."""
    seen = Replies.of(train)
    return ReplyRanking(seen, chosen_replies(seen, seed=seed, most=TRIED))


def reply(ground: Ground) -> ReplyJudge | None:
    """The judge of replies; None of products that do not read texts.

    Raises:
        InputError: there are no conversations with replies, none are held out, or all replies are alike.
    """
    if ground.kind != "text":
        return None
    held_out, seen = Replies.of(ground.held_out), Replies.of(ground.train)
    if not len(held_out):
        raise InputError(_nothing_to_ask(ground, len(seen)))
    positions = chosen_replies(held_out, seed=ground.seed, most=CANDIDATES)
    if len(positions) < 2:
        raise InputError(
            f"The task reply asks which of several replies was given, and all {len(held_out):,} replies of the held-"
            "out conversations are equal or nearly so. Give conversations whose replies differ."
        )
    asked = ReplyRanking(held_out, positions)
    cluster = np.unique(np.asarray(ground.held_out.conversation)[positions], return_inverse=True)[1]
    n_candidates, n_conversations = len(positions), int(cluster.max()) + 1
    return ReplyJudge(
        key="reply",
        measure=_measure(n_candidates),
        tested=np.ones((1, n_candidates), dtype=bool),
        cluster=cluster,
        items=(*asked.answers, *asked.contexts(max(CONTEXTS))),
        asked=asked,
        tried=tried_on(ground.train, seed=ground.seed),
        remark=_remark(n_candidates, n_conversations),
    )


def chosen_replies(replies: Replies, *, seed: int, most: int) -> Int[np.ndarray, " N"]:
    """The positions of up to `most` replies no two of which are alike, ascending: one per conversation in a random
    order of conversations, then a second one, and so on.

    Replies that repeat what they answer are left out: finding those takes no understanding.
    """
    rng = np.random.default_rng(seed)
    corpus, texts = replies.corpus, replies.corpus.texts
    shuffled = rng.permutation(replies.positions)
    place = _turn_at(np.asarray(corpus.conversation)[shuffled])
    ranked = shuffled[np.lexsort((rng.permutation(len(shuffled)), place))].tolist()
    chosen: list[int] = []
    # Some are alike, so more than `most` are looked at; but never a large corpus's all.
    for share in (2, 8, 32):
        looked = ranked[: share * most]
        alike = clusters([texts[i] for i in looked], ALIKE).tolist()
        repeats = [texts[i].split() == texts[replies.question(i)].split() for i in looked]
        firsts: dict[int, int] = {}
        for at, number, repeated in zip(looked, alike, repeats, strict=True):
            if not repeated:
                firsts.setdefault(number, at)
        chosen = list(firsts.values())[:most]
        if len(chosen) == most or len(looked) == len(ranked):
            break
    return np.array(sorted(chosen), dtype=np.int64)


def _turn_at(conversation: Int[np.ndarray, " P"]) -> Int[np.ndarray, " P"]:
    """Of each reply, how many of its conversation come before it in this order."""
    order = np.argsort(conversation, kind="stable")
    ordered = conversation[order]
    begins = np.searchsorted(ordered, ordered)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - begins
    return place


def _measure(n_candidates: int) -> Measure:
    return Measure(
        name="MRR x 100",
        unit="points",
        difference="points",
        finding=f"finds the reply that was given, among {n_candidates:,}, at a mean reciprocal rank (x 100) of "
        "{adapted} against {base}",
        examples="replies of held-out conversations",
        scale=100.0,
    )


def _remark(n_candidates: int, n_conversations: int) -> str | None:
    """What there is too little of, and how to get more."""
    if n_conversations < decide.FEWEST_CLUSTERS:
        return (
            f"Only {n_conversations:,} conversations are held out, and nothing is adopted under "
            f"{decide.FEWEST_CLUSTERS}: about {_conversations_for(decide.FEWEST_CLUSTERS):,} conversations in the "
            "sources give so many."
        )
    if n_candidates < CANDIDATES:
        return (
            f"The held-out conversations have {n_candidates:,} replies that differ; the usual number of candidates is "
            f"{CANDIDATES:,}, and fewer make every rank better."
        )
    return None


def _conversations_for(held_out: int) -> int:
    return round(held_out / HELD_OUT[0][1] / 10) * 10 + 10


def _nothing_to_ask(ground: Ground, n_seen: int) -> str:
    need = (
        "The task reply needs conversations in which an agent answers: JSONL with turns or messages, each with a role "
        "(user, assistant) and a text."
    )
    if n_seen:
        return (
            f"{need} The sources have {n_seen:,} replies, and none of their conversations happened to be held out. "
            f"About {_conversations_for(decide.FEWEST_CLUSTERS):,} conversations are enough for a verdict."
        )
    turns = sum(int((np.asarray(corpus.turn) >= 0).sum()) for corpus in (ground.train, ground.held_out))
    if not turns:
        return f"{need} The sources hold no conversations."
    return (
        f"{need} The sources have {turns:,} turns, and none of them answers another: conversations of one turn, or of "
        "one speaker, have no replies."
    )
