"""A tokenizer trained on a corpus: WordPiece (Schuster & Nakajima 2012) as BERT reads it (Devlin et al. 2019).

What differs from BERT's own, because the corpus may be in any language written with letters or characters:

- Accents stay: in most languages they tell words apart. Texts are brought to NFKC first, so that composed, decomposed
  and full-width forms of a character are one.
- Chinese characters are words of their own, as in BERT. Scripts that write no spaces (Thai, kana) give words as long as
  a sentence, so a word may have `LONGEST_WORD` characters before it is unknown, where BERT's may have 100.
- ASCII is always there, whatever the corpus holds: names, numbers and addresses turn up in every language.

The library's trainer numbers the letters in the order of a hash table, which differs from process to process, and
breaks ties between pieces by these numbers. Letters are therefore given to it in a fixed order: the same texts give the
same tokenizer.
"""

import string
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from shoptalk.text.order import permuted

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUES = "##"
"""Before a piece that does not begin a word."""
FEWEST = 5
"""A piece or a character seen less often than this is left out: its embedding would learn next to nothing."""
LONGEST_WORD = 1000
LOOK = 100_000
"""Most texts that are read; of a larger corpus this many are sampled."""
_AT_ONCE = 1_000


def train_tokenizer(texts: Sequence[str], *, most: int, max_length: int) -> Any:
    """A lower-casing WordPiece tokenizer of up to `most` pieces; fewer where the texts have fewer that recur.

    Args:
        texts: the corpus; of more than `LOOK` texts a sample is read.
        most: the largest vocabulary, special tokens and letters included.
        max_length: the model's longest text in tokens, which the tokenizer then knows.

    Returns:
        A transformers tokenizer with [PAD], [UNK], [CLS], [SEP] and [MASK] as its first five entries.
    """
    places = sampled(len(texts))
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=True),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters, continuing = _alphabet(tokenizer, texts, places, most=most // 2)
    trainer = trainers.WordPieceTrainer(
        vocab_size=most,
        min_frequency=FEWEST,
        special_tokens=[*SPECIAL, *letters, *(CONTINUES + letter for letter in continuing)],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(_parts(texts, places), trainer=trainer)
    # Training has made the letters special tokens, which are cut out of any text: the pieces go into a clean model.
    vocabulary = tokenizer.get_vocab()
    clean = Tokenizer(
        models.WordPiece(
            vocab=vocabulary,
            unk_token="[UNK]",
            continuing_subword_prefix=CONTINUES,
            max_input_chars_per_word=LONGEST_WORD,
        )
    )
    clean.normalizer, clean.pre_tokenizer = tokenizer.normalizer, tokenizer.pre_tokenizer
    return as_fast(clean, max_length=max_length)


def as_fast(tokenizer: Tokenizer, *, max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose vocabulary has BERT's special tokens, as transformers' models take it: `[CLS] text [SEP]`."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_length,
    )


def sampled(size: int) -> list[int]:
    """Which of `size` texts are read, ascending: all, or `LOOK` of them at random, always the same."""
    return sorted(permuted(size, range(min(size, LOOK)), seed=0, epoch=0).tolist())


def words_of(tokenizer: Tokenizer, text: str) -> Iterator[str]:
    """The words of a text as the tokenizer's model is given them: normalised, parted at spaces and punctuation."""
    normalised = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    return (word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalised))


def _alphabet(
    tokenizer: Tokenizer, texts: Sequence[str], places: Sequence[int], *, most: int
) -> tuple[list[str], list[str]]:
    """The characters that get an entry in the vocabulary, and those that also occur after the first one of a word.

    ASCII comes first, then the characters of the corpus, most frequent first. Both lists together have up to `most`.
    """
    words = Counter[str]()
    for part in _parts(texts, places):
        words.update(words_of(tokenizer, "\n".join(part)))
    counts, within = Counter[str](), Counter[str]()
    for word, count in words.items():
        for number, letter in enumerate(word):
            counts[letter] += count
            within[letter] += count * (number > 0)
    alphanumeric = [*string.ascii_lowercase, *string.digits]
    letters, continuing = [*alphanumeric, *string.punctuation], list(alphanumeric)
    known = set(letters)
    for letter, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count < FEWEST or len(letters) + len(continuing) + 2 > most:
            break
        if letter not in known:
            letters.append(letter)
            continuing += [letter] if within[letter] else []
    return letters, continuing


def _parts(texts: Sequence[str], places: Sequence[int]) -> Iterator[list[str]]:
    for begin in range(0, len(places), _AT_ONCE):
        yield [texts[place] for place in places[begin : begin + _AT_ONCE]]
