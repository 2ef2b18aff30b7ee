"""Short texts of three topics, which a head can tell apart by one word."""

import numpy as np

from shoptalk.nn.heads.kinds import FEWEST_IN_POOL
from shoptalk.nn.tiny import WORDS

TOPICS = ("card", "delivery", "refund")


def texts_of(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join([TOPICS[i % 3], *rng.choice(WORDS, 4)]) for i in range(n)]


TEXTS, LABELS = texts_of(36, 0), np.arange(36) % 3
CLUSTER = np.arange(36) // 6 * 3 + LABELS
"""Each two texts of a label."""
POOL = texts_of(FEWEST_IN_POOL + 10, 1)
