"""Image encoders: a transformers backbone and its pooled features. In memory and on disk.

On disk an encoder is a transformers folder with its processor: `AutoModel.from_pretrained(path)` and
`AutoImageProcessor.from_pretrained(path)` open it where Shoptalk is not installed, and the `pooler_output` of a
picture, divided by its length, is the vector that Shoptalk gives it.
"""

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from shoptalk.artifact import usual_modes, write_text
from shoptalk.errors import ConfigError
from shoptalk.image.batches import CELL
from shoptalk.image.pixels import Pixels, decode_all, decode_to
from shoptalk.nn import gather
from shoptalk.nn.batch_norm import share_statistics
from shoptalk.nn.encoder import MODEL_CARD, evaluating, prompt_of
from shoptalk.nn.precision import Precision, autocast
from shoptalk.nn.product import Embedder, Kind
from shoptalk.nn.transfer import sent
from shoptalk.records import Item, Picture
from shoptalk.text.corpus import Corpus

PROCESSOR = "preprocessor_config.json"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the three channels over photographs (ImageNet's), as most vision models have them."""

VISION_TYPES = (
    "vit", "dinov2", "dinov2_with_registers", "dinov3_vit", "clip_vision_model", "siglip_vision_model", "resnet",
    "regnet", "convnext", "convnextv2", "dinov3_convnext", "swin", "swinv2",
)  # fmt: skip
"""Model types of transformers that give a picture's features as `pooler_output`."""


class ImageNetwork(nn.Module):
    """Pictures to features; a ViT's hidden states are there for objectives that need patches."""

    def __init__(
        self,
        backbone: nn.Module,
        *,
        size: int,
        mean: tuple[float, ...] = MEAN,
        std: tuple[float, ...] = STD,
    ) -> None:
        """`size` is the side of the pictures that it reads, in pixels; `mean` and `std` normalise their channels."""
        super().__init__()
        self.backbone = backbone
        self.size = size
        self.mean, self.std = mean, std
        share_statistics(backbone)
        for name, parameter in backbone.named_parameters():
            if name.endswith("mask_token"):
                parameter.requires_grad_(False)  # of a pretext task that is not trained here
        if self.patch is not None:
            _pool_first_token(backbone)

    @property
    def dim(self) -> int:
        """Width of the features."""
        config: Any = self.backbone.config
        widths = getattr(config, "hidden_sizes", None)  # of each stage of a convolutional network
        return int(widths[-1] if widths else config.hidden_size)

    @property
    def patch(self) -> int | None:
        """The side of a patch in pixels where it is a ViT, which gives hidden states; else None."""
        config: Any = self.backbone.config
        return int(config.patch_size) if config.model_type == "vit" else None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def forward(self, pixels: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n D"]:
        """The pooled features of normalised pictures, in float32 and not of unit length.

        With several processes each encodes its share of the rows, and all of them get the whole.
        """
        counts = gather.row_counts(len(pixels))
        part = sent(pixels[gather.my_rows(len(pixels))], self.device)
        return gather.gather_rows(self.pooled(part), counts)

    def pooled(self, pixels: Float[Tensor, "m 3 H W"]) -> Float[Tensor, "m D"]:
        """The features of these pictures, whatever other processes do."""
        if self.patch is not None:
            return self._states(pixels, None)[:, 0].float()
        backbone: Any = self.backbone
        features: Tensor = backbone(pixel_values=pixels.contiguous(memory_format=torch.channels_last)).pooler_output
        return features.flatten(1).float()

    def hidden(
        self, pixels: Float[Tensor, "n 3 H W"], keep: Int[Tensor, "n k"] | None = None
    ) -> Float[Tensor, "n L D"]:
        """The last layer's states of [CLS] and of the patches, row by row, in float32.

        Args:
            pixels: normalised pictures of any size that patches divide; positions are interpolated.
            keep: of each picture, the numbers of the patches that are read; the others are left out before the first
                layer. All without it.

        Raises:
            ConfigError: the backbone reads no patches.
        """
        if self.patch is None:
            config: Any = self.backbone.config
            raise ConfigError(
                f"This objective needs an encoder that reads patches, and the base is a {config.model_type}, a "
                "convolutional network. Give a ViT: --base scratch:vit-nano or scratch:vit-tiny."
            )
        rows = gather.my_rows(len(pixels))
        part = sent(pixels[rows], self.device)
        states = self._states(part, None if keep is None else sent(keep[rows], self.device)).float()
        whole = gather.gather_rows(states.flatten(1), gather.row_counts(len(pixels)))
        return whole.view(len(pixels), *states.shape[1:])

    def _states(self, pixels: Float[Tensor, "m 3 H W"], keep: Int[Tensor, "m k"] | None) -> Float[Tensor, "m L D"]:
        backbone: Any = self.backbone
        states = backbone.embeddings(pixels, interpolate_pos_encoding=True)
        if keep is not None:
            # [CLS] stands before the patches, and is always read.
            places = torch.cat([keep.new_zeros(len(keep), 1), keep + 1], dim=1)
            states = states.gather(1, places.unsqueeze(-1).expand(-1, -1, states.shape[2]))
        for layer in backbone.layers:
            states = layer(states)
        normalised: Tensor = backbone.layernorm(states)
        return normalised


def _pool_first_token(backbone: Any) -> None:
    """Let a ViT's `pooler_output` be its [CLS] state: the pooler of a ViT is of a classification that is not done here,
    and whoever opens a saved folder finds the vector in one place for all backbones.
    """
    width = backbone.config.hidden_size
    with torch.device(next(backbone.parameters()).device):
        dense = nn.Linear(width, width)
    with torch.no_grad():
        dense.weight.copy_(torch.eye(width))
        dense.bias.zero_()
    if backbone.pooler is None:
        raise TypeError("Build the ViT with its pooler.")
    backbone.pooler.dense = dense.requires_grad_(False)
    backbone.pooler.activation = nn.Identity()
    backbone.config.pooler_act = "linear"
    backbone.config.pooler_output_size = width


def model_type_of(folder: Path) -> str:
    """The kind of model that a folder's config.json names; empty where it names none."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return ""
    return str(config.get("model_type", "")) if isinstance(config, dict) else ""


def is_vision(folder: Path) -> bool:
    """Whether the folder holds an image encoder, by its config.json."""
    return model_type_of(folder) in VISION_TYPES


def processor_settings(network: ImageNetwork) -> dict[str, Any]:
    """`preprocessor_config.json`: shorter side to the size by bicubic interpolation, middle square, normalised."""
    size = network.size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": size},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(network.mean),
        "image_std": list(network.std),
    }


def normalised(
    pictures: UInt8[np.ndarray, "n S S 3"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "n 3 S S"]:
    """Pictures as a network reads them: channels first in shape and last in memory, which is faster on CPUs."""
    values = torch.from_numpy(np.ascontiguousarray(pictures)).float().div_(255)
    values.sub_(torch.tensor(mean)).div_(torch.tensor(std))
    return values.permute(0, 3, 1, 2)


def picture_units(count: int, size: int) -> int:
    """What that many pictures of a size are of a budget: width x height / 256 each, at least 1."""
    return count * max(1, size * size // CELL)


def decoded(corpus: Corpus, folder: Path | None, *, size: int) -> Pixels:
    """Every picture of a corpus as a square: in memory, or as an artifact where a folder is given."""
    if folder is None:
        return decode_all(corpus.items, size=size)
    return decode_to(folder, corpus.items, size=size, digest=corpus.digest)


def embed_files(
    pictures: Sequence[Item],
    size: int,
    dim: int,
    embed: Callable[[UInt8[np.ndarray, "n S S 3"]], Float[np.ndarray, "n D"]],
    *,
    batch: int,
) -> Float[np.ndarray, "N D"]:
    """What `embed` gives for the pictures' squares, of which `batch` are in memory at a time."""
    vectors = np.zeros((len(pictures), dim), dtype=np.float32)
    for begin in range(0, len(pictures), batch):
        part = pictures[begin : begin + batch]
        vectors[begin : begin + batch] = embed(decode_all(part, size=size).take(range(len(part))))
    return vectors


@dataclass(frozen=True)
class ImageEncoder(Embedder):
    """An image encoder, and where it came from."""

    kind: ClassVar[Kind] = "image"

    network: ImageNetwork
    name: str
    precision: Precision = "float32"
    """Of the layers when it embeds."""

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

    def normalised(self, pictures: UInt8[np.ndarray, "n S S 3"]) -> Float[Tensor, "n 3 S S"]:
        """Pictures as the network reads them."""
        return normalised(pictures, self.network.mean, self.network.std)

    def embed(
        self,
        items: Sequence[Item],
        *,
        batch: int = 256,
        precision: Precision | None = None,
        prompt: str | None = None,
    ) -> Float[np.ndarray, "N D"]:
        """Unit vectors of the pictures in their order, float32; nothing is learned.

        Raises:
            ConfigError: one of the items is a text, or a prompt was given.
        """
        if prompt is not None:
            prompt_of(self, prompt)
        pictures_only(self.name, items)
        return embed_files(items, self.size, self.dim, partial(self.embed_pixels, precision=precision), batch=batch)

    def embed_pixels(
        self, pictures: UInt8[np.ndarray, "n S S 3"], *, batch: int = 256, precision: Precision | None = None
    ) -> Float[np.ndarray, "n D"]:
        """Unit vectors of pictures in memory."""
        vectors = np.zeros((len(pictures), self.dim), dtype=np.float32)
        layers = autocast(precision or self.precision, self.network.device)
        with evaluating(self.network), torch.inference_mode(), layers:
            for begin in range(0, len(pictures), batch):
                features = self.network(self.normalised(pictures[begin : begin + batch]))
                unit = nn.functional.normalize(features, dim=-1)
                vectors[begin : begin + batch] = unit.cpu().numpy()
        return vectors

    def save(self, folder: Path, *, card: str) -> None:
        """Write a transformers folder with float32 safetensors and the processor; `card` becomes its model card."""
        folder.mkdir(parents=True, exist_ok=True)
        self.network.backbone.save_pretrained(folder)  # type: ignore[operator]
        write_text(folder / PROCESSOR, json.dumps(processor_settings(self.network), indent=2))
        write_text(folder / MODEL_CARD, card)
        usual_modes(folder)

    def copy(self) -> "ImageEncoder":
        """The same with weights of its own."""
        return replace(self, network=copy.deepcopy(self.network))

    def in_precision(self, precision: Precision) -> "ImageEncoder":
        """The same network, read in another precision."""
        return replace(self, precision=precision)

    def ready_to_train(self) -> None:
        """Nothing needs to be set."""


def pictures_only(name: str, items: Sequence[Item]) -> None:
    """Refuse texts.

    Raises:
        ConfigError: one of the items is no picture.
    """
    for item in items:
        if not isinstance(item, Picture):
            raise ConfigError(f"{name!r} is an image encoder and reads pictures; it was given the text {item[:60]!r}.")
