"""Masked autoencoder (He et al. 2022, section 3): reconstruct the three quarters of a picture that were left out.

A picture is cut into L patches. The encoder reads a random quarter of them and nothing of the others; a light decoder
reads the encoder's states in their places, and one learned vector [MASK] in all other places, each with its position
added (sines and cosines of two dimensions), and gives each patch its pixels:

    loss = mean over the left out patches i of  (1 / P) ‖ decoded_i - y_i ‖²
    y_i = (x_i - mean(x_i)) / √(var(x_i) + 10⁻⁶)    over the patch's own P values

What differs from the paper: encoder and decoder are small, for pictures of 32 to 96 pixels (a decoder of 2 layers of
128, not 8 of 512); the encoder's positions are its backbone's, which are learned; AdamW at 1e-3 with the loop's β₂ of
0.999, not 0.95, and a batch of 128, not 4096. As in the official code var is the unbiased variance, and the [CLS]
token goes through both. Views are cut from the picture as it was decoded at the encoder's size (the centre square), not
from the original.

Run alone on a toy: python -m shoptalk.objectives.masked.mae
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from shoptalk.errors import ConfigError
from shoptalk.image.augment import MAE, Chain
from shoptalk.image.batches import Views
from shoptalk.nn import gather
from shoptalk.nn.encoder import evaluating
from shoptalk.nn.image_encoder import ImageEncoder, ImageNetwork
from shoptalk.nn.product import Kind
from shoptalk.nn.transfer import sent
from shoptalk.objective import Examples, Key, Loss, Material, Objective, Spec
from shoptalk.objectives.views import views_of
from shoptalk.text.corpus import Corpus

HEAD_WIDTH = 32
"""Of an attention head of the decoder."""


@dataclass(frozen=True)
class MaskedViews(Views):
    """One view of each picture, and the numbers of its patches that the encoder reads, in ascending order."""

    keep: Int[Tensor, "n k"]


class MaeSpec(Spec):
    """MAE: the encoder reads a quarter of a picture, and a light decoder the rest of it out of that."""

    kind: Literal["mae"] = "mae"
    takes: ClassVar[frozenset[Kind]] = frozenset({"image"})
    needs: ClassVar[str] = "at least two pictures"
    head_rate: ClassVar[float | None] = 1.0
    lr: float = Field(default=1e-3, gt=0)
    batch: int = Field(default=128, ge=1)
    passes: float = Field(default=400.0, gt=0)
    mask_rate: float = Field(default=0.75, gt=0, lt=1, description="share of the patches that the encoder never sees")
    decoder_layers: int = Field(default=2, ge=1)
    decoder_width: int = Field(default=128, ge=HEAD_WIDTH, multiple_of=HEAD_WIDTH)
    normalised_targets: bool = Field(default=True, description="each patch's pixels by its own mean and deviation")
    chain: Chain = MAE

    def examples(self, corpus: Corpus) -> Examples:
        """Every picture, if there are at least two."""
        return corpus.pictures if len(corpus.pictures) > 1 else []

    def collate(self, material: Material[ImageEncoder]) -> Callable[[Sequence[int], Key], MaskedViews]:
        """A view of each picture, and other patches at every visit."""
        network = material.product.network
        patches = (network.size // patch_of(network)) ** 2
        augmented = views_of(material, [self.chain])

        def collate(examples: Sequence[int], key: Key) -> MaskedViews:
            keep = kept_patches(examples, key, patches=patches, rate=self.mask_rate)
            return MaskedViews(augmented(examples, key).views, keep=keep)

        return collate

    def build(self, product: ImageEncoder) -> "Mae":
        """The encoder, and a decoder with random weights."""
        patch = patch_of(product.network)
        decoder = MaeDecoder(
            product.dim,
            width=self.decoder_width,
            layers=self.decoder_layers,
            across=product.network.size // patch,
            values=3 * patch**2,
        )
        return Mae(product, decoder, patch=patch, normalised=self.normalised_targets)


def patch_of(network: ImageNetwork) -> int:
    """The side of the encoder's patches.

    Raises:
        ConfigError: the encoder has none.
    """
    if network.patch is None:
        raise ConfigError(
            "MAE leaves patches out, and this encoder reads whole pictures: it was given a convolutional network; "
            "expected a vision transformer. Give --base scratch:vit-nano or scratch:vit-tiny, or another objective."
        )
    return network.patch


def kept_patches(examples: Sequence[int], key: Key, *, patches: int, rate: float) -> Int[Tensor, "n k"]:
    """Which patches stay of each picture, drawn by seed, step and picture; at least one stays, and one goes."""
    count = min(max(round(patches * (1 - rate)), 1), patches - 1)
    rows = [np.random.default_rng([key.seed, key.step, example]).permutation(patches)[:count] for example in examples]
    return torch.from_numpy(np.sort(np.stack(rows), axis=1))


class MaeDecoder(nn.Module):
    """States of the kept patches to the pixels of all."""

    positions: Tensor

    def __init__(self, encoder_width: int, *, width: int, layers: int, across: int, values: int) -> None:
        super().__init__()
        self.narrow = nn.Linear(encoder_width, width)
        self.mask = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer("positions", torch.from_numpy(sines(across, width)))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, width // HEAD_WIDTH, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.pixels = nn.Linear(width, values)

    def forward(self, states: Float[Tensor, "n _ D"], keep: Int[Tensor, "n k"]) -> Float[Tensor, "n L P"]:
        """Pixels of every patch, those of the kept ones too."""
        first, visible = self.narrow(states).split([1, keep.shape[1]], dim=1)
        width = visible.shape[2]
        everywhere = self.mask.to(visible.dtype).expand(len(keep), len(self.positions), width)
        filled = everywhere.scatter(1, keep.unsqueeze(-1).expand(-1, -1, width), visible) + self.positions
        hidden = torch.cat([first, filled], dim=1)
        with _attention_for(hidden.device):
            for layer in self.layers:
                hidden = layer(hidden)
        decoded: Tensor = self.pixels(self.norm(hidden[:, 1:]))
        return decoded


def _attention_for(device: torch.device) -> AbstractContextManager[Any]:
    """Attention by plain products on a CPU: torch's fused one takes 2 to 3 times as long there with its backward pass
    in bfloat16 (128 pictures of 65 patches, docs/log.md), and as long in float32.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def sines(across: int, width: int) -> Float[np.ndarray, "L width"]:
    """Position vectors of a square of patches: half of the width for the row, half for the column, each sines and
    cosines of geometric frequencies (Vaswani et al. 2017, section 3.5).
    """
    quarter = width // 4
    angles = np.arange(across)[:, None] / 10_000 ** (np.arange(quarter) / quarter)
    line = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    rows, columns = np.repeat(line, across, axis=0), np.tile(line, (across, 1))
    return np.concatenate([rows, columns], axis=1).astype(np.float32)


class Mae(Objective[ImageEncoder, MaskedViews]):
    """Encoder and decoder."""

    def __init__(self, product: ImageEncoder, decoder: MaeDecoder, *, patch: int, normalised: bool) -> None:
        super().__init__()
        self.product = product
        self.encoder = product.network
        self.decoder = decoder
        self.patch, self.normalised = patch, normalised

    def forward(self, batch: MaskedViews) -> Loss:
        """The mean squared error over the left out patches of all pictures; each process decodes its share of them."""
        states = self.encoder.hidden(batch.views[0], batch.keep)
        mine = gather.my_rows(len(states))
        keep = sent(batch.keep[mine], states.device)
        patches = cut(sent(batch.views[0][mine], states.device), self.patch)
        targets = own_scale(patches) if self.normalised else patches
        errors = (self.decoder(states[mine], keep).float() - targets).square().mean(-1)
        left_out = torch.ones_like(errors).scatter(1, keep, 0.0)
        count = len(states) * (errors.shape[1] - keep.shape[1])
        return Loss(total=gather.sum_across((errors * left_out).sum() / count), terms={})

    @torch.no_grad()
    def reconstructions(self, batch: MaskedViews) -> tuple[UInt8[np.ndarray, "n S S 3"], ...]:
        """For people: each view with its left out patches grey, with the decoded pixels in their place, and whole.

        Targets that are normalised by their patch's own mean and deviation get these back, as the paper's figures do.
        """
        view = sent(batch.views[0], self.encoder.device)
        keep = sent(batch.keep, self.encoder.device)
        patches = cut(view, self.patch)
        with evaluating(self), gather.alone():
            decoded = self.decoder(self.encoder.hidden(view, keep), keep).float()
        if self.normalised:
            decoded = decoded * _deviation(patches) + patches.mean(-1, keepdim=True)
        seen = torch.zeros(patches.shape[:2], dtype=torch.bool, device=view.device).scatter(1, keep, True).unsqueeze(-1)
        parts = (patches.masked_fill(~seen, 0.0), torch.where(seen, patches, decoded), patches)
        return tuple(self._bytes(joined(part, self.patch)) for part in parts)

    def _bytes(self, view: Float[Tensor, "n 3 S S"]) -> UInt8[np.ndarray, "n S S 3"]:
        mean, std = (torch.tensor(values, device=view.device)[:, None, None] for values in self._scale)
        return ((view * std + mean) * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    @property
    def _scale(self) -> tuple[Sequence[float], Sequence[float]]:
        return self.encoder.mean, self.encoder.std


def cut(view: Float[Tensor, "n 3 S S"], patch: int) -> Float[Tensor, "n L P"]:
    """The patches of each picture, row by row."""
    n, _, side, _ = view.shape
    across = side // patch
    parts = view.reshape(n, 3, across, patch, across, patch)
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(n, across**2, patch**2 * 3)


def joined(patches: Float[Tensor, "n L P"], patch: int) -> Float[Tensor, "n 3 S S"]:
    """The pictures of which these are the patches: what `cut` undoes."""
    n, count, _ = patches.shape
    across = round(count**0.5)
    parts = patches.reshape(n, across, across, patch, patch, 3)
    return parts.permute(0, 5, 1, 3, 2, 4).reshape(n, 3, across * patch, across * patch)


def own_scale(patches: Float[Tensor, "n L P"]) -> Float[Tensor, "n L P"]:
    """y above."""
    return (patches - patches.mean(-1, keepdim=True)) / _deviation(patches)


def _deviation(patches: Float[Tensor, "n L P"]) -> Float[Tensor, "n L 1"]:
    return (patches.var(-1, keepdim=True) + 1e-6).sqrt()


if __name__ == "__main__":
    from shoptalk.nn.tiny_pictures import tiny_image_encoder
    from shoptalk.objectives.toy import run

    run(MaeSpec(batch=16), image_encoder=tiny_image_encoder("vit"))
