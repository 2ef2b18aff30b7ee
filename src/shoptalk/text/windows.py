"""Where windows of a corpus begin: stretches of one document of about as many tokens as a model reads at once.

    begins = window_begins(corpus, characters=CHARACTERS_A_TOKEN * 512)

Windows end between passages where they can, and not in the middle of a sentence.
"""

import numpy as np
from jaxtyping import Int

from shoptalk.text.corpus import Corpus

CHARACTERS_A_TOKEN = 3
"""By which windows are laid out, before any tokenizer is known: English has more, so that most windows fit."""
BETWEEN = {True: "\n", False: "\n\n"}
"""What parts the turns of a conversation, and the passages of a document."""


def window_begins(corpus: Corpus, *, characters: int) -> Int[np.ndarray, " E"]:
    """The positions at which windows begin: at each document's first item, and wherever the items since the last
    beginning have so many characters together with the next one.
    """
    conversation = np.asarray(corpus.conversation)
    begins: list[int] = []
    size = 0
    for place, text in enumerate(corpus.texts):
        if not begins or conversation[place] != conversation[place - 1] or size + len(text) > characters:
            begins.append(place)
            size = 0
        size += len(text)
    return np.array(begins, dtype=np.int64)
