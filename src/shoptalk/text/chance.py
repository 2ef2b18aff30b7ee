"""Counter-based randomness: a number is a function of where it is used, without a generator or state.

What happens to token j of example e at step i depends on (seed, i, e, j) alone. So masks depend neither on the batch
that an example is in nor on the number of processes, and those of a whole batch are drawn at once.
"""

import numpy as np
from jaxtyping import Float64, Integer, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # SplitMix64's increment: 2^64 over the golden ratio, made odd


def uniform(
    seed: int,
    step: int,
    examples: Integer[np.ndarray, " T"],
    places: Integer[np.ndarray, " T"],
    *,
    stream: int,
) -> Float64[np.ndarray, " T"]:
    """A number in [0, 1) for each (example, place); different streams are independent of each other."""
    start = np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0]
    bits = mixed(examples.astype(np.uint64) * _GOLDEN + start)
    bits = mixed((bits ^ places.astype(np.uint64)) * _GOLDEN + start)
    return np.asarray((bits >> np.uint64(11)) * 2.0**-53)  # a double holds 53 bits


def mixed(numbers: UInt64[np.ndarray, " P"]) -> UInt64[np.ndarray, " P"]:
    """Every bit of the result depends on every bit given: the finaliser of SplitMix64 (Steele, Lea, Flood 2014)."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(numbers ^ (numbers >> np.uint64(31)))
