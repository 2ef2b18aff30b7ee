"""Tiny language models with tokenizers of other families."""

from dataclasses import replace
from typing import Any

from tokenizers import processors

from shoptalk.nn.language_model import LanguageModel
from shoptalk.nn.tiny_lm import tiny_bytes


def beginning_with(token: str, model: LanguageModel) -> LanguageModel:
    """The model with a tokenizer that puts a token before every text, as those of Llama and Gemma do. It has the number
    of the tiny tokenizer's padding.
    """
    tokenizer: Any = tiny_bytes(max_length=model.max_length)
    settings = tokenizer.backend_tokenizer.to_str().replace("<|pad|>", token)
    backend = type(tokenizer.backend_tokenizer).from_str(settings)
    backend.post_processor = processors.TemplateProcessing(single=f"{token} $A", special_tokens=[(token, 1)])
    renamed = type(tokenizer)(
        tokenizer_object=backend,
        bos_token=token,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        model_max_length=model.max_length,
    )
    return replace(model, tokenizer=renamed)
