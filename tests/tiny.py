"""The tiny product that every test may use."""

from shoptalk.nn.toy import LETTERS, SPECIAL, WORDS, tiny_product, tiny_tokenizer

__all__ = ["LETTERS", "SPECIAL", "WORDS", "tiny_product", "tiny_tokenizer"]
