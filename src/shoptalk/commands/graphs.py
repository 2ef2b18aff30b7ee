"""The graphs that an encoder is exported as, each with the sample on which it must agree with the encoder.

| kind             | file            | inputs                                                      |
|------------------|-----------------|-------------------------------------------------------------|
| text             | `model.onnx`    | `input_ids`, `attention_mask` [batch, length]               |
| image            | `model.onnx`    | `pixel_values` [batch, 3, side, side], as the processor's   |
| pair             | `pictures.onnx` | as image                                                    |
|                  | `texts.onnx`    | as text                                                     |

Each gives unit `vectors` [batch, dimensions].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64, UInt8
from torch import Tensor, nn

from shoptalk.errors import BaseModelError
from shoptalk.nn.encoder import Encoder, Pooling, TextEncoder
from shoptalk.nn.features import FeatureEncoder
from shoptalk.nn.image_encoder import ImageEncoder, ImageNetwork, normalised
from shoptalk.nn.pair_encoder import PairEncoder
from shoptalk.nn.product import Embedder

_TURN = (
    "My parcel should have arrived on Tuesday, but the tracking page still says that it waits at the harbour depot. "
    "I was charged twice for it, 12.50 and again 12.50, and nobody has answered either of my two emails. "
)
SAMPLE: tuple[str, ...] = (
    "ok",
    "Thanks!",
    "??",
    "I lost my card.",
    "when does the last ferry leave",
    "Can I change the delivery address of order #40-1187?",
    "GIVE ME MY MONEY BACK NOW!!!",
    "Je voudrais annuler ma réservation, s'il vous plaît.",
    "Der Betrag wurde zweimal abgebucht 😡",
    "请问什么时候可以退款？",
    "The refund has been booked; it takes three to five working days until you see it in your account.",
    "- ferry: 08:15\n- bus: 08:40\n- desk closes: 18:00",
    "Is the insurance included, or must it be paid for each passenger, including children under the age of six?",
    _TURN,
    _TURN + "What shall I do?",
    _TURN * 2,
    _TURN * 8,
)
"""Short and long, plain and odd: texts on which the graph must agree with the model."""


class Graph(nn.Module):
    """From tokens to unit vectors."""

    def __init__(self, encoder: Encoder, projection: nn.Module | None = None) -> None:
        super().__init__()
        self.backbone = encoder.backbone
        self.pooling: Pooling = encoder.pooling
        self.projection = projection or nn.Identity()

    def forward(self, input_ids: Int[Tensor, "B L"], attention_mask: Int[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        """The encoder's own pooling, written for a rectangle of tokens."""
        hidden: Tensor = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.pooling == "cls":
            return nn.functional.normalize(self.projection(hidden[:, 0]), dim=-1)
        mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return nn.functional.normalize(self.projection((hidden * mask).sum(1) / mask.sum(1).clamp(min=1)), dim=-1)


class PictureGraph(nn.Module):
    """From normalised pictures to unit vectors."""

    def __init__(self, network: ImageNetwork, projection: nn.Module | None = None) -> None:
        super().__init__()
        self.network = network
        self.projection = projection or nn.Identity()

    def forward(self, pixel_values: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B D"]:
        """The network's own pooling."""
        return nn.functional.normalize(self.projection(self.network.pooled(pixel_values)), dim=-1)


class FeatureGraph(nn.Module):
    """From pictures with channels from 0 to 1 to unit vectors of untrained features."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixel_values: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B D"]:
        """The features."""
        return nn.functional.normalize(self.network(pixel_values), dim=-1)


@dataclass(frozen=True)
class Exported:
    """A graph to be written, and what it must give."""

    file: str
    module: nn.Module
    backbone: Any
    """The stock model inside, whose attention is set for the export; None where it has none."""
    example: Mapping[str, Tensor]
    sizes: Mapping[int, str]
    """The axes of the inputs that may have any size, by their names."""
    batches: Sequence[Mapping[str, Any]]
    """A sample in batches of several shapes."""
    expected: Float32[np.ndarray, "N D"]
    """The encoder's vectors of the sample."""
    shown: Sequence[str]
    """What each of the sample is, for messages."""


def graphs_of(product: Embedder) -> list[Exported]:
    """The graphs of an encoder.

    Raises:
        BaseModelError: it is a model of another kind.
    """
    if isinstance(product, TextEncoder):
        graph = Graph(product.network)
        return [_of_texts("model.onnx", graph, product, product.network.backbone)]
    if isinstance(product, ImageEncoder):
        return [_of_pictures("model.onnx", PictureGraph(product.network), product)]
    if isinstance(product, FeatureEncoder):
        return [_of_pictures("model.onnx", FeatureGraph(product.network), product)]
    if isinstance(product, PairEncoder):
        pair = product.network
        return [
            _of_pictures("pictures.onnx", PictureGraph(pair.pictures, pair.picture_projection), product),
            _of_texts("texts.onnx", Graph(pair.texts, pair.text_projection), product, pair.texts.backbone),
        ]
    raise BaseModelError(f"{product.name} is no encoder of texts or pictures; expected one.")


def _of_texts(file: str, graph: Graph, product: TextEncoder | PairEncoder, backbone: Any) -> Exported:
    # Two rows of eight tokens: sizes of one would be taken for constants.
    ids = torch.full((2, 8), int(product.tokenizer.pad_token_id))
    return Exported(
        file,
        graph,
        backbone,
        example={"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        sizes={0: "batch", 1: "length"},
        batches=token_batches(product),
        expected=product.embed(SAMPLE),
        shown=SAMPLE,
    )


def token_batches(product: TextEncoder | PairEncoder) -> list[Mapping[str, Int64[np.ndarray, "n L"]]]:
    """Ids and masks of the sample in several shapes, the last batch of another height."""
    batches: list[Mapping[str, Int64[np.ndarray, "n L"]]] = []
    for begin in range(0, len(SAMPLE), 4):
        tokens = product.tokenizer(
            list(SAMPLE[begin : begin + 4]),
            padding=True,
            truncation=True,
            max_length=product.max_length,
            return_tensors="np",
        )
        batches.append({name: tokens[name].astype(np.int64) for name in ("input_ids", "attention_mask")})
    return batches


def _of_pictures(file: str, graph: nn.Module, product: ImageEncoder | FeatureEncoder | PairEncoder) -> Exported:
    sample = sample_pictures(product.size)
    pixels = pixel_values(product, sample)
    return Exported(
        file,
        graph,
        None,
        example={"pixel_values": torch.from_numpy(pixels[:2].copy())},
        sizes={0: "batch"},
        batches=[{"pixel_values": pixels[:4]}, {"pixel_values": pixels[4:]}],
        expected=product.embed_pixels(sample),
        shown=[f"picture {number} of the sample" for number in range(len(sample))],
    )


def pixel_values(
    product: ImageEncoder | FeatureEncoder | PairEncoder, pictures: UInt8[np.ndarray, "n S S 3"]
) -> Float32[np.ndarray, "n 3 S S"]:
    """Pictures as the graph's input."""
    if isinstance(product, FeatureEncoder):
        pixels = normalised(pictures, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    else:
        pixels = product.normalised(pictures)
    values: Float32[np.ndarray, "n 3 S S"] = np.ascontiguousarray(pixels.numpy())
    return values


def sample_pictures(size: int) -> UInt8[np.ndarray, "n S S 3"]:
    """Noise, a slope, rings, checks and stripes in colours: pictures on which the graph must agree with the model."""
    rng = np.random.default_rng(0)
    down, across = np.mgrid[:size, :size] / size
    rings = np.sin(40 * np.hypot(down - 0.5, across - 0.3))
    checks = np.sign(np.sin(20 * down) * np.sin(26 * across))
    shapes = (down + across, rings, checks, np.sin(60 * across), np.sin(30 * (down - across)))
    colours = rng.uniform(-1, 1, (len(shapes), 3))
    pictures = [127 + 100 * np.multiply.outer(shape, colour) for shape, colour in zip(shapes, colours, strict=True)]
    noise = rng.uniform(0, 255, (2, size, size, 3))
    sample: UInt8[np.ndarray, "n S S 3"] = np.clip(np.concatenate([noise, np.stack(pictures)]), 0, 255).astype(np.uint8)
    return sample
