"""What a general compressor takes of texts when it has the training documents before it: what a language model that
began with random weights is held against, for that much everybody has without any training.

A model that foretells text compresses it, and the other way round (Delétang et al. 2024, "Language modeling is
compression"). The bits of a text are the difference of two sizes: of the training documents with it behind them, and of
the training documents alone. So no judged text is read with others like it before it, as none is by the model.
"""

import lzma
from collections.abc import Sequence
from typing import NamedTuple

from shoptalk.text.corpus import PARTED_BY

NAME = "xz"
MOST = 1_000_000
"""Bytes of the training documents, at most, the last ones."""
READ = 20
"""Texts that are read, of however many are judged: each takes some half a second with so much before it."""
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": lzma.PRESET_DEFAULT, "dict_size": 2**23}]
"""The default preset of xz, whose dictionary holds all that is compressed here."""
_PARTED_BY = PARTED_BY[False].encode()


class Compressed(NamedTuple):
    """What the compressor takes of some of the texts that a verdict reads."""

    bits_per_byte: float
    places: tuple[int, ...]
    """Which of the texts."""
    n_bytes: int
    """Of these."""
    share: float
    """Their mean number of bytes over that of all the texts."""
    primed: int
    """Bytes of the training documents before them."""


def compressed(train: Sequence[str], texts: Sequence[str]) -> Compressed:
    """Bits per byte of up to `READ` of the texts, at equal distances, each after the training texts, of which the last
    `MOST` bytes count.

    The bytes are those that a model's bits are divided by: of the texts alone. The bits are of all that is written:
    a text's beginning, too, where a model's bits are those after its first token, and two line breaks before it. So the
    compressor looks worse by a few bits a text than it is.
    """
    before = _last(train)
    written = [text.encode("utf-8", "surrogatepass") for text in texts]
    places = tuple(dict.fromkeys(i * len(texts) // READ for i in range(READ)))
    alone = _size(before)
    bits = sum(8 * (_size(_PARTED_BY.join([before, written[i]] if before else [written[i]])) - alone) for i in places)
    n_bytes = sum(len(written[i]) for i in places)
    share = (n_bytes / len(places)) / (sum(map(len, written)) / len(written))
    return Compressed(bits / n_bytes, places, n_bytes, share, len(before))


def _last(texts: Sequence[str]) -> bytes:
    """Up to `MOST` bytes of the texts' end."""
    parts: list[bytes] = []
    size = 0
    for place in range(len(texts) - 1, -1, -1):
        parts.append(texts[place].encode("utf-8", "surrogatepass"))
        size += len(parts[-1]) + len(_PARTED_BY)
        if size >= MOST:
            break
    return _PARTED_BY.join(reversed(parts))[-MOST:]


def _size(data: bytes) -> int:
    return len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=_FILTERS))
