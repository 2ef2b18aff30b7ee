"""Templates from anybody's folder write what they should, and end."""

import time
from typing import Any

import pytest

from shoptalk.errors import ConfigError
from shoptalk.nn.tiny_lm import tiny_bytes
from shoptalk.text.chat import Message, rendered
from shoptalk.text.chat_template import MOST_NUMBERS, write

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
OFTEN = "{% for a in range(99999) %}{% for b in range(99999) %}BODY{% endfor %}{% endfor %}"
ENDLESS = {
    "writes in loops": (OFTEN.replace("BODY", "x"), "its loops count through more than 1,000,000 numbers"),
    "loops and writes nothing": (OFTEN.replace("BODY", ""), "its loops count through more than 1,000,000 numbers"),
    "loops in a macro": (
        "{% macro f() %}{% for a in range(99999) %}{% endfor %}{% endmacro %}{% for b in range(99999) %}{{ f() }}"
        "{% endfor %}",
        "its loops count through more than 1,000,000 numbers",
    ),
    "writes much": (
        "{% for a in range(99999) %}" + "x" * 100 + "{% endfor %}",
        r"it writes more than 1,00\d,\d{3} characters of it",
    ),
    "counts to more than can be counted": ("{% for a in range(10 ** 30) %}{% endfor %}", "its loops count through"),
}


def tokenizer_with(template: str) -> Any:
    tokenizer = tiny_bytes()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(("template", "reason"), ENDLESS.values(), ids=ENDLESS)
def test_a_template_without_an_end_is_told_as_one_that_cannot_write_the_conversation(
    template: str, reason: str
) -> None:
    begun = time.process_time()
    with pytest.raises(ConfigError, match=f"cannot write a conversation of the turns user, assistant: {reason}"):
        rendered(tokenizer_with(template), [Message("user", "Hi"), Message("assistant", "Hello.")])
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("asking", [False, True])
def test_it_writes_what_transformers_does(asking: bool) -> None:
    tokenizer = tokenizer_with(
        "{{ bos_token }}{% for n in range(messages | length) %}{{ n }}{{ messages[n]['content'] }}{% endfor %}"
        "{% generation %}{% if tools is none and documents is none %}-{% endif %}{% endgeneration %}\n"
        "{% if add_generation_prompt %}{{ messages[0] | tojson }}{% endif %}"
    )
    usual = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=asking)
    assert write(tokenizer, TURNS, asking=asking) == usual and "0Hi1Hello." in usual


def test_the_count_begins_anew_with_each_conversation_and_grows_with_it() -> None:
    tokenizer = tokenizer_with("{% for n in range(LIMIT) %}{% endfor %}.".replace("LIMIT", str(MOST_NUMBERS)))
    assert [write(tokenizer, TURNS, asking=False) for _ in range(3)] == ["."] * 3
    long = [{"role": "user", "content": "x" * 3_000_000}]
    assert len(write(tokenizer_with("{{ messages[0]['content'] }}"), long, asking=False)) == 3_000_000


def test_no_turns_are_refused_and_the_sandbox_stays() -> None:
    with pytest.raises(ValueError, match="has no turns"):
        write(tokenizer_with("."), [], asking=True)
    with pytest.raises(Exception, match="unsafe"):
        write(tokenizer_with("{{ range.__globals__ }}{{ range.__closure__[0] }}"), TURNS, asking=False)
