"""Labels' names as examples: `card_arrival` says what its messages are about before there is one.

A name is read as words, embedded like a text, and counts as so many examples of its label ("dataless classification",
Chang et al. 2008, section 3; there the names are all there is). Names may also say nothing (`intent_17`), so they are
used only where they predict the labels of labelled texts: h of n texts are nearest to their own label's name, where
chance alone would give c n. The names are used if h is likelier for names that get half of the rest right than for
chance,

    h log((1 + c) / 2c) + (n - h) log(1 / 2) > 0

(a likelihood ratio above 1). Two labels need 63 % of the texts to be nearest to their name, 77 labels need 16 %.
"""

import math
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from shoptalk.nn.encoder import embed
from shoptalk.nn.product import Embedder

EXAMPLES = 2.0
"""How many labelled texts a name counts as. On public sets 2 is within 0.6 points of 1 for intents, and
better for sentiment by half a point to two (docs/log.md)."""
_SEAM = re.compile(r"(?<=[^\W\d_])(?=\d)|(?<=[\da-zß-öø-ÿ])(?=[A-ZÀ-ÖØ-Þ])|(?<=[A-Z])(?=[A-Z][a-z])")
_MARKS = re.compile(r"[\W_]+")


def spoken(label: str) -> str:
    """A label as words: `cardArrival`, `card-arrival` and `CARD_ARRIVAL` are all "card arrival"."""
    return _MARKS.sub(" ", _SEAM.sub(" ", label)).strip().lower()


def embedded(product: Embedder, labels: Sequence[str]) -> Float[np.ndarray, "C D"] | None:
    """Unit vectors of the labels' names in the order given; None where a label has no letter or two read alike."""
    words = [spoken(label) for label in labels]
    if len(set(words)) < len(words) or not all(any(map(str.isalpha, name)) for name in words):
        return None
    return embed(product, words)


def speak(named: Float[np.ndarray, "C D"], vectors: Float[np.ndarray, "N D"], codes: Int[np.ndarray, " N"]) -> bool:
    """Whether the names are to be used, by the rule above; `vectors` are labelled texts, in the space of `named`."""
    return hits_speak((vectors @ named.T).argmax(axis=1), codes, len(named))


def hits_speak(nearest: Int[np.ndarray, " N"], codes: Int[np.ndarray, " N"], n_names: int) -> bool:
    """The same where the name nearest to each text is known.

    Chance is the share of hits if names were given independently of the texts, each as often as here.
    """
    predicted, actual = (np.bincount(numbers, minlength=n_names) for numbers in (nearest, codes))
    chance = float(predicted @ actual) / len(codes) ** 2
    hits = int((nearest == codes).sum())
    return hits > 0 and hits * math.log2((1 + chance) / (2 * chance)) > len(codes) - hits
