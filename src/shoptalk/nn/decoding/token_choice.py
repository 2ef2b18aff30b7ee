"""The next token out of its logits: the likeliest, or one drawn with temperature and top-p."""

import numpy as np
from jaxtyping import Float, Int

_LEADING = (256, 4_096)
"""How many tokens are sorted at first: the likeliest few mostly have what top-p asks for."""


class TokenChoice:
    """Chooses token after token; the n-th draw of a seed is always the same."""

    def __init__(self, *, temperature: float, top_p: float, seed: int) -> None:
        self._temperature, self._top_p = temperature, top_p
        self._draws = np.random.default_rng(seed)

    def __call__(self, logits: Float[np.ndarray, " V"]) -> int:
        """A token."""
        if self._temperature == 0.0:
            return int(logits.argmax())
        below = logits.astype(np.float64) - logits.max()
        with np.errstate(over="ignore"):  # by a tiny temperature to minus infinity, which is no weight at all
            weights = np.exp(below / self._temperature)
        share = self._draws.random()
        if self._top_p >= 1.0:
            return _drawn(np.arange(len(weights)), weights, share)
        tokens = nucleus(weights, self._top_p)
        return _drawn(tokens, weights[tokens], share)


def nucleus(weights: Float[np.ndarray, " V"], top_p: float) -> Int[np.ndarray, " n"]:
    """The fewest tokens, the likeliest first, whose weights together reach that share of all."""
    wanted = top_p * weights.sum()
    for most in (*_LEADING, len(weights)):
        tokens = np.arange(len(weights)) if most >= len(weights) else np.sort(np.argpartition(-weights, most)[:most])
        tokens = tokens[np.argsort(-weights[tokens], kind="stable")]
        together = np.cumsum(weights[tokens])
        if together[-1] >= wanted or len(tokens) == len(weights):
            break
    return tokens[: int(np.searchsorted(together, wanted)) + 1]


def _drawn(tokens: Int[np.ndarray, " n"], weights: Float[np.ndarray, " n"], share: float) -> int:
    """The token at which the running sum of weights passes `share` of the whole."""
    together = np.cumsum(weights)
    place = int(np.searchsorted(together, share * together[-1], side="right"))
    return int(tokens[min(place, len(tokens) - 1)])
