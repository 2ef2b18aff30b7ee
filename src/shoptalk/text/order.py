"""A random permutation of n positions, of which only those that are asked for are computed.

A corpus of a hundred million texts has no room for a shuffled list of its positions, and a step needs only a batch of
them. So the order is a cipher: position i goes to the number that i encrypts to. Black and Rogaway, "Ciphers with
arbitrary finite domains" (CT-RSA 2002), build one for any n from a Feistel network whose halves are numbers below m,
added modulo m, for m² the next square (their "generalized Feistel", with equal halves); what falls outside is encrypted
again until it falls inside (their "cycle-walking"). A Feistel network is a bijection whatever its round function
is, and the walk keeps it one. There is hardly any walking: m² - n is at most 2 m.

No secret is kept here, so the round function is a cheap mixing of bits, not a cryptographic one.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Integer, UInt64

from shoptalk.text.chance import mixed

ROUNDS = 8
"""Luby and Rackoff (1988) need four rounds of ideal functions; over small halves twice that mixes ours better."""
PLAIN = 256
"""Below this many, a shuffled list is as cheap, and a Feistel network over such small halves mixes less well."""


def permuted(
    n: int, positions: Sequence[int] | Integer[np.ndarray, " P"], *, seed: int, epoch: int
) -> Int[np.ndarray, " P"]:
    """What stands at `positions` in the order of range(n) that `seed` and `epoch` (both at least 0) choose.

    Time and memory are those of P positions, whatever n is. All positions together are a permutation of range(n).

    Raises:
        IndexError: a position is not in range(n).
    """
    places = np.asarray(positions, dtype=np.int64)
    if places.size and not (int(places.min()) >= 0 and int(places.max()) < n):
        raise IndexError(f"Positions from {places.min()} to {places.max()} of an order of {n} things.")
    if n < PLAIN:
        order = np.random.default_rng([seed, epoch]).permutation(n).astype(np.int64)
        return np.asarray(order[places])
    side = np.uint64(math.isqrt(n - 1) + 1)
    keys = np.asarray(np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS, np.uint64), dtype=np.uint64)
    numbers = _encrypted(places.astype(np.uint64), side, keys)
    while len(outside := np.flatnonzero(numbers >= n)):
        numbers[outside] = _encrypted(numbers[outside], side, keys)
    return numbers.astype(np.int64)


def drawn(n: int, batch: int, *, seed: int, step: int) -> list[int]:
    """Which of n positions make batch `step`: every pass is a new permutation, and no position is twice in a batch."""
    batch = min(batch, n)
    number, place = divmod(step, n // batch)
    positions: list[int] = permuted(n, range(place * batch, (place + 1) * batch), seed=seed, epoch=number).tolist()
    return positions


def _encrypted(
    numbers: UInt64[np.ndarray, " P"], side: np.uint64, keys: UInt64[np.ndarray, " R"]
) -> UInt64[np.ndarray, " P"]:
    """A balanced Feistel network over the numbers below `side` squared."""
    left, right = np.divmod(numbers, side)
    for key in keys:
        left, right = right, (left + mixed(right ^ key) % side) % side
    return np.asarray(left * side + right)
