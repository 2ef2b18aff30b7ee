"""Near-duplicate texts: MinHash and locality-sensitive hashing find candidates, the exact Jaccard similarity decides.

A text is the set of its character 5-grams after normalisation. Two texts share a band of r MinHash values with
probability J^r, so with b bands a pair of similarity J becomes a candidate with probability 1 - (1 - J^r)^b
(Broder 1997; Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4). r is the largest that
misses at most one pair in a thousand at the threshold itself, and far fewer above it.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32, UInt64
from rensa import RMinHash
from scipy.sparse import csr_array

GRAM = 5
_PERMUTATIONS = 128
_SEED = 20_240
_MISSES = 1e-3
# In a bucket of templated texts ("your parcel 123 is on its way", ten thousand times) a text is compared with this many
# neighbours and not with all, which would take quadratic time. Such a text has as many chances as there are bands:
# among 4,000 templated texts this found 2,465 clusters where there are 2,464 (8 neighbours: 2,471).
_WINDOW = 16
# The estimate from 128 MinHash values has a standard deviation of at most 0.044: a pair whose estimate is three of
# those below the threshold is not worth an exact comparison.
_SLACK = 0.13
_CHUNK = 20_000
_ROWS = 2_000
_APOSTROPHES = "'’‘ʼ`"


def normalise(text: str) -> str:
    """The text without what does not tell two messages apart: case, width, punctuation, repeated whitespace.

    Apostrophes vanish ("don't" = "dont"), other punctuation parts words. A text of punctuation only stays as it is.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.translate(_PUNCTUATION).split()) or " ".join(folded.split())


def clusters(texts: Sequence[str], threshold: float) -> Int[np.ndarray, " N"]:
    """The number of each text's near-duplicate cluster; clusters are numbered by their first text.

    Texts whose Jaccard similarity is at least `threshold` are in one cluster, and so is whatever they chain to. Equal
    normalised texts always are.
    """
    place: dict[str, int] = {}
    which = [place.setdefault(normalise(text), len(place)) for text in texts]
    grams = _grams(list(place))
    parent = list(range(len(place)))
    for left, right in _candidates(grams.digests(), np.ones(len(place), dtype=bool), threshold):
        roots = _roots(parent)
        apart = np.flatnonzero(roots[left] != roots[right])
        alike = apart[grams.similarity(left[apart], right[apart]) >= threshold]
        for i, j in zip(left[alike].tolist(), right[alike].tolist(), strict=True):
            a, b = _root(parent, i), _root(parent, j)
            parent[max(a, b)] = min(a, b)
    numbers: dict[int, int] = {}
    found = [numbers.setdefault(_root(parent, i), len(numbers)) for i in which]
    return np.array(found, dtype=np.int64)


def similarity(text: str, others: Sequence[str]) -> Float[np.ndarray, " N"]:
    """The exact Jaccard similarity of a text with each of the others, by which `clusters` decides."""
    every = [normalise(each) for each in (text, *others)]
    return _similarity(every, np.zeros(len(others), dtype=np.int64), np.arange(1, len(every)))


def matches(texts: Sequence[str], reference: Sequence[str], threshold: float) -> Bool[np.ndarray, " N"]:
    """Which texts are near duplicates of any reference text (Jaccard similarity of at least `threshold`)."""
    return Reference(reference, threshold).near(texts)


class Reference:
    """Texts that a stream of others is compared with; only of them anything is kept, about 600 bytes each."""

    def __init__(self, texts: Sequence[str], threshold: float) -> None:
        self._threshold = threshold
        self._known = {text: i for i, text in enumerate(dict.fromkeys(normalise(text) for text in texts))}
        self._digests = _grams(list(self._known)).digests()

    def near(self, texts: Sequence[str]) -> Bool[np.ndarray, " N"]:
        """Which texts are near duplicates of any of these. What it says of one does not depend on the others.

        Takes about 2 kB a text while it works: give some thousands at a time.
        """
        n = len(self._known)
        if not n:
            return np.zeros(len(texts), dtype=bool)
        place = dict(self._known)
        which = np.array([place.setdefault(normalise(text), len(place)) for text in texts], dtype=np.int64)
        known = np.arange(len(place)) < n
        found = known.copy()
        if n < len(place):
            every = list(place)
            digests = np.concatenate([self._digests, _grams(every[n:]).digests()])
            for item, anchor in _candidates(digests, known, self._threshold):
                unsettled = np.flatnonzero(~found[item])
                alike = _similarity(every, item[unsettled], anchor[unsettled]) >= self._threshold
                found[item[unsettled[alike]]] = True
        return np.asarray(found[which])


class _Punctuation(dict[int, str]):
    """A table for `str.translate` that fills itself: a scan of all of Unicode would cost a tenth of a second."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        if character in _APOSTROPHES:
            self[code] = ""
        elif unicodedata.category(character).startswith("P"):
            self[code] = " "
        else:
            self[code] = character
        return self[code]


_PUNCTUATION = _Punctuation()


@dataclass(frozen=True)
class _Grams:
    """The 5-grams of N texts as 64-bit numbers."""

    flat: UInt64[np.ndarray, " T"]
    starts: UInt64[np.ndarray, " N1"]

    @cached_property
    def sets(self) -> csr_array:
        """The exact set of each text's grams as a row of a 0/1 matrix."""
        distinct, columns = np.unique(self.flat, return_inverse=True)
        ones = np.ones(len(self.flat), dtype=np.int32)
        starts = self.starts.astype(np.int64)  # a copy: merging a text's repeated grams moves them in place
        found = csr_array((ones, columns, starts), shape=(len(starts) - 1, max(1, len(distinct))))
        found.sum_duplicates()
        found.data[:] = 1
        return found

    @cached_property
    def sizes(self) -> Int[np.ndarray, " N"]:
        """How many different grams each text has."""
        return np.asarray(np.diff(self.sets.indptr), dtype=np.int64)

    def similarity(self, left: Int[np.ndarray, " C"], right: Int[np.ndarray, " C"]) -> Float[np.ndarray, " C"]:
        """Jaccard similarity of pairs of texts."""
        shared = np.zeros(len(left), dtype=np.int64)
        for begin in range(0, len(left), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            shared[part] = self.sets[left[part]].multiply(self.sets[right[part]]).sum(axis=1)
        return np.asarray(shared / (self.sizes[left] + self.sizes[right] - shared), dtype=np.float64)

    def digests(self) -> UInt32[np.ndarray, "N P"]:
        """MinHash signatures, in chunks because rensa hands them over as Python lists."""
        n = len(self.starts) - 1
        parts = [np.zeros((0, _PERMUTATIONS), dtype=np.uint32)]
        for begin in range(0, n, _ROWS):
            starts = self.starts[begin : min(begin + _ROWS, n) + 1]
            flat = self.flat[starts[0] : starts[-1]]
            matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, starts - starts[0], _PERMUTATIONS, _SEED)
            parts.append(np.array(matrix.to_rows(), dtype=np.uint32))
        return np.concatenate(parts)


def _grams(texts: Sequence[str]) -> _Grams:
    """All 5-grams of normalised texts; one shorter than that is padded to a single gram."""
    padded = [text.ljust(GRAM, "\0") for text in texts]
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    weights = _odd_numbers(GRAM)
    # A gram's number is a weighted sum modulo 2^64: two different grams share one about once in 10^19 times.
    rolling = np.zeros(max(0, len(codes) - GRAM + 1), dtype=np.uint64)
    for offset in range(GRAM):
        rolling += codes[offset : offset + len(rolling)] * weights[offset]
    starts = np.concatenate([[0], np.cumsum(lengths - GRAM + 1)])
    inside = np.ones(len(rolling), dtype=bool)
    for offset in range(1, GRAM):  # grams that would run from one text into the next
        inside[np.cumsum(lengths)[:-1] - offset] = False
    flat = rolling[inside]
    return _Grams(flat=flat, starts=starts.astype(np.uint64))


def _similarity(
    texts: Sequence[str], left: Int[np.ndarray, " C"], right: Int[np.ndarray, " C"]
) -> Float[np.ndarray, " C"]:
    """Jaccard similarity of pairs of normalised texts, of which only those in a pair are looked at."""
    if not len(left):
        return np.zeros(0)
    some, place = np.unique(np.concatenate([left, right]), return_inverse=True)
    return _grams([texts[i] for i in some.tolist()]).similarity(place[: len(left)], place[len(left) :])


def _odd_numbers(n: int) -> UInt64[np.ndarray, " n"]:
    random = np.random.default_rng(_SEED)
    return np.asarray(random.integers(0, 2**63, size=n, dtype=np.uint64) * np.uint64(2) + np.uint64(1))


def _rows_per_band(threshold: float) -> int:
    """The most MinHash values a band may have with at most `_MISSES` missed at the threshold."""
    for rows in range(_PERMUTATIONS, 1, -1):
        if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSES:
            return rows
    return 1


def _candidates(
    digests: UInt32[np.ndarray, "N P"], anchors: Bool[np.ndarray, " N"], threshold: float
) -> Iterator[tuple[Int[np.ndarray, " C"], Int[np.ndarray, " C"]]]:
    """(text, anchor) pairs that share a band and whose estimated similarity is near the threshold or above it."""
    rows = _rows_per_band(threshold)
    bands = digests.shape[1] // rows
    keys = np.stack([_band_key(digests[:, band * rows : (band + 1) * rows]) for band in range(bands)], axis=1)
    for band in range(bands):
        # Ties are ordered by the next band, which brings the more similar texts of a crowded bucket together.
        order = np.lexsort((keys[:, (band + 1) % bands], keys[:, band]))
        # Where every text is an anchor, the pairs of one direction are those of the other.
        for direction in (order,) if anchors.all() else (order, order[::-1]):
            for item, anchor in _anchors_before(keys[:, band], direction, anchors):
                likely = _estimate(digests, item, anchor) >= threshold - _SLACK
                yield item[likely], anchor[likely]


def _band_key(band: UInt32[np.ndarray, "N r"]) -> UInt64[np.ndarray, " N"]:
    """A band's values as one number; a collision only costs a comparison."""
    return np.asarray((band.astype(np.uint64) * _odd_numbers(band.shape[1])).sum(axis=1, dtype=np.uint64))


def _anchors_before(
    key: UInt64[np.ndarray, " N"], order: Int[np.ndarray, " N"], anchors: Bool[np.ndarray, " N"]
) -> Iterator[tuple[Int[np.ndarray, " C"], Int[np.ndarray, " C"]]]:
    """Each text that is no anchor itself (or, where all are, each) with the anchors just before it in its bucket."""
    is_anchor = anchors[order]
    anchor_order = order[is_anchor]
    wanted = ~is_anchor if not anchors.all() else is_anchor
    items = order[wanted]
    before = (np.cumsum(is_anchor) - is_anchor)[wanted]
    for step in range(1, _WINDOW + 1):
        items, before = items[before >= step], before[before >= step]
        found = anchor_order[before - step]
        same = key[found] == key[items]
        if not same.any():  # buckets are contiguous: whoever has no anchor here has none further off
            return
        items, before = items[same], before[same]
        yield items, found[same]


def _estimate(
    digests: UInt32[np.ndarray, "N P"], left: Int[np.ndarray, " C"], right: Int[np.ndarray, " C"]
) -> Float[np.ndarray, " C"]:
    """The share of MinHash values that two texts have in common, an unbiased estimate of their similarity."""
    parts = [
        (digests[left[begin : begin + _CHUNK]] == digests[right[begin : begin + _CHUNK]]).mean(axis=1)
        for begin in range(0, len(left), _CHUNK)
    ]
    return np.concatenate(parts)


def _roots(parent: list[int]) -> Int[np.ndarray, " N"]:
    """The root of every text at once."""
    found = np.array(parent, dtype=np.int64)
    while not np.array_equal(higher := found[found], found):
        found = higher
    return found


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i
