"""Encoder–decoders out of folders: a transformers model with its tokenizer, checked before it is used."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from shoptalk.errors import BaseModelError
from shoptalk.nn.admission import admit, refuse_infinite
from shoptalk.nn.encoder_decoder import EncoderDecoder, EncoderDecoderNetwork
from shoptalk.nn.language_model import CONTEXT
from shoptalk.nn.open_lm import is_decoder
from shoptalk.nn.product import Kind
from shoptalk.nn.stock_model import refuse_lacking, stock_model
from shoptalk.readback import read_json

SUFFIXES = ("ForConditionalGeneration", "WithLMHeadModel", "MTModel")
"""Of the architectures that are encoder–decoders, where their model type is one of these too."""
_OF_SPEECH = ("audio", "speech", "asr", "voxtral", "glmasr", "flamingo", "transcribe", "seamless")
"""In the names of model types that transformers lists beside those of texts."""
_TRIAL = ("Where is my parcel?", "It was sent on 3 May, and nobody has seen it since then.")
_TOLERANCE = 0.01
"""Of the trial's bits, by how much they may differ from the stock model's, as for decoders (`nn/open_lm.py`)."""


def is_encoder_decoder(folder: Path) -> bool:
    """Whether the folder holds a model that writes a text for a text, by what its config.json names."""
    path = folder / "config.json"
    if not path.is_file():
        return False
    try:
        config = read_json(path, dict)
    except Exception:  # whoever opens it will say what is wrong with it
        return False
    named, kind = config.get("architectures"), str(config.get("model_type"))
    if kind not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES or any(part in kind for part in _OF_SPEECH):
        return False
    return not named or (isinstance(named, list) and any(str(name).endswith(SUFFIXES) for name in named))


def writer_kind(folder: Path) -> Kind | None:
    """The kind of a folder's model, where it is one that writes text."""
    if is_decoder(folder):
        return "lm"
    return "seq2seq" if is_encoder_decoder(folder) else None


def open_encoder_decoder(folder: Path, ref: str, *, max_length: int = CONTEXT) -> EncoderDecoder:
    """The encoder–decoder of a folder, in float32 and evaluation mode, on the CPU.

    Args:
        folder: config.json, safetensors and a tokenizer.
        ref: how the user named it.
        max_length: most tokens of a source or a target; fewer where the model takes fewer.

    Raises:
        BaseModelError: files are missing, damaged or do not belong together, or nothing in its tokenizer ends a text.
    """
    held = admit(folder, ref)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        backbone, report = stock_model(folder, ref, held, of=AutoModelForSeq2SeqLM)
        positions = int(getattr(backbone.config, "max_position_embeddings", None) or max_length)
        longest = min(max_length, positions, int(tokenizer.model_max_length))
    except BaseModelError:
        raise
    except Exception as error:  # a damaged folder can make the libraries raise anything at all
        raise BaseModelError(
            f"{ref!r} ({folder}) cannot be opened as an encoder–decoder: {error}. Expected a transformers folder with "
            "config.json, model.safetensors and a tokenizer."
        ) from error
    refuse_lacking(report, folder, ref)
    refuse_infinite(backbone, folder, ref)
    product = EncoderDecoder(EncoderDecoderNetwork(backbone.eval()), tokenizer, longest, name=ref)
    _refuse_unable(product, folder, ref)
    return product


def _refuse_unable(product: EncoderDecoder, folder: Path, ref: str) -> None:
    """Refuse a model whose bits of a short text given another, by way of hidden states and the output table, are not
    those of the stock model.
    """
    backbone: Any = product.network.backbone
    try:
        if not len(product.frame.after):
            raise BaseModelError(
                f"The tokenizer of {ref!r} ({folder}) puts nothing after a text, so the model could not say where what "
                "it writes ends. Expected one that adds its end token, as T5's and BART's do."
            )
        _refuse_two_sided(product.tokenizer, folder, ref)
        bits = float(product.bits_given([_TRIAL[0]], [_TRIAL[1]])[0])
        with torch.inference_mode():
            ids = (product.framed(product.ids([text])[0]) for text in _TRIAL)
            source, target = (torch.from_numpy(row)[None] for row in ids)
            start = torch.full((1, 1), product.network.start_id)
            written = torch.cat([start, target[:, :-1]], dim=1)
            logits = backbone(input_ids=source, decoder_input_ids=written, use_cache=False).logits[0].float()
            stock = float(torch.nn.functional.cross_entropy(logits, target[0], reduction="sum")) / np.log(2)
    except BaseModelError:
        raise
    except Exception as error:  # libraries raise nothing more special
        raise BaseModelError(
            f"{ref!r} ({folder}) cannot read even a short text: {error}. Expected a tokenizer and weights that belong "
            "together; fetch or write the model again."
        ) from error
    if not abs(bits - stock) <= _TOLERANCE * abs(stock):
        raise BaseModelError(
            f"{ref!r} ({folder}) gives a short text {stock:.1f} bits by transformers and {bits:.1f} by its hidden "
            "states and output table: its logits are made in another way, which Shoptalk does not know. Give another "
            "model, such as one of T5's or BART's kind."
        )


def _refuse_two_sided(tokenizer: Any, folder: Path, ref: str) -> None:
    """Refuse a tokenizer that reads what is written in another way than what is read, as Marian's and NLLB's do: what
    a model of theirs would be taught to write are pieces, or a language, that its decoder never wrote.
    """
    try:
        written = tokenizer(text_target=_TRIAL[1])["input_ids"]
    except Exception:  # it wants a language to be named
        written = None
    if written != tokenizer(_TRIAL[1])["input_ids"] or hasattr(tokenizer, "spm_target"):
        raise BaseModelError(
            f"The tokenizer of {ref!r} ({folder}) has one way for texts that are read and another for texts that are "
            "written, as Marian's and NLLB's have. Expected one way for both, as T5's and BART's tokenizers have it."
        )
