"""Templates from anybody's folder write what they should, and end."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shoptalk.errors import ConfigError
from shoptalk.nn.tiny_lm import tiny_bytes
from shoptalk.text import chat_template
from shoptalk.text.chat import Message, rendered
from shoptalk.text.chat_template import write

TURNS = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]
STEPS = r"its loops and macros make more than 7,000 steps"
ENDLESS = {
    "loops through one range": (
        "{% set r = range(99999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
        STEPS,
    ),
    "writes in loops": ("{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}", STEPS),
    "leaves out what it loops through": (
        "{% set r = range(99999) %}{% for a in r if false %}{% endfor %}{% for a in r if false %}{% endfor %}",
        STEPS,
    ),
    "loops through a text": ("{% for a in 'x' * 999999 %}{% endfor %}", STEPS),
    "loops in a macro": (
        "{% macro f() %}{% for a in range(99999) %}{% endfor %}{% endmacro %}{% for b in range(99999) %}{{ f() }}"
        "{% endfor %}",
        STEPS,
    ),
    "calls itself twice": (
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(40) }}",
        STEPS,
    ),
    "calls its caller for ever": (
        "{% macro f() %}{{ caller() }}{% endmacro %}{% for n in range(4_000) %}{% call f() %}{% endcall %}{% endfor %}",
        STEPS,
    ),
    "has a block that writes itself twice": (
        "{% set left = namespace(n=40) %}{% block b %}{% if left.n %}{% set left.n = left.n - 1 %}{{ self.b() }}"
        "{{ self.b() }}{% set left.n = left.n + 1 %}{% endif %}{% endblock %}",
        STEPS,
    ),
    "has names like those of the count": (
        "{% macro step() %}{% endmacro %}{% set environment, extensions, context = 1, {}, {} %}"
        "{% set r = range(9999) %}{% for a in r %}{% for b in r %}{% endfor %}{% endfor %}",
        STEPS,
    ),
    "writes much": (
        "{% for a in range(99999) %}" + "x" * 1_000 + "{% endfor %}",
        r"it writes more than 1,00\d,\d{3} characters of it",
    ),
    "counts to more than the sandbox allows": ("{% for a in range(10 ** 9) %}{% endfor %}", "Range too big"),
}


def tokenizer_with(template: str) -> Any:
    tokenizer = tiny_bytes()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(("template", "reason"), ENDLESS.values(), ids=ENDLESS)
def test_a_template_without_an_end_is_told_as_one_that_cannot_write_the_conversation(
    template: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "MOST_STEPS", 5_000)
    begun = time.process_time()
    with pytest.raises(ConfigError, match=f"cannot write a conversation of the turns user, assistant: {reason}"):
        rendered(tokenizer_with(template), [Message("user", "Hi"), Message("assistant", "Hello.")])
    assert time.process_time() - begun < 10


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (
            "a\n{% for turn in messages %}\n{{ turn.contet.upper() }}{% endfor %}",
            r"no attribute 'contet' \(in line 3 of",
        ),
        ("a\n\n{{ raise_exception('Roles must alternate.') }}", r"Roles must alternate. \(in line 3 of"),
        ("a\n{% for %}", r"got 'end of statement block' \(in line 2 of"),
    ],
)
def test_a_template_that_fails_is_told_with_its_line(template: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        rendered(tokenizer_with(template), [Message("user", "Hi"), Message("assistant", "Hello.")])


@pytest.mark.parametrize("asking", [False, True])
def test_it_writes_what_transformers_does(asking: bool) -> None:
    tokenizer = tokenizer_with(
        "{{ bos_token }}{% for n in range(messages | length) %}{{ n }}{{ messages[n]['content'] }}{% endfor %}"
        "{% generation %}{% if tools is none and documents is none %}-{% endif %}{% endgeneration %}\n"
        "{% if add_generation_prompt %}{{ messages[0] | tojson }}{% endif %}"
    )
    usual = tokenizer.apply_chat_template(TURNS, tokenize=False, add_generation_prompt=asking)
    assert write(tokenizer, TURNS, asking=asking) == usual and "0Hi1Hello." in usual


@pytest.mark.parametrize(
    ("template", "written"),
    [
        (
            "{% for x in [[1, [2]], 3] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}"
            "{{ '.' if loop.last else ',' }}{% endif %}{% endfor %}",
            "(1,(2.))3.",
        ),
        (
            "{% for x in [1, 2, 3] if x > 1 %}{{ loop.index }}/{{ loop.length }}={{ x }}{{ loop.nextitem }} "
            "{% else %}none{% endfor %}",
            "1/2=23 2/2=3 ",
        ),
        ("{% for x in [1] if x > 1 %}{{ x }}{% else %}none{% endfor %}", "none"),
        (
            "{% for x in range(9) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}"
            "{{ x }}{% endfor %}",
            "02",
        ),
        (
            "{% macro twice(n) %}{{ caller(n) }}{{ caller(n + 1) }}{% endmacro %}{% call(x) twice(4) %}[{{ x }}]"
            "{% endcall %}",
            "[4][5]",
        ),
        ("{% macro f(x, y='b') %}{{ x }}{{ y }}{{ varargs }}{% endmacro %}{{ f('a') }}{{ f(1, 2, 3) }}", "ab()12(3,)"),
        ("{% set x %}{% for n in 'ab' %}{{ n }}{% endfor %}{% endset %}{% filter upper %}{{ x }}{% endfilter %}", "AB"),
        ("{% block b %}{% generation %}{{ messages[1].content }}{% endgeneration %}{% endblock %}", "Hello."),
    ],
)
def test_what_is_counted_writes_what_it_would_write_uncounted(template: str, written: str) -> None:
    tokenizer = tokenizer_with(template)
    assert write(tokenizer, TURNS, asking=False) == tokenizer.apply_chat_template(TURNS, tokenize=False) == written


def test_the_count_begins_anew_with_each_conversation_and_grows_with_it() -> None:
    tokenizer = tokenizer_with("{% for n in messages %}{% for m in range(50_000) %}{% endfor %}{% endfor %}.")
    assert [write(tokenizer, TURNS, asking=False) for _ in range(2)] == ["."] * 2
    with pytest.raises(ValueError, match="more than 103,000 steps"):
        write(tokenizer, [*TURNS, TURNS[0]], asking=False)
    tokenizer = tokenizer_with("{% for n in messages %}{% for m in range(1_500) %}{% endfor %}{% endfor %}.")
    assert write(tokenizer, TURNS * 50, asking=False) == "."
    long = [{"role": "user", "content": "x" * 3_000_000}]
    assert len(write(tokenizer_with("{{ messages[0]['content'] }}"), long, asking=False)) == 3_000_000


@pytest.mark.parametrize("condition", ["", " if true", " if n % 2", " if false"])
def test_a_pass_of_a_loop_is_one_step_whether_it_has_a_condition_or_none(
    condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "MOST_STEPS", 5_000)
    template = "{% for n in range(RANGE)" + condition + " %}{% endfor %}."
    assert write(tokenizer_with(template.replace("RANGE", "7_000")), TURNS, asking=False) == "."
    with pytest.raises(ValueError, match="more than 7,000 steps"):
        write(tokenizer_with(template.replace("RANGE", "7_001")), TURNS, asking=False)


def test_each_thread_counts_its_own_conversation() -> None:
    tokenizer = tokenizer_with("{% for n in range(60_000) %}{% endfor %}.")
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: write(tokenizer, TURNS, asking=False), range(4))) == ["."] * 4


def test_no_turns_are_refused_and_the_sandbox_stays() -> None:
    with pytest.raises(ValueError, match="has no turns"):
        write(tokenizer_with("."), [], asking=True)
    with pytest.raises(ValueError, match="unsafe"):
        write(tokenizer_with("{{ range.__globals__ }}{{ range.__closure__[0] }}"), TURNS, asking=False)


def test_only_what_the_template_does_is_blamed_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = tokenizer_with("{% for %}")
    with pytest.raises(ConfigError, match="cannot write a conversation of the turns user"):
        rendered(tokenizer, [Message("user", "Hi")])

    def broken() -> Any:
        raise ImportError("cannot import name '_compile_jinja_template'")

    monkeypatch.setattr(chat_template, "_environment", broken)
    with pytest.raises(ImportError, match="_compile_jinja_template"):
        rendered(tokenizer, [Message("user", "Hi")])
