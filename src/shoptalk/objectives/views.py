"""Batches of augmented views, which all objectives on pictures are made from.

A view is cut from the picture as it was decoded at the encoder's size, the centre square, and not from the original: a
picture is decoded once and not at every visit. So a small crop is enlarged from few pixels, and the margins of a
picture that is no square are never seen.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from shoptalk.image.augment import Chain, augment
from shoptalk.image.batches import Views
from shoptalk.nn.image_encoder import ImageEncoder
from shoptalk.objective import Key, Material


def views_of(
    material: Material[ImageEncoder], chains: Sequence[Chain], *, sizes: Sequence[int] | None = None
) -> Callable[[Sequence[int], Key], Views]:
    """What makes one view of each picture by each of the chains.

    Args:
        material: whose corpus the pictures are of; views are normalised as its encoder reads them.
        chains: of the views, in their order.
        sizes: of the views, in pixels; those of the encoder without it.
    """
    network, pixels = material.product.network, material.inputs
    sides = [network.size] * len(chains) if sizes is None else sizes
    normalised: dict[str, Any] = {"mean": network.mean, "std": network.std}

    def collate(examples: Sequence[int], key: Key) -> Views:
        pictures = pixels.take(np.asarray(examples, dtype=np.int64))
        views = [
            augment(pictures, examples, seed=key.seed, step=key.step, view=view, chain=chain, size=side, **normalised)
            for view, (chain, side) in enumerate(zip(chains, sides, strict=True))
        ]
        return Views(tuple(views))

    return collate
