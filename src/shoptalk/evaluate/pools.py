"""Unlabelled items of a corpus at random: those that heads may learn from, and samples for measures without labels."""

import itertools

from shoptalk.nn.heads.kind_answers import POOL
from shoptalk.records import Item
from shoptalk.text.corpus import Corpus
from shoptalk.text.order import permuted


def pool_of(corpus: Corpus, *, seed: int) -> tuple[Item, ...]:
    """Unlabelled items for the run's heads: a random sample, each item once."""
    return tuple(pool_places(corpus, seed=seed))


def pool_places(corpus: Corpus, *, seed: int) -> dict[Item, int]:
    """The same items with where each stands in the corpus, the first place that was drawn."""
    places: dict[Item, int] = {}
    for place in sampled(corpus, 2 * POOL, seed=seed, epoch=1):
        places.setdefault(corpus.items[place], place)
    return dict(itertools.islice(places.items(), POOL))


def sampled(corpus: Corpus, most: int, *, seed: int, epoch: int) -> list[int]:
    """Up to `most` positions at random; of a corpus with pictures those of pictures alone, and not of captions."""
    pictures = corpus.pictures.numbers
    size = len(pictures) or len(corpus)
    places = permuted(size, range(min(size, most)), seed=seed, epoch=epoch)
    return [int(i) for i in (pictures[places] if len(pictures) else places)]
