"""Tiny random image encoders, made in memory: whole products for tests and toys, without a download."""

from typing import Any, Literal

import torch
from transformers import ResNetConfig, ResNetModel, ViTConfig, ViTModel

from shoptalk.nn.image_encoder import ImageEncoder, ImageNetwork
from shoptalk.nn.pair_encoder import PairEncoder, paired
from shoptalk.nn.tiny import tiny_product

SIZE, PATCH = 16, 4
"""Of the pictures that they read, and of a ViT's patches, in pixels."""


def tiny_image_encoder(form: Literal["resnet", "vit"] = "resnet", *, seed: int = 0) -> ImageEncoder:
    """A residual network with batch norms, or a ViT, of two blocks and 32 dimensions, in evaluation mode.

    It is the same for the same seed; the global random state is left alone.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone: Any = _resnet() if form == "resnet" else _vit()
        network = ImageNetwork(backbone, size=SIZE).eval()
    return ImageEncoder(network=network, name=f"tiny-{form}")


def tiny_pair_encoder(form: Literal["resnet", "vit"] = "resnet", *, seed: int = 0) -> PairEncoder:
    """The tiny image encoder and the tiny BERT as two towers, in evaluation mode."""
    towers = tiny_image_encoder(form, seed=seed), tiny_product(seed)
    return paired(*towers, name=f"tiny-{form}+tiny", began_as=f"tiny-{form}+tiny", seed=seed)


def _resnet() -> ResNetModel:
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", downsample_in_first_stage=False
    )
    return ResNetModel(config)


def _vit() -> ViTModel:
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=SIZE,
        patch_size=PATCH,
        pooler_act="linear",
    )
    return ViTModel(config)
