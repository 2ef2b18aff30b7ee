"""The collapse alarm: does an encoder still tell items apart, or does it put them all on a few directions?

One rule: RankMe below 5 % of the most it could be, min(N, D). Why this one, and not a mean cosine above a limit: a
cosine near 1 is also what a healthy encoder with a large common component shows, which a linear head ignores; and
texts spread evenly over very few directions have a mean cosine near 0 although almost everything about them is lost.
RankMe sees both kinds of collapse (to a point, to few dimensions) and needs no base to compare with. With vectors
spread evenly over 384 dimensions around a common component, it crosses the limit at a mean cosine of 0.999 (at 0.95 it
reads 53 %).

Sources: Garrido et al. 2023 (RankMe, see `rank.py`); Jing, Vincent, LeCun, Tian, "Understanding Dimensional Collapse in
Contrastive Self-Supervised Learning", ICLR 2022 (the two kinds of collapse).
"""

from shoptalk.records import Reading

LIMIT = 5.0
"""Per cent of min(N, D) below which RankMe means collapse."""


def collapsed(rank: Reading) -> bool:
    """Whether a reading of `rank.rank` means collapse.

    RankMe is at least 1, so fewer than 20 vectors (or dimensions) can never fall below the limit.
    """
    return 100.0 * rank.value < LIMIT * float(rank.detail["most"])
