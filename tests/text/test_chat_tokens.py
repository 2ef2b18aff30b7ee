"""Where a reply's first token begins, by tokenizers that join a space and the word behind it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from shoptalk.text.chat import Message, Rendered, prompt_ids, rendered
from tests.text.test_chat import CHATML, GEMMA, LLAMA2

SPACED = (
    "{% for message in messages %}{{ 'User: ' if message.role == 'user' else 'Assistant: ' }}{{ message.content }}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant: {% endif %}"
)
MARKED = SPACED.replace("{{ message.content }}", "{{ message.content }}<|im_end|>")
TEXTS = ["Hello there. Yes no maybe, my parcel is late. User: Assistant: yes Yes No <|im_start|>assistant"] * 20
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"]
TRAINED: dict[tuple[str, str], Any] = {}
WORDS = st.lists(
    st.sampled_from(["Yes", "no", "maybe,", " late", "\nyes", ". No", "é", "parcel"]), min_size=1, max_size=5
)


def tokenizer_of(kind: str, template: str) -> Any:
    """Merges of bytes, whose offsets count white space or do not, or sentence pieces."""
    backend = Tokenizer(models.BPE())
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if kind == "pieces":
        backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        backend.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Fuse(), decoders.Metaspace(prepend_scheme="first")]
        )
        alphabet = sorted({"\u2581", *"".join(TEXTS).replace(" ", "")})
    else:
        backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    special = [*SPECIAL, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256) if kind == "pieces")]
    backend.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False),
    )
    if kind == "pieces":  # bytes are ordinary tokens
        settings = backend.to_str()
        described = json.loads(settings)
        described["added_tokens"] = [
            token for token in described["added_tokens"] if not token["content"].startswith("<0x")
        ]
        backend = Tokenizer.from_str(json.dumps(described))
    elif kind == "trimmed":
        backend.post_processor = processors.ByteLevel(trim_offsets=True)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=end, eos_token=end, chat_template=template)


def spelt(tokenizer: Any, chat: Rendered, number: int) -> str:
    """The tokens of a reply as they are, with their spaces."""
    tokens = tokenizer.convert_ids_to_tokens(chat.ids[chat.spoken == number].tolist())
    return "".join(tokens).replace("\u2581", " ").replace("Ġ", " ")


def talk_of(*texts: str) -> list[Message]:
    return [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(texts)]


def whole_of(tokenizer: Any, talk: list[Message]) -> str:
    turns = [{"role": message.role, "content": message.text} for message in talk]
    return str(tokenizer.apply_chat_template(turns, tokenize=False))


KINDS = ("merges", "trimmed", "pieces")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", [SPACED, MARKED], ids=["no marker", "marker"])
def test_a_reply_after_a_space_is_taught_from_its_first_word_on(kind: str, template: str) -> None:
    tokenizer = tokenizer_of(kind, template)
    for talk in (talk_of("Hello", "yes"), talk_of("Hello", "yes", "Hello", "no.", "Hello", "maybe, late")):
        chat = rendered(tokenizer, talk)
        for number, message in enumerate(talk[1::2]):
            assert spelt(tokenizer, chat, number).removesuffix("<|im_end|>") == message.text
        first = int(chat.taught.argmax())
        assert tuple(chat.ids[:first].tolist()) == prompt_ids(tokenizer, talk[:1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", [CHATML, LLAMA2, GEMMA], ids=["ChatML", "Llama 2", "Gemma"])
def test_tokens_stay_those_of_the_whole_where_none_holds_both(kind: str, template: str) -> None:
    tokenizer = tokenizer_of(kind, template)
    talk = talk_of("Hello", "Yes.", "no", "late")
    chat = rendered(tokenizer, talk)
    assert chat.ids.tolist() == tokenizer(whole_of(tokenizer, talk), add_special_tokens=False)["input_ids"]
    assert tuple(chat.ids[: int(chat.taught.argmax())].tolist()) == prompt_ids(tokenizer, talk[:1])
    around = {CHATML: ("", "<|im_end|>"), LLAMA2: (" ", " <|endoftext|>"), GEMMA: ("", "<end_of_turn>")}
    for number, reply in enumerate(("Yes.", "late")):
        assert spelt(tokenizer, chat, number) == reply.join(around[template])


@pytest.mark.parametrize("kind", ["merges", "trimmed"])
@pytest.mark.parametrize("template", [SPACED, MARKED, CHATML, LLAMA2, GEMMA])
@settings(deadline=None, max_examples=20)
@given(asked=WORDS.map(" ".join), reply=WORDS.map(" ".join), again=WORDS.map(" ".join))
def test_whatever_is_said_the_prompt_is_what_stands_before_the_first_taught_token(
    kind: str, template: str, asked: str, reply: str, again: str
) -> None:
    tokenizer = TRAINED.get((kind, template)) or TRAINED.setdefault((kind, template), tokenizer_of(kind, template))
    talk = talk_of(asked, reply, asked, again)
    chat = rendered(tokenizer, talk)
    first = int(chat.taught.argmax())
    assert tuple(chat.ids[:first].tolist()) == prompt_ids(tokenizer, talk[:1])
    assert tokenizer.decode(chat.ids.tolist()) == whole_of(tokenizer, talk)
    for number, words in enumerate((reply, again)):
        assert words.strip() in tokenizer.decode(chat.ids[chat.spoken == number].tolist())
    last = rendered(tokenizer, talk, most=7)
    assert last.ids.tolist() == chat.ids[-7:].tolist() and last.spoken.tolist() == chat.spoken[-7:].tolist()
