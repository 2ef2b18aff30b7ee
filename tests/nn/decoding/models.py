"""Small decoders with random weights, and what transformers' own `generate` writes with them."""

import functools
from collections.abc import Sequence
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from shoptalk.nn.decoding.generation import Generated, GenerationRequest
from shoptalk.nn.decoding.writer import Writer
from shoptalk.nn.language_model import CausalNetwork, LanguageModel
from shoptalk.nn.tiny_lm import tiny_bytes, tiny_language_model

GAP = 1e-4
"""Between the best two logits: within it float32 may choose either."""
CONTEXT = 96


@functools.cache
def tiny() -> LanguageModel:
    """A Llama whose sizes no kernel takes."""
    return tiny_language_model(max_length=CONTEXT)


@functools.cache
def compiled_size(seed: int = 0) -> LanguageModel:
    """A Llama of sizes that the compiled pass takes: grouped queries, two layers."""
    tokenizer = tiny_bytes(max_length=CONTEXT)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        initializer_range=0.2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = LlamaForCausalLM(config).eval()
    return LanguageModel(CausalNetwork(backbone), tokenizer, CONTEXT, name="llama")


@functools.cache
def learned_positions() -> LanguageModel:
    """A GPT-2: no Llama at all."""
    tokenizer = tiny_bytes(max_length=CONTEXT)
    config = GPT2Config(
        vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=32, n_layer=2, n_head=2, eos_token_id=0, bos_token_id=0,
        pad_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = GPT2LMHeadModel(config).eval()
    return LanguageModel(CausalNetwork(backbone), tokenizer, CONTEXT, name="gpt2")


MODELS = {"tiny": tiny, "llama": compiled_size, "gpt2": learned_positions}


@functools.cache
def writer_of(name: str, **options: Any) -> Writer:
    return Writer(MODELS[name](), **options)


def by_transformers(product: LanguageModel, ids: Sequence[int], most: int) -> list[int]:
    """The greedy tokens of `model.generate`, without the end token."""
    backbone: Any = product.network.backbone
    given = torch.tensor([list(ids)])
    with torch.inference_mode():
        out = backbone.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=most, do_sample=False)
    written: list[int] = out[0, len(ids) :].tolist()
    return [token for token in written if token not in (product.part, product.tokenizer.eos_token_id)]


def greedy(writer: Writer, prompts: Sequence[Sequence[int]], most: int) -> list[Generated]:
    return writer.write([GenerationRequest(tuple(ids), max_tokens=most) for ids in prompts])


def assert_same(product: LanguageModel, ids: Sequence[int], found: Sequence[int], expected: Sequence[int]) -> None:
    """Equal tokens; where they part, the best two logits are nearer to each other than float32 can tell apart."""
    for place, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            with torch.inference_mode():
                given = torch.tensor([[*ids, *expected[:place]]])
                best = product.network.backbone(given).logits[0, -1].topk(2).values
            assert float(best[0] - best[1]) < GAP, (place, one, other)
            return
    assert len(found) == len(expected)
