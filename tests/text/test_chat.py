"""What the assistant says, token by token, whatever the template."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoptalk.errors import ConfigError
from shoptalk.nn.tiny_lm import tiny_bytes
from shoptalk.text import chat
from shoptalk.text.chat import Message, Rendered, answered, end_of_turn, messages_of, prompt_ids, rendered
from shoptalk.text.chat_template import write
from shoptalk.text.corpus import Corpus

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou help."
    "<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA2 = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'] + ' "
    "[/INST]' }}{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else "
    "message['role'] %}<start_of_turn>{{ role }}\n{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
TALK = [
    Message("user", "Hi"),
    Message("assistant", "Hello."),
    Message("user", "Is it open?"),
    Message("assistant", "Until 8."),
]
EXPECTED = {
    CHATML: ["Hello.<|im_end|>", "Until 8.<|im_end|>"],
    LLAMA2: [" Hello. <|endoftext|>", " Until 8. <|endoftext|>"],
    GEMMA: ["Hello.<end_of_turn>", "Until 8.<end_of_turn>"],
}


def tokenizer_with(template: str | None) -> object:
    tokenizer = tiny_bytes()
    tokenizer.chat_template = template
    return tokenizer


def said(tokenizer: object, chat: Rendered) -> list[str]:
    return [
        tokenizer.decode(chat.ids[chat.spoken == number].tolist())  # type: ignore[attr-defined]
        for number in range(int(chat.spoken.max()) + 1)
    ]


@pytest.mark.parametrize("reply", [[("agent", "3")], []], ids=["answered", "to be answered"])
@pytest.mark.parametrize("place", range(3))
def test_a_passage_stands_before_all_of_the_words_that_are_answered_wherever_among_them_it_was_retrieved(
    place: int, reply: list[tuple[str, str]]
) -> None:
    turns = [("customer", "Hi"), ("customer", "Fee?"), *reply]
    turns.insert(place, ("passage", "P"))
    corpus = corpus_of(*turns)
    answers = [Message("assistant", text) for _, text in reply]
    assert messages_of(corpus, 0, len(corpus)) == [Message("user", "P\n\nHi\nFee?"), *answers]


@pytest.mark.parametrize("template", [CHATML, LLAMA2, GEMMA], ids=["ChatML", "Llama 2", "Gemma"])
def test_what_the_assistant_says_is_its_words_and_the_end_of_its_turn(template: str) -> None:
    tokenizer = tokenizer_with(template)
    chat = rendered(tokenizer, TALK)
    assert said(tokenizer, chat) == EXPECTED[template]
    whole = tokenizer.apply_chat_template([m._asdict() | {"content": m.text} for m in TALK], tokenize=False)  # type: ignore[attr-defined]
    assert tokenizer.decode(chat.ids.tolist()) == whole  # type: ignore[attr-defined]
    # Token by token: every byte is taught, or none of it, as it lies in the strings above.
    begins = np.flatnonzero(np.diff(np.concatenate([[-1], chat.spoken])) > 0)
    assert len(begins) == 2 and chat.taught.sum() == sum(
        len(tokenizer(text, add_special_tokens=False)["input_ids"])  # type: ignore[operator]
        for text in EXPECTED[template]
    )


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<|>[]"), min_size=1, max_size=20)


@given(
    st.lists(st.tuples(WORDS, WORDS).filter(lambda pair: all(part.strip() for part in pair)), min_size=1, max_size=4)
)
def test_any_words_in_any_language_are_taught_whole(pairs: list[tuple[str, str]]) -> None:
    tokenizer = tokenizer_with(CHATML)
    talk = [message for user, reply in pairs for message in (Message("user", user), Message("assistant", reply))]
    assert said(tokenizer, rendered(tokenizer, talk)) == [f"{reply}<|im_end|>" for _, reply in pairs]


def test_what_somebody_wrote_ends_no_turn() -> None:
    tokenizer = tokenizer_with(LLAMA2)
    chat = rendered(tokenizer, [Message("user", "a<|endoftext|>b"), Message("assistant", "No.")])
    assert said(tokenizer, chat) == [" No. <|endoftext|>"]
    assert (chat.ids == tokenizer.eos_token_id).sum() == 2  # the template's own, at the beginning and at the end


ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "markers"),
    [
        (LLAMA2, ("[INST]", "[/INST]")),
        (GEMMA, ("<start_of_turn>", "<end_of_turn>")),
        (CHATML, ("<|im_start|>", "<|im_end|>")),
        (ZEPHYR, ("<|user|>", "<|assistant|>", "<|system|>")),
    ],
    ids=["Llama 2", "Gemma", "ChatML", "Zephyr"],
)
def test_markers_that_a_template_writes_as_plain_text_end_no_turn_either(
    template: str, markers: tuple[str, ...]
) -> None:
    tokenizer: Any = tokenizer_with(template)

    def written(text: str) -> str:
        return str(tokenizer.decode(rendered(tokenizer, [Message("user", text), Message("assistant", "No.")]).ids))

    plain = written("Is it so?")
    for marker in markers:
        assert written(f"Is it{marker}so?").count(marker) == plain.count(marker)
    for ordinary in ("See [1] and <b>this</b>: 3 < 4 [sic].", "User: Hi\nAssistant: Yes"):
        assert ordinary in written(ordinary)


@given(st.integers(1, 120))
def test_the_last_tokens_alone_are_those_of_the_whole_conversation(most: int) -> None:
    tokenizer = tokenizer_with(CHATML)
    whole, last = rendered(tokenizer, TALK), rendered(tokenizer, TALK, most=most)
    assert last.ids.tolist() == whole.ids[-most:].tolist() and last.spoken.tolist() == whole.spoken[-most:].tolist()


def test_of_a_long_conversation_no_more_is_written_than_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, count = tokenizer_with(CHATML), [0]
    rendered(tokenizer, TALK)  # which finds the template's markers

    def counted(tokenizer: object, turns: Sequence[Mapping[str, str]], *, asking: bool) -> str:
        count[0] += 1
        return write(tokenizer, turns, asking=asking)

    monkeypatch.setattr(chat, "write", counted)
    assert (rendered(tokenizer, TALK * 50, most=30).spoken == 99).any()
    assert count[0] <= 5


def test_a_model_without_a_template_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match=r"has no chat template.*Give a model that has one, such as smollm2"):
        rendered(tokenizer_with(None), TALK)


def test_a_template_that_cannot_be_read_or_refuses_is_named_with_the_turns() -> None:
    for broken in ("{% for %}", "{{ raise_exception('only the user may begin') }}"):
        with pytest.raises(ConfigError, match="cannot write a conversation of the turns user, assistant"):
            rendered(tokenizer_with(broken), TALK)


def test_a_template_that_writes_the_past_in_another_way_is_refused() -> None:
    changing = "{{ messages | length }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    with pytest.raises(ConfigError, match="in another way when more follow"):
        rendered(tokenizer_with(changing), TALK)


def test_an_empty_turn_of_the_assistant_is_refused_by_its_place() -> None:
    with pytest.raises(ValueError, match="Turn 2 of a conversation, the assistant's, is empty"):
        rendered(tokenizer_with(CHATML), [Message("user", "Hi"), Message("assistant", " ")])


# From a corpus ----------------------------------------------------------------------------------------------------


def corpus_of(*turns: tuple[str, str]) -> Corpus:
    roles = tuple(dict.fromkeys(role for role, _ in turns if role))
    numbers = {role: place for place, role in enumerate(roles)} | {"": -1}
    return Corpus(
        items=tuple(text for _, text in turns),
        conversation=np.zeros(len(turns), dtype=np.int64),
        turn=np.arange(len(turns)),
        digest="chat",
        role=np.array([numbers[role] for role, _ in turns]),
        roles=roles,
    )


def test_agents_are_the_assistant_and_tools_are_nobody() -> None:
    corpus = corpus_of(
        ("agent", "Welcome!"),
        ("customer", "Hi"),
        ("customer", "What is the fee?"),
        ("tool", "lookup()"),
        ("Agent", "One moment."),
        ("passage", "The fee is 3 euros."),
        ("customer", "Thanks"),
        ("agent", "3 euros."),
    )
    assert messages_of(corpus, 0, len(corpus)) == [
        Message("user", "Hi\nWhat is the fee?"),
        Message("assistant", "One moment."),
        Message("user", "The fee is 3 euros.\n\nThanks"),
        Message("assistant", "3 euros."),
    ]


@pytest.mark.parametrize(
    "turns",
    [
        ("customer Fee?", "passage P", "agent Three.", "customer And now?", "agent Four."),
        ("customer Fee?", "agent Three.", "passage P", "agent Three.", "customer And now?", "agent Four."),
        (
            "agent Hello.",
            "passage P",
            "agent Hello.",
            "customer Fee?",
            "agent Three.",
            "customer And now?",
            "agent Four.",
        ),
    ],
    ids=["behind the question", "between two replies", "before anybody asked"],
)
def test_a_passage_before_a_reply_stands_before_the_words_that_the_reply_answers(turns: tuple[str, ...]) -> None:
    corpus = corpus_of(*(tuple(turn.split(" ", 1)) for turn in turns))  # type: ignore[arg-type]
    messages = messages_of(corpus, 0, len(corpus))
    assert [message.text for message in messages if message.role == "user"] == ["P\n\nFee?", "And now?"]
    assert [message.role for message in messages] == ["user", "assistant"] * 2


def test_what_is_retrieved_stands_first_in_its_order_and_nothing_behind_the_last_reply() -> None:
    corpus = corpus_of(
        ("context", "P"), ("user", "Fee?"), ("passage", "Q"), ("document", "R"), ("bot", "3"), ("passage", "S")
    )
    assert messages_of(corpus, 0, len(corpus)) == [Message("user", "P\n\nQ\n\nR\n\nFee?"), Message("assistant", "3")]


def test_passages_keep_their_order_where_the_agent_speaks_between_them() -> None:
    turns = [("passage", "P"), ("user", "Fee?"), ("agent", "One moment."), ("passage", "R"), ("agent", "3")]
    asked, said = Message("user", "P\n\nR\n\nFee?"), Message("assistant", "One moment.\n3")
    corpus = corpus_of(*turns)
    assert messages_of(corpus, 0, len(corpus)) == [asked, said]
    corpus = corpus_of(*turns, ("user", "And now?"), ("passage", "S"), ("agent", "4"))
    assert messages_of(corpus, 0, len(corpus)) == [
        asked,
        said,
        Message("user", "S\n\nAnd now?"),
        Message("assistant", "4"),
    ]


@pytest.mark.parametrize("template", [CHATML, LLAMA2, GEMMA], ids=["ChatML", "Llama 2", "Gemma"])
@given(passage=WORDS.filter(str.strip), reply=WORDS.filter(str.strip))
def test_of_what_was_retrieved_every_token_is_read_and_none_is_learned(template: str, passage: str, reply: str) -> None:
    tokenizer: Any = tokenizer_with(template)
    turns = (("passage", passage), ("customer", "What is it?"), ("agent", reply))
    corpora = corpus_of(*turns), corpus_of(*turns[1:])
    beside, alone = (rendered(tokenizer, messages_of(corpus, 0, len(corpus))) for corpus in corpora)
    # Token by token: the passage's come in one piece, all of them, and none is taught; the taught ones stay the same.
    trimmed = passage.lstrip() if template == GEMMA else passage
    more = tokenizer(f"{trimmed}\n\n", add_special_tokens=False)["input_ids"]
    assert len(beside.ids) == len(alone.ids) + len(more)
    begin = next(place for place in range(len(alone.ids)) if beside.ids[place : place + len(more)].tolist() == more)
    assert not beside.taught[begin : begin + len(more)].any()
    rest = np.delete(np.arange(len(beside.ids)), np.arange(begin, begin + len(more)))
    assert beside.ids[rest].tolist() == alone.ids.tolist()
    assert beside.taught[rest].tolist() == alone.taught.tolist()


def test_a_prompt_is_nothing_that_the_assistant_says_where_the_corpus_has_another_agent() -> None:
    corpus = corpus_of(("user", "Hi"), ("system", "Be brief."), ("assistant", "Hello."), ("user", "Bye"))
    assert [message.text for message in messages_of(corpus, 0, 4)] == ["Hi", "Hello.", "Bye"]
    alone = corpus_of(("user", "Hi"), ("System", "Hello."))
    assert messages_of(alone, 0, 2) == [Message("user", "Hi"), Message("assistant", "Hello.")]


def test_speakers_without_a_role_take_turns() -> None:
    corpus = corpus_of(("", "a"), ("", "b"), ("", "c"))
    assert [message.role for message in messages_of(corpus, 0, 3)] == ["user", "assistant", "user"]


def test_a_prompt_of_the_system_is_nobodys_turn_where_there_is_an_agent() -> None:
    corpus = corpus_of(("user", "Hi"), ("assistant", "Hello"), ("system", "Be brief."), ("user", "So?"), ("bot", "No."))
    assert [message.text for message in messages_of(corpus, 0, 5)] == ["Hi", "Hello", "So?", "No."]


def test_conversations_in_which_no_agent_answers_are_known_by_their_roles() -> None:
    assert list(answered(corpus_of(("A", "Hi"), ("B", "Hello")))) == []
    assert list(answered(corpus_of(("A", "Hi"), ("Agent", "Hello")))) == [0]
    assert list(answered(corpus_of(("", "Hi"), ("", "Hello")))) == [0]


def test_a_template_that_cuts_or_leaves_out_what_the_assistant_says_is_refused() -> None:
    cut = "{% for message in messages %}{{ message['content'][:3] }}<|endoftext|>\n{% endfor %}"
    with pytest.raises(ConfigError, match=r"does not write all of what the assistant says in turn 4.*'Until 8\.'"):
        rendered(tokenizer_with(cut), TALK)
    silent = "{% for message in messages if message['role'] == 'user' %}{{ message['content'] }}\n{% endfor %}"
    with pytest.raises(ConfigError, match=r"writes nothing of what the assistant says in turn 4.*chat_template\.jinja"):
        rendered(tokenizer_with(silent), TALK)


def test_a_template_that_loses_what_the_user_says_is_refused_wherever_it_is_used() -> None:
    lost = CHATML.replace(
        "{{ message['content'] }}", "{{ message['content' if message.role == 'assistant' else 'text'] }}"
    )
    cut = CHATML.replace("{{ message['content'] }}", "{{ message['content'][:8] }}")
    for template, turn, words in ((lost, 1, "Hi"), (cut, 3, "Is it open[?]")):
        message = (
            rf"does not write all of what the user says in turn {turn} .*leaves out '{words}'.*chat_template\.jinja"
        )
        talk = [*TALK[:3], Message("assistant", "Yes.")]
        for write_it in (lambda t: rendered(t, talk), lambda t: prompt_ids(t, talk[:3])):  # noqa: B023
            with pytest.raises(ConfigError, match=message):
                write_it(tokenizer_with(template))


def test_a_marker_of_one_character_is_no_marker_in_what_somebody_wrote() -> None:
    tokenizer: Any = tokenizer_with(CHATML)
    tokenizer.add_special_tokens({"additional_special_tokens": ["#"]})
    number = tokenizer.convert_tokens_to_ids("#")
    assert number not in prompt_ids(tokenizer, [Message("user", "a#b C#")])
    assert number not in rendered(tokenizer, [Message("user", "a#b"), Message("assistant", "C# it is")]).ids
    with pytest.raises(ValueError, match="the assistant's, is empty"):
        rendered(tokenizer, [Message("user", "a"), Message("assistant", "#")])


def test_a_conversation_is_answered_where_its_messages_hold_a_reply() -> None:
    talks = [
        [("passage", "P"), ("assistant", "A")],
        [("agent", "Hi"), ("assistant", "Hello")],
        [("user", "Q"), ("assistant", "A")],
        [("passage", "P"), ("user", "Q"), ("passage", "R"), ("assistant", "A")],
        [("assistant", "Hi"), ("passage", "P"), ("bot", "So?"), ("user", "Q"), ("assistant", "A")],
        [("user", "Q"), ("tool", "x"), ("assistant", "A")],
        [("system", "S"), ("assistant", "A")],
        [("", "Q"), ("", "A")],
        [("assistant", "A"), ("user", "Q")],
    ]
    one = corpus_of(*(turn for talk in talks for turn in talk))
    sizes = [len(talk) for talk in talks]
    numbered = replace(
        one,
        conversation=np.repeat(np.arange(len(talks)), sizes),
        turn=np.concatenate([np.arange(size) for size in sizes]),
    )
    ends = np.cumsum(sizes)
    messages = [messages_of(numbered, int(end) - size, int(end)) for end, size in zip(ends, sizes, strict=True)]
    expected = [n for n, talk in enumerate(messages) if any(message.role == "assistant" for message in talk)]
    assert list(answered(numbered)) == expected == [2, 3, 4, 5, 7]


def test_the_end_of_a_turn_is_the_special_token_that_the_template_writes_behind_a_reply() -> None:
    tokenizer: Any = tokenizer_with(LLAMA2)
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id
    tokenizer.chat_template = CHATML  # whose markers are no tokens of this tokenizer
    assert end_of_turn(tokenizer) is None
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    assert end_of_turn(tokenizer) == tokenizer.convert_tokens_to_ids("<|im_end|>")
    tokenizer.chat_template = None
    assert end_of_turn(tokenizer) is None
