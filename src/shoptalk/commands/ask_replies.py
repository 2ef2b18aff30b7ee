"""Of a run without labels: the contexts on which two rankings of replies begin with different ones, and both of these.

A person is asked which of the two replies fits. Contexts and candidates are those of conversations that the run has
held out for this alone, or of a source that it has not seen.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int

from shoptalk.commands.ask_run import AskedRun, System
from shoptalk.curate.bank import apart_from, read_bank
from shoptalk.curate.rules import IDENTIFYING_WORDS
from shoptalk.errors import InputError
from shoptalk.stages.bank import known_texts
from shoptalk.stages.world import open_embedder
from shoptalk.tasks.reply import CANDIDATES, ReplyRanking, chosen_replies, tried_on, turns_for
from shoptalk.text.corpus import Corpus
from shoptalk.text.dialogue import Replies

SHOWN = 4
"""Turns before a reply that a person sees; an encoder may read more."""


def reply_bank(done: AskedRun, bank: Path | None) -> ReplyRanking:
    """The contexts of a bank, each with its true reply; one of a conversation before a second one.

    Raises:
        InputError: there is no bank, or its conversations have no replies.
    """
    corpus = done.curated.bank
    if bank is not None:
        corpus = read_bank(bank, done.world.config.curate, out=done.run)
    if corpus is None or not len(replies := Replies.of(corpus)):
        raise InputError(
            f"{done.run} had no labels, so that replies are asked about, and "
            f"{'has held no conversations out for that' if bank is None else f'{bank} has no replies to ask about'}. "
            "Give conversations that it has not seen with --bank SOURCE, JSONL with turns that have a role and a text."
        )
    return ReplyRanking(replies, chosen_replies(replies, seed=done.world.config.seed, most=CANDIDATES))


def unseen(done: AskedRun, ranking: ReplyRanking) -> Bool[np.ndarray, " N"]:
    """Which contexts are no exchange that the run has read: a question and its reply, both of four words or more, that
    are near texts of the run.
    """
    replies, alike = ranking.replies, done.world.config.curate.near_duplicate
    asked = [replies.corpus.texts[replies.question(i)] for i in ranking.positions.tolist()]
    sides = [asked, ranking.answers]
    apart = [apart_from(side, known_texts(done.curated), alike) for side in sides]
    long = [np.array([len(text.split()) >= IDENTIFYING_WORDS for text in side]) for side in sides]
    return np.asarray(apart[0] | apart[1] | ~(long[0] & long[1]))


def first_replies(done: AskedRun, system: System, ranking: ReplyRanking) -> Int[np.ndarray, " N"]:
    """Of each context the place of the reply that a system ranks first."""
    product = open_embedder(done.world.config, system.model)
    return ranking.first(product, turns_for(product, tried_on(done.curated.train, seed=done.world.config.seed)))


def turns_before(corpus: Corpus, replies: Replies, position: int) -> tuple[tuple[str, str], ...]:
    """The last turns before a reply, oldest first: role and text."""
    places = reversed(replies.before(position, SHOWN))
    return tuple((corpus.role_of(i), corpus.texts[i]) for i in places)
