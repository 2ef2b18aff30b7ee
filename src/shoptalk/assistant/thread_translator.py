"""The run's translator at work: what an encoder–decoder writes for the messages of a thread.

translator = ThreadTranslator(product, languages=("de", "en"))
translator.translated(["Wo ist mein Fahrrad?"])       # [TranslatedText("Where is my bicycle?", whole=True)]

It writes as it was judged, greedily. `opened_translator` opens one only where its figure allows it.
"""

from collections.abc import Sequence
from threading import Lock

from shoptalk.assistant.translated_text import TranslatedText, has_words, put_together, sentences_by_line
from shoptalk.nn.encoder_decoder import EncoderDecoder
from shoptalk.nn.rewriting import rewritten

_AT_ONCE = 8
"""Sentences that are read together; after each such batch the translator may be stopped."""


class ThreadTranslator:
    """Translates texts; many threads may ask, and take turns."""

    def __init__(self, product: EncoderDecoder, *, languages: tuple[str, str]) -> None:
        self.product = product
        self.languages = languages
        """From and into what, as the columns of the pairs are called."""
        self._lock = Lock()
        self._stopped = False

    def translated(self, texts: Sequence[str]) -> list[TranslatedText]:
        """What is written for each text, in their order; sentences that come twice are read once."""
        by_text = [sentences_by_line(text) for text in texts]
        sentences = (sentence for lines in by_text for line in lines for sentence in line.sentences)
        written, long = self._read(list(dict.fromkeys(filter(has_words, sentences))))
        return [
            TranslatedText(
                put_together(lines, written), whole=long.isdisjoint(each for line in lines for each in line.sentences)
            )
            for lines in by_text
        ]

    def stop(self) -> None:
        """Translate nothing more: whoever waits for a translation gets a RuntimeError within some sentences."""
        self._stopped = True

    def _read(self, sentences: Sequence[str]) -> tuple[dict[str, str], set[str]]:
        """What is written for each sentence, and those whose end is not read."""
        if not sentences:
            return {}, set()
        written: list[str] = []
        with self._lock:
            lengths = self.product.ids(sentences).lengths.tolist()
            for begin in range(0, len(sentences), _AT_ONCE):
                if self._stopped:
                    raise RuntimeError("the translator was stopped, since the server ends")
                written += rewritten(self.product, sentences[begin : begin + _AT_ONCE])
        long = {sentence for sentence, length in zip(sentences, lengths, strict=True) if length > self.product.room}
        return dict(zip(sentences, written, strict=True)), long
