"""Next-turn retrieval: does a message lie nearer to the reply it got than to other replies? Label-free.

The task is that of Lowe, Pow, Serban, Pineau, "The Ubuntu Dialogue Corpus", SIGDIAL 2015 (recall@k of the true next
utterance among candidates), with the other pairs' replies as candidates as in Henderson et al., "A Repository of
Conversational Datasets", 2019. The mean reciprocal rank is from Voorhees, "The TREC-8 Question Answering Track Report",
1999.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float

from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder
from shoptalk.records import Reading
from shoptalk.text.corpus import Corpus

CANDIDATES = 1000
KEY = "next_turn_retrieval"

Pair = tuple[str, str]
"""A message and the reply it got."""


def choose_pairs(corpus: Corpus, *, seed: int, most: int = CANDIDATES) -> tuple[Pair, ...]:
    """Up to `most` (context, reply) texts of consecutive turns, the same for the same corpus and seed.

    One pair per conversation, in a random order of conversations; a second one per conversation only when all have
    been asked and pairs are still missing, and so on. Replies are distinct but for case and white space, since a
    duplicate of the true reply is no wrong answer; a reply that repeats its context is left out, since finding it
    takes no understanding. A corpus without conversations gives no pairs.
    """
    rng = np.random.default_rng(seed)
    of_conversation: dict[int, list[Pair]] = {}
    for context, reply in corpus.pairs():
        number = int(corpus.conversation[context])
        of_conversation.setdefault(number, []).append((corpus.texts[context], corpus.texts[reply]))
    conversations = list(of_conversation.values())
    waiting = [_shuffled(conversations[i], rng) for i in rng.permutation(len(conversations))]
    chosen: list[Pair] = []
    taken: set[str] = set()
    while waiting:
        for pairs in waiting:
            pair = _take(pairs, taken)
            if pair is not None:
                chosen.append(pair)
            if len(chosen) >= most:
                return tuple(chosen)
        waiting = [pairs for pairs in waiting if pairs]
    return tuple(chosen)


def reciprocal_ranks(contexts: Float[np.ndarray, "P D"], replies: Float[np.ndarray, "P D"]) -> Float[np.ndarray, " P"]:
    """1 / rank of row i of `replies` by cosine to row i of `contexts`, all P replies being candidates; unit vectors.

    A tie counts against the true reply, so that an encoder gains nothing by putting all texts in one place.
    """
    similarity = contexts @ replies.T
    true = np.diagonal(similarity)[:, None]
    ranks: Float[np.ndarray, " P"] = 1.0 / (similarity >= true).sum(axis=1)
    return ranks


def retrieval(pairs: Sequence[Pair]) -> Callable[[Embedder], Reading]:
    """A probe: 100 times the mean reciprocal rank of the true reply, every pair's reply being a candidate.

    Outcomes are the pairs' reciprocal ranks. `detail` has `recall_at_1` in per cent, the number of `candidates`
    (1,000 from `choose_pairs`, fewer where the corpus has fewer; readings compare only at the same number), and
    `chance`, the value that a random order would get.

    Raises:
        ValueError: there are fewer than two pairs, or two of them have the same reply.
    """
    contexts, replies = [context for context, _ in pairs], [reply for _, reply in pairs]
    distinct = len({_plain(reply) for reply in replies})
    if len(pairs) < 2 or distinct < len(pairs):
        raise ValueError(
            f"Got {len(pairs)} (context, reply) pairs with {distinct} different replies: expected at least two, with "
            "no reply twice. `choose_pairs` chooses such pairs from a corpus of conversations."
        )
    chance = 100.0 * float((1.0 / np.arange(1, len(pairs) + 1)).mean())

    def probe(product: Embedder) -> Reading:
        found = reciprocal_ranks(embed(product, contexts), embed(product, replies))
        recall = 100.0 * float((found == 1.0).mean())
        return Reading(
            key=KEY,
            name="next-turn MRR",
            value=100.0 * float(found.mean()),
            unit="points of mean reciprocal rank",
            n=len(pairs),
            outcomes=tuple(found.tolist()),
            detail={"recall_at_1": recall, "candidates": len(pairs), "chance": chance},
        )

    return probe


def _shuffled(pairs: list[Pair], rng: np.random.Generator) -> list[Pair]:
    return [pairs[i] for i in rng.permutation(len(pairs))]


def _take(pairs: list[Pair], taken: set[str]) -> Pair | None:
    """Removes pairs from the end of the list up to the first usable one, and notes its reply as taken."""
    while pairs:
        context, reply = pairs.pop()
        plain = _plain(reply)
        if plain not in taken and plain != _plain(context):
            taken.add(plain)
            return context, reply
    return None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def told(name: str, before: Mapping[str, float], after: Mapping[str, float], *, n: int) -> str:
    """A further sentence, where both readings were taken: whether a challenger finds the reply that was given better
    than the base, among `n`.
    """
    if KEY not in before or KEY not in after:
        return ""
    verb = "finds" if after[KEY] > before[KEY] else "does not find"
    return (
        f" {name} {verb} the true reply among {n} held-out ones better than the base (mean reciprocal rank "
        f"{after[KEY] / 100:.3f} against {before[KEY] / 100:.3f})."
    )
