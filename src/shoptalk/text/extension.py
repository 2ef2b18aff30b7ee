"""Words of the user's own trade: which of them a tokenizer splits into pieces, and how to make it keep them whole.

A sentence encoder's WordPiece vocabulary knows "delivery" and cuts "chargeback" into three. `find_words` picks what is
worth a place of its own, `with_words` gives it one; the rows of the embedding table are `nn/extend.py`'s.

The words become added tokens, which are found in a text before the tokenizer's own pieces and only as whole words. So a
text without them has the ids that it had, even one with a longer word that begins alike; a vocabulary with new entries
of its own would read such words differently.
"""

import copy
from collections import Counter
from typing import Any

from tokenizers import AddedToken

from shoptalk.errors import ConfigError
from shoptalk.text.corpus import Corpus
from shoptalk.text.trained import sampled, words_of

FEWEST_DOCUMENTS = 5
"""Documents or conversations that must contain a word: a rarer word is no jargon, and may be somebody's name."""


def find_words(corpus: Corpus, tokenizer: Any, *, most: int) -> dict[str, int]:
    """Up to `most` words that the tokenizer splits into several pieces, with the number of documents that contain each.

    They are ordered by the tokens that they would save, which is documents times pieces saved. A word has three letters
    or more, and nothing but letters. Of a corpus of more than `LOOK` texts (`text/trained.py`) a sample is read.

    Raises:
        ConfigError: the tokenizer is of another kind than WordPiece.
    """
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    if type(getattr(backend, "model", None)).__name__ != "WordPiece":
        raise ConfigError(
            f"vocabulary = {most}: words can be added to WordPiece tokenizers (BERT's kind) only, and this base has "
            "another kind. Set vocabulary = 0, or give another base, such as minilm."
        )
    documents, seen, current = Counter[str](), set[str](), -1
    for place in sampled(len(corpus)):
        if corpus.conversation[place] != current:  # texts of a document lie together
            documents.update(seen)
            seen, current = set(), int(corpus.conversation[place])
        seen.update(words_of(backend, corpus.texts[place]))
    documents.update(seen)
    known = tokenizer.get_vocab()
    saved = {}
    for word, count in documents.items():
        if count >= FEWEST_DOCUMENTS and len(word) > 2 and word.isalpha() and word not in known:
            pieces = len(backend.encode(word, add_special_tokens=False).ids)
            if pieces > 1:
                saved[word] = count * (pieces - 1)
    chosen = sorted(saved, key=lambda word: (-saved[word], word))[:most]
    return {word: documents[word] for word in chosen}


def with_words(tokenizer: Any, words: list[str]) -> Any:
    """A copy of the tokenizer that keeps these words whole; their ids follow the existing ones, in order."""
    extended = copy.deepcopy(tokenizer)
    extended.add_tokens([AddedToken(word, single_word=True, normalized=True) for word in words])
    return extended
