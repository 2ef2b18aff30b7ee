"""Language models out of folders: a transformers decoder and its tokenizer, checked before they are used."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
)

from shoptalk.errors import BaseModelError
from shoptalk.nn.admission import admit, refuse_infinite
from shoptalk.nn.int8_weights import holds_rounded, open_rounded
from shoptalk.nn.language_model import CONTEXT, CausalNetwork, LanguageModel
from shoptalk.nn.stock_model import refuse_lacking, stock_model
from shoptalk.readback import read_json

SUFFIX = "ForCausalLM"
"""Of the architectures that are decoders."""
_ALSO_OTHERWISE = {*MODEL_FOR_MASKED_LM_MAPPING_NAMES, *MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES}
"""Model types of encoders and encoder–decoders, some of which can be decoders, too."""
_TRIAL = "Where is my parcel? It was sent on 3 May, and nobody has seen it since then."
_TRIAL_TOKENS = 40
_TOLERANCE = 0.01
"""Of the trial's bits, by how much they may differ from the stock model's: what float32 rounds is under a thousandth,
and a scale or a cap on logits that is not known here changes them by more than a tenth."""


def is_decoder(folder: Path) -> bool:
    """Whether the folder holds a language model: by the architecture that its config.json names, or, where it names
    none, by a model type that nothing else is made of.
    """
    path = folder / "config.json"
    if not path.is_file():
        return False
    try:
        config = read_json(path, dict)
    except Exception:  # whoever opens it will say what is wrong with it
        return False
    named, kind = config.get("architectures"), str(config.get("model_type"))
    if not named:
        return kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and kind not in _ALSO_OTHERWISE
    return isinstance(named, list) and any(str(name).endswith(SUFFIX) for name in named)


def open_decoder(folder: Path, ref: str, *, max_length: int = CONTEXT) -> LanguageModel:
    """The language model of a folder, in float32 and evaluation mode, on the CPU.

    Args:
        folder: config.json, safetensors and a tokenizer.
        ref: how the user named it.
        max_length: most tokens that are read at once; fewer where the model takes fewer.

    Raises:
        BaseModelError: files are missing, damaged or do not belong together, or its tokenizer has no token that could
            part documents.
    """
    held = admit(folder, ref)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # Of 512 cells in a row the fused kernel is the faster one, but for training in bfloat16 (causal_attention.py).
        if holds_rounded(folder):
            backbone, report = open_rounded(folder, ref, held)
        else:
            backbone, report = stock_model(folder, ref, held, of=AutoModelForCausalLM, attention="sdpa")
    except BaseModelError:
        raise
    except Exception as error:  # a damaged folder can make the libraries raise anything at all
        raise BaseModelError(
            f"{ref!r} ({folder}) cannot be opened as a language model: {error}. Expected a transformers folder with "
            "config.json, model.safetensors and a tokenizer."
        ) from error
    refuse_lacking(report, folder, ref)
    refuse_infinite(backbone, folder, ref)
    positions = int(getattr(backbone.config, "max_position_embeddings", None) or max_length)
    product = LanguageModel(CausalNetwork(backbone.eval()), tokenizer, min(max_length, positions), name=ref)
    _refuse_unable(product, folder, ref)
    _refuse_unknown_tokens(product, folder, ref)
    return product


def _refuse_unknown_tokens(product: LanguageModel, folder: Path, ref: str) -> None:
    """Refuse a tokenizer with tokens for which the model has no weights: some text would end the training."""
    rows = len(product.network.table)
    special = {str(token) for token in product.tokenizer.added_tokens_decoder.values() if token.special}
    unknown = [token for token, number in product.tokenizer.get_vocab().items() if number >= rows]
    if in_texts := sorted(set(unknown) - special):
        raise BaseModelError(
            f"The tokenizer of {ref!r} ({folder}) has {len(in_texts)} tokens, {in_texts[0]!r} among them, that the "
            f"model does not know: it has weights for {rows:,}. Fetch both again, or resize the model's embeddings "
            "first."
        )


def _refuse_unable(product: LanguageModel, folder: Path, ref: str) -> None:
    """Refuse a model whose bits of short texts that stand in one row, by way of its output table, are not those of the
    stock model, which reads each alone.
    """
    if product.tokenizer.eos_token_id is None:
        raise BaseModelError(
            f"The tokenizer of {ref!r} ({folder}) has no end token, which parts documents. Expected eos_token in its "
            "tokenizer_config.json."
        )
    rows = len(product.network.table)
    for number, does in ((product.begin, "begins"), (product.part, "parts")):
        if number >= rows:
            token = product.tokenizer.convert_ids_to_tokens(number)
            raise BaseModelError(
                f"The token that {does} documents by the tokenizer of {ref!r} ({folder}), {token!r}, has number "
                f"{number:,}, and the model has weights for {rows:,} tokens. Resize its embeddings first "
                "(`resize_token_embeddings` of transformers), or take the model's own tokenizer."
            )
    try:
        ids = np.array([product.begin, *product.tokenizer(_TRIAL, add_special_tokens=False)["input_ids"]])
        ids = ids[: min(_TRIAL_TOKENS, 2 * product.max_length // 3)]
        sequences = [ids, ids[: max(2, len(ids) // 2)]]  # both find room in one row
        ours = product.bits_of(sequences)
        stock = np.array([_stock_bits(product.network.backbone, sequence) for sequence in sequences])
    except Exception as error:  # libraries raise nothing more special
        raise BaseModelError(
            f"{ref!r} ({folder}) cannot read even a short text: {error}. Expected a tokenizer and weights that belong "
            "together; fetch or write the model again."
        ) from error
    allowed = _TOLERANCE * np.abs(stock)
    if not abs(ours[0] - stock[0]) <= allowed[0]:
        raise BaseModelError(
            f"{ref!r} ({folder}) gives a short text {stock[0]:.1f} bits by transformers and {ours[0]:.1f} by its "
            "hidden states and output table: its logits are made in another way, which Shoptalk does not know. Give "
            "another model, such as smollm2."
        )
    if not abs(ours[1] - stock[1]) <= allowed[1]:
        raise BaseModelError(
            f"{ref!r} ({folder}) gives a short text {stock[1]:.1f} bits alone and {ours[1]:.1f} beside another one in "
            "the same row: it does not keep apart what stands side by side, as models with a running state do not. "
            "Give another model, such as smollm2."
        )


def _stock_bits(backbone: Any, sequence: Int[np.ndarray, " n"]) -> float:
    """Bits of a sequence from its second token on, by the model's own logits."""
    row = torch.from_numpy(sequence)[None]
    with torch.inference_mode():
        logits = backbone(input_ids=row, use_cache=False).logits[0, :-1].float()
    return float(torch.nn.functional.cross_entropy(logits, row[0, 1:], reduction="sum")) / math.log(2.0)
