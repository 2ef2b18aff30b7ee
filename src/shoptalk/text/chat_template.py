"""A conversation as a model's chat template writes it, within limits: a template comes with the model's folder, from
whoever made that, and is a program.

    write(tokenizer, [{"role": "user", "content": "Hi"}], asking=True)       # "<|user|>Hi<|assistant|>"

It runs in the sandbox of transformers, which keeps it from files and from Python's internals. Here its steps are
counted: each pass of a loop, each call of a macro, of a `call` block and of a block, by a call that is put into the
template's syntax tree before it is compiled. So every template ends, unless one expression of it does not.

Not limited is what one expression does: 'x' * 10**9, 9**9**9, `range(99999) | list`, or a text that each step doubles
(`x ~ x`). It takes what time and memory it takes, and threads cannot be stopped from outside. What the template writes
is counted piece by piece, and what a macro, a `call`, `filter` or `set` block or a recursive loop has gathered is one
piece, counted when it is complete: its length is bounded only by the steps times the longest piece in it.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from traceback import walk_tb
from typing import Any

from jinja2 import Environment, Template, nodes
from jinja2.ext import Extension

MOST_STEPS, MOST_STEPS_OF_A_TURN = 100_000, 1_000
"""Of a template while it writes one conversation: so many, and so many more for each turn."""
MOST_BESIDE, MOST_TIMES, MOST_AROUND = 1_000_000, 10, 100
"""Characters that it may write: so many, and each turn so many times with so many around it."""
_KEPT = 64
"""Templates that stay compiled."""
_OF_TEMPLATES = ("<template>", "<unknown>")
"""What jinja calls a template that is no file: while it runs, and while it is read."""
_STEPS = threading.local()
"""The steps that the conversation written in this thread may have (`most`), and has left (`left`)."""


def write(tokenizer: Any, turns: Sequence[Mapping[str, str]], *, asking: bool) -> str:
    """What `apply_chat_template` writes without tools; `asking` adds the words that ask the assistant to speak.

    Raises:
        ValueError: there are no turns, a limit is reached, or the template raises something.
    """
    if not turns:
        raise ValueError("the conversation has no turns")
    source, environment = tokenizer.get_chat_template(), _environment()
    given = {"messages": [dict(turn) for turn in turns], "tools": None, "documents": None}
    given |= {"add_generation_prompt": asking} | tokenizer.special_tokens_map
    most = MOST_BESIDE + MOST_TIMES * sum(MOST_AROUND + len(turn["content"]) for turn in turns)
    _STEPS.most = _STEPS.left = MOST_STEPS + MOST_STEPS_OF_A_TURN * len(turns)
    try:
        return _within(most, _compiled(environment, source), given)
    except Exception as error:  # templates raise anything
        raise ValueError(f"{str(error) or type(error).__name__}{_at_line(error)}") from error


def _at_line(error: Exception) -> str:
    """Where in the template it happened; nothing where jinja does not say."""
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename in _OF_TEMPLATES]
    return f" (in line {lines[-1]} of the template)" if lines else ""


def _within(most: int, template: Template, given: Mapping[str, Any]) -> str:
    """What the template writes, at most so many characters.

    Raises:
        ValueError: it writes more.
        Exception: whatever the template raises.
    """
    written: list[str] = []
    left = most
    for piece in template.generate(given):
        written.append(piece)
        left -= len(piece)
        if left < 0:
            raise ValueError(f"it writes more than {most:,} characters of it")
    return "".join(written)


class _CountedSteps(Extension):
    """What a template calls at each step. Templates cannot reach it by a name of theirs, and so cannot replace it."""

    def step(self) -> bool:
        """Count one step; true, so that it can stand before a condition.

        Raises:
            ValueError: there were too many.
        """
        _STEPS.left -= 1
        if _STEPS.left < 0:
            raise ValueError(f"its loops and macros make more than {_STEPS.most:,} steps")
        return True


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """The sandbox of transformers, with the count of steps."""
    from transformers.utils.chat_template_utils import _compile_jinja_template  # private: nothing public gives it

    sandbox: Environment = _compile_jinja_template("").environment
    return sandbox.overlay(extensions=[_CountedSteps])


@lru_cache(maxsize=_KEPT)
def _compiled(environment: Environment, source: str) -> Template:
    """The template, with a counted step at the beginning of whatever can be run more than once.

    Raises:
        TemplateSyntaxError: it is no template.
    """
    extension = environment.extensions[_CountedSteps.identifier]
    assert isinstance(extension, _CountedSteps)
    tree = environment.parse(source)
    for node in list(tree.find_all((nodes.For, nodes.Macro, nodes.CallBlock, nodes.Block))):
        assert isinstance(node, nodes.For | nodes.Macro | nodes.CallBlock | nodes.Block)
        step = extension.call_method("step", lineno=node.lineno)
        if isinstance(node, nodes.For) and node.test is not None:
            # What the condition leaves out is gone through, too.
            node.test = nodes.And(step, node.test, lineno=node.lineno)
        else:
            node.body.insert(0, nodes.ExprStmt(step, lineno=node.lineno))
    tree.set_environment(environment)
    return environment.template_class.from_code(environment, environment.compile(tree), environment.make_globals(None))
