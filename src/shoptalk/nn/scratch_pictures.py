"""Image bases with random weights: `scratch:vit-nano`, `scratch:vit-tiny` and `scratch:resnet-mini`.

They are sized for pictures of 32 to 96 pixels and two CPU cores. Each reads pictures of 32 x 32 pixels; `@` and a
number asks for another size, such as `scratch:resnet-mini@64`. They need no corpus: the weights come from the seed.

| base          | what it is                                                   | GFLOP at 32, 64, 96 pixels |
|---------------|--------------------------------------------------------------|----------------------------|
| `resnet-mini` | residual network: 3 x 3 stem of stride 2 to 32 channels, a   | 0.076, 0.080, 0.181        |
|               | block each of 64, 128 and 256; 0.95 M parameters             |                            |
| `vit-nano`    | ViT: 6 layers of 128, 4 heads; patches of 4 pixels, from 48  | 0.167, 0.170, 0.414        |
|               | pixels on of 8; 1.2 M parameters                             |                            |
| `vit-tiny`    | the same with 12 layers of 192, 6 heads; 5.4 M parameters    | 0.730, 0.734, 1.744        |

GFLOP are of reading one picture, a multiplication and an addition being two; a training step takes about three times as
many. The residual network is transformers' RegNet (Radosavovic et al. 2020) with one group, whose blocks are those of a
ResNet with a bottleneck as wide as the block: transformers' ResNet begins with 7 x 7 and a pooling, which leaves 8 x 8
places of a picture of 32 x 32. From 48 pixels on the first block has stride 2, so that 64 pixels cost what 32 do.
"""

import difflib
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from transformers import RegNetConfig, RegNetModel, ViTConfig, ViTModel

from shoptalk.errors import BaseModelError
from shoptalk.nn.image_encoder import ImageEncoder, ImageNetwork

PREFIX = "scratch:"
MARK = "shoptalk_base"
"""The entry of config.json that names what an encoder began as."""
SMALLEST, LARGEST = 16, 384


@dataclass(frozen=True)
class PictureSize:
    """An architecture with random weights, and the side of the pictures that it reads."""

    name: str
    form: Literal["vit", "regnet"]
    widths: tuple[int, ...]
    """Of a residual network, of its stem and of each stage; of a ViT, one for all layers."""
    depths: tuple[int, ...]
    """Blocks of each stage, or layers."""
    gflops: float
    """Of reading one picture of 32 x 32 pixels."""
    size: int = 32

    @property
    def reference(self) -> str:
        """By which it is asked for."""
        return self.name if self.size == 32 else f"{self.name}@{self.size}"

    @property
    def patch(self) -> int:
        """Of a ViT: 4 pixels below 48, else 8, so that a picture is 64 to 144 patches."""
        return 4 if self.size < 48 else 8

    @property
    def about(self) -> str:
        """One line for `shoptalk models`."""
        shape = (
            f"ViT, {self.depths[0]} layers, {self.widths[0]} dimensions"
            if self.form == "vit"
            else f"residual network, {sum(self.depths)} blocks, {self.widths[-1]} dimensions"
        )
        return (
            f"random weights, for pictures of {self.size} x {self.size} pixels (@64 or another size): {shape}, "
            f"{self.gflops:g} GFLOP a picture"
        )


PICTURE_SIZES = {
    size.name: size
    for size in (
        PictureSize(f"{PREFIX}vit-nano", "vit", widths=(128,), depths=(6,), gflops=0.167),
        PictureSize(f"{PREFIX}vit-tiny", "vit", widths=(192,), depths=(12,), gflops=0.73),
        PictureSize(f"{PREFIX}resnet-mini", "regnet", widths=(32, 64, 128, 256), depths=(1, 1, 1), gflops=0.076),
    )
}


def picture_size_of(ref: str) -> PictureSize | None:
    """The architecture that a reference such as `scratch:resnet-mini@64` names; None for references of another kind.

    Raises:
        BaseModelError: the number after the `@` is no size.
    """
    name, at, number = ref.partition("@")
    if name not in PICTURE_SIZES or "+" in number:  # a pair, such as scratch:resnet-mini@64+minilm
        return None
    known = PICTURE_SIZES[name]
    if not at:
        return known
    step = 8
    if not number.isdecimal() or not SMALLEST <= int(number) <= LARGEST or int(number) % step:
        raise BaseModelError(
            f"{ref!r} asks for pictures of {number!r} pixels. Expected a multiple of {step} from {SMALLEST} to "
            f"{LARGEST}, such as {name}@64."
        )
    return replace(known, size=int(number))


def nearest_name(ref: str, names: list[str]) -> str:
    """ " Did you mean ...?" where one of the names is near, else nothing."""
    close = difflib.get_close_matches(ref.partition("@")[0], names, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def scratch_pictures(size: PictureSize, *, seed: int = 0) -> ImageEncoder:
    """An encoder of that architecture with random weights, in evaluation mode; the same for the same seed.

    The global random state is left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = _vit(size) if size.form == "vit" else _regnet(size)
        network = ImageNetwork(backbone, size=size.size).eval()
    return ImageEncoder(network=network, name=size.reference)


def _vit(size: PictureSize) -> Any:
    width = size.widths[0]
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=size.depths[0],
        num_attention_heads=width // 32,
        intermediate_size=4 * width,
        image_size=size.size,
        patch_size=size.patch,
        pooler_act="linear",
        attn_implementation="eager",
        **{MARK: size.reference},
    )
    return ViTModel(config)


def _regnet(size: PictureSize) -> Any:
    stem, *widths = size.widths
    config = RegNetConfig(
        embedding_size=stem,
        hidden_sizes=list(widths),
        depths=list(size.depths),
        groups_width=max(widths),
        layer_type="x",
        downsample_in_first_stage=size.size >= 48,
        hidden_size=widths[-1],
        **{MARK: size.reference},
    )
    return RegNetModel(config)
