"""Every task by name: the one literal dict. A task's file says what it asks."""

from collections.abc import Iterable
from typing import NamedTuple

from shoptalk.config import did_you_mean
from shoptalk.errors import ConfigError
from shoptalk.nn.product import CALLED, Kind
from shoptalk.probes.bits_per_byte import SENTENCES
from shoptalk.tasks.answer import FEWEST, answer
from shoptalk.tasks.caption import HELD_OUT as CAPTIONED_HELD_OUT
from shoptalk.tasks.caption import caption
from shoptalk.tasks.chat import LOOKED_AT as OF_TALKS
from shoptalk.tasks.chat import chat
from shoptalk.tasks.cloze import LOOKED_AT as OF_GAPS
from shoptalk.tasks.cloze import cloze
from shoptalk.tasks.intent import intent
from shoptalk.tasks.judge import Ground, Judge, Task
from shoptalk.tasks.language_model import HELD_OUT as DOCUMENTS_HELD_OUT
from shoptalk.tasks.language_model import LOOKED_AT as OF_DOCUMENTS
from shoptalk.tasks.language_model import language_model
from shoptalk.tasks.picture import picture
from shoptalk.tasks.reply import HELD_OUT, reply

TASKS: dict[str, Task] = {
    "intent": intent,
    "reply": reply,
    "answer": answer,
    "picture": picture,
    "caption": caption,
    "language_model": language_model,
    "cloze": cloze,
    "chat": chat,
}
_OF_PICTURES: dict[str, frozenset[Kind]] = {"picture": frozenset({"image", "pair"}), "caption": frozenset({"pair"})}
"""The kinds of base that tasks about pictures need; all other tasks are about texts."""
_EXAMPLE_BASES: dict[str, str] = {"picture": "scratch:resnet-mini", "caption": "scratch:resnet-mini+minilm"}
_BY_PAIRS = frozenset({"answer"})

_OF_LANGUAGE_MODELS = frozenset({"language_model", "cloze", "chat"})

READ_AT_LOOKS = (OF_DOCUMENTS, OF_GAPS, *OF_TALKS, SENTENCES)
"""How much of each piece a look at a language model reads, so that it is at most 10,000 tokens; readings of a base that
were taken of other pieces are no measure for a challenger's.
"""

HELD_OUT_SHARES: dict[str, tuple[tuple[int, float], ...]] = {
    "reply": HELD_OUT,
    "caption": CAPTIONED_HELD_OUT,
    "language_model": DOCUMENTS_HELD_OUT,
    "cloze": DOCUMENTS_HELD_OUT,
    "chat": HELD_OUT,
}
"""Of tasks that judge by held-out documents: the share of conversations, or of pictures with captions, that is held
out, from so many on that are held out already. Other tasks take what a run holds out anyway.
"""


def held_out_shares(names: tuple[str, ...]) -> tuple[tuple[int, float], ...] | None:
    """The shares that these tasks need; None where they need none of their own."""
    return next((HELD_OUT_SHARES[name] for name in names if name in HELD_OUT_SHARES), None)


OR_ACCEPT = ", or pass --accept-unproven to serve it as it is"
"""In the verdict's sentence where there is nothing to judge by: the other way out."""


class Needs(NamedTuple):
    """What a task judges by, for people whose run has none of it."""

    lacking: str
    """A clause that says what is not there."""
    bring: str
    """What to bring, as the beginning of a sentence."""
    labels: int | None = None
    """About how many labels that is, where it is labels."""


_NEEDS: dict[str, Needs] = {
    "intent": Needs(
        "the task intent needs labelled messages, and this run has none",
        "Label about 400 messages",
        labels=400,
    ),
    "reply": Needs(
        "the task reply needs an encoder of texts, and the base is none",
        "Give a --base that reads texts",
    ),
    "answer": Needs(
        f"the task answer needs at least {FEWEST} independent questions with the passages that answer them, and "
        "this run has not so many",
        "Bring questions with --pairs",
    ),
    "picture": Needs(
        "the task picture needs labelled pictures, and this run has none",
        "Label about 400 pictures",
        labels=400,
    ),
    "caption": Needs(
        "the task caption needs an encoder of pictures and texts, and the base is none",
        "Give a --base that reads both, such as scratch:resnet-mini+minilm",
    ),
    "language_model": Needs(
        "the task language_model needs a language model, and the base is none",
        "Give a --base that is one, such as smollm2",
    ),
    "chat": Needs(
        "the task chat needs a language model, and the base is none",
        "Give a --base that is one, such as smollm2",
    ),
    "cloze": Needs(
        "the task cloze needs unseen documents with names or numbers, and this run has none",
        "Bring documents that hold names and numbers",
    ),
}


def needs_of(task: str) -> Needs:
    """What a task judges by."""
    lacking = f"this run has nothing that the task {task} could be judged by"
    return _NEEDS.get(task, Needs(lacking, "Bring examples of it"))


def unjudged(task: str, named: Iterable[str], finding: str, *, trained: bool) -> str:
    """The verdict's sentence where there is nothing to judge by, after what was found; `named` are the candidates."""
    needs = needs_of(task)
    asked = any(name != "none" for name in named)
    if not trained:
        finding = "Nothing could be trained." if asked else "No candidate was named, so nothing was trained."
    accept = OR_ACCEPT if trained else ""
    measured = "it" if trained else "a gain" if asked else "the base"
    return (
        f"Inconclusive: {needs.lacking}, so nothing here shows whether the assistant gets better. {finding} "
        f"{needs.bring} to measure {measured}{accept}."
    )


def make_judges(names: tuple[str, ...], ground: Ground) -> dict[str, Judge]:
    """The judges of those tasks that there is something to judge by, by the tasks' names, which are their keys.

    Raises:
        ConfigError: there is no such task.
        InputError: what a task would judge by cannot be used.
    """
    check_tasks(names)
    judges = {name: judge for name in names if (judge := TASKS[name](ground)) is not None}
    for name, judge in judges.items():
        if judge.key != name:
            raise ValueError(f"The task {name!r} made a judge of the key {judge.key!r}; give it the task's name.")
    return judges


def check_tasks(names: tuple[str, ...]) -> None:
    """Refuse names of no task, before anything is read or measured.

    Raises:
        ConfigError: there is no such task.
    """
    for name in names:
        if name not in TASKS:
            raise ConfigError(f"No task {name!r}. {did_you_mean(name, TASKS)}")


def check_reads(names: tuple[str, ...], base: str, kind: Kind) -> None:
    """Refuse a base that cannot read what a task is about, before anything is read or measured.

    Raises:
        ConfigError: a task about pictures has a base of another kind, or one about texts a base that reads pictures.
    """
    if kind == "seq2seq":
        raise ConfigError(
            f"The base {base!r} is one of the {CALLED[kind]}, and no task judges these yet. Train it by `shoptalk "
            "pretrain SOURCES --objective span`, then by `shoptalk finetune MODEL PAIRS --task translate`, which "
            "measures the result."
        )
    for name in names:
        if name in _OF_PICTURES and kind not in _OF_PICTURES[name]:
            needed = " or ".join(CALLED[each] for each in sorted(_OF_PICTURES[name]))
            raise ConfigError(
                f"The task {name} needs one of the {needed}, and the base {base!r} is one of the {CALLED[kind]}. Leave "
                f"--base out, or give another, such as {_EXAMPLE_BASES[name]}."
            )
        if name in _OF_LANGUAGE_MODELS and kind != "lm":
            raise ConfigError(
                f"The task {name} needs one of the {CALLED['lm']}, and the base {base!r} is one of the {CALLED[kind]}. "
                "Leave --base out, or give another, such as smollm2 or scratch:gpt-nano."
            )
        if name in ("intent", "reply", "answer") and kind == "lm":
            raise ConfigError(
                f"The task {name} needs an encoder of texts, and the base {base!r} is one of the {CALLED[kind]}. Give "
                "--task language_model for it, or another --base."
            )
        if name in ("intent", "reply", "answer") and kind in ("image", "pair"):
            raise ConfigError(
                f"The task {name} is about texts, and the base {base!r} is one of the {CALLED[kind]}. Give --task "
                "picture for labelled pictures, --task caption for pictures with captions, or another --base."
            )


def judged_by_pairs(names: Iterable[str]) -> bool:
    """Whether one of these tasks is judged by questions and what answers them, given or mined from conversations."""
    return not _BY_PAIRS.isdisjoint(names)
