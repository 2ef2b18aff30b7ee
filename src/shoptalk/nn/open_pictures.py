"""From a folder to an image encoder, any vision model of transformers that gives pooled features, or to a pair."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from shoptalk.errors import BaseModelError
from shoptalk.nn.admission import admit, refuse_infinite
from shoptalk.nn.agreement import pack_if_equal
from shoptalk.nn.encoder import PACKABLE, Encoder, longest_of, pooling_of
from shoptalk.nn.image_encoder import MEAN, PROCESSOR, STD, ImageEncoder, ImageNetwork, model_type_of
from shoptalk.nn.pair_encoder import MODEL_TYPE, PairEncoder, PairNetwork
from shoptalk.nn.scratch_pictures import MARK
from shoptalk.nn.stock_model import stock_model


def open_image(folder: Path, ref: str) -> ImageEncoder:
    """The image encoder in a folder, in float32 and evaluation mode.

    Pictures are cut as `image/pixels.square` does, whatever resizing the folder's processor asks for; its size and its
    normalisation are kept.

    Raises:
        BaseModelError: its files are missing, damaged, or not an image encoder's.
    """
    held = admit(folder, ref)
    try:
        size, mean, std = reading_of(folder)
        network = ImageNetwork(_backbone(folder, ref, held), size=size, mean=mean, std=std).eval()
        refuse_infinite(network, folder, ref)
        product = ImageEncoder(network, name=ref)
        vectors = product.embed_pixels(_trial(size))
    except BaseModelError:
        raise
    except Exception as error:  # a damaged folder can make the libraries raise anything at all
        raise BaseModelError(
            f"{ref!r} ({folder}) cannot be opened as an image encoder: {error}. Expected a transformers folder with "
            f"config.json, model.safetensors and {PROCESSOR}."
        ) from error
    if not np.isfinite(vectors).all():
        raise BaseModelError(
            f"{ref!r} ({folder}) turns a plain picture into a vector with NaN or infinity, though its weights are "
            "finite. Expected a config.json that belongs to the weights; fetch or write the model again."
        )
    return product


def _backbone(folder: Path, ref: str, held: int) -> Any:
    backbone, report = stock_model(folder, ref, held)
    # A ViT's pooler may be absent: nothing here uses it.
    spare = "pooler" if backbone.config.model_type == "vit" else None
    lacking = sorted(name for name in report["missing_keys"] if spare is None or spare not in name)
    if lacking:
        raise BaseModelError(
            f"model.safetensors of {ref!r} ({folder}) lacks {len(lacking)} of the weights that its config.json asks "
            f"for, {lacking[0]!r} among them. Expected the two to belong together; fetch or write the model again."
        )
    return backbone


def open_pair(folder: Path, ref: str, *, max_length: int) -> PairEncoder:
    """The pair of encoders in a folder that `PairEncoder.save` wrote, in float32 and evaluation mode.

    Raises:
        BaseModelError: its files are missing, damaged, or those of a pair that pools texts in a way of its own.
    """
    held = admit(folder, ref)
    if not (folder / "1_Pooling" / "config.json").is_file():
        raise BaseModelError(
            f"{ref!r} ({folder}) is a {MODEL_TYPE} that does not say how its texts are pooled (1_Pooling/config.json). "
            "Expected a pair that Shoptalk has saved; its towers can be given as PICTURES+TEXTS."
        )
    try:
        size, mean, std = reading_of(folder)
        model, report = stock_model(folder, ref, held)  # a VisionTextDualEncoderModel, as config.json says
        if report["missing_keys"]:
            raise BaseModelError(
                f"model.safetensors of {ref!r} ({folder}) lacks {len(report['missing_keys'])} of the weights that its "
                "config.json asks for. Expected the two to belong together; fetch or write the model again."
            )
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        network = PairNetwork(
            ImageNetwork(model.vision_model, size=size, mean=mean, std=std),
            Encoder(model.text_model, pooling=pooling_of(folder)),
            width=int(model.config.projection_dim),
        )
        network.picture_projection.load_state_dict(model.visual_projection.state_dict())
        network.text_projection.load_state_dict(model.text_projection.state_dict())
        with torch.no_grad():
            network.logit_scale.copy_(model.logit_scale)
        refuse_infinite(network.eval(), folder, ref)
        if model.text_model.config.model_type in PACKABLE:
            pack_if_equal(network.texts, tokenizer)
        positions = getattr(model.text_model.config, "max_position_embeddings", max_length)
        longest = longest_of(folder, max_length, int(tokenizer.model_max_length), positions)
        mark = getattr(model.config, MARK, None)
        product = PairEncoder(network, tokenizer, longest, name=ref, began_as=mark if isinstance(mark, str) else None)
        vectors = np.concatenate([product.embed_pixels(_trial(size)), product.embed(["hello", "where is it? " * 100])])
    except BaseModelError:
        raise
    except Exception as error:
        raise BaseModelError(
            f"{ref!r} ({folder}) cannot be opened as a pair of encoders: {error}. Expected a folder of "
            f"VisionTextDualEncoderModel with config.json, model.safetensors, {PROCESSOR} and a tokenizer."
        ) from error
    if not np.isfinite(vectors).all():
        raise BaseModelError(
            f"{ref!r} ({folder}) gives vectors with NaN or infinity, though its weights are finite. Expected a "
            "config.json that belongs to the weights; fetch or write the model again."
        )
    return product


def is_pair(folder: Path) -> bool:
    """Whether the folder holds a pair of encoders, by its config.json."""
    return model_type_of(folder) == MODEL_TYPE


def reading_of(folder: Path) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """The side of the pictures that a folder's processor makes, and the mean and deviation it normalises them by.

    Raises:
        BaseModelError: there is no processor, or it asks for pictures that are not square.
    """
    path = folder / PROCESSOR
    if not path.is_file():
        raise BaseModelError(
            f"{folder} has no {PROCESSOR}, which says how large the pictures are that the model reads. Expected the "
            "file beside config.json; fetch or write the model again."
        )
    settings: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    cut = settings.get("crop_size") if settings.get("do_center_crop", True) else None
    asked = cut or settings.get("size")
    sides = [*asked.values()] if isinstance(asked, dict) else [asked]
    size = sides[0] if sides else None
    if type(size) is not int or set(sides) != {size} or not 1 <= size <= 4096:
        raise BaseModelError(f"{path} asks for pictures of {asked}; expected squares of one side in pixels.")
    if not settings.get("do_normalize", True):
        return size, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = settings.get("image_mean") or MEAN, settings.get("image_std") or STD
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise BaseModelError(f"{path} normalises by {mean} and {std}; expected three numbers each, one per colour.")
    return size, tuple(map(float, mean)), tuple(map(float, std))


def _trial(size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
