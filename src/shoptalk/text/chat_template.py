"""A conversation as a model's chat template writes it, within limits: a template comes with the model's folder, from
whoever made that, and is a program.

    write(tokenizer, [{"role": "user", "content": "Hi"}], asking=True)       # "<|user|>Hi<|assistant|>"

It runs in the sandbox of transformers, which keeps it from files and from Python's internals. Here its output is
counted while it is written, and the numbers that `range` gives are counted over all of its calls, so that loops within
loops end, those that write nothing included.

Not limited are loops over lists that a template has made itself, macros that call themselves, and what one expression
makes at once, such as 'x' * 10**9: Jinja has no place to count them, and threads cannot be stopped from outside.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

MOST_NUMBERS = 1_000_000
"""That `range` gives to a template while it writes one conversation."""
MOST_BESIDE, MOST_TIMES, MOST_AROUND = 1_000_000, 10, 100
"""Characters that it may write: so many, and each turn so many times with so many around it."""


def write(tokenizer: Any, turns: Sequence[Mapping[str, str]], *, asking: bool) -> str:
    """What `apply_chat_template` writes without tools; `asking` adds the words that ask the assistant to speak.

    Raises:
        ValueError: there are no turns, or a limit is reached.
        Exception: whatever the template raises.
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template  # which keeps what it has compiled

    if not turns:
        raise ValueError("the conversation has no turns")
    pieces = _compile_jinja_template(tokenizer.get_chat_template()).generate(
        messages=[dict(turn) for turn in turns],
        tools=None,
        documents=None,
        add_generation_prompt=asking,
        **tokenizer.special_tokens_map,
        range=_counted_range(),
    )
    most = MOST_BESIDE + MOST_TIMES * sum(MOST_AROUND + len(turn["content"]) for turn in turns)
    written: list[str] = []
    left = most
    for piece in pieces:
        written.append(piece)
        left -= len(piece)
        if left < 0:
            raise ValueError(f"it writes more than {most:,} characters of it")
    return "".join(written)


def _counted_range() -> Callable[..., range]:
    """`range`, for one conversation."""
    left = MOST_NUMBERS

    def counted(*bounds: int) -> range:
        nonlocal left
        numbers = range(*bounds)
        with suppress(OverflowError):  # where there are more than can be counted
            left -= len(numbers)
            if left >= 0:
                return numbers
        raise ValueError(f"its loops count through more than {MOST_NUMBERS:,} numbers")

    return counted
