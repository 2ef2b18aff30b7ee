"""The collapse alarm: does an encoder still tell items apart, or does it put them all on a few directions?

The alarm goes off where RankMe is below 5 % of the most it could be, min(N, D), unless the vectors less their mean are
above that limit and farther from it than arithmetic alone puts them. Why RankMe, and not a mean cosine above a limit: a
cosine near 1 is also what a healthy encoder with a large common component shows, which a linear head ignores; and
texts spread evenly over very few directions have a mean cosine near 0 although almost everything about them is lost.
RankMe sees both kinds of collapse (to a point, to few dimensions) and needs no base to compare with. Why the exception:
the common component may be so large that it alone makes RankMe small. A masked autoencoder's [CLS] state after 200
steps reads 2 % as it is and 15 % less its mean, at a mean cosine of 0.994, and a linear head on it is right more and
more often. Vectors that have become one are all arithmetic's noise less their mean, which has full rank: so their
spread must be above 0.02, a mean cosine of 0.9996 (bfloat16 rounds each number by up to 0.004 of itself).

An encoder is not all that can collapse. With batch norms in its head, an objective that lets all vectors become one
makes the head do it, within tens of steps, while the encoder's own vectors hardly change for hundreds: the loss is then
next to nothing and teaches nothing. So objectives to which that may happen tell, as a term of their loss, the spread of
the vectors that they compare (`nn/losses.spread`), and below a limit that is an alarm, too. BYOL on
CIFAR-10 and 200 steps: never under 0.75; without its predictor under 0.2 from step 25 on (decision 0024).

Sources: Garrido et al. 2023 (RankMe, see `rank.py`); Jing, Vincent, LeCun, Tian, "Understanding Dimensional Collapse in
Contrastive Self-Supervised Learning", ICLR 2022 (the two kinds of collapse).
"""

from collections.abc import Mapping

from shoptalk.records import Reading

LIMIT = 5.0
"""Per cent of min(N, D) below which RankMe means collapse."""
POINT = 0.02
"""The spread of unit vectors below which they are one point."""

SPREAD = "spread"
"""The term of a loss that tells how far the vectors that it compares are apart, from 0 to 1."""
SPREAD_LIMIT = 0.2
"""Below it they have collapsed: the mean cosine of two of them is above 0.96."""


def collapsed(rank: Reading) -> bool:
    """Whether a reading of `rank.rank` means collapse.

    RankMe is at least 1, so fewer than 20 vectors (or dimensions) can never fall below the limit. A reading of an
    earlier version, without what is left less the mean, is judged by RankMe alone.
    """
    least = LIMIT * float(rank.detail["most"]) / 100.0
    apart = float(rank.detail.get("centred", 0.0)) >= least and float(rank.detail.get("spread", 0.0)) >= POINT
    return rank.value < least and not apart


def collapsed_terms(terms: Mapping[str, float]) -> list[str]:
    """Which terms of a loss, a mixture's parts' included, mean collapse."""
    return [name for name, value in terms.items() if name.rpartition(".")[2] == SPREAD and value < SPREAD_LIMIT]
