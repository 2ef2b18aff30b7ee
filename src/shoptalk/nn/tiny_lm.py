"""A tiny random decoder with a tokenizer of bytes, made in memory: a whole language model for tests and toys."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from shoptalk.nn.language_model import CausalNetwork, LanguageModel

SPECIAL = ("<|endoftext|>", "<|pad|>")
TEMPLATE = (
    "{% for message in messages %}{{ message.role[0] }}:{{ message.content }}<|endoftext|>\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


def tiny_bytes(*, max_length: int = 64) -> Any:
    """A tokenizer with a token for each byte, and two special ones: any text is what it was again."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*SPECIAL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    end, pad = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=end,
        eos_token=end,
        pad_token=pad,
        model_max_length=max_length,
        chat_template=TEMPLATE,
    )


def tiny_language_model(seed: int = 0, *, max_length: int = 64) -> LanguageModel:
    """A Llama of 2 layers and 32 dimensions over bytes, the same for the same seed; the global random state is left
    alone.
    """
    tokenizer = tiny_bytes(max_length=max_length)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = LlamaForCausalLM(config).eval()
    return LanguageModel(CausalNetwork(backbone), tokenizer, max_length, name="tiny")
