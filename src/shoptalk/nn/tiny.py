"""A tiny random BERT with its tokenizer, made in memory: a whole product for tests, without a download.

Its vectors mean nothing, but texts that share words get similar vectors, so rankings can be tested.
"""

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from shoptalk.nn import attention
from shoptalk.nn.encoder import Encoder, TextEncoder
from shoptalk.text.trained import SPECIAL, as_fast

attention.register()

_WORDS = """
a about account add address again agree all allow also am amount and answer any apply april are arrive as ask at
august away back bad bag balance bank be because before bill bills block book both box break bring broken bus but
buy by call can cancel card cash cat change charge check city clear close code cold come cost could day days delay
delete deliver delivery did different discount do dog door down each early email error every exchange fast fee find
fine first flight for form free from get give go good great had has have hello help her here hi him home hot hour
how i if in is it its item just keep know last late later left like limit list lock long lost make me money month
more my need new no not now of off on one open or order our out over pay payment phone pin please price reach refund
return see send service shoe shop show sorry status stop store take thank thanks that the there they this ticket
time to track train transfer two up us use very want was water we what when where which who why will with work would
wrong yes you your
"""
WORDS = tuple(_WORDS.split())
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz0123456789.,!?'")


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer of about 300 pieces; unknown words fall apart into letters."""
    pieces = dict.fromkeys((*SPECIAL, *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return as_fast(tokenizer, max_length=64)


def tiny_product(seed: int = 0) -> TextEncoder:
    """A BERT of 2 layers and 32 dimensions, the same for the same seed; the global random state is left alone.

    Dropout is 0.1 and the encoder is in evaluation mode, as a freshly loaded one is.
    """
    tokenizer = tiny_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation=attention.NAME,  # as `open_base` opens models that can read packed rows
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = BertModel(config)
    return TextEncoder(network=Encoder(backbone).eval(), tokenizer=tokenizer, max_length=64, name="tiny")
