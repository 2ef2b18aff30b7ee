"""A tokenizer trained on a corpus for language models: byte-level BPE (Sennrich et al. 2016; Radford et al. 2019).

Its letters are the 256 bytes, so any string, of any language, is read without an unknown token and comes back to the
byte. What differs from GPT-2's own:

- The digits of a number are tokens of their own, as in Llama and SmolLM: a number that the corpus does not hold is
  read like one that it does.
- Conversations have a template of their own, ChatML, whose two markers are special tokens. Their names inside a text
  are the markers too; encode text that is not to be trusted with `split_special_tokens=True`.

The letters are numbered by their code and ties between merges are broken by these numbers: the same texts give the same
tokenizer, whatever the number of threads.
"""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from shoptalk.errors import ConfigError
from shoptalk.text.order import permuted
from shoptalk.text.trained import FEWEST, LOOK

END_OF_TEXT, PAD, START_OF_TURN, END_OF_TURN = "<|endoftext|>", "<|pad|>", "<|im_start|>", "<|im_end|>"
MARKERS = (END_OF_TEXT, PAD, START_OF_TURN, END_OF_TURN)
BYTES = 256
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LOOK_CHARACTERS = 100_000_000
"""Most characters that are read; documents may be long, and merges are settled well before that."""
_AT_ONCE = 1_000


def train_bpe(
    texts: Sequence[str], *, most: int, max_length: int, sentinels: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of up to `most` pieces; fewer where the texts have fewer pairs that recur.

    Args:
        texts: the corpus; of more than `LOOK` texts or `LOOK_CHARACTERS` characters a random sample is read, always
            the same.
        most: the largest vocabulary, special tokens and bytes included.
        max_length: the model's context in tokens, which the tokenizer then knows.
        sentinels: further special tokens, for an encoder–decoder, which is told the end of each text that it reads.

    Returns:
        A transformers tokenizer whose first four entries are `<|endoftext|>` (begin and end of a text), `<|pad|>`,
        `<|im_start|>` and `<|im_end|>`, and the sentinels after them. It adds none of them to a text, or with
        sentinels the end of text after each.

    Raises:
        ConfigError: `most` has no room for the bytes.
    """
    markers = [*MARKERS, *sentinels]
    fewest = BYTES + len(markers)
    if most < fewest:
        raise ConfigError(
            f"A vocabulary of {most} pieces has no room for the {BYTES} bytes and {len(markers)} special tokens that "
            f"make every text readable. Give {fewest} or more."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=most,
        min_frequency=FEWEST,
        special_tokens=markers,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_sample(texts), trainer=trainer)
    if sentinels:
        end = (END_OF_TEXT, markers.index(END_OF_TEXT))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END_OF_TEXT}", special_tokens=[end])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        extra_special_tokens=[START_OF_TURN, END_OF_TURN, *sentinels],
        chat_template=None if sentinels else CHAT_TEMPLATE,
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
    )


def _sample(texts: Sequence[str]) -> Iterator[list[str]]:
    """Texts in a random order that is always the same, until enough were read, some at a time."""
    order = permuted(len(texts), range(min(len(texts), LOOK)), seed=0, epoch=0).tolist()
    characters = 0
    for begin in range(0, len(order), _AT_ONCE):
        if characters >= LOOK_CHARACTERS:
            return
        part = [texts[place] for place in order[begin : begin + _AT_ONCE]]
        characters += sum(map(len, part))
        yield part
