"""Vision models of others: each type that is taken opens, trains whole, and is saved again with equal vectors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

from shoptalk.errors import BaseModelError
from shoptalk.nn.bases import kind_of, open_base
from shoptalk.nn.image_encoder import VISION_TYPES, ImageEncoder

LAYERS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}
TINY: dict[str, dict[str, Any]] = {
    "vit": LAYERS | {"intermediate_size": 32},
    "dinov2": LAYERS,
    "dinov2_with_registers": LAYERS | {"num_register_tokens": 2},
    "dinov3_vit": LAYERS | {"intermediate_size": 32},
    "clip_vision_model": LAYERS | {"intermediate_size": 32},
    "siglip_vision_model": LAYERS | {"intermediate_size": 32},
    "resnet": STAGES | {"embedding_size": 8},
    "regnet": STAGES | {"embedding_size": 8, "groups_width": 8},
    "convnext": {"hidden_sizes": [4, 8, 8, 16], "depths": [1, 1, 1, 1]},
    "convnextv2": {"hidden_sizes": [4, 8, 8, 16], "depths": [1, 1, 1, 1]},
    "dinov3_convnext": {"hidden_sizes": [4, 8, 8, 16], "depths": [1, 1, 1, 1]},
    "swin": {
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
    "swinv2": {
        "image_size": 32,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [2, 2],
        "window_size": 4,
    },
}
PROCESSOR = {"crop_size": {"height": 32, "width": 32}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}


def folder_of(model_type: str, folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(model_type, **TINY[model_type])
    transformers.AutoModel.from_config(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return folder


@pytest.mark.parametrize("model_type", VISION_TYPES)
def test_a_vision_model_opens_trains_whole_and_is_saved_again(model_type: str, tmp_path: Path) -> None:
    folder = folder_of(model_type, tmp_path / "stock")
    product = open_base(str(folder))
    assert isinstance(product, ImageEncoder) and kind_of(str(folder)) == "image" and product.size == 32
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    vectors = product.embed_pixels(pixels)
    product.save(tmp_path / "saved", card="# Saved\n")
    again = open_base(str(tmp_path / "saved"))
    assert isinstance(again, ImageEncoder)
    np.testing.assert_allclose(again.embed_pixels(pixels), vectors, atol=1e-6)
    stock = transformers.AutoModel.from_pretrained(tmp_path / "saved").eval()
    with torch.inference_mode():
        features = stock(pixel_values=product.normalised(pixels)).pooler_output.flatten(1)
    np.testing.assert_allclose(nn.functional.normalize(features, dim=-1).numpy(), vectors, atol=1e-5)
    # Several processes wait for the gradient of every parameter that is to be trained.
    (product.network.train()(product.normalised(pixels)) ** 3).sum().backward()
    assert [name for name, p in product.network.named_parameters() if p.requires_grad and p.grad is None] == []


def test_every_type_that_is_taken_is_tested() -> None:
    assert set(TINY) == set(VISION_TYPES)


def test_a_model_that_is_neither_of_texts_nor_of_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "detr"}')
    with pytest.raises(BaseModelError):
        open_base(str(tmp_path))
