"""Features of pictures that nobody has trained: what a user would have without self-supervised training.

`pixels`  the pixels themselves, each picture's mean taken away;
`hog`     histograms of oriented gradients (Dalal & Triggs 2005, "Histograms of oriented gradients for human detection":
          9 unsigned directions, cells of 8 x 8 pixels, blocks of 2 x 2 cells each normalised by L2-Hys; without the
          paper's Gaussian weights inside a block and its interpolation between cells) beside a joint histogram of
          colours (4 x 4 x 4 bins of RGB, square roots), each part of unit length.

Both read pictures of 32 x 32 pixels; `@` and a number asks for another size, such as `hog@64`. They are measured and
shipped, never trained.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from shoptalk.artifact import usual_modes, write_text
from shoptalk.errors import BaseModelError, ConfigError
from shoptalk.image.pixels import Pixels
from shoptalk.nn.encoder import MODEL_CARD, prompt_of
from shoptalk.nn.image_encoder import decoded, embed_files, is_vision, model_type_of, picture_units, pictures_only
from shoptalk.nn.precision import Precision
from shoptalk.nn.product import Embedder, Kind
from shoptalk.records import Item
from shoptalk.text.corpus import Corpus

Feature = Literal["pixels", "hog"]
FEATURES: dict[str, str] = {
    "pixels": "no model: the pixels of 32 x 32 pictures (@64 or another size)",
    "hog": "no model: histograms of oriented gradients and of colours, 32 x 32 pixels (@64 or another size)",
}
MODEL_TYPE = "shoptalk-features"
"""Of a saved folder's config.json."""

_CELL, _DIRECTIONS, _CLIP = 8, 9, 0.2
_SHADES = 4


def feature_of(ref: str) -> tuple[Feature, int] | None:
    """The features and the side of pictures that a reference such as `hog@64` names; None for other references.

    Raises:
        BaseModelError: the number after the `@` is no size.
    """
    name, at, number = ref.partition("@")
    if name not in FEATURES:
        return None
    if at and not (number.isdecimal() and 16 <= int(number) <= 384 and int(number) % _CELL == 0):
        raise BaseModelError(
            f"{ref!r} asks for pictures of {number!r} pixels. Expected a multiple of {_CELL} from 16 to 384, such as "
            f"{name}@64."
        )
    return ("pixels" if name == "pixels" else "hog"), int(number) if at else 32


class FeatureNetwork(nn.Module):
    """Pictures with channels from 0 to 1 to features; it has no parameters."""

    def __init__(self, feature: Feature, size: int) -> None:
        super().__init__()
        self.feature: Feature = feature
        self.size = size

    @property
    def dim(self) -> int:
        """Width of the features."""
        if self.feature == "pixels":
            return 3 * self.size**2
        return (self.size // _CELL - 1) ** 2 * 4 * _DIRECTIONS + _SHADES**3

    def forward(self, pixels: Float[Tensor, "n 3 S S"]) -> Float[Tensor, "n D"]:
        """The features, not of unit length."""
        if self.feature == "pixels":
            flat = pixels.flatten(1)
            return flat - flat.mean(1, keepdim=True)
        return torch.cat([oriented_gradients(pixels), colours(pixels)], dim=1)


def oriented_gradients(pixels: Float[Tensor, "n 3 S S"]) -> Float[Tensor, "n G"]:
    """HOG of unit length: the gradient of the channel where it is steepest, its magnitude shared between the two
    nearest directions.
    """
    padded = nn.functional.pad(pixels, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]
    down = padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]
    steepest = (across.square() + down.square()).argmax(1, keepdim=True)
    across, down = across.gather(1, steepest)[:, 0], down.gather(1, steepest)[:, 0]
    magnitude = (across.square() + down.square()).sqrt()
    place = torch.remainder(torch.atan2(down, across), math.pi) / math.pi * _DIRECTIONS
    lower = place.floor()
    share = place - lower
    first = torch.remainder(lower, _DIRECTIONS).long()
    votes = magnitude.new_zeros(len(pixels), _DIRECTIONS, *magnitude.shape[1:])
    votes = votes.scatter_add(1, first.unsqueeze(1), (magnitude * (1 - share)).unsqueeze(1))
    votes = votes.scatter_add(1, ((first + 1) % _DIRECTIONS).unsqueeze(1), (magnitude * share).unsqueeze(1))
    cells = nn.functional.avg_pool2d(votes, _CELL)
    blocks = torch.cat([cells[:, :, :-1, :-1], cells[:, :, :-1, 1:], cells[:, :, 1:, :-1], cells[:, :, 1:, 1:]], dim=1)
    blocks = _unit(_unit(blocks).clamp(max=_CLIP))
    return _unit(blocks.flatten(1))


def colours(pixels: Float[Tensor, "n 3 S S"]) -> Float[Tensor, "n C"]:
    """The square roots of the shares of pixels in each bin of RGB: of unit length, and their cosine is the
    Bhattacharyya coefficient of two pictures.
    """
    shade = (pixels * _SHADES).floor().clamp(0, _SHADES - 1).long()
    bins = ((shade[:, 0] * _SHADES + shade[:, 1]) * _SHADES + shade[:, 2]).flatten(1)
    counts = pixels.new_zeros(len(pixels), _SHADES**3).scatter_add(1, bins, torch.ones_like(bins, dtype=pixels.dtype))
    return (counts / bins.shape[1]).sqrt()


def _unit(values: Tensor) -> Tensor:
    return values / (values.square().sum(1, keepdim=True) + 1e-10).sqrt()


@dataclass(frozen=True)
class FeatureEncoder(Embedder):
    """Untrained features of pictures as an encoder."""

    kind: ClassVar[Kind] = "image"

    network: FeatureNetwork
    name: str
    precision: Precision = "float32"

    @property
    def dim(self) -> int:
        """The width of its vectors."""
        return self.network.dim

    @property
    def size(self) -> int:
        """The side of the pictures that it reads, in pixels."""
        return self.network.size

    def inputs(self, corpus: Corpus, folder: Path | None = None) -> Pixels:
        """Every picture of the corpus, decoded."""
        return decoded(corpus, folder, size=self.size)

    def units(self, items: Sequence[Item]) -> int:
        """Width x height / 256 of each picture."""
        return picture_units(len(items), self.size)

    def embed(
        self,
        items: Sequence[Item],
        *,
        batch: int = 256,
        precision: Precision | None = None,
        prompt: str | None = None,
    ) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the pictures in their order; always computed in float32.

        Raises:
            ConfigError: one of the items is a text, or a prompt was given.
        """
        if prompt is not None:
            prompt_of(self, prompt)
        pictures_only(self.name, items)
        return embed_files(items, self.size, self.dim, self.embed_pixels, batch=batch)

    @torch.inference_mode()
    def embed_pixels(self, pictures: UInt8[np.ndarray, "n S S 3"], *, batch: int = 256) -> Float[np.ndarray, "n D"]:
        """Unit vectors of pictures in memory."""
        vectors = np.zeros((len(pictures), self.dim), dtype=np.float32)
        for begin in range(0, len(pictures), batch):
            part = torch.from_numpy(np.ascontiguousarray(pictures[begin : begin + batch])).permute(0, 3, 1, 2)
            features = self.network(part.float() / 255)
            vectors[begin : begin + batch] = nn.functional.normalize(features, dim=-1).numpy()
        return vectors

    def save(self, folder: Path, *, card: str) -> None:
        """Write which features they are: there are no weights."""
        folder.mkdir(parents=True, exist_ok=True)
        settings = {"model_type": MODEL_TYPE, "features": self.network.feature, "size": self.size}
        write_text(folder / "config.json", json.dumps(settings, indent=2))
        write_text(folder / MODEL_CARD, card)
        usual_modes(folder)

    def copy(self) -> "FeatureEncoder":
        """The same: there is nothing to copy."""
        return replace(self)

    def in_precision(self, precision: Precision) -> "FeatureEncoder":
        """The same: features are computed in float32."""
        return replace(self, precision=precision)

    def ready_to_train(self) -> None:
        """Refuse.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{self.name!r} has no weights that could be trained. Give an encoder, such as --base scratch:resnet-mini."
        )


def feature_encoder(feature: Feature, size: int, *, name: str) -> FeatureEncoder:
    """The features as an encoder."""
    return FeatureEncoder(FeatureNetwork(feature, size), name=name)


def is_features(folder: Path) -> bool:
    """Whether the folder is one of `FeatureEncoder.save`."""
    return model_type_of(folder) == MODEL_TYPE


def reads_pictures(folder: Path) -> bool:
    """Whether the encoder in a folder reads pictures and no texts."""
    return is_features(folder) or is_vision(folder)


def open_features(folder: Path, ref: str) -> FeatureEncoder:
    """The features that a folder of `FeatureEncoder.save` names.

    Raises:
        BaseModelError: it names others.
    """
    settings: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    named = feature_of(f"{settings.get('features')}@{settings.get('size')}")
    if named is None:
        raise BaseModelError(
            f"config.json of {ref!r} ({folder}) names the features {settings.get('features')!r}. Expected one of: "
            f"{', '.join(FEATURES)}."
        )
    return feature_encoder(*named, name=ref)
