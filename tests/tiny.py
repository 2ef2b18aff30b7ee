"""The tiny product that every test may use."""

from shoptalk.nn.tiny import LETTERS, WORDS, tiny_product, tiny_tokenizer
from shoptalk.text.trained import SPECIAL

__all__ = ["LETTERS", "SPECIAL", "WORDS", "tiny_product", "tiny_tokenizer"]
