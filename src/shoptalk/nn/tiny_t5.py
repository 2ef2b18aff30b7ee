"""A tiny random encoder–decoder with a tokenizer of bytes, made in memory: a whole product for tests and toys."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from shoptalk.nn.encoder_decoder import EncoderDecoder, EncoderDecoderNetwork
from shoptalk.text.spans import SENTINELS

END, PAD = "<|endoftext|>", "<|pad|>"


def tiny_bytes_with_sentinels(*, max_length: int = 64, sentinels: int = 20) -> PreTrainedTokenizerFast:
    """A tokenizer with a token for each byte, an end, a filler, and some sentinels; a text ends with the end."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = [END, PAD, *SENTINELS[:sentinels]]
    vocabulary = {token: number for number, token in enumerate([*names, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        extra_special_tokens=names[2:],
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def tiny_encoder_decoder(seed: int = 0, *, max_length: int = 64, dropout: float = 0.1) -> EncoderDecoder:
    """A T5 of 2 + 2 layers and 32 dimensions over bytes, the same for the same seed; the global random state is left
    alone. It is in evaluation mode, as a freshly loaded one is.
    """
    tokenizer = tiny_bytes_with_sentinels(max_length=max_length)
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=64,
        num_layers=2,
        num_heads=4,
        relative_attention_num_buckets=8,
        dropout_rate=dropout,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = T5ForConditionalGeneration(config).eval()
    return EncoderDecoder(EncoderDecoderNetwork(backbone), tokenizer, max_length, name="tiny")
