"""Decoders of other families, which count positions and look back in ways of their own: all write as they should."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from shoptalk.errors import BaseModelError
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.language_model import CausalNetwork, LanguageModel
from shoptalk.nn.scratch_lm import LM_SIZES, young_language_model
from shoptalk.nn.tiny_lm import tiny_bytes
from tests.nn.decoding.models import CONTEXT, assert_same, by_transformers, greedy

FAMILIES: dict[str, dict[str, Any]] = {
    "Qwen2": {},
    "Qwen3": {"head_dim": 16},
    "Mistral": {"sliding_window": 40},
    "Gemma": {"head_dim": 16},
    "GPTNeoX": {},
    "Phi": {},
    "Phi3": {},
    "OPT": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "Olmo2": {},
}


def decoder(family: str, **settings: Any) -> LanguageModel:
    tokenizer = tiny_bytes(max_length=CONTEXT)
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.2,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 1,
    }
    config = getattr(transformers, f"{family}Config")(**sizes | settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    return LanguageModel(CausalNetwork(backbone), tokenizer, CONTEXT, name=family)


@pytest.mark.parametrize("family", FAMILIES)
def test_decoders_of_other_families_write_what_generate_writes(family: str) -> None:
    product = decoder(family, **FAMILIES[family])
    writer = Writer(product, slots=3)
    assert writer.context == FAMILIES[family].get("sliding_window", CONTEXT)
    prompts = [(0, *((n * k * 7 + k) % 40 + 2 for k in range(8 + n))) for n in range(5)]
    for ids, found in zip(prompts, greedy(writer, prompts, 12), strict=True):
        assert_same(product, ids, found.ids, by_transformers(product, ids, 12))


def test_one_that_keeps_something_else_than_keys_and_values_is_refused() -> None:
    product = decoder("Mamba", state_size=8)
    with pytest.raises(BaseModelError, match="'Mamba' cannot be read token by token"):
        Writer(product)


def test_gpt_nano_writes_what_generate_writes_by_the_compiled_pass_and_by_the_stock_one() -> None:
    folder = Path(__file__).parents[3] / "examples" / "harbour" / "documents"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))]
    product = young_language_model(LM_SIZES["scratch:gpt-nano"], texts, seed=0)
    writers = [Writer(product, compiled=compiled) for compiled in (True, False)]
    prompts = [writers[0].prompt(text[: 150 + 40 * number]) for number, text in enumerate(texts[:6])]
    for ids, *found in zip(prompts, *(greedy(writer, prompts, 20) for writer in writers), strict=True):
        expected = by_transformers(product, ids, 20)
        for text in found:
            assert_same(product, ids, text.ids, expected)
